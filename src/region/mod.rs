// SPDX-License-Identifier: GPL-2.0
//! A region: guest memory that a VMM maps from `/dev/pagemove`.
//!
//! # Life of a region
//!
//! *Growing* (first mmap) or *fixed* (REGION_SETUP) -> *closed* (its file was
//! released, so no mapping is left and none can come; it gives its pages up, but those that are in an
//! aperture, offered or claimed) -> *gone* (with the last of these). Whoever else has a reference to a page,
//! as VFIO has, keeps that page.
//!
//! # Life of a page in it
//!
//! *empty* -> *present* (first fault) -> *claimed* (one move owns it) -> *held*
//! (CPU faults wait) -> *claimed*, backed by START or END -> *present*. A present page
//! may be *offered* to a peer, and *awaited* by CPUs: see `region/offers.rs`.
//!
//! # Lock order
//!
//! VFIO's `iommu->lock` > `mmap_lock` > [`Region::inner`] > page-table locks. A
//! fault takes `inner` below the first two; so nobody calls VFIO, takes an
//! mmap_lock or waits for a move while holding it. Waiting for a held page gives
//! it up.

pub(crate) mod backing;
mod burial;
pub(crate) mod claim;
mod fault;
pub(crate) mod list;
pub(crate) mod map;
pub(crate) mod number;
pub(crate) mod offers;
pub(crate) mod vma;
pub(crate) mod whole;

use crate::abi;
use crate::host::memcg::Memcg;
use crate::host::mm::Mm;
use crate::host::{ffi, task};
use crate::page::chunk::OwnedChunk;
use crate::page::owned::OwnedPage;
use crate::params;
use crate::region::backing::Site;
use crate::region::map::{Entry, PageMap};
use crate::region::number::Number;
use crate::stats::{self, Counter};
use core::sync::atomic::{AtomicU64, Ordering};
use engine::{PhysAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};

/// See the file's head.
#[pin_data(PinnedDrop)]
pub(crate) struct Region {
    pub(crate) id: u32,
    /// Keeps it from being another's as well.
    _number: Number,
    pid: i32,
    /// A file whose address_space holds the region's VMAs, and only these.
    anchor: *mut ffi::file,
    #[pin]
    inner: Mutex<Inner>,
    /// A page is no longer held.
    #[pin]
    released: CondVar,
    /// A CPU waits for one more page.
    #[pin]
    wanted: CondVar,
    /// The number of the event that its file reads next; 0: it has read none.
    heard: AtomicU64,
}

// SAFETY: `anchor` is a counted reference to a struct file, usable from any
// thread; everything else is behind the lock.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// Where a process has mapped part of the region, as of its mmap call. A hint:
/// the mapping may have moved or gone.
struct Hint {
    mm: Mm,
    address: usize,
    first: u64,
    pages: u64,
}

struct Inner {
    map: PageMap,
    /// Pages, from index 0.
    length: u64,
    fixed: bool,
    node: i32,
    /// Pages that exist.
    pages: u64,
    closed: bool,
    /// It is in [`list`].
    listed: bool,
    hints: KVec<Hint>,
    /// The cgroup of the process that opened the file.
    opener: Memcg,
    /// Pages that are offered.
    offered: u64,
    /// Awaited pages that CPUs wait for, by their first access.
    wants: KVec<Want>,
    /// How many there were so far.
    wants_ever: u64,
}

/// A page that CPUs wait for.
#[derive(Clone, Copy)]
struct Want {
    index: u64,
    since: u64,
}

/// Pages handled in one go with the region locked; those of 2 MiB.
const CHUNK: u64 = 512;
/// Mappings to remember: a VMM makes one or a few. One that maps and unmaps all the
/// time is served by its faults.
const MOST_HINTS: usize = 16;

/// What a fault found.
enum Found {
    Page(PhysAddr),
    Lost,
    Empty { node: i32, neighbours: Neighbours },
    Outside,
}

impl Region {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let number = Number::take()?;
        // SAFETY: no preconditions; the result is checked.
        let anchor = unsafe { ffi::pagemove_new_mapping() };
        let anchor = kernel::error::from_err_ptr(anchor)?;
        let region = Arc::pin_init(
            pin_init!(Self {
                id: number.get(),
                _number: number,
                pid: task::pid(),
                anchor,
                inner <- new_mutex!(Inner {
                    map: PageMap::new(),
                    length: 0,
                    fixed: false,
                    node: -1,
                    pages: 0,
                    closed: false,
                    listed: false,
                    hints: KVec::new(),
                    opener: Memcg::of_current(),
                    offered: 0,
                    wants: KVec::new(),
                    wants_ever: 0,
                }),
                released <- new_condvar!(),
                wanted <- new_condvar!(),
                heard: AtomicU64::new(0),
            }),
            GFP_KERNEL_ACCOUNT,
        );
        if region.is_err() {
            // SAFETY: the reference that was just made, and that nobody took over.
            unsafe { kernel::bindings::fput(anchor) };
        }
        region
    }

    pub(crate) fn mapping(&self) -> *mut ffi::address_space {
        // SAFETY: the file lives as long as the region does.
        unsafe { ffi::pagemove_mapping_of(self.anchor) }
    }

    /// Fixes size and node. EBUSY once it has either.
    pub(crate) fn set_up(&self, length: u64, node: i32) -> Result {
        let mut inner = self.inner.lock();
        if inner.fixed || inner.length != 0 {
            return Err(EBUSY);
        }
        inner.fixed = true;
        inner.length = length >> PAGE_SHIFT;
        inner.node = node;
        Ok(())
    }

    /// Bytes that a file of this kind has for whoever asks with SEEK_END: the
    /// size if it is fixed, else as much as it could grow to.
    pub(crate) fn file_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        if inner.fixed {
            inner.length << PAGE_SHIFT
        } else {
            abi::MAX_REGION_BYTES
        }
    }

    /// Returns whether it is in [`list`].
    pub(crate) fn is_listed(&self) -> bool {
        self.inner.lock().listed
    }

    /// Notes whether it is, for [`list::enter`].
    fn set_listed(&self, listed: bool) {
        self.inner.lock().listed = listed;
    }

    /// Notes that a process maps pages `first..first + pages` at `address`.
    pub(crate) fn map(&self, first: u64, pages: u64, address: usize) -> Result {
        let end = first.checked_add(pages).ok_or(EINVAL)?;
        // An mmap call always has an mm.
        let mm = Mm::of_current().ok_or(EINVAL)?;
        let mut inner = self.inner.lock();
        let limit = if inner.fixed {
            inner.length
        } else {
            abi::MAX_REGION_BYTES >> PAGE_SHIFT
        };
        if end > limit {
            return Err(EINVAL);
        }
        inner.room_to_remember()?;
        inner.remember(Hint {
            mm,
            address,
            first,
            pages,
        });
        inner.length = inner.length.max(end);
        Ok(())
    }

    /// Returns the number of the event that its file reads next; 0: it has read none.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Notes it.
    pub(crate) fn set_heard(&self, next: u64) {
        self.heard.store(next, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Returns its length in pages, for spans that a caller names.
    pub(crate) fn length_in_pages(&self) -> u64 {
        self.inner.lock().length
    }

    /// Describes it for REGION_LIST.
    pub(crate) fn describe(&self) -> abi::Region {
        let inner = self.inner.lock();
        abi::Region {
            id: self.id,
            flags: if inner.closed { abi::REGION_CLOSED } else { 0 },
            length: inner.length << PAGE_SHIFT,
            pages: inner.pages,
            node: inner.node,
            pid: self.pid,
        }
    }

    /// Makes an event of this kind about it.
    pub(crate) fn event(&self, kind: u32) -> abi::Event {
        let described = self.describe();
        abi::Event {
            kind,
            id: self.id,
            pid: self.pid,
            values: [described.length, described.pages],
            ..abi::Event::NONE
        }
    }

    /// Returns whether the page at `index` is `page`, or is on its way there.
    pub(crate) fn is_at(&self, index: u64, page: PhysAddr) -> bool {
        let entry = self.inner.lock().map.get(index);
        entry.page() == Some(page) || entry.is_claimed()
    }

    /// Returns whether the page at `index` is `page`, and offered to a peer. Of a closed region another reason
    /// counts.
    pub(crate) fn is_offered(&self, index: u64, page: PhysAddr) -> bool {
        let inner = self.inner.lock();
        let entry = inner.map.get(index);
        !inner.closed && entry.is_offered() && entry.page() == Some(page)
    }

    /// Describes where the page at `index` is, and what holds it there. `None` past the end.
    pub(crate) fn place(&self, index: u64) -> Option<(abi::Place, abi::PageDetail)> {
        let inner = self.inner.lock();
        if index >= inner.length {
            return None;
        }
        let entry = inner.map.get(index);
        let site = entry.page().map(Site::of);
        let mut detail = abi::PageDetail {
            offset: site.as_ref().map_or(0, Site::offset),
            ..abi::PageDetail::default()
        };
        if entry.is_offered() {
            detail.flags |= abi::DETAIL_OFFERED;
        }
        if entry.is_awaited() {
            detail.flags |= abi::DETAIL_AWAITED;
        }
        if entry.is_lost() {
            detail.flags |= abi::DETAIL_LOST;
        }
        Some((
            site.map_or(abi::Place::default(), |site| site.place()),
            detail,
        ))
    }
}

#[pinned_drop]
impl PinnedDrop for Region {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: the reference taken in `new`.
        unsafe { kernel::bindings::fput(self.anchor) };
    }
}

impl Inner {
    fn find(&self, index: u64) -> Found {
        if index >= self.length {
            return Found::Outside;
        }
        let entry = self.map.get(index);
        match entry.page() {
            Some(_) if entry.is_lost() => Found::Lost,
            Some(page) => Found::Page(page),
            None => Found::Empty {
                node: self.node,
                neighbours: self.neighbours(index),
            },
        }
    }

    /// Returns where the pages before and after this one are.
    fn neighbours(&self, index: u64) -> Neighbours {
        let page = |index| self.map.get(index).page();
        Neighbours {
            before: index.checked_sub(1).and_then(page),
            after: page(index.wrapping_add(1)),
        }
    }

    /// Returns the first index of the 2 MiB that this one is in, if they may have their memory in one piece.
    fn chunk_at(&self, index: u64) -> Option<u64> {
        let first = index & !(CHUNK - 1);
        let is_inside = first.saturating_add(CHUNK) <= self.length;
        let may_be = params::region_chunks() && is_inside && self.map.is_empty_around(index);
        may_be.then_some(first)
    }

    /// Returns whether VFIO would merge it with what is before or behind.
    fn is_beside(&self, first: u64, chunk: &OwnedChunk) -> bool {
        let page = |index| self.map.get(index).page();
        let before = first.checked_sub(1).and_then(page);
        chunk.is_beside(before, page(first.wrapping_add(CHUNK)))
    }

    /// Gives the pages of a chunk to those from `first` on.
    fn install_chunk(&mut self, first: u64, chunk: OwnedChunk) -> Result {
        self.map.reserve(first)?;
        for (index, page) in (first..).zip(chunk.split().into_each()) {
            self.install(index, page)?;
        }
        Ok(())
    }

    fn install(&mut self, index: u64, page: OwnedPage) -> Result {
        self.map.reserve(index)?;
        self.map.set(index, Entry::present(page.into_phys()));
        self.pages = self.pages.saturating_add(1);
        stats::add(Counter::RegionPages, 1);
        Ok(())
    }

    /// Returns who pays for a page that no CPU asks for: the cgroup of the first process that has mapped it
    /// and lives, whether it is mapped still or not, else that of who opened it.
    fn payer(&self) -> Memcg {
        let mapped = self.hints.iter().find_map(|hint| Memcg::of_mm(&hint.mm));
        mapped.unwrap_or_else(|| self.opener.clone())
    }

    fn room_to_remember(&mut self) -> Result {
        Ok(self.hints.reserve(1, GFP_KERNEL)?)
    }

    /// Remembers where the region was mapped, [`MOST_HINTS`] at most.
    fn remember(&mut self, hint: Hint) {
        if self.hints.len() >= MOST_HINTS {
            let _ = self.hints.remove(self.least_needed(&hint.mm));
        }
        // There is room.
        let _ = self.hints.push_within_capacity(hint);
    }

    /// Returns which mapping to forget for another one of `mm`: that of a process that has ended, or else
    /// the oldest of its own but for its first. So nobody is forgotten, and another pays, because somebody maps often.
    fn least_needed(&self, mm: &Mm) -> usize {
        let ended = |hint: &Hint| Memcg::of_mm(&hint.mm).is_none();
        let own = |(_, hint): &(usize, &Hint)| hint.mm.as_ptr() == mm.as_ptr();
        let hints = || self.hints.iter().enumerate();
        let second = || hints().filter(own).nth(1).map(|(n, _)| n);
        // There are more than one, and the first pays.
        self.hints
            .iter()
            .position(ended)
            .or_else(second)
            .unwrap_or(1)
    }
}

/// Where the pages before and after one are, as far as they exist: VFIO would merge what is
/// contiguous.
#[derive(Clone, Copy, Default)]
pub(crate) struct Neighbours {
    pub(crate) before: Option<PhysAddr>,
    pub(crate) after: Option<PhysAddr>,
}

impl Neighbours {
    /// Returns whether the page would continue the one before, or be continued by the one after.
    fn continue_with(self, page: &OwnedPage) -> bool {
        let page = page.phys().0;
        let is_next = |one: u64, other: u64| one.checked_add(PAGE_SIZE) == Some(other);
        self.before.is_some_and(|before| is_next(before.0, page))
            || self.after.is_some_and(|after| is_next(page, after.0))
    }
}
