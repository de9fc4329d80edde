// SPDX-License-Identifier: GPL-2.0
//! What is done with the pages of a batch before and after an attempt: see the room's head.

use crate::host::{ffi, memory, task};
use crate::shmem::{refusal_of, Folio, Grip};
use crate::testing::sabotage::{self, Bug};
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use engine::PhysAddr;

/// How often to look whether references of a moment have gone, and how long to wait between.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS_NS: u64 = 20_000;

/// Locks the pages and takes them out of every process's tables. Those whose lock somebody else
/// has stay loose. May sleep.
pub(crate) fn lock<'a>(pages: impl Iterator<Item = &'a Folio> + Clone) {
    pages.clone().for_each(Folio::lock);
    let locked = pages.filter(|page| page.grip() == Grip::Locked);
    unmap(locked.clone());
    // Those that `mlock` kept have just come to a list of this CPU's; so have pages that this
    // thread has touched.
    drain_here();
    for _ in 0..LOOKS {
        if locked.clone().all(Folio::is_quiet) {
            return;
        }
        task::sleep(BETWEEN_LOOKS_NS);
    }
}

/// Freezes the counts of those that are locked. One that has more references than it should becomes
/// loose. Does not sleep; nor may the caller before [`let_go`].
pub(crate) fn freeze<'a>(pages: impl Iterator<Item = &'a Folio>) {
    for page in pages.filter(|page| page.grip() == Grip::Locked) {
        page.set_grip(page.freeze());
        if page.grip() == Grip::Locked {
            page.unlock();
        }
    }
}

/// Unfreezes the counts; before that END takes the place of those that have moved. `moved` says to
/// where, if anywhere. Does not sleep.
pub(crate) fn unfreeze<'a>(pages: impl Iterator<Item = (&'a Folio, Option<PhysAddr>)>) {
    let mut held = pages.filter(|(page, _)| page.is_held()).peekable();
    if held.peek().is_some() {
        sabotage::stretch_frozen();
    }
    for (page, moved) in held {
        if let Some(end) = moved.and_then(frame) {
            // SAFETY: START is locked and frozen; END is the batch's, and known to nobody.
            unsafe { ffi::pagemove_folio_swap(page.page.as_ptr(), end.as_ptr()) };
        }
        if page.grip() == Grip::Frozen {
            // SAFETY: it is frozen.
            unsafe { ffi::pagemove_folio_unfreeze(page.page.as_ptr()) };
        }
    }
}

/// Finishes what [`unfreeze`] has begun, with the same pages, and lets everybody go on. May sleep.
pub(crate) fn let_go<'a>(pages: impl Iterator<Item = (&'a Folio, Option<PhysAddr>)>) {
    for (page, moved) in pages.filter(|(page, _)| page.is_held()) {
        match moved.and_then(frame) {
            // SAFETY: both are locked, and END has START's place in the cache.
            Some(end) => unsafe {
                ffi::pagemove_folio_replace(page.page.as_ptr(), end.as_ptr());
                page.set_grip(Grip::Loose);
            },
            None => page.unlock(),
        }
    }
    // END is on a list of this CPU's, and would have a reference too many for the next move.
    drain_here();
}

impl Folio {
    /// Tells whether its count is frozen.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.grip(), Grip::Frozen | Grip::Pretended)
    }

    fn lock(&self) {
        // SAFETY: we have references to both.
        let answer = unsafe {
            ffi::pagemove_folio_lock(self.page.as_ptr(), self.inode, self.index as usize)
        };
        if refusal_of(answer).is_ok() {
            self.set_grip(Grip::Locked);
        }
    }

    fn unlock(&self) {
        self.set_grip(Grip::Loose);
        // SAFETY: it was locked by us.
        unsafe { ffi::pagemove_folio_unlock(self.page.as_ptr()) };
    }

    fn is_quiet(&self) -> bool {
        // SAFETY: we have a reference.
        unsafe { ffi::pagemove_folio_is_quiet(self.page.as_ptr()) }
    }

    fn freeze(&self) -> Grip {
        if sabotage::has_bug(Bug::NoCount) {
            return Grip::Pretended;
        }
        if self.is_shared.load(Ordering::Relaxed) {
            return Grip::Locked;
        }
        if sabotage::has_bug(Bug::NoFreeze) {
            return if self.is_quiet() {
                Grip::Pretended
            } else {
                Grip::Locked
            };
        }
        // SAFETY: it is locked, and we have a reference.
        match unsafe { ffi::pagemove_folio_freeze(self.page.as_ptr()) } {
            true => Grip::Frozen,
            false => Grip::Locked,
        }
    }

    /// Tells whether `next` follows it in its file.
    fn is_before(&self, next: &Self, by: u64) -> bool {
        self.inode == next.inode && self.index.wrapping_add(by) == next.index
    }
}

/// Unmaps the pages, a run of neighbours at a time.
fn unmap<'a>(pages: impl Iterator<Item = &'a Folio>) {
    let mut run: Option<(&Folio, u64)> = None;
    for page in pages {
        run = match run {
            Some((first, n)) if first.is_before(page, n) => Some((first, n.wrapping_add(1))),
            other => {
                unmap_run(other);
                Some((page, 1))
            }
        };
    }
    unmap_run(run);
}

fn unmap_run(run: Option<(&Folio, u64)>) {
    if let Some((first, n)) = run {
        // SAFETY: we have a reference to the inode.
        unsafe { ffi::pagemove_folio_unmap(first.inode, first.index as usize, n as usize) };
    }
}

fn drain_here() {
    // SAFETY: no lock is held that draining needs.
    unsafe { ffi::pagemove_folio_drain() };
}

fn frame(phys: PhysAddr) -> Option<NonNull<ffi::page>> {
    memory::frame(phys.0)
}
