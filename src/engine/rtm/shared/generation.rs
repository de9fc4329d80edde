// SPDX-License-Identifier: GPL-2.0
//! The number of an attempt.

/// Tells the signals of one attempt from those of every other, so that nothing has
/// to be cleared between two: a word that holds another generation says nothing.
///
/// # Invariants
///
/// From [`Generation::FIRST`] to [`Generation::LAST`]. 0 is never one, since memory
/// begins so; nor is `u64::MAX`, which the mailbox uses.
///
/// It wraps: after the last comes the first. A word that was written that many
/// attempts ago (2^64 - 2; one each nanosecond for 584 years) would be taken for new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Generation(u64);

impl Generation {
    /// The generation of a first attempt.
    pub const FIRST: Self = Self(1);

    /// The one that [`Generation::FIRST`] follows.
    pub const LAST: Self = Self(u64::MAX - 1);

    /// Returns the generation with this number, if it can be one.
    pub const fn new(number: u64) -> Option<Self> {
        if number < Self::FIRST.0 || number > Self::LAST.0 {
            return None;
        }
        Some(Self(number))
    }

    /// Returns its number: what a word holds that was written in this attempt.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the generation of the attempt after this.
    #[must_use]
    pub const fn next(self) -> Self {
        match Self::new(self.0.wrapping_add(1)) {
            Some(next) => next,
            None => Self::FIRST,
        }
    }
}
