// SPDX-License-Identifier: GPL-2.0
//! Where verification found a lost write: nothing is moved there until root lifts it.
//!
//! A lost write speaks against the IOMMU, but a VMM may have brought one about: so it is its domain
//! that is not used any more, and the IOMMU only when it has happened in several. A domain ends
//! with its container, which the VMM can make anew at once. So the functions are remembered that were in it.

use crate::iommu::name::IommuName;
use crate::testing::sabotage::{self, Bug};
use kernel::prelude::*;

/// Domains of one IOMMU with a lost write, from which on the IOMMU is not used.
const SEVERAL: usize = 3;

fn several() -> usize {
    match sabotage::has_bug(Bug::AllForOne) {
        true => 1,
        false => SEVERAL,
    }
}

/// A function that was in a domain with a lost write.
struct Entry {
    iommu: IommuName,
    /// As [`crate::host::pci::Function::address`].
    function: u32,
    /// Tells the domains apart.
    domain: u64,
}

struct List {
    entries: KVec<Entry>,
    /// Domains so far.
    domains: u64,
}

impl List {
    const fn new() -> Self {
        Self {
            entries: KVec::new(),
            domains: 0,
        }
    }

    /// Counts the domains of an IOMMU. The entries of one follow each other.
    fn domains_of(&self, iommu: &[u8]) -> usize {
        let mut last = None;
        let of_it = self.entries.iter().filter(|e| e.iommu.as_bytes() == iommu);
        of_it
            .filter(|entry| last.replace(entry.domain) != Some(entry.domain))
            .count()
    }
}

kernel::sync::global_lock! {
    // SAFETY: initialised in `init`, before the device file exists.
    unsafe(uninit) static QUARANTINE: Mutex<List> = List::new();
}

/// Makes the list usable.
///
/// # Safety
///
/// Called once, before anything else here.
pub(crate) unsafe fn init() {
    // SAFETY: the caller's contract.
    unsafe { QUARANTINE.init() };
}

/// Frees its room, at the end.
pub(crate) fn end() {
    drop(core::mem::take(&mut QUARANTINE.lock().entries));
}

/// Tells whether a function was in a domain that is not used.
pub(crate) fn contains(function: u32) -> bool {
    let list = QUARANTINE.lock();
    list.entries.iter().any(|entry| entry.function == function)
}

/// Tells whether an IOMMU is not used, whatever the domain.
pub(crate) fn contains_iommu(iommu: &[u8]) -> bool {
    QUARANTINE.lock().domains_of(iommu) >= several()
}

/// Adds a domain with these functions. Returns whether the IOMMU is not used any more from here on.
#[inline(never)]
pub(crate) fn add(iommu: IommuName, functions: &[u32]) -> bool {
    let mut list = QUARANTINE.lock();
    list.domains = list.domains.saturating_add(1);
    let domain = list.domains;
    for function in functions.iter().copied() {
        let entry = Entry {
            iommu,
            function,
            domain,
        };
        if list.entries.push(entry, GFP_KERNEL).is_err() {
            pr_err!("no memory to remember that a domain lost a write\n");
        }
    }
    list.domains_of(iommu.as_bytes()) >= several()
}

/// Forgets the domains that a function was in; those of an IOMMU, if there is none. Returns how many.
pub(crate) fn lift(iommu: &[u8], function: Option<u32>) -> u32 {
    let mut list = QUARANTINE.lock();
    let is_wanted = |entry: &&Entry| match function {
        Some(function) => entry.function == function,
        None => entry.iommu.as_bytes() == iommu,
    };
    let mut lifted: u32 = 0;
    while let Some(domain) = list.entries.iter().find(is_wanted).map(|e| e.domain) {
        list.entries.retain(|entry| entry.domain != domain);
        lifted = lifted.saturating_add(1);
    }
    lifted
}
