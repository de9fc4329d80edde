// SPDX-License-Identifier: GPL-2.0
//! How a CPU gets its page.

use crate::host::ffi;
use crate::page::owned::OwnedPage;
use crate::page::Tag;
use crate::region::{offers, Found, Region};
use crate::stats::{self, Counter};
use kernel::prelude::*;

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
                Found::Page(page) => {
                    // SAFETY: as the caller promises; the page stays the right one
                    // while `inner` is locked, since a move takes it to hold.
                    return unsafe { ffi::pagemove_insert(vma, address, page.0) };
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
                    let payer = inner.payer.clone();
                    drop(inner);
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
