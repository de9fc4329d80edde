// SPDX-License-Identifier: GPL-2.0
//! The IOMMU domain of an open device.

use crate::host::{cpu, ffi};
use crate::numbers;
use crate::params;
use crate::refusal::Refusal;
use engine::{Format, PageSpan, PhysAddr, Top};

/// Tells a domain apart from others that are there. When it is gone another may get the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DomainId(usize);

impl DomainId {
    /// Of the domain at this address, if any, which may be gone.
    pub(crate) fn of(raw: *mut ffi::iommu_domain) -> Self {
        Self(raw as usize)
    }

    pub(crate) const fn number(self) -> usize {
        self.0
    }
}

/// What never changes of a domain: it may be asked when that is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) id: DomainId,
    /// None: nobody here can read its tables.
    pub(crate) format: Option<Format>,
    /// The IOMMU reads the table around the CPU caches.
    pub(crate) is_incoherent: bool,
}

impl Nature {
    /// Refuses a domain whose tables are read around the CPU caches, unless that is allowed.
    pub(crate) fn check_coherent(&self) -> Result<(), Refusal> {
        match self.is_incoherent && !params::allow_incoherent() {
            true => Err(Refusal::Incoherent),
            false => Ok(()),
        }
    }
}

/// A domain that can't go away while its device is open: VFIO detaches the group
/// after `close_device`, and that waits for every hold (facts.md F19). So it is had
/// from a hold, or for a while under a lock that keeps the device open; others get its [`Nature`].
#[derive(Clone, Copy)]
pub(crate) struct Domain {
    raw: *mut ffi::iommu_domain,
    nature: Nature,
}

// SAFETY: a domain may be used from any thread; it stays while a hold is there.
unsafe impl Send for Domain {}
// SAFETY: as above.
unsafe impl Sync for Domain {}

impl Domain {
    /// # Safety
    ///
    /// A domain there is there while this is used.
    pub(crate) unsafe fn new(raw: *mut ffi::iommu_domain) -> Option<Self> {
        if raw.is_null() {
            return None;
        }
        // SAFETY: the caller's contract.
        let format = numbers::format_of(unsafe { ffi::pagemove_domain_format(raw) });
        // SAFETY: the same; one that has a format is of generic_pt.
        let is_incoherent = format.is_some() && unsafe { ffi::pagemove_domain_incoherent(raw) };
        let id = DomainId::of(raw);
        let nature = Nature {
            id,
            format,
            is_incoherent,
        };
        Some(Self { raw, nature })
    }

    pub(crate) const fn id(self) -> DomainId {
        self.nature.id
    }

    pub(crate) const fn nature(self) -> Nature {
        self.nature
    }

    /// Whether the addresses in its tables carry an encryption bit: AMD's do, where memory is encrypted.
    fn is_encrypted(self) -> bool {
        self.nature.format != Some(Format::VtdSs) && cpu::encrypts_memory()
    }

    pub(crate) fn top(self) -> Option<Top> {
        // Else entries have a bit among those of the address that is none of it.
        let format = self.nature.format.filter(|_| !self.is_encrypted())?;
        // SAFETY: the domain is alive and one of generic_pt.
        let raw = unsafe { ffi::pagemove_domain_top(self.raw) };
        Some(Top {
            // SAFETY: takes the number apart that was just read.
            table: PhysAddr(unsafe { ffi::pagemove_top_phys(raw) }),
            // SAFETY: as above.
            level: unsafe { ffi::pagemove_top_level(raw) },
            format,
        })
    }

    /// Tells whether all DMA by it looks into the CPUs' caches, whatever its devices ask for. `is_vtd`: of whom it is.
    pub(crate) fn snoops(self, is_vtd: bool) -> bool {
        // SAFETY: the domain is alive.
        unsafe { ffi::pagemove_domain_snoops(self.raw, is_vtd) }
    }

    /// Invalidates IOTLB and device TLBs for the span; returns when the IOMMU
    /// has said that it is done.
    pub(crate) fn flush(self, span: PageSpan) {
        // SAFETY: the domain is alive; we are in process context.
        unsafe { ffi::pagemove_domain_flush(self.raw, span.first().0, span.last().0) };
    }

    /// The same, with what IOMMUs remember of the tables on the way.
    pub(crate) fn flush_tables(self, span: PageSpan) {
        // SAFETY: as above.
        unsafe { ffi::pagemove_domain_flush_tables(self.raw, span.first().0, span.last().0) };
    }
}
