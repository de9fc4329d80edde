// SPDX-License-Identifier: GPL-2.0
//! The IOMMU domain of an open device.

use crate::abi;
use crate::host::ffi;
use engine::{Format, PageSpan, PhysAddr, Top};

/// A domain that can't go away while its device is open: VFIO detaches the group
/// after `close_device`, and that waits for every hold (facts.md F19).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Domain(*mut ffi::iommu_domain);

// SAFETY: a domain may be used from any thread; it stays while a hold is there.
unsafe impl Send for Domain {}
// SAFETY: as above.
unsafe impl Sync for Domain {}

impl Domain {
    pub(crate) const fn new(raw: *mut ffi::iommu_domain) -> Option<Self> {
        if raw.is_null() {
            None
        } else {
            Some(Self(raw))
        }
    }

    pub(crate) const fn as_ptr(self) -> *mut ffi::iommu_domain {
        self.0
    }

    pub(crate) fn format(self) -> Option<Format> {
        // SAFETY: the domain is alive, see the type.
        abi::format_of(unsafe { ffi::pagemove_domain_format(self.0) })
    }

    /// Returns whether the IOMMU reads the table around the CPU caches. Only for domains that have
    /// a [`Self::format`].
    pub(crate) fn is_incoherent(self) -> bool {
        // SAFETY: the domain is alive and one of generic_pt.
        unsafe { ffi::pagemove_domain_incoherent(self.0) }
    }

    pub(crate) fn top(self) -> Option<Top> {
        let format = self.format()?;
        // SAFETY: the domain is alive and one of generic_pt.
        let raw = unsafe { ffi::pagemove_domain_top(self.0) };
        Some(Top {
            // SAFETY: takes the number apart that was just read.
            table: PhysAddr(unsafe { ffi::pagemove_top_phys(raw) }),
            // SAFETY: as above.
            level: unsafe { ffi::pagemove_top_level(raw) },
            format,
        })
    }

    /// Invalidates IOTLB and device TLBs for the span; returns when the IOMMU
    /// has said that it is done.
    pub(crate) fn flush(self, span: PageSpan) {
        // SAFETY: the domain is alive; we are in process context.
        unsafe { ffi::pagemove_domain_flush(self.0, span.first().0, span.last().0) };
    }
}
