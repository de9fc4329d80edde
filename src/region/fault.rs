// SPDX-License-Identifier: GPL-2.0
//! How a CPU gets its page.

use crate::home;
use crate::host::memcg::Memcg;
use crate::host::{ffi, task};
use crate::page::owned::OwnedPage;
use crate::page::{self, Tag};
use crate::refusal::Refusal;
use crate::region::{offers, Found, Region};
use crate::stats::{self, Counter};
use kernel::prelude::*;

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

impl Region {
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
        let mut fresh: Option<OwnedPage> = None;
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
                    // SAFETY: as the caller promises; the page stays the right one
                    // while `inner` is locked, since a move takes it to hold.
                    return unsafe { ffi::pagemove_insert(vmf, page.0) };
                }
                Found::Empty { node, neighbours } => (node, neighbours),
            };
            match fresh.take() {
                Some(page) if !neighbours.continue_with(&page) => {
                    if inner.install(index, page).is_err() {
                        return kernel::bindings::vm_fault_reason_VM_FAULT_OOM;
                    }
                }
                rejected => {
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
                        Ok(page) => fresh = Some(page),
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
