// SPDX-License-Identifier: GPL-2.0
//! `pagemove move`: a move in calls of some pages each, so that a bar can move
//! and a signal is answered soon.

mod all;
pub mod args;
pub mod command;
mod forecast;
mod pace;
mod report;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pagemove_uapi::window::Windows;
use pagemove_uapi::{
    Call, Error, MoveReport, MoveRequest, PageResult, ABORT_SLOTS, ENGINE_AUTO, PAGE_ABORTED,
    PAGE_LOST_WRITE, PAGE_MOVED, PAGE_SIZE, REASON_DEADLINE, REASON_SIGNAL,
};

/// What all calls together did. Exact at any time.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Asked for.
    pub pages: u64,
    pub pages_moved: u64,
    pub pages_there: u64,
    /// Pages with a result, from the first.
    pub pages_done: u64,
    /// Given up after their retries.
    pub pages_aborted: u64,
    pub pages_lost: u64,
    /// Of the first attempts; ENGINE_AUTO: none was made.
    pub engine_used: u32,
    /// Pages moved by each engine.
    pub engines: BTreeMap<u32, u64>,
    pub aborts: [u64; ABORT_SLOTS],
    pub windows: Windows,
    /// One for each page with a result.
    pub results: Vec<PageResult>,
    pub time: Duration,
    /// What ended the move early.
    pub error: Option<Error>,
}

impl Total {
    fn add(&mut self, report: &MoveReport, results: &[PageResult]) {
        self.pages_moved += report.pages_moved;
        self.pages_there += report.pages_there;
        self.pages_done += report.pages_done;
        if self.engine_used == ENGINE_AUTO {
            self.engine_used = report.engine_used;
        }
        for (sum, count) in self.aborts.iter_mut().zip(report.aborts) {
            *sum += count;
        }
        let done = &results[..results.len().min(report.pages_done as usize)];
        for result in done {
            match result.outcome {
                PAGE_MOVED => {
                    self.windows.add(result.window_ns.into());
                    *self.engines.entry(result.engine).or_default() += 1;
                }
                PAGE_ABORTED => self.pages_aborted += 1,
                PAGE_LOST_WRITE => self.pages_lost += 1,
                _ => {}
            }
        }
        self.results.extend_from_slice(done);
        self.error = report.error;
    }
}

/// The kernel, or what a test has in its place.
pub type Mover<'a> = dyn FnMut(&MoveRequest, &mut Vec<PageResult>) -> MoveReport + 'a;

/// Moves `request` in calls of `chunk` pages, until it is done, a call fails,
/// the deadline passes or `stopped`. `progress` is told the total after each.
pub fn relocate(
    request: &MoveRequest,
    chunk: u32,
    mover: &mut Mover<'_>,
    stopped: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&Total),
) -> Total {
    let start = Instant::now();
    let page = PAGE_SIZE as u64;
    let mut total = Total {
        pages: request.length / page,
        ..Total::default()
    };
    let mut asked = 0;
    while asked < total.pages && total.error.is_none() {
        let pages = u64::from(chunk).min(total.pages - asked);
        let pages = to_boundary(request.iova + asked * page, pages, total.pages - asked);
        match left(request, start.elapsed(), stopped) {
            Err(error) => total.error = Some(error),
            Ok(deadline_ns) => {
                let part = MoveRequest {
                    iova: request.iova + asked * page,
                    length: pages * page,
                    deadline_ns,
                    ..*request
                };
                let mut results = Vec::new();
                let report = mover(&part, &mut results);
                total.add(&report, &results);
            }
        }
        asked += pages;
        total.time = start.elapsed();
        progress(&total);
    }
    total
}

/// Returns how many of so many pages a call has that begins there and is not the last: up to a multiple of 2 MiB, if there is
/// one, so that what the IOMMU maps by one leaf is not cut.
fn to_boundary(iova: u64, pages: u64, left: u64) -> u64 {
    const LEAF: u64 = 2 << 20;
    let end = iova.saturating_add(pages * PAGE_SIZE as u64) / LEAF * LEAF;
    match end.checked_sub(iova) {
        Some(bytes) if pages < left && bytes > 0 => bytes / PAGE_SIZE as u64,
        _ => pages,
    }
}

/// Returns the time that is left for the next call (0: any), or what ends the move
/// between two calls: the same that the kernel would say.
fn left(request: &MoveRequest, passed: Duration, stopped: &dyn Fn() -> bool) -> Result<u64, Error> {
    if stopped() {
        return Err(Error::with_reason(Call::Move, libc::EINTR, REASON_SIGNAL));
    }
    if request.deadline_ns == 0 {
        return Ok(0);
    }
    match u128::from(request.deadline_ns).checked_sub(passed.as_nanos()) {
        None | Some(0) => Err(Error::with_reason(Call::Move, libc::ETIME, REASON_DEADLINE)),
        Some(left) => Ok(left as u64),
    }
}

#[cfg(test)]
mod tests;
