// SPDX-License-Identifier: GPL-2.0
//! Pages of a region that a peer moves its own into.
//!
//! # Life of an offer
//!
//! *present* -> *offered* (OFFER; with AWAIT also *awaited*: CPU faults wait) -> not awaited
//! any more (ARRIVE) -> *present* (RETRACT).
//!
//! What the peer's device may write must not become anybody else's memory: an offered page
//! can not be claimed by a move, and its region is not freed, closed or not.
//!
//! A fault that waits has given up the locks of its mm, so that the process can be killed and
//! can map and unmap meanwhile; it holds the file, and with it the region and the module.

use crate::host::{ffi, task};
use crate::page::arena;
use crate::page::owned::OwnedPage;
use crate::page::{self, Tag};
use crate::refusal::Refusal;
use crate::region::map::Entry;
use crate::region::{Inner, Region, Want, CHUNK};
use crate::stats::{self, Counter};
use crate::{abi, window};
use core::sync::atomic::{AtomicU64, Ordering};
use engine::{PhysAddr, PAGE_SHIFT};
use kernel::prelude::*;
use kernel::sync::CondVarTimeoutResult;
use kernel::time::msecs_to_jiffies;

/// Counts arrivals of all regions; whoever waits for one looks whether it has changed.
static ARRIVALS: AtomicU64 = AtomicU64::new(0);

/// Returns the count now. Read it with the region locked, before waiting.
pub(super) fn arrivals() -> u64 {
    ARRIVALS.load(Ordering::Acquire)
}

/// Returns the count, for `pagemove_await`.
#[no_mangle]
extern "C" fn pagemove_arrivals() -> u64 {
    arrivals()
}

/// Lets every fault that waits look again.
fn tell_arrival() {
    ARRIVALS.fetch_add(1, Ordering::AcqRel);
    // SAFETY: wakes whoever waits; no preconditions.
    unsafe { ffi::pagemove_wake_awaiting() };
}

/// What ends for the pages of a span.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Waiting.
    Awaiting,
    /// The offer, and waiting.
    Offer,
}

/// What CPUs want, for WANTED.
pub(crate) struct Wants {
    pub(crate) ever: u64,
    pub(crate) pages: KVVec<abi::Want>,
}

impl Region {
    /// Offers the page at `index`, which is made if there is none, in a window or, with none, by
    /// its physical address. Says where the peer finds it and whether it was not offered before.
    pub(crate) fn offer(
        &self,
        index: u64,
        window: Option<u32>,
        awaited: bool,
    ) -> Result<(u64, bool), Refusal> {
        let tag = Tag {
            region: self.id,
            index,
        };
        let mut fresh: Option<OwnedPage> = None;
        loop {
            let mut inner = self.inner.lock();
            if inner.closed {
                return Err(Refusal::ClosedRegion);
            }
            let entry = inner.map.get(index);
            if let Some(page) = entry.page() {
                let target = match window {
                    None => page.0,
                    Some(id) => window::offer_again(id, page).ok_or(Refusal::NotInWindow)?,
                };
                let offered = inner.offer(index, entry, page, awaited);
                if offered.is_err() && window.is_some() {
                    arena::keep(page);
                }
                return Ok((target, offered?));
            }
            if let Some(id) = window {
                let (page, _) = window::take(id, tag).map_err(no_page)?;
                inner.install(index, page).map_err(|_| Refusal::NoMemory)?;
                continue;
            }
            let (node, neighbours) = (inner.node, inner.neighbours(index));
            match fresh.take() {
                Some(page) if !neighbours.continue_with(&page) => {
                    inner.install(index, page).map_err(|_| Refusal::NoMemory)?;
                }
                rejected => {
                    let payer = inner.payer();
                    drop(inner);
                    let page = OwnedPage::at_node_or_near(node, tag, &payer);
                    // After the next page was taken, so that the allocator can't give it again.
                    drop(rejected);
                    fresh = Some(page.map_err(|_| Refusal::NoMemory)?);
                }
            }
        }
    }

    /// Ends waiting, or offers, for `pages` pages from `first` on. Says for how many.
    pub(crate) fn end(&self, first: u64, pages: u64, what: Ending) -> u64 {
        let mut ended: u64 = 0;
        let end = first.saturating_add(pages);
        let mut at = first;
        while at < end {
            let mut inner = self.inner.lock();
            at = inner.map.skip(at).min(end);
            let stop = end.min(at.saturating_add(CHUNK));
            for index in at..stop {
                ended = ended.saturating_add(u64::from(inner.end(index, what)));
            }
            inner.wants.retain(|want| !(at..stop).contains(&want.index));
            drop(inner);
            at = stop;
        }
        self.bury(first, pages);
        tell_arrival();
        ended
    }

    /// Notes that a CPU waits for the page at `index`.
    pub(super) fn want(&self, inner: &mut Inner, index: u64) -> Result {
        stats::add(Counter::FaultsAwaited, 1);
        if inner.wants.iter().any(|want| want.index == index) {
            return Ok(());
        }
        let since = task::now();
        inner.wants.push(Want { index, since }, GFP_KERNEL)?;
        inner.wants_ever = inner.wants_ever.saturating_add(1);
        self.wanted.notify_all();
        Ok(())
    }

    /// Waits until more than `seen` pages have been wanted, or for a time.
    pub(crate) fn wants(&self, seen: u64, timeout_ns: u64) -> Result<Wants, Refusal> {
        // More than an hour is an hour.
        let ms = (timeout_ns / 1_000_000).min(3_600_000) as u32;
        let mut left = msecs_to_jiffies(ms);
        let mut inner = self.inner.lock();
        while inner.wants_ever <= seen && left != 0 {
            match self.wanted.wait_interruptible_timeout(&mut inner, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                CondVarTimeoutResult::Timeout => left = 0,
                CondVarTimeoutResult::Signal { .. } => return Err(Refusal::Signal),
            }
        }
        let count = inner.wants.len();
        let mut pages = KVVec::with_capacity(count, GFP_KERNEL).map_err(|_| Refusal::NoMemory)?;
        for want in inner.wants.iter() {
            let want = abi::Want {
                offset: want.index << PAGE_SHIFT,
                since_ns: want.since,
            };
            pages
                .push_within_capacity(want)
                .map_err(|_| Refusal::NoMemory)?;
        }
        Ok(Wants {
            ever: inner.wants_ever,
            pages,
        })
    }
}

/// Translates what [`window::take`] says.
fn no_page(error: Error) -> Refusal {
    if error == EINVAL {
        Refusal::NoWindow
    } else if error == EBUSY {
        Refusal::Busy
    } else {
        Refusal::NoMemory
    }
}

impl Inner {
    fn offer(
        &mut self,
        index: u64,
        entry: Entry,
        page: PhysAddr,
        awaited: bool,
    ) -> Result<bool, Refusal> {
        if entry.is_offered() {
            return Ok(false);
        }
        if entry.is_claimed() {
            return Err(Refusal::Busy);
        }
        if !page::is_memory(page) {
            return Err(Refusal::Elsewhere);
        }
        // What the peer moves there is what is in it then.
        let entry = entry.lost(false);
        self.map.set(index, entry.offered(true).awaited(awaited));
        self.offered = self.offered.saturating_add(1);
        stats::add(Counter::OfferedPages, 1);
        Ok(true)
    }

    fn end(&mut self, index: u64, what: Ending) -> bool {
        let entry = self.map.get(index);
        match what {
            Ending::Awaiting => {
                self.map.set(index, entry.awaited(false));
                entry.is_awaited()
            }
            Ending::Offer if entry.is_offered() => {
                self.map.set(index, entry.offered(false).awaited(false));
                if let Some(page) = entry.page() {
                    arena::keep(page);
                }
                self.offered = self.offered.saturating_sub(1);
                stats::sub(Counter::OfferedPages, 1);
                true
            }
            Ending::Offer => false,
        }
    }
}
