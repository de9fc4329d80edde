// SPDX-License-Identifier: GPL-2.0
//! Address spaces that may have mapped a region for DMA.
//!
//! VFIO takes no pin on a region's pages, and tells nobody when it has unmapped
//! them. But each `vfio_dma` holds a reference to the mm of the process that
//! made it, from before the first page is looked up until after the last entry
//! was removed and the IOTLB flushed (vfio_iommu_type1.c, vfio_dma_do_map() and
//! vfio_remove_dma()). So an mm to which only we hold a reference has no
//! `vfio_dma`: that is the proof that a closed region can be freed.
//!
//! The mm of a process that has ended is forgotten when that is so and a region's list would grow:
//! or one that is mapped by one process after the other would hold them all.
//!
//! Other references (an open /proc file, KVM) only delay it. So does a CPU that
//! idles, or runs a kernel thread, on the mm of the task before (a lazy TLB): where
//! a process sleeps, that is its own. The worker that looks does not count the
//! reference of the CPU it runs on, and looks from each CPU in turn. Several CPUs may
//! idle on one mm, for as long as nothing else runs there: so now and then all are
//! stopped and asked.

use crate::host::ffi;
use kernel::prelude::*;

/// One reference of ours to an mm, however many handles share it.
struct Grabbed {
    mm: *mut ffi::mm_struct,
    handles: usize,
}

// SAFETY: the pointer is a counted reference (mmgrab), usable from any thread.
unsafe impl Send for Grabbed {}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static KNOWN: Mutex<KVec<Grabbed>> = KVec::new();
}

/// Makes the table usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { KNOWN.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut *KNOWN.lock()));
}

/// How to look at the references to an mm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Without that of this CPU.
    FromHere,
    /// Without those of all CPUs, which are stopped for that.
    Stopped,
}

/// A shared reference to an mm. Taking and dropping one locks the table, below
/// every other lock of the module.
pub(crate) struct Handle(*mut ffi::mm_struct);

// SAFETY: stands for a counted reference, see `Grabbed`.
unsafe impl Send for Handle {}
// SAFETY: as above; the pointer is only handed on.
unsafe impl Sync for Handle {}

impl Handle {
    /// Makes the handle of `mm`, which is alive: the caller runs in it or has a mapping of it.
    /// There is one reference of ours for each mm, which [`Self::is_quiet`] relies on.
    pub(crate) fn new(mm: *mut ffi::mm_struct) -> Result<Self> {
        if mm.is_null() {
            return Err(EINVAL);
        }
        let mut known = KNOWN.lock();
        if let Some(found) = known.iter_mut().find(|g| g.mm == mm) {
            found.handles = found.handles.saturating_add(1);
            return Ok(Self(mm));
        }
        known.push(Grabbed { mm, handles: 1 }, GFP_KERNEL)?;
        // SAFETY: `mm` is alive, as above.
        unsafe { ffi::pagemove_mm_grab(mm) };
        Ok(Self(mm))
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::mm_struct {
        self.0
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Returns whether nobody but us, and the users of the address space together, holds the mm.
    ///
    /// The count is read first. If there are still users afterwards there were
    /// some then, and one of the count is theirs; if there are none any more, an
    /// old count can only be too high, and the answer a late yes.
    pub(crate) fn is_quiet(&self, look: Look) -> bool {
        // SAFETY: we hold a reference; the caller is a work item and holds no spinlock.
        let count = unsafe {
            match look {
                Look::FromHere => ffi::pagemove_mm_count(self.0),
                Look::Stopped => ffi::pagemove_mm_count_stopped(self.0),
            }
        };
        // SAFETY: we hold a reference.
        let used = unsafe { ffi::pagemove_mm_is_used(self.0) };
        count == if used { 2 } else { 1 }
    }

    /// Returns whether the address space has ended and nobody but us holds the mm, so that it has
    /// no `vfio_dma` and gets none any more. As long as there are users one of the count is theirs.
    pub(crate) fn is_gone(&self) -> bool {
        // SAFETY: we hold a reference; the callee only looks at it and the current task.
        unsafe { ffi::pagemove_mm_count(self.0) == 1 }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        let mut known = KNOWN.lock();
        if let Some(found) = known.iter_mut().find(|g| g.mm == self.0) {
            found.handles = found.handles.saturating_add(1);
        }
        Self(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut known = KNOWN.lock();
        let Some(at) = known.iter().position(|g| g.mm == self.0) else {
            return;
        };
        let last = known.get_mut(at).is_some_and(|found| {
            found.handles = found.handles.saturating_sub(1);
            found.handles == 0
        });
        if last {
            let _ = known.remove(at);
            drop(known);
            // SAFETY: the one reference taken in `new`, which nobody can find any
            // more.
            unsafe { ffi::pagemove_mm_drop(self.0) };
        }
    }
}
