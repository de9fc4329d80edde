// SPDX-License-Identifier: GPL-2.0
//! IOMMUs on which verification found a lost write. Nothing is moved there again
//! until the module is loaded anew.

use crate::iommu::name::IommuName;
use kernel::prelude::*;

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static DISABLED: Mutex<KVec<IommuName>> = KVec::new();
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { DISABLED.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut *DISABLED.lock()));
}

pub(crate) fn contains(iommu: &[u8]) -> bool {
    DISABLED.lock().iter().any(|name| name.as_bytes() == iommu)
}

#[inline(never)]
pub(crate) fn add(iommu: IommuName) {
    let mut disabled = DISABLED.lock();
    if disabled.iter().any(|name| *name == iommu) {
        return;
    }
    if disabled.push(iommu, GFP_KERNEL).is_err() {
        pr_err!("no memory to remember that an IOMMU lost a write\n");
    }
}
