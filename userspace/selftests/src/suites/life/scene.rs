// SPDX-License-Identifier: GPL-2.0
//! The scene of most cases: a guest whose device DMAs all the time, and callers that move its
//! memory meanwhile. It knows how many pages were moved at any time, so that a case can show
//! that what it did happened in the middle of moves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_harness::guest::process::GuestProcess;
use pagemove_harness::ledger::account::Status;
use pagemove_testkit::slowness;
use pagemove_uapi::{
    errno, text, Control, MoveReport, MoveRequest, PciAddress, Stats, ENGINE_AUTO,
    MOVE_EVEN_IF_THERE, PAGE_SIZE,
};

use crate::bench::{self, Nodes};
use pagemove_testkit::tap;

/// What makes the DMA.
pub const HARNESS: &str = "/bin/pagemove-harness";

/// How long moves may take to go on after something has happened. An emulated machine beside
/// others is slow, one that hangs stays so.
const PATIENCE: Duration = Duration::from_secs(40);

/// A guest under DMA.
pub struct Scene {
    pub guest: GuestProcess,
    pub control: Control,
    pub device: PciAddress,
    pub nodes: Nodes,
    before: Stats,
}

/// An answer of a call: errno and PAGEMOVE_REASON_*.
pub type Answer = (i32, u32);

/// The helper of `rtm` did not get its CPU in time, as happens on a busy host: ask again.
const ABSENT: Answer = (libc::EBUSY, pagemove_uapi::REASON_CPUS);

/// A call has used up its time.
const LATE: Answer = (libc::ETIME, pagemove_uapi::REASON_DEADLINE);

/// Who moves.
#[derive(Clone)]
pub struct Callers {
    /// How many at a time.
    pub count: usize,
    pub engine: u32,
    pub flags: u32,
    /// Of each call. One that ends by it has not failed, and the next one goes on.
    pub deadline: Option<Duration>,
    /// What a call may end with, beside success.
    pub allowed: Vec<Answer>,
}

impl Callers {
    pub fn one(engine: u32) -> Self {
        Self {
            count: 1,
            engine,
            flags: 0,
            deadline: None,
            allowed: Vec::new(),
        }
    }

    fn allow(&self, answer: Answer) -> bool {
        self.allowed.contains(&answer)
            || self.engine == pagemove_uapi::ENGINE_RTM && answer == ABSENT
            || self.deadline.is_some() && answer == LATE
    }

    /// Gives each call so long.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline * slowness::slowness());
        self
    }

    pub fn allowing(mut self, answers: &[Answer]) -> Self {
        self.allowed.extend_from_slice(answers);
        self
    }
}

/// The engine that an argument names.
pub fn engine_of(name: Option<&String>) -> Result<u32> {
    let Some(name) = name else {
        return Ok(ENGINE_AUTO);
    };
    text::number(text::ENGINES, name).with_context(|| format!("no engine {name}"))
}

impl Scene {
    /// Starts a guest with an NVMe device and some arguments more.
    pub fn open(arguments: &[&str]) -> Result<Self> {
        let control = Control::open()?;
        let before = control.stats()?;
        let arguments: Vec<String> = arguments.iter().map(|word| word.to_string()).collect();
        let guest = GuestProcess::spawn(HARNESS.into(), &arguments)?;
        let device = guest.layout.device.parse()?;
        Ok(Self {
            guest,
            control,
            device,
            nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
            before,
        })
    }

    pub fn pages(&self) -> usize {
        self.guest.layout.length as usize / PAGE_SIZE
    }

    /// A request for all of the guest's memory.
    pub fn request(&self, engine: u32, node: i32) -> MoveRequest {
        MoveRequest {
            engine,
            flags: MOVE_EVEN_IF_THERE,
            retries: 50,
            ..bench::request(self.device, self.guest.layout.iova, self.pages(), node)
        }
    }

    /// Runs `body` while callers move the guest's memory, as [`Moves::during`] does.
    pub fn during<R>(
        &mut self,
        callers: &Callers,
        body: impl FnOnce(&mut GuestProcess, &Moves) -> Result<R>,
    ) -> Result<R> {
        let requests =
            [self.nodes.there, self.nodes.here].map(|node| self.request(callers.engine, node));
        Moves::during(callers, &requests, |moves| body(&mut self.guest, moves))
    }

    /// Pages that were moved since the scene began, as the module counts.
    pub fn moved(&self) -> Result<u64> {
        Ok(self.control.stats()?.pages_moved - self.before.pages_moved)
    }

    /// No DMA has lost anything up to now; at least so many were made.
    pub fn is_clean(&mut self, dmas: u64) -> Result<()> {
        let status = self.guest.status()?;
        ensure!(status.is_clean(), "{}", losses(&status));
        ensure!(status.dmas() >= dmas, "only {} DMAs", status.dmas());
        Ok(())
    }

    /// Ends the guest, which compares every page; nothing of it is left afterwards.
    pub fn end(self) -> Result<()> {
        let last = self.guest.stop()?;
        tap::note(&format!(
            "{} DMAs, {} pages compared, {} CPU writes: {}",
            last.dmas(),
            last.checked,
            last.cpu_writes,
            last.describe_losses()
        ));
        ensure!(last.is_clean(), "{}", losses(&last));
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        gauges_are_zero(&self.control)?;
        let lost = self.control.stats()?.lost_writes - self.before.lost_writes;
        ensure!(lost == 0, "{lost} lost writes by the module's own count");
        Ok(())
    }
}

fn losses(status: &Status) -> String {
    let events = status.events.join("; ");
    let failed = status.failed.clone().unwrap_or_default();
    format!("{} {events} {failed}", status.describe_losses())
}

/// What the module has at this moment, when nobody uses it.
pub fn gauges_are_zero(control: &Control) -> Result<()> {
    let stats = control.stats()?;
    ensure!(
        stats.region_pages == 0 && stats.closed_pages == 0,
        "{} pages, {} of closed regions, are left",
        stats.region_pages,
        stats.closed_pages
    );
    let busy = control
        .device_list()?
        .iter()
        .filter(|device| device.flags & pagemove_uapi::DEVICE_OPEN != 0)
        .count();
    ensure!(busy == 0, "{busy} devices are open");
    Ok(())
}

/// What callers have done up to now.
#[derive(Default)]
pub struct Moves {
    stop: AtomicBool,
    moved: AtomicU64,
    calls: AtomicU64,
    failed: Mutex<Option<String>>,
    answers: Mutex<BTreeMap<Answer, u64>>,
}

impl Moves {
    /// Runs `body` while callers do what `requests` say, by turns. It fails if one of them gets an
    /// answer that is not allowed. What they have done is printed.
    pub fn during<R>(
        callers: &Callers,
        requests: &[MoveRequest; 2],
        body: impl FnOnce(&Self) -> Result<R>,
    ) -> Result<R> {
        let moves = Self::default();
        let result = thread::scope(|scope| {
            let moves = &moves;
            for number in 0..callers.count {
                scope.spawn(move || moves.keep_moving(callers, requests, number));
            }
            let result = body(moves);
            moves.end();
            result
        });
        tap::note(&moves.describe());
        if let Some(failure) = moves.failure() {
            bail!("{failure}");
        }
        result
    }

    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// The callers shall end.
    pub fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn failure(&self) -> Option<String> {
        self.failed.lock().expect("no thread panics").clone()
    }

    fn fail(&self, text: String) {
        self.failed
            .lock()
            .expect("no thread panics")
            .get_or_insert(text);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How many calls ended with this.
    pub fn answered(&self, answer: Answer) -> u64 {
        self.answers
            .lock()
            .expect("no thread panics")
            .get(&answer)
            .copied()
            .unwrap_or(0)
    }

    fn count(&self, report: &MoveReport) {
        self.moved.fetch_add(report.pages_moved, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let Some(error) = report.error else { return };
        *self
            .answers
            .lock()
            .expect("no thread panics")
            .entry((error.errno, error.reason))
            .or_insert(0) += 1;
    }

    pub fn describe(&self) -> String {
        let answers = self.answers.lock().expect("no thread panics");
        let others: Vec<String> = answers
            .iter()
            .map(|((number, reason), count)| {
                let reason = text::name_or_number(text::REASONS, *reason);
                format!("{} ({reason}) {count}", errno::name(*number))
            })
            .collect();
        format!(
            "{} pages moved by {} calls; other answers: {}",
            self.moved(),
            self.calls.load(Ordering::Relaxed),
            if others.is_empty() {
                "none".to_string()
            } else {
                others.join(", ")
            }
        )
    }

    /// Waits until so many pages more were moved, as the module counts: moves go on, whether a
    /// call has come to its end or not.
    pub fn go_on(&self, pages: u64, after: &str) -> Result<()> {
        let control = Control::open()?;
        let moved = || control.stats().map(|stats| stats.pages_moved);
        let (before, start) = (moved()?, Instant::now());
        let most = PATIENCE * slowness::slowness();
        while moved()? < before + pages {
            if let Some(failure) = self.failure() {
                bail!("{after}: {failure}");
            }
            ensure!(
                start.elapsed() < most,
                "{} of {pages} pages were moved in {most:?} {after}",
                moved()? - before
            );
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn keep_moving(&self, callers: &Callers, requests: &[MoveRequest; 2], number: usize) {
        let control = match Control::open() {
            Ok(control) => control,
            Err(error) => return self.fail(error.to_string()),
        };
        for request in requests.iter().cycle().skip(number % 2) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let request = MoveRequest {
                flags: request.flags | callers.flags,
                deadline_ns: callers.deadline.map_or(request.deadline_ns, |time| {
                    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
                }),
                ..*request
            };
            let report = control.move_pages(&request, None);
            self.count(&report);
            match report.error {
                None => {}
                Some(error) if callers.allow((error.errno, error.reason)) => {
                    thread::sleep(Duration::from_millis(1));
                }
                Some(_) => return self.fail(format!("a move: {}", bench::describe(&report))),
            }
        }
    }
}
