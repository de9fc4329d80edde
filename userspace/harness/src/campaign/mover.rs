// SPDX-License-Identifier: GPL-2.0
//! A mover: a thread that moves a part of a guest's memory from node to node, one call of
//! the tool after the other, until it is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use pagemove_uapi::Control;

use crate::campaign::place::places;
use crate::campaign::tool::{Range, Report, Tool};
use crate::campaign::{misplaced, Sums};
use crate::guest::Layout;

/// What one mover has done.
#[derive(Clone, Debug, Default)]
pub struct Work {
    pub sums: Sums,
    /// Pages that were not where the tool's results say.
    pub misplaced: u64,
    /// Time in calls of the tool.
    pub busy: Duration,
    /// Why it ended, if it was not told to.
    pub ended: Option<String>,
}

pub struct Mover {
    work: Arc<Mutex<Work>>,
    thread: JoinHandle<()>,
}

impl Mover {
    /// Begins to move `ranges`, which nobody else moves, each by a call, to one node and then
    /// to the other; the device is the one that the tool is told.
    pub fn start(
        tool: Tool,
        layout: &Layout,
        device: &str,
        ranges: Vec<Range>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let control = Control::open()?;
        let (layout, device, stop) = (layout.clone(), device.to_string(), stop.clone());
        let work = Arc::new(Mutex::new(Work::default()));
        let mine = work.clone();
        let thread = std::thread::spawn(move || {
            let there_and_back = ranges
                .iter()
                .map(|range| (range, 1))
                .chain(ranges.iter().map(|range| (range, 0)));
            for (range, node) in there_and_back.cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let began = Instant::now();
                let called = tool.start(&device, range, node).finish();
                let busy = began.elapsed();
                let ended = called.and_then(|report| {
                    let places = places(&control, &layout, range, &tool)?;
                    let mut work = mine.lock().unwrap_or_else(|broken| broken.into_inner());
                    work.note(&report, &places, node, busy)
                });
                if let Err(error) = ended {
                    let mut work = mine.lock().unwrap_or_else(|broken| broken.into_inner());
                    work.ended = Some(format!("{error:#}"));
                    return;
                }
            }
        });
        Ok(Self { work, thread })
    }

    /// What it has done up to now.
    pub fn work(&self) -> Work {
        self.work
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .clone()
    }

    /// Waits for its end; it has to have been told.
    pub fn finish(self) -> Work {
        let panicked = self.thread.join().is_err();
        let mut work = self
            .work
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .clone();
        if panicked {
            work.ended.get_or_insert("its thread panicked".to_string());
        }
        work
    }
}

impl Work {
    /// One more call. An error ends the mover.
    fn note(&mut self, report: &Report, places: &[i32], node: i32, busy: Duration) -> Result<()> {
        self.sums.add(report);
        self.busy += busy;
        self.misplaced += misplaced(report, places, node);
        if let Some(why) = report.fatal() {
            bail!("moving ended: {why}");
        }
        if report.found_loss() {
            bail!("the module found a lost write");
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "mover_tests.rs"]
mod tests;
