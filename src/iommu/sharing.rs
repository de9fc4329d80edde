// SPDX-License-Identifier: GPL-2.0
//! Who else uses a domain.

use crate::host::ffi;
use crate::host::pci::Function;
use crate::iommu::domain::{Domain, DomainId};
use crate::testing::sabotage::{self, Bug};
use kernel::str::CStr;

/// Drivers that hold a device of a group without DMA of its own, as VFIO lets
/// them (vfio_main.c, iommu group ownership).
const HARMLESS: [&CStr; 2] = [c"pcieport", c"pci-stub"];

/// How often to look at least where a device that is being reset hides its domain, and how long to wait between.
pub(crate) const RESET_LOOKS: u32 = 15;
pub(crate) const BETWEEN_RESET_LOOKS_NS: u64 = 100_000_000;

/// The devices that are attached to a domain.
#[derive(Default)]
pub(crate) struct Sharers {
    /// One of them is not driven by us. It would go on with its DMA when ours was closed, and VFIO would keep its
    /// mappings.
    pub(crate) is_foreign: bool,
    /// One has a TLB of its own in use (ATS), which an invalidation has to wait for.
    pub(crate) has_ats: bool,
    /// One that has sleeps: it can't be asked to forget a page.
    pub(crate) is_asleep: bool,
    /// One may ask for DMA that passes by the CPUs' caches.
    pub(crate) may_pass_caches: bool,
}

impl Sharers {
    pub(crate) fn of(domain: DomainId) -> Self {
        let mut found = Self::default();
        Function::any(|function| {
            if DomainId::of(function.domain()) == domain {
                found.add(function);
            }
            found.is_foreign
        });
        found
    }

    fn add(&mut self, function: &Function) {
        self.is_foreign |= is_foreign(function);
        self.may_pass_caches |= function.may_pass_caches() || sabotage::pretends_no_snoop();
        if function.has_ats() {
            self.has_ats = true;
            let is_asleep = function.is_asleep() || sabotage::pretends_cold();
            self.is_asleep |= is_asleep && !sabotage::has_bug(Bug::AsleepIsAsked);
        }
    }
}

/// Calls `f` with each domain that a user of VFIO has attached, whoever drives the
/// device. It can't go away meanwhile. False: the look is not complete. A device with ATS that is
/// being reset hides its domain, or one came or went just now.
pub(crate) fn for_each_user_domain<F: FnMut(Domain)>(mut f: F) -> bool {
    /// Gives a domain to the `F` that `context` points to.
    ///
    /// # Safety
    ///
    /// Nobody else uses the `F` meanwhile, and the domain stays.
    unsafe extern "C" fn visit<F: FnMut(Domain)>(
        context: *mut core::ffi::c_void,
        domain: *mut ffi::iommu_domain,
    ) {
        // SAFETY: as the caller promises.
        let f = unsafe { &mut *context.cast::<F>() };
        // SAFETY: the same.
        if let Some(domain) = unsafe { Domain::new(domain) } {
            f(domain);
        }
    }
    let mut complete = true;
    Function::any(|function| {
        let context = core::ptr::from_mut(&mut f).cast();
        // SAFETY: the function is referenced, and `context` is the `f` above, which
        // nobody else uses before this returns.
        let known =
            unsafe { ffi::pagemove_pci_with_domain(function.as_ptr(), visit::<F>, context) };
        complete &= known;
        false
    });
    complete
}

fn is_foreign(function: &Function) -> bool {
    let is_harmless = || HARMLESS.iter().any(|name| function.is_driven_by(name));
    function.has_driver() && !function.is_ours() && !is_harmless()
}
