// SPDX-License-Identifier: GPL-2.0
//! A move of several ranges, one after the other.

use std::thread;
use std::time::{Duration, Instant};

use pagemove_uapi::{
    Call, Error, MoveRequest, ENGINE_AUTO, MEMORY_OTHER, PAGE_MOVED, PAGE_SIZE, REASON_ALIASED,
    REASON_ANONYMOUS, REASON_BUSY, REASON_CLOSED_REGION, REASON_DEADLINE, REASON_IN_USE,
    REASON_LARGE_FOLIO, REASON_LARGE_LEAF, REASON_NOT_MAPPED, REASON_NOT_REGION, REASON_NOT_SHMEM,
    REASON_NO_PIN, REASON_NO_VADDR, REASON_OFFERED, REASON_OTHER_FRAME, REASON_POISONED,
    REASON_SWAP_CACHE, REASON_UNMAPPING, REASON_USERFAULTFD,
};

use super::{relocate, Mover, Total};
use crate::scope::select::{LeftOut, Range, Selection};

/// What was done with a range.
#[derive(Clone, Debug)]
pub struct Part {
    pub range: Range,
    pub total: Total,
}

/// What was done with all of them.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    /// The sum; `results` are with the parts. `error` is the first one.
    pub total: Total,
    pub parts: Vec<Part>,
    pub left_out: Vec<LeftOut>,
}

/// Moves what was selected, in calls of `chunk` pages: `request` with the device and the addresses
/// of each range. What is wrong with one page ends its range, everything else ends it all.
pub fn relocate_all(
    selection: Selection,
    request: &MoveRequest,
    chunk: u32,
    mover: &mut Mover<'_>,
    stopped: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&Total),
) -> Whole {
    let start = Instant::now();
    let mut whole = Whole {
        left_out: selection.left_out,
        ..Whole::default()
    };
    whole.total.pages = pages(&selection.ranges);
    for range in selection.ranges {
        let before = whole.total.clone();
        let mut total = Total {
            pages: range.length / PAGE_SIZE as u64,
            ..Total::default()
        };
        for _ in 0..=TRIES {
            match part_of(request, &total.rest_of(&range), start.elapsed()) {
                Ok(part) => total.go_on(relocate(&part, chunk, mover, stopped, &mut |now| {
                    progress(&before.with(&total.clone().and(now)));
                })),
                Err(error) => total.error = Some(error),
            }
            if !total.error.is_some_and(|error| may_pass(&range, &error)) || !pause(stopped) {
                break;
            }
        }
        let is_over = total.error.is_some_and(|error| !is_of_its_page(&error));
        whole.add(range, total);
        if is_over {
            break;
        }
    }
    whole.total.time = start.elapsed();
    whole
}

/// How often what is left of a range is asked for again, and after which time: the module leaves alone for a
/// second what a VMM has unmapped.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(1100);
const SLICE: Duration = Duration::from_millis(20);

/// Returns whether others were in the way for a moment. Of a span that was named the caller is told at
/// once.
fn may_pass(range: &Range, error: &Error) -> bool {
    range.memory != 0 && matches!(error.reason, REASON_UNMAPPING | REASON_BUSY)
}

/// Waits. False: somebody wants it to end.
fn pause(stopped: &dyn Fn() -> bool) -> bool {
    let end = Instant::now() + PAUSE;
    while Instant::now() < end {
        if stopped() {
            return false;
        }
        thread::sleep(SLICE);
    }
    true
}

/// Counts the pages of ranges.
pub fn pages(ranges: &[Range]) -> u64 {
    let pages = |range: &Range| range.length / PAGE_SIZE as u64;
    ranges.iter().map(pages).sum()
}

/// Returns the request for a range, with the time that is left of the whole.
fn part_of(request: &MoveRequest, range: &Range, passed: Duration) -> Result<MoveRequest, Error> {
    let deadline_ns = match request.deadline_ns {
        0 => 0,
        all => u64::try_from(passed.as_nanos())
            .ok()
            .and_then(|passed| all.checked_sub(passed))
            .filter(|left| *left > 0)
            .ok_or(Error::with_reason(Call::Move, libc::ETIME, REASON_DEADLINE))?,
    };
    Ok(MoveRequest {
        device: range.device,
        iova: range.iova,
        length: range.length,
        deadline_ns,
        ..*request
    })
}

/// Returns whether other pages may go all the same.
fn is_of_its_page(error: &Error) -> bool {
    matches!(
        error.reason,
        REASON_NOT_MAPPED
            | REASON_NOT_REGION
            | REASON_CLOSED_REGION
            | REASON_UNMAPPING
            | REASON_LARGE_LEAF
            | REASON_ALIASED
            | REASON_NO_VADDR
            | REASON_NO_PIN
            | REASON_OFFERED
            | REASON_BUSY
            | REASON_ANONYMOUS
            | REASON_NOT_SHMEM
            | REASON_LARGE_FOLIO
            | REASON_SWAP_CACHE
            | REASON_USERFAULTFD
            | REASON_IN_USE
            | REASON_POISONED
            | REASON_OTHER_FRAME
    )
}

/// Returns whether the memory is of a kind, or mapped in a way, that is not moved at all.
fn is_of_another_kind(error: &Error) -> bool {
    matches!(
        error.reason,
        REASON_NOT_REGION | REASON_NOT_SHMEM | REASON_ANONYMOUS | REASON_LARGE_LEAF
    )
}

impl Whole {
    /// Adds what was done with a range. Memory that is in no region was tried, for the module may be
    /// able to move it; where it said no, the rest of the range was left out.
    fn add(&mut self, range: Range, mut total: Total) {
        let refused = total
            .error
            .filter(|error| range.memory == MEMORY_OTHER && is_of_another_kind(error));
        if let Some(error) = refused {
            let done = total.settled();
            let rest = total.rest_of(&range);
            self.total.pages = self.total.pages.saturating_sub(total.pages - done);
            total.pages = done;
            total.pages_done = done;
            total.results.truncate(done as usize);
            total.error = None;
            self.left_out.push(LeftOut {
                range: rest,
                why: error.message(),
            });
            if done == 0 {
                return;
            }
        }
        self.total = self.total.with(&total);
        self.parts.push(Part { range, total });
    }
}

impl Total {
    /// Counts the pages of which something became, from the first.
    fn settled(&self) -> u64 {
        self.pages_moved + self.pages_there + self.pages_aborted
    }

    /// Returns what is left of a range.
    fn rest_of(&self, range: &Range) -> Range {
        let done = self.settled() * PAGE_SIZE as u64;
        Range {
            iova: range.iova + done,
            length: range.length.saturating_sub(done),
            ..range.clone()
        }
    }

    /// Goes on with what was done of the rest of the same range.
    fn go_on(&mut self, rest: Total) {
        *self = self.clone().and(&rest);
        self.results.extend(rest.results);
    }

    /// Returns the sum with what was done of the rest, without its results.
    fn and(mut self, rest: &Total) -> Total {
        let settled = self.settled();
        self.results.truncate(settled as usize);
        self.pages_done = settled;
        self.error = None;
        let results = std::mem::take(&mut self.results);
        let mut sum = self.with(rest);
        sum.results = results;
        sum
    }

    /// Returns the sum with what was done of another part of the same whole, whose pages are counted
    /// already.
    fn with(&self, part: &Total) -> Total {
        let mut sum = self.clone();
        sum.pages_moved += part.pages_moved;
        sum.pages_there += part.pages_there;
        sum.pages_done += part.pages_done;
        sum.pages_aborted += part.pages_aborted;
        sum.pages_lost += part.pages_lost;
        if sum.engine_used == ENGINE_AUTO {
            sum.engine_used = part.engine_used;
        }
        for (engine, pages) in &part.engines {
            *sum.engines.entry(*engine).or_default() += pages;
        }
        for (all, count) in sum.aborts.iter_mut().zip(part.aborts) {
            *all += count;
        }
        let moved = part
            .results
            .iter()
            .filter(|result| result.outcome == PAGE_MOVED);
        moved.for_each(|result| sum.windows.add(result.window_ns.into()));
        sum.error = sum.error.or(part.error);
        sum
    }
}

#[cfg(test)]
#[path = "all_tests.rs"]
mod tests;
