// SPDX-License-Identifier: GPL-2.0
//! How a CPU gets its page.

use crate::home;
use crate::host::memcg::Memcg;
use crate::host::{ffi, task};
use crate::page::chunk::OwnedChunk;
use crate::page::owned::OwnedPage;
use crate::page::{self, Tag};
use crate::refusal::Refusal;
use crate::region::{offers, Found, Inner, Region, CHUNK};
use crate::stats::{self, Counter};
use engine::PAGE_SHIFT;
use kernel::prelude::*;

/// Chunks that are looked at for one that goes on from none of its neighbours.
const CHUNK_TRIES: u32 = 3;

/// Tells whether a page that has not come home may do so in a moment: somebody has it in hand, or its
/// device is at work. If not, no engine works here any more, its link is down, or it was damaged.
fn is_for_now(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Busy
            | Refusal::Unmapping
            | Refusal::NotOpen
            | Refusal::Stuck
            | Refusal::Absent
            | Refusal::Cpus
            | Refusal::NotMapped
    )
}

/// Answers a fault whose page has not come home. None: it is tried again in this fault, since the
/// access can't be made again; `since`: the first time.
///
/// # Safety
///
/// `vmf` is a fault under way; nothing of ours is locked.
unsafe fn answer(
    vmf: *mut ffi::vm_fault,
    refusal: Refusal,
    since: &mut Option<u64>,
) -> Option<core::ffi::c_uint> {
    if refusal == Refusal::NoMemory {
        return Some(kernel::bindings::vm_fault_reason_VM_FAULT_OOM);
    }
    if !is_for_now(&refusal) {
        return Some(kernel::bindings::vm_fault_reason_VM_FAULT_SIGBUS);
    }
    // SAFETY: as the caller promises.
    let patience = unsafe { ffi::pagemove_fault_patience(vmf) };
    if patience == 0 {
        // Signals and kills have their turn.
        // SAFETY: as the caller promises.
        return Some(unsafe { ffi::pagemove_fault_again(vmf) });
    }
    let now = task::now();
    if now.saturating_sub(*since.get_or_insert(now)) >= patience {
        // Whoever waits has locks that others need.
        return Some(kernel::bindings::vm_fault_reason_VM_FAULT_SIGBUS);
    }
    // SAFETY: sleeps; the caller has no lock of ours.
    let goes_on = unsafe { ffi::pagemove_fault_pause() };
    (!goes_on).then_some(kernel::bindings::vm_fault_reason_VM_FAULT_SIGBUS)
}

/// What a fault has allocated.
#[derive(Default)]
struct Fresh {
    page: Option<OwnedPage>,
    /// For all of the 2 MiB from this index on.
    chunk: Option<(u64, OwnedChunk)>,
    /// One was asked for.
    has_tried: bool,
}

/// Maps the pages of a chunk that was installed just now, or has moved at once, as far as the mapping reaches, so that a
/// VMM's memory takes one fault for 2 MiB. The page that was asked for may be among them: that is all the same.
///
/// # Safety
///
/// `vmf` is a fault under way in a mapping of the region that is locked.
unsafe fn map_chunk(vmf: *mut ffi::vm_fault, inner: &Inner, first: u64) {
    // SAFETY: as the caller promises.
    let (vma, begin, start, pages, write) = unsafe {
        let vma = ffi::pagemove_fault_vma(vmf);
        (
            vma,
            ffi::pagemove_vma_first(vma) as u64,
            ffi::pagemove_vma_start(vma) as u64,
            ffi::pagemove_vma_pages(vma) as u64,
            ffi::pagemove_fault_is_write(vmf),
        )
    };
    let end = first.saturating_add(CHUNK).min(begin.saturating_add(pages));
    for index in first.max(begin)..end {
        let entry = inner.map.get(index);
        let waits = entry.is_held() || entry.is_awaited() || entry.is_lost();
        let Some(page) = entry.page().filter(|page| !waits && page::is_memory(*page)) else {
            continue;
        };
        let offset = index.saturating_sub(begin) << PAGE_SHIFT;
        let address = start.saturating_add(offset);
        // SAFETY: the address is within the mapping; the page stays the right one while `inner` is locked.
        let has_room = unsafe { ffi::pagemove_insert_ahead(vma, address as usize, page.0, write) };
        if !has_room {
            return;
        }
    }
}

impl Region {
    /// Allocates a zeroed chunk for the pages from `first` on, where `page` is, if there is one that VFIO would not merge
    /// with what is before or behind.
    fn new_chunk(&self, first: u64, page: &OwnedPage, payer: &Memcg) -> Option<(u64, OwnedChunk)> {
        let tag = Tag {
            region: self.id,
            index: first,
        };
        // The allocator gives halves of 4 MiB one after the other: the second one is kept until there is another.
        let mut rejected = None;
        for _ in 0..CHUNK_TRIES {
            let mut chunk = OwnedChunk::near(page, tag, payer).ok()?;
            if !self.inner.lock().is_beside(first, &chunk) {
                drop(rejected);
                chunk.clear();
                return Some((first, chunk));
            }
            rejected = Some(chunk);
        }
        None
    }

    /// Serves a CPU fault.
    ///
    /// # Safety
    ///
    /// `vmf` is a fault in a mapping of this region whose mmap lock or VMA lock is held.
    pub(crate) unsafe fn fault(&self, vmf: *mut ffi::vm_fault) -> core::ffi::c_uint {
        // SAFETY: as the caller promises.
        let (vma, address, index) = unsafe {
            (
                ffi::pagemove_fault_vma(vmf),
                ffi::pagemove_fault_address(vmf) as usize,
                ffi::pagemove_fault_index(vmf) as u64,
            )
        };
        let mut fresh = Fresh::default();
        let mut since = None;
        loop {
            let mut inner = self.inner.lock();
            if inner.map.get(index).is_held() {
                stats::add(Counter::FaultsHeld, 1);
                while inner.map.get(index).is_held() {
                    self.released.wait(&mut inner);
                }
            }
            if inner.map.get(index).is_awaited() {
                let arrivals = offers::arrivals();
                if self.want(&mut inner, index).is_err() {
                    return kernel::bindings::vm_fault_reason_VM_FAULT_OOM;
                }
                drop(inner);
                drop(fresh);
                // SAFETY: as the caller promises; nothing is locked here.
                return unsafe { ffi::pagemove_await(vmf, arrivals) };
            }
            let (node, neighbours) = match inner.find(index) {
                Found::Outside => return kernel::bindings::vm_fault_reason_VM_FAULT_SIGBUS,
                Found::Lost => return kernel::bindings::vm_fault_reason_VM_FAULT_SIGBUS,
                Found::Page(page) if !page::is_memory(page) => {
                    drop(inner);
                    match home::touch(self.id, index) {
                        Ok(()) => continue,
                        // SAFETY: as the caller promises; nothing is locked here.
                        Err(refusal) => match unsafe { answer(vmf, refusal, &mut since) } {
                            Some(answer) => return answer,
                            None => continue,
                        },
                    }
                }
                Found::Page(page) => {
                    let first = index & !(CHUNK - 1);
                    let entry = inner.map.get(first);
                    if entry.is_bare() {
                        inner.map.set(first, entry.bare(false));
                        // SAFETY: as the caller promises.
                        unsafe { map_chunk(vmf, &inner, first) };
                    }
                    // SAFETY: as the caller promises; the page stays the right one
                    // while `inner` is locked, since a move takes it to hold.
                    return unsafe { ffi::pagemove_insert(vmf, page.0) };
                }
                Found::Empty { node, neighbours } => (node, neighbours),
            };
            if let Some((first, chunk)) = fresh.chunk.take() {
                let is_wanted = inner.chunk_at(index) == Some(first);
                if is_wanted && !inner.is_beside(first, &chunk) {
                    if inner.install_chunk(first, chunk).is_err() {
                        return kernel::bindings::vm_fault_reason_VM_FAULT_OOM;
                    }
                    // SAFETY: as the caller promises.
                    unsafe { map_chunk(vmf, &inner, first) };
                    continue;
                }
                drop(inner);
                drop(chunk);
                continue;
            }
            match fresh.page.take() {
                Some(page) if !neighbours.continue_with(&page) => {
                    if inner.install(index, page).is_err() {
                        return kernel::bindings::vm_fault_reason_VM_FAULT_OOM;
                    }
                }
                rejected => {
                    let chunk = inner.chunk_at(index).filter(|_| !fresh.has_tried);
                    drop(inner);
                    // SAFETY: as the caller promises.
                    let payer = unsafe { Memcg::of_vma(vma) };
                    let tag = Tag {
                        region: self.id,
                        index,
                    };
                    // `rejected` is freed after the next page was taken, so that
                    // the allocator can't give it out again.
                    let (page, failure) = if node >= 0 {
                        // As with hugetlbfs: killing processes would not help, since
                        // only this node will do.
                        let page = OwnedPage::at_node(node, true, tag, &payer);
                        (page, kernel::bindings::vm_fault_reason_VM_FAULT_SIGBUS)
                    } else {
                        // SAFETY: as the caller promises.
                        let page = unsafe { OwnedPage::for_vma(vma, address, tag, &payer) };
                        (page, kernel::bindings::vm_fault_reason_VM_FAULT_OOM)
                    };
                    drop(rejected);
                    match page {
                        Ok(page) => {
                            if let Some(first) = chunk {
                                fresh.has_tried = true;
                                fresh.chunk = self.new_chunk(first, &page, &payer);
                            }
                            fresh.page = Some(page);
                        }
                        // Nothing that could be killed for it would change that.
                        Err(error) if error == ENOSPC => {
                            return kernel::bindings::vm_fault_reason_VM_FAULT_SIGBUS
                        }
                        Err(_) => return failure,
                    }
                }
            }
        }
    }
}
