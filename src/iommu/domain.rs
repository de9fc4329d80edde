// SPDX-License-Identifier: GPL-2.0
//! The IOMMU domain of an open device.

use crate::host::{cpu, ffi};
use crate::iommu::verdict::{self, Terms};
use crate::refusal::Refusal;
use crate::session::order::Methods;
use crate::{abi, params};
use engine::{Format, PageSpan, PhysAddr, Top};
use kernel::prelude::*;

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
        match unsafe { ffi::pagemove_domain_format(self.0) } {
            1 => Some(Format::X86_64),
            2 => Some(Format::VtdSs),
            3 => Some(Format::AmdV1),
            _ => None,
        }
    }

    /// Whether the IOMMU reads the table around the CPU caches. Only for domains
    /// that have a [`Self::format`].
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

/// Which engines can move the pages of a domain, or why not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engines {
    pub(crate) adbit: Result<Terms, Refusal>,
    pub(crate) rtm: Result<Terms, Refusal>,
}

impl Engines {
    /// Of an open device's domain. `free`: an experiment, which needs no verdict.
    pub(crate) fn of(domain: Option<Domain>, iommu: &[u8], free: bool) -> Self {
        Self {
            adbit: check_adbit(domain, iommu, free),
            rtm: check_rtm(domain, iommu, free),
        }
    }

    /// Of those that work here, the numbers as a mask.
    pub(crate) fn mask(&self) -> u32 {
        u32::from(self.adbit.is_ok()) << abi::ENGINE_ADBIT
            | u32::from(self.rtm.is_ok()) << abi::ENGINE_RTM
    }

    /// Those that `engine` of the ABI asks for.
    pub(crate) fn choose(&self, engine: u32) -> Result<Choice, Refusal> {
        let one = |methods, terms| Choice { methods, terms };
        match (engine, self.rtm, self.adbit) {
            (abi::ENGINE_RTM, rtm, _) => Ok(one(Methods::Rtm, rtm?)),
            (abi::ENGINE_ADBIT, _, adbit) => Ok(one(Methods::AdBit, adbit?)),
            (_, Ok(rtm), Ok(adbit)) => Ok(one(Methods::Both, rtm.and(adbit))),
            (_, Ok(rtm), Err(_)) => Ok(one(Methods::Rtm, rtm)),
            (_, Err(_), adbit) => Ok(one(Methods::AdBit, adbit?)),
        }
    }
}

/// How a batch is moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) methods: Methods,
    pub(crate) terms: Terms,
}

/// What both engines need.
fn check_both(domain: Domain, iommu: &[u8], free: bool) -> Result<(), Refusal> {
    if domain.is_incoherent() && !params::allow_incoherent() {
        return Err(Refusal::Incoherent);
    }
    if crate::iommu::quarantine::contains(iommu) && !free {
        return Err(Refusal::Disabled);
    }
    Ok(())
}

fn check_adbit(domain: Option<Domain>, iommu: &[u8], free: bool) -> Result<Terms, Refusal> {
    let domain = domain.ok_or(Refusal::NoDomain)?;
    let format = domain.format().ok_or(Refusal::Iommu)?;
    if !format.has_ad_bits() {
        return Err(Refusal::Format);
    }
    // AMD's v2 tables have this format too, but whether its A/D updates are on is
    // not known here.
    if !iommu.starts_with(b"dmar") {
        return Err(Refusal::Iommu);
    }
    check_both(domain, iommu, free)?;
    verdict::terms(iommu, number_of(format), abi::ENGINE_ADBIT, free)
}

fn check_rtm(domain: Option<Domain>, iommu: &[u8], free: bool) -> Result<Terms, Refusal> {
    cpu::check_rtm()?;
    let domain = domain.ok_or(Refusal::NoDomain)?;
    let format = domain.format().ok_or(Refusal::Iommu)?;
    // With SME the addresses in AMD's tables carry a bit that is no part of them.
    if cpu::encrypts_memory() && !iommu.starts_with(b"dmar") {
        return Err(Refusal::Encrypted);
    }
    check_both(domain, iommu, free)?;
    verdict::terms(iommu, number_of(format), abi::ENGINE_RTM, free)
}

/// PAGEMOVE_FORMAT_*.
pub(crate) const fn number_of(format: Format) -> u32 {
    match format {
        Format::X86_64 => abi::FORMAT_X86_64,
        Format::VtdSs => abi::FORMAT_VTDSS,
        Format::AmdV1 => abi::FORMAT_AMDV1,
    }
}
