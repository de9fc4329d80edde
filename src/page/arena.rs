// SPDX-License-Identifier: GPL-2.0
//! Arenas: memory that holds nothing but pages which were offered to a peer, who sees it through
//! a window.
//!
//! Its last page is for nobody: it has a number that no other arena has, by which the peer knows the memory again.
//!
//! # Life of an arena
//!
//! *shown* -> *hidden* (the window shows another, or nothing) -> freed when its last page has
//! come back. Only an arena without offered pages is hidden, and only when the peer has none
//! there.
//!
//! # Life of a page in it
//!
//! *free* -> *offered* -> *kept* ([`keep`]: the peer has moved a page to it and is done; it is a
//! page of a region like any other) -> *free* (its owner has given it back).
//!
//! # Lock order
//!
//! [`ARENAS`] > [`Arena::pages`].

use crate::host::{ffi, memory};
use crate::testing::sabotage;
use core::sync::atomic::{AtomicUsize, Ordering};
use engine::{PhysAddr, PAGE_SHIFT};
use kernel::prelude::*;
use kernel::sync::{new_mutex, Arc, Mutex};

/// Memory in one piece.
#[pin_data(PinnedDrop)]
pub(crate) struct Arena {
    memory: *mut ffi::page,
    pub(crate) first: PhysAddr,
    pub(crate) node: i32,
    /// The number in its last page: not 0, nor all ones.
    pub(crate) identity: u64,
    #[pin]
    pages: Mutex<Pages>,
}

// SAFETY: the memory is the arena's, whichever thread frees it.
unsafe impl Send for Arena {}
// SAFETY: as above; the rest is constant or behind the lock.
unsafe impl Sync for Arena {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    Offered,
    Kept,
    /// It has the number.
    Seal,
}

struct Pages {
    uses: KVVec<Use>,
    /// Where to look for a free one first.
    next: usize,
    offered: u64,
    kept: u64,
    hidden: bool,
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before a window can be set.
    unsafe(uninit) static ARENAS: Mutex<KVec<Arc<Arena>>> = KVec::new();
}

/// How many arenas there are: where there is none, pages are freed without a look at the list.
static ARENA_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { ARENAS.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut *ARENAS.lock()));
}

/// Makes a page of an arena nobody's, and zeroes it.
pub(super) fn disown(phys: PhysAddr) {
    if let Some(page) = memory::frame(phys.0) {
        // SAFETY: a page of the arena, which nobody owns but the caller.
        unsafe { ffi::pagemove_arena_disown(page.as_ptr()) };
    }
}

/// Notes that the peer has moved a page to the one at `phys`, and is done with it. Does nothing
/// if that is no page of an arena.
pub(crate) fn keep(phys: PhysAddr) {
    if let Some((arena, at)) = find(phys) {
        arena.change(at, Use::Kept);
    }
}

/// Takes a page of an arena back whose region gives it up. It is given to nobody while somebody has a
/// reference to it. Returns false if it is none.
pub(super) fn give_back(phys: PhysAddr) -> bool {
    let Some((arena, at)) = find(phys) else {
        return false;
    };
    // The peer may still see it, so that what was in it goes.
    disown(phys);
    arena.change(at, Use::Free);
    true
}

/// Returns whether the page at `phys` is one of an arena, which has a reference to it.
pub(super) fn has(phys: PhysAddr) -> bool {
    find(phys).is_some()
}

/// Finds the arena that `phys` is in, and the number of its page.
fn find(phys: PhysAddr) -> Option<(Arc<Arena>, usize)> {
    if ARENA_COUNT.load(Ordering::Acquire) == 0 {
        return None;
    }
    let arenas = ARENAS.lock();
    let found = arenas.iter().find_map(|arena| {
        let at = (phys.0.checked_sub(arena.first.0)? >> PAGE_SHIFT) as usize;
        (at < arena.pages.lock().uses.len()).then(|| (arena.clone(), at))
    });
    found
}

impl Arena {
    /// Allocates one of this many bytes, which no peer sees yet.
    pub(crate) fn new(length: u64, node: i32) -> Result<Arc<Self>> {
        let count = (length >> PAGE_SHIFT) as usize;
        let mut uses = KVVec::from_elem(Use::Free, count, GFP_KERNEL)?;
        if let Some(last) = uses.last_mut() {
            *last = Use::Seal;
        }
        let memory = match sabotage::spare_arena(count) {
            Some(spare) => spare,
            // SAFETY: the caller checked that the node has memory.
            None => unsafe { ffi::pagemove_arena_alloc(count, node) },
        };
        if memory.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: the memory is ours.
        let first = PhysAddr(unsafe { ffi::pagemove_page_phys(memory) });
        // SAFETY: the same, and so many pages.
        let identity = unsafe { ffi::pagemove_arena_seal(memory, count) };
        let arena = Arc::pin_init(
            pin_init!(Self {
                memory,
                first,
                node,
                identity,
                pages <- new_mutex!(Pages {
                    uses,
                    next: 0,
                    offered: 0,
                    kept: 0,
                    hidden: false,
                }),
            }),
            GFP_KERNEL,
        );
        if arena.is_err() {
            // SAFETY: it was just allocated, and nobody took it over.
            unsafe { ffi::pagemove_arena_free(memory, count) };
        }
        arena
    }

    pub(crate) fn length(&self) -> u64 {
        (self.pages.lock().uses.len() as u64) << PAGE_SHIFT
    }

    /// Takes a free page, which may hold anything. Returns its address and its offset.
    pub(super) fn take(&self) -> Result<(PhysAddr, u64)> {
        let mut pages = self.pages.lock();
        let at = pages.find_free(self.first).ok_or(ENOMEM)?;
        let offset = (at as u64) << PAGE_SHIFT;
        pages.set(at, Use::Offered);
        Ok((PhysAddr(self.first.0.wrapping_add(offset)), offset))
    }

    /// Offers a page that is in use, again. Returns its offset, if it is one of the arena.
    pub(crate) fn offer_again(self: &Arc<Self>, phys: PhysAddr) -> Option<u64> {
        let offset = phys.0.checked_sub(self.first.0)?;
        if offset >= self.length() {
            return None;
        }
        self.change((offset >> PAGE_SHIFT) as usize, Use::Offered);
        Some(offset)
    }

    /// Returns how many pages are offered, and how many were kept.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let pages = self.pages.lock();
        (pages.offered, pages.kept)
    }

    /// Adds it to the list, before a peer sees it.
    pub(crate) fn list(self: &Arc<Self>) -> Result {
        let mut arenas = ARENAS.lock();
        arenas.push(self.clone(), GFP_KERNEL)?;
        ARENA_COUNT.store(arenas.len(), Ordering::Release);
        Ok(())
    }

    fn change(self: &Arc<Self>, at: usize, to: Use) {
        let mut pages = self.pages.lock();
        pages.set(at, to);
        let over = pages.is_over();
        drop(pages);
        if over {
            self.unlist();
        }
    }

    /// Notes that no window shows it any more.
    pub(crate) fn hide(self: &Arc<Self>) {
        let mut pages = self.pages.lock();
        pages.hidden = true;
        let over = pages.is_over();
        drop(pages);
        if over {
            self.unlist();
        }
    }

    /// Takes it off the list. Its memory is freed with the last reference.
    fn unlist(&self) {
        let mut arenas = ARENAS.lock();
        arenas.retain(|other| other.first != self.first);
        ARENA_COUNT.store(arenas.len(), Ordering::Release);
    }
}

/// Returns whether nobody but the arena has a reference to its page with this number.
fn is_idle(first: PhysAddr, at: usize) -> bool {
    let phys = first.0.wrapping_add((at as u64) << PAGE_SHIFT);
    // SAFETY: reads a number of a struct page of the arena.
    memory::frame(phys).is_some_and(|page| unsafe { ffi::pagemove_page_is_idle(page.as_ptr()) })
}

impl Pages {
    /// Finds a free page, far from the one before: pages that VFIO maps one after another would else
    /// become one large leaf, in which none can be moved. The steps are odd and so come by every
    /// page of an arena, whose number is a power of two.
    fn find_free(&mut self, first: PhysAddr) -> Option<usize> {
        let count = self.uses.len();
        let step = (count / 2).wrapping_add(count / 8) | 1;
        let mut at = self.next;
        for _ in 0..count {
            let here = at % count.max(1);
            at = here.wrapping_add(step);
            if self.uses.get(here) == Some(&Use::Free) && is_idle(first, here) {
                self.next = at;
                return Some(here);
            }
        }
        None
    }

    fn set(&mut self, at: usize, to: Use) {
        let Some(page) = self.uses.get_mut(at) else {
            return;
        };
        match core::mem::replace(page, to) {
            Use::Free | Use::Seal => {}
            Use::Offered => self.offered = self.offered.saturating_sub(1),
            Use::Kept => self.kept = self.kept.saturating_sub(1),
        }
        match to {
            Use::Free | Use::Seal => {}
            Use::Offered => self.offered = self.offered.saturating_add(1),
            Use::Kept => self.kept = self.kept.saturating_add(1),
        }
    }

    /// Returns whether nobody has a page of it, and nobody can get one.
    fn is_over(&self) -> bool {
        self.hidden && self.offered == 0 && self.kept == 0
    }
}

#[pinned_drop]
impl PinnedDrop for Arena {
    fn drop(self: Pin<&mut Self>) {
        let count = self.pages.lock().uses.len();
        if sabotage::keep_arena(self.memory, count) {
            return;
        }
        // SAFETY: it came from `pagemove_arena_alloc`. It is in no list and no window any
        // more, so that all of its pages are back.
        unsafe { ffi::pagemove_arena_free(self.memory, count) };
    }
}
