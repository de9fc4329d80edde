// SPDX-License-Identifier: GPL-2.0
//! Which engines may move the pages of a request, and how.

use crate::host::cpu;
use crate::iommu::domain::{number_of, Domain};
use crate::iommu::quarantine;
use crate::iommu::verdict::{self, Terms};
use crate::mover::request::Request;
use crate::refusal::Refusal;
use crate::session::order::Methods;
use crate::{abi, params};
use kernel::prelude::*;

/// Which engines can move the pages of a domain, or why not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engines {
    pub(crate) adbit: Result<Terms, Refusal>,
    pub(crate) rtm: Result<Terms, Refusal>,
}

impl Engines {
    /// Finds out about an open device's domain. `free`: an experiment, which needs no verdict.
    pub(crate) fn of(domain: Option<Domain>, iommu: &[u8], free: bool) -> Self {
        Self {
            adbit: check_adbit(domain, iommu, free),
            rtm: check_rtm(domain, iommu, free),
        }
    }

    /// Returns the numbers of those that work here as a mask.
    pub(crate) fn mask(&self) -> u32 {
        u32::from(self.adbit.is_ok()) << abi::ENGINE_ADBIT
            | u32::from(self.rtm.is_ok()) << abi::ENGINE_RTM
    }

    /// Chooses those that `engine` of the ABI asks for.
    fn choose(&self, engine: u32) -> Result<Choice, Refusal> {
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

impl Choice {
    /// Chooses for a request; refuses one that no engine may do now.
    pub(crate) fn of(request: &Request) -> Result<Self, Refusal> {
        let open = request.device.open_domain().ok_or(Refusal::Unmapping)?;
        let free = request.experiment.is_some();
        let engines = Engines::of(open, request.device.iommu.as_bytes(), free);
        let mut choice = engines.choose(request.engine)?;
        let named = request.editor_cpu.or(request.helper_cpu).is_some();
        if choice.methods == Methods::Both && !named && request.cpus().is_err() {
            // The best that works here, with the CPUs that are left.
            choice = engines.choose(abi::ENGINE_ADBIT)?;
        }
        if choice.terms.verify && !request.verify {
            return Err(Refusal::Unqualified);
        }
        Ok(choice)
    }

    /// Returns the PAGEMOVE_ENGINE_* of the first attempts.
    pub(crate) const fn first_engine(&self) -> u32 {
        match self.methods {
            Methods::AdBit => abi::ENGINE_ADBIT,
            Methods::Rtm | Methods::Both => abi::ENGINE_RTM,
        }
    }
}

/// Refuses a domain that has not what both engines need.
fn check_both(domain: Domain, iommu: &[u8], free: bool) -> Result<(), Refusal> {
    if domain.is_incoherent() && !params::allow_incoherent() {
        return Err(Refusal::Incoherent);
    }
    if quarantine::contains(iommu) && !free {
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
