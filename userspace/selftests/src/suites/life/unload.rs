// SPDX-License-Identifier: GPL-2.0
//! rmmod without end, while others open, map and move: refused while the module is used, done in
//! between, and it comes back.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};
use pagemove_testkit::module;
use pagemove_uapi::{Control, MOVE_EVEN_IF_THERE, PAGE_SIZE};

use super::play::Watch;
use crate::bench::{self, Bench};
use crate::region::Mapping;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{self, Case, Pass, Verdict};

const TIME: Duration = Duration::from_secs(25);
const ENOUGH_UNLOADED: u64 = 5;
const ENOUGH_REFUSED: u64 = 20;

pub fn main() -> ExitCode {
    let mut watch = match Watch::begin() {
        Ok(watch) => watch,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = vec![
        Case::new(
            "rmmod and insmod without end, while files, regions and devices come and go with moves",
            |watch: &mut Watch| {
                let verdict = storm(&mut watch.random)?;
                watch.log.check()?;
                Ok(verdict)
            },
        ),
        Case::new(
            "afterwards no page is left, the module unloads and loads, and its sums begin at zero",
            |watch: &mut Watch| {
                bench::wait_for_no_pages(Duration::from_secs(20))?;
                module::unload_pagemove(Duration::from_secs(20))?;
                module::load_pagemove()?;
                let stats = Control::open()?.stats()?;
                ensure!(
                    stats.calls == 0 && stats.regions == 0,
                    "{} calls, {} regions",
                    stats.calls,
                    stats.regions
                );
                watch.log.check()?;
                Ok(Pass)
            },
        ),
    ];
    tap::run(&mut watch, cases)
}

/// What the threads share.
#[derive(Default)]
struct Storm {
    stop: AtomicBool,
    /// Times that the module went and came back.
    unloaded: AtomicU64,
    refused: AtomicU64,
    /// Rounds of users that met a module that was there all the time, and that did not.
    rounds: AtomicU64,
    without: AtomicU64,
    moved: AtomicU64,
    failed: Mutex<Option<String>>,
}

impl Storm {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn fail(&self, text: String) {
        self.failed
            .lock()
            .expect("no thread panics")
            .get_or_insert(text);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Uses the module again and again. A round may fail because the module has gone in its
    /// middle: then the count of that grows soon. Any other failure is one.
    fn keep_using(&self, random: &mut Random, mut round: impl FnMut(&mut Random) -> Result<()>) {
        while !self.is_over() {
            let before = self.unloaded.load(Ordering::SeqCst);
            match round(random) {
                Ok(()) => self.rounds.fetch_add(1, Ordering::Relaxed),
                Err(error) if self.went_since(before) => {
                    let _ = error;
                    self.without.fetch_add(1, Ordering::Relaxed)
                }
                Err(error) => return self.fail(format!("{error:#}")),
            };
            thread::sleep(random.microseconds(40_000));
        }
    }

    fn went_since(&self, before: u64) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if self.unloaded.load(Ordering::SeqCst) != before || self.is_over() {
                return true;
            }
            thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn unload_and_load(&self) -> Result<()> {
        match module::remove(module::PAGEMOVE) {
            Ok(()) => {
                module::load_pagemove()?;
                self.unloaded.fetch_add(1, Ordering::SeqCst);
            }
            Err(libc::EWOULDBLOCK | libc::EBUSY) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(errno) => bail!("rmmod: {}", std::io::Error::from_raw_os_error(errno)),
        }
        Ok(())
    }
}

fn storm(random: &mut Random) -> Result<Verdict> {
    let storm = Storm::default();
    thread::scope(|scope| {
        let storm = &storm;
        let mut three = [random.split(), random.split(), random.split()].into_iter();
        let mut next = || three.next().expect("there are three");
        let (mut one, mut two, mut three) = (next(), next(), next());
        scope.spawn(move || storm.keep_using(&mut one, use_file));
        scope.spawn(move || storm.keep_using(&mut two, use_region));
        scope
            .spawn(move || storm.keep_using(&mut three, |random| use_device(random, &storm.moved)));
        let start = Instant::now();
        let enough = || {
            storm.unloaded.load(Ordering::Relaxed) >= ENOUGH_UNLOADED
                && storm.refused.load(Ordering::Relaxed) >= ENOUGH_REFUSED
                && storm.moved.load(Ordering::Relaxed) > 0
        };
        while !storm.is_over() && (start.elapsed() < TIME || !enough()) {
            if let Err(error) = storm.unload_and_load() {
                storm.fail(format!("{error:#}"));
            }
            if start.elapsed() > 4 * TIME {
                storm.fail("not enough has happened".to_string());
            }
            thread::sleep(random.microseconds(20_000));
        }
        storm.stop.store(true, Ordering::Relaxed);
    });
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    tap::note(&format!(
        "unloaded {} times, refused {} times; {} rounds of users, {} without the module; {} pages moved",
        count(&storm.unloaded), count(&storm.refused), count(&storm.rounds), count(&storm.without), count(&storm.moved)
    ));
    if let Some(failure) = storm.failed.into_inner().expect("no thread panics") {
        bail!("{failure}");
    }
    Ok(Pass)
}

fn use_file(random: &mut Random) -> Result<()> {
    let control = Control::open()?;
    control.info()?;
    thread::sleep(random.microseconds(5_000));
    control.stats()?;
    Ok(())
}

fn use_region(random: &mut Random) -> Result<()> {
    let control = Control::open()?;
    let map = Mapping::shared(control.file(), 0, 16 * PAGE_SIZE)
        .map_err(std::io::Error::from_raw_os_error)?;
    map.fill(3);
    drop(control);
    thread::sleep(random.microseconds(5_000));
    map.check(3)
}

fn use_device(random: &mut Random, moved: &AtomicU64) -> Result<()> {
    let bench = Bench::open(32)?;
    for _ in 0..random.below(6) {
        for node in [bench.nodes.there, bench.nodes.here] {
            let request = pagemove_uapi::MoveRequest {
                flags: MOVE_EVEN_IF_THERE,
                ..bench.request(0, 32, node)
            };
            let report = bench.control.move_pages(&request, None);
            ensure!(
                report.error.is_none(),
                "a move: {}",
                bench::describe(&report)
            );
            moved.fetch_add(report.pages_moved, Ordering::Relaxed);
        }
    }
    bench.region.map.check(0)
}
