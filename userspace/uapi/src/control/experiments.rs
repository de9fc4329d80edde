// SPDX-License-Identifier: GPL-2.0
//! What this machine does, tried on a page of the caller's own, and the verdicts
//! that came of it.

use super::Control;
use crate::abi::*;
use crate::{Call, Error, PciAddress};

/// What [`Control::experiment`] is asked to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExperimentRequest {
    /// PAGEMOVE_EXPERIMENT_*
    pub kind: u32,
    pub device: PciAddress,
    /// Of a page of this file's own region.
    pub iova: u64,
    /// How long, where the kind takes a time.
    pub ns: u64,
}

/// What the page showed; the kind says what the numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExperimentReport {
    pub found: u64,
    pub lost: u64,
    pub updates: u64,
}

impl Control {
    /// Tries something on one page of this file's own region.
    pub fn experiment(&self, request: &ExperimentRequest) -> Result<ExperimentReport, Error> {
        let mut experiment = Experiment {
            size: size_of::<Experiment>() as u32,
            kind: request.kind,
            segment: request.device.segment,
            bus: request.device.bus,
            devfn: request.device.devfn,
            iova: request.iova,
            ns: request.ns,
            ..Default::default()
        };
        // SAFETY: Experiment has no pointers.
        let result = unsafe { self.call(Call::Experiment, IOC_EXPERIMENT, &mut experiment) };
        result.map_err(|error| {
            let error = Error {
                reason: experiment.reason,
                ..error
            };
            error.at(error.is_of_a_page().then_some(request.iova))
        })?;
        Ok(ExperimentReport {
            found: experiment.found,
            lost: experiment.lost,
            updates: experiment.updates,
        })
    }

    /// Replaces the verdict on the same IOMMU, devices and format.
    pub fn verdict_set(&self, verdict: &Verdict) -> Result<(), Error> {
        let mut set = VerdictSet {
            size: size_of::<VerdictSet>() as u32,
            verdict: *verdict,
            ..Default::default()
        };
        // SAFETY: VerdictSet has no pointers.
        unsafe { self.call(Call::VerdictSet, IOC_VERDICT_SET, &mut set) }
    }

    /// Lets the domain of a device be used again in which verification found a lost write; with
    /// `iommu` all domains of its IOMMU. Returns how many of them were not.
    pub fn lift(&self, device: PciAddress, iommu: bool) -> Result<u32, Error> {
        let mut lift = Lift {
            size: size_of::<Lift>() as u32,
            flags: if iommu { LIFT_IOMMU } else { 0 },
            segment: device.segment,
            bus: device.bus,
            devfn: device.devfn,
            ..Default::default()
        };
        // SAFETY: Lift has no pointers.
        unsafe { self.call(Call::Lift, IOC_LIFT, &mut lift) }?;
        Ok(lift.lifted)
    }

    /// Returns the verdicts that count on this machine now.
    pub fn verdict_list(&self) -> Result<Vec<Verdict>, Error> {
        self.list(|entries: &mut [Verdict]| {
            let mut list = VerdictList {
                size: size_of::<VerdictList>() as u32,
                entries: entries.as_mut_ptr() as u64,
                capacity: entries.len() as u32,
                ..Default::default()
            };
            // SAFETY: entries has room for capacity elements and outlives the call.
            unsafe { self.call(Call::VerdictList, IOC_VERDICT_LIST, &mut list) }?;
            Ok(list.count as usize)
        })
    }
}
