// SPDX-License-Identifier: GPL-2.0
//! Which engines may move the pages of a request, and how.

use crate::device::hold::Hold;
use crate::device::{list, Device};
use crate::host::cpu;
use crate::iommu::domain::{DomainId, Nature};
use crate::iommu::sharing::Sharers;
use crate::iommu::verdict::{self, Behind, Terms};
use crate::mover::request::Request;
use crate::refusal::Refusal;
use crate::session::cpus;
use crate::session::order::Methods;
use crate::testing::sabotage::{self, Bug};
use crate::{abi, numbers};
use engine::rtm::Absence;
use engine::{Format, Method};
use kernel::prelude::*;

/// Which engines can move the pages of a domain, or why not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engines {
    pub(crate) adbit: Result<Terms, Refusal>,
    pub(crate) rtm: Result<Terms, Refusal>,
}

impl Engines {
    /// Finds out about an open device's domain. `free`: an experiment, which needs no verdict.
    pub(crate) fn of(domain: Option<Nature>, device: &Device, free: bool) -> Self {
        let own = device.behind();
        Self {
            adbit: check_adbit(domain, &own, free),
            rtm: check_rtm(domain, &own, free),
        }
    }

    /// Returns what is known of the engine that commits so.
    pub(crate) const fn terms(&self, method: Method) -> Result<Terms, Refusal> {
        match method {
            Method::AdBit => self.adbit,
            Method::Rtm => self.rtm,
        }
    }

    /// Returns the numbers of those that work here as a mask.
    pub(crate) fn mask(&self) -> u32 {
        let all = Method::ALL.iter().copied();
        let working = all.filter(|method| self.terms(*method).is_ok());
        abi::mask_of(working.map(numbers::engine_number))
    }

    /// Chooses the one that is asked for, or the best that work.
    fn choose(&self, engine: Option<Method>) -> Result<Choice, Refusal> {
        let one = |methods, terms| Choice { methods, terms };
        match (engine, self.rtm, self.adbit) {
            (Some(method), _, _) => Ok(one(Methods::Only(method), self.terms(method)?)),
            (None, Ok(rtm), Ok(adbit)) => Ok(one(Methods::RtmThenAdBit, rtm.and(adbit))),
            (None, Ok(rtm), Err(_)) => Ok(one(Methods::Only(Method::Rtm), rtm)),
            (None, Err(_), adbit) => Ok(one(Methods::Only(Method::AdBit), adbit?)),
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
    /// Chooses for a request; refuses one that no engine may do now. `rtm` may not, once its
    /// helper's absence is lasting.
    pub(crate) fn of(request: &Request, absence: Absence) -> Result<Self, Refusal> {
        let domain = request.device.open_domain().ok_or(Refusal::Unmapping)?;
        let free = request.experiment.is_some();
        let engines = Engines::of(domain, &request.device, free);
        let mut choice = engines.choose(request.engine)?;
        let named = request.editor_cpu.or(request.helper_cpu).is_some();
        let absent = absence.is_lasting();
        let alone = absent || !named && request.cpus().is_err();
        if choice.methods == Methods::RtmThenAdBit && alone {
            // The best that works here, with the CPUs that are left.
            choice = engines.choose(Some(Method::AdBit))?;
        }
        if choice.methods.first() == Method::Rtm && absent {
            return Err(Refusal::Absent);
        }
        if choice.terms.verify && !request.verify {
            return Err(Refusal::Unqualified);
        }
        Ok(choice)
    }

    /// Finds out how pages may be moved that are held, and whether a device of the domain has a TLB of its own. It is so
    /// until the hold ends, for a device that joins later waits for that.
    pub(super) fn held(
        request: &Request,
        absence: Absence,
        hold: &Hold,
    ) -> Result<(Self, bool), Refusal> {
        let mut choice = Self::of(request, absence)?;
        choice.terms.split &= !request.keep_leaves && !sabotage::keeps_leaves();
        let domain = hold.domain.id();
        let sharers = Sharers::of(domain);
        if sharers.is_foreign {
            return Err(Refusal::SharedDomain);
        }
        if sharers.is_asleep {
            return Err(Refusal::Asleep);
        }
        let is_free = request.experiment.is_some() || sabotage::has_bug(Bug::NoSnoopUnasked);
        let may_pass = sharers.may_pass_caches && !is_free;
        if may_pass && !hold.domain.snoops(request.device.iommu.is_vtd()) {
            return Err(Refusal::NoSnoop);
        }
        let has_ats = sharers.has_ats || list::has_ats_in(domain);
        Ok((choice, has_ats))
    }

    /// Chooses for pages that have to come home: whatever the verdicts say, with every check there
    /// is, and rather the engine that needs no other thread.
    pub(crate) fn for_home(device: &Device, domain: Nature) -> Result<Self, Refusal> {
        let engines = Engines::of(Some(domain), device, true);
        let method = match engines.adbit {
            Ok(_) => Method::AdBit,
            Err(_) => engines.rtm.map(|_| Method::Rtm)?,
        };
        Ok(Self {
            methods: Methods::Only(method),
            terms: Terms {
                clear_accessed: true,
                verify: true,
                split: false,
                merge: false,
            },
        })
    }

    /// Returns the PAGEMOVE_ENGINE_* of the first attempts.
    pub(crate) const fn first_engine(&self) -> u32 {
        numbers::engine_number(self.methods.first())
    }
}

/// Refuses a domain that has not what both engines need.
fn check_both(domain: Nature, free: bool) -> Result<(), Refusal> {
    domain.check_coherent()?;
    if !free && list::is_off(domain.id) {
        return Err(Refusal::Disabled);
    }
    Ok(())
}

/// Judges a domain by the verdicts on each IOMMU that its devices are behind, and on devices with and
/// without ATS if it has both: what is not allowed by one is not allowed, what one needs is needed.
fn terms_of(
    domain: DomainId,
    own: &Behind,
    format: Format,
    method: Method,
    free: bool,
) -> Result<Terms, Refusal> {
    let mut terms = verdict::terms(own, format, method, free);
    let ask_own_alone = sabotage::has_bug(Bug::OneVerdict);
    list::any_in(domain, |device| {
        let behind = device.behind();
        if behind != *own && !ask_own_alone {
            let other = verdict::terms(&behind, format, method, free);
            terms = terms.and_then(|terms| Ok(terms.and(other?)));
        }
        terms.is_err()
    });
    terms
}

fn check_adbit(domain: Option<Nature>, own: &Behind, free: bool) -> Result<Terms, Refusal> {
    let domain = domain.ok_or(Refusal::NoDomain)?;
    let format = domain.format.ok_or(Refusal::Iommu)?;
    if !format.has_ad_bits() {
        return Err(Refusal::Format);
    }
    // AMD's v2 tables have this format too, but whether its A/D updates are on is
    // not known here.
    if !own.iommu.is_vtd() {
        return Err(Refusal::Iommu);
    }
    check_both(domain, free)?;
    terms_of(domain.id, own, format, Method::AdBit, free)
}

fn check_rtm(domain: Option<Nature>, own: &Behind, free: bool) -> Result<Terms, Refusal> {
    cpus::check_rtm()?;
    let domain = domain.ok_or(Refusal::NoDomain)?;
    let format = domain.format.ok_or(Refusal::Iommu)?;
    // With SME the addresses in AMD's tables carry a bit that is no part of them.
    if cpu::encrypts_memory() && !own.iommu.is_vtd() {
        return Err(Refusal::Encrypted);
    }
    check_both(domain, free)?;
    terms_of(domain.id, own, format, Method::Rtm, free)
}
