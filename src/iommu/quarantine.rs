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

/// A function, and the IOMMU that it is behind.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    /// As [`crate::host::pci::Function::address`].
    pub(crate) function: u32,
    pub(crate) iommu: IommuName,
}

/// A function that was in a domain with a lost write. There is one of each at most.
struct Entry {
    member: Member,
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

    /// Returns the domain that a function was in.
    fn domain_of(&self, function: u32) -> Option<u64> {
        let is_it = |entry: &&Entry| entry.member.function == function;
        self.entries.iter().find(is_it).map(|entry| entry.domain)
    }

    /// Counts the domains of an IOMMU.
    fn domains_of(&self, iommu: &[u8]) -> usize {
        let of_it = || {
            let is_it = |entry: &&Entry| entry.member.iommu.as_bytes() == iommu;
            self.entries.iter().filter(is_it)
        };
        // Each counts where it is met first.
        let is_first = |at: usize, domain: u64| !of_it().take(at).any(|e| e.domain == domain);
        let firsts = of_it().enumerate();
        firsts
            .filter(|(at, entry)| is_first(*at, entry.domain))
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

/// Tells whether a function was in a domain that is not used, or its IOMMU is not, whatever the domain.
pub(crate) fn contains(member: Member) -> bool {
    let list = QUARANTINE.lock();
    list.domain_of(member.function).is_some()
        || list.domains_of(member.iommu.as_bytes()) >= several()
}

/// Adds a domain with these members. Calls may find lost writes of one at once, and pages of it come home
/// when it is off already: one of which a member is there is the same. Returns whether the IOMMU
/// of the first member is not used any more from here on.
#[inline(never)]
pub(crate) fn add(members: &[Member]) -> bool {
    let mut list = QUARANTINE.lock();
    let known = members.iter().find_map(|it| list.domain_of(it.function));
    let known = known.filter(|_| !sabotage::has_bug(Bug::BlameEach));
    let domain = known.unwrap_or_else(|| {
        list.domains = list.domains.saturating_add(1);
        list.domains
    });
    for member in members.iter().copied() {
        let is_there = known.is_some() && list.domain_of(member.function).is_some();
        if !is_there
            && list
                .entries
                .push(Entry { member, domain }, GFP_KERNEL)
                .is_err()
        {
            pr_err!("no memory to remember that a domain lost a write\n");
        }
    }
    let first = members.first();
    first.is_some_and(|it| list.domains_of(it.iommu.as_bytes()) >= several())
}

/// Forgets the domains that a function was in; those of an IOMMU, if there is none. Returns how many.
pub(crate) fn lift(iommu: &[u8], function: Option<u32>) -> u32 {
    let mut list = QUARANTINE.lock();
    let is_wanted = |entry: &&Entry| match function {
        Some(function) => entry.member.function == function,
        None => entry.member.iommu.as_bytes() == iommu,
    };
    let mut lifted: u32 = 0;
    while let Some(domain) = list.entries.iter().find(is_wanted).map(|e| e.domain) {
        list.entries.retain(|entry| entry.domain != domain);
        lifted = lifted.saturating_add(1);
    }
    lifted
}
