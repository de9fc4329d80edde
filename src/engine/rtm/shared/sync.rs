// SPDX-License-Identifier: GPL-2.0
//! How the two CPUs of the engine `rtm` see each other's stores.
//!
//! Whoever says something stores its word with release, whoever hears it loads with
//! acquire; what was written before the one can be read after the other. That is what
//! the C11 model and the compiler need, and what loom checks (`userspace/loom`). On x86
//! both are a plain MOV.
//!
//! Two things loom does not see. The editor polls inside a transaction, in assembly:
//! its loads there are ordered by the architecture alone, each after those before it
//! (Intel SDM volume 3, "Memory Ordering in P6 and More Recent Processor Families"). And
//! what a device reads after the commit is ordered by XEND, which orders as an
//! instruction with a LOCK prefix does (volume 1, 17.3, "RTM Memory Ordering").

use core::sync::atomic::Ordering;

#[cfg(not(feature = "loom"))]
pub(super) use core::sync::atomic::AtomicU64;
#[cfg(feature = "loom")]
pub(super) use loom::sync::atomic::AtomicU64;

/// The order of each access that orders others. A build for tests can weaken one, to
/// show that it is needed; elsewhere there is no type but [`Shipped`].
pub trait Orderings: sealed::Sealed {
    /// The editor's store that posts.
    const POST: Ordering = Ordering::Release;
    /// The helper's load that finds what was posted.
    const POSTED: Ordering = Ordering::Acquire;
    /// The helper's store that says that it is ready.
    const READY: Ordering = Ordering::Release;
    /// The editor's load that finds it so.
    const IS_READY: Ordering = Ordering::Acquire;
    /// The helper's store that sets a slot.
    const SET: Ordering = Ordering::Release;
    /// The editor's load that finds it set.
    const IS_SET: Ordering = Ordering::Acquire;
    /// The helper's store that reports.
    const REPORT: Ordering = Ordering::Release;
    /// The editor's load that finds the report.
    const IS_REPORTED: Ordering = Ordering::Acquire;
}

/// The orders that pagemove uses: none is weakened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shipped;

impl Orderings for Shipped {}

mod sealed {
    /// Who may say what the orders are.
    pub trait Sealed {}

    #[cfg(not(any(feature = "loom", feature = "mutants")))]
    impl Sealed for super::Shipped {}

    #[cfg(any(feature = "loom", feature = "mutants"))]
    impl<T> Sealed for T {}
}
