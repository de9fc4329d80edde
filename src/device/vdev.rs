// SPDX-License-Identifier: GPL-2.0
//! Devices by VFIO's own name for them.

use crate::host::ffi;

/// A device as VFIO knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Vdev(pub(crate) *mut ffi::VfioDevice);

// SAFETY: it is used while the device is open only, from any thread: see the callers.
unsafe impl Send for Vdev {}
// SAFETY: as above.
unsafe impl Sync for Vdev {}
