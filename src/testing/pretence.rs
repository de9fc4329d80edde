// SPDX-License-Identifier: GPL-2.0
//! What builds for tests say that the machine is like, if asked to.

use crate::testing::bug::{has_bug, injects, Bug};
use crate::testing::gates::shall_meet;

/// Returns whether to say that devices do not answer which are there: since they are gone, or sleep.
pub(crate) fn pretends_silent() -> bool {
    injects(2) || pretends_cold()
}

/// Returns whether to say that they sleep, without power.
pub(crate) fn pretends_cold() -> bool {
    injects(32) || has_bug(Bug::AsleepIsGone)
}

/// Returns whether to say that the links of apertures are down which are up.
pub(crate) fn pretends_down() -> bool {
    injects(4)
}

/// Returns whether to say that devices have their own TLBs off, as while they are reset.
pub(crate) fn pretends_reset() -> bool {
    injects(47) || has_bug(Bug::AtsOfNow)
}

/// Returns whether to say that the translated requests of devices go to apertures past the root complex.
pub(crate) fn pretends_direct() -> bool {
    injects(114) || has_bug(Bug::DirectUnasked)
}

/// Returns whether to say that devices may pass by the CPUs' caches.
pub(crate) fn pretends_no_snoop() -> bool {
    injects(116) || has_bug(Bug::NoSnoopUnasked)
}

/// Returns the name of the IOMMU that a function is behind, if there shall be two: those with an odd device
/// number are behind the other one.
pub(crate) fn other_iommu(function: u32) -> Option<[u8; 16]> {
    const ODD: u32 = 1 << 3;
    let asked = injects(38) || has_bug(Bug::OneVerdict);
    (asked && function & ODD != 0).then_some(*b"dmar9\0\0\0\0\0\0\0\0\0\0\0")
}

/// Tells whether to say that a domain could not be looked at when a page has left its slot, if asked to: as one that
/// a device with ATS hides while it is being reset.
pub(crate) fn hides_domains() -> bool {
    injects(14) || shall_meet()
}
