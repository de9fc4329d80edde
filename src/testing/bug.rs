// SPDX-License-Identifier: GPL-2.0
//! What is asked for of a build for tests: a number, which may stand for a bug.

/// A bug for the fuzzer to find.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Memory behind the caller's structure is written.
    Overrun = 20,
    /// A word of a page changes when the page is moved.
    Damage = 21,
    /// Closed regions are kept.
    Leak = 22,
    /// VFIO's callback unpins by itself.
    UnpinInCallback = 23,
    /// The limit for all regions is none.
    NoLimit = 24,
    /// Numbers of regions are not used again.
    SpendNumbers = 27,
    /// A region is listed before it is known to be of use, and then taken off the list.
    LooseList = 26,
    /// Who else uses a page is not looked for when a sum differs.
    HastyBlame = 29,
    /// One domain with a lost write is enough to use its IOMMU no more.
    AllForOne = 30,
    /// Each lost write counts as one of another domain.
    BlameEach = 35,
    /// The named device's IOMMU is the only one of a domain that is asked about.
    OneVerdict = 37,
    /// A verdict counts for whatever IOMMU has its name.
    NameAlone = 45,
    /// A verdict counts for devices with ATS and for those without.
    AnyDevice = 51,
    /// A device that is being reset has no TLB.
    AtsOfNow = 48,
    /// A device is opened while pages move on the terms of before.
    JoinUnawaited = 50,
    /// A slot is looked at in a container whose last device has waited for all who do.
    LateHold = 61,
    /// CPUs that were set aside are disturbed, too.
    DrainEverywhere = 31,
    /// VFIO pins pages that nobody has looked at.
    NoPreview = 34,
    /// A call that waits for others' pins forgets when it has to end.
    PatientPin = 54,
    /// It waits for its turn to unpin, whenever it has to end.
    PatientUnpin = 63,
    /// Who has VFIO called by another waits for that, whatever happens.
    PatientErrand = 90,
    /// A TLB is asked whose device sleeps.
    AsleepIsAsked = 52,
    /// A device that does not answer is gone, asleep or not.
    AsleepIsGone = 33,
    /// The last of VFIO's calls for a span returns, whatever pins there are.
    LastCallReturns = 44,
    /// Nobody counts the references to a page of a file before it moves.
    NoCount = 40,
    /// They are counted, and new ones come meanwhile.
    NoFreeze = 41,
    /// Who waits for an event is not woken.
    SilentEvent = 70,
    /// A helper looks about while it should sleep.
    Restless = 71,
    /// Pages of a chunk move while another call splits it.
    SplitUnawaited = 73,
    /// Nothing is read back of an aperture before pages are copied from there.
    HomeUndrained = 111,
    /// Pages that are copied from an aperture are not read a second time.
    HomeReadOnce = 113,
    /// Nobody asks which way the translated requests of devices go.
    DirectUnasked = 115,
    /// Nobody asks whether devices may pass by the CPUs' caches.
    NoSnoopUnasked = 117,
    /// Pages come home whatever their device does meanwhile: no compare, no second read, no verification.
    HomeUnchecked = 43,
    /// An aperture shows what it has always shown, whatever that is.
    AnyMemory = 101,
    /// The entry of a page that is lost stays.
    KeepLeaf = 102,
    /// An aperture that goes waits for its pages, whatever became of it.
    PatientEnd = 103,
    /// A slot is somebody else's before VFIO's pins of the page that has left it are given up.
    HastySlot = 119,
}

/// Returns whether this is asked for.
pub(super) fn injects(number: u64) -> bool {
    #[cfg(pagemove_test)]
    return u64::from(parameter!(inject)) == number;
    #[cfg(not(pagemove_test))]
    {
        let _ = number;
        false
    }
}

/// Returns whether this bug is planted.
pub(crate) fn has_bug(bug: Bug) -> bool {
    injects(bug as u64)
}
