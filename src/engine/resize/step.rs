// SPDX-License-Identifier: GPL-2.0
//! Steps of a change of size that a build for tests can leave out.

use bitflags::bitflags;

bitflags! {
    /// Steps to leave out or to do wrongly, to show that the tests notice; as [`crate::Steps`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ResizeSteps: u32 {
        /// Setting A and D of the leaf, and waiting for walks that have read it without.
        const MARK = 1 << 0;
        /// The invalidation after that.
        const FIRST_INVALIDATION = 1 << 1;
        /// The invalidation after the entry was replaced.
        const INVALIDATION = 1 << 2;
        /// Waiting for its completion.
        const COMPLETION = 1 << 3;
        /// Filling the table before it is known.
        const FILL_FIRST = 1 << 4;
        /// A and D in the pieces.
        const PIECES_USED = 1 << 5;
        /// A and D in the leaf of a merged chunk.
        const WHOLE_USED = 1 << 6;
        /// Reading the entry again.
        const JUDGE = 1 << 7;
        /// Looking whether the pieces are one piece of memory.
        const SHAPE = 1 << 8;
        /// Comparing the entry when it is replaced.
        const COMPARE = 1 << 9;
        /// Taking a failed invalidation for a failure.
        const FAILED_INVALIDATION = 1 << 10;
        /// The invalidation after the old entry came back.
        const REVERTED_INVALIDATION = 1 << 11;
        /// Keeping what pieces may be used for.
        const OTHER_BITS = 1 << 12;
    }
}

impl ResizeSteps {
    /// Whether `step` is left out.
    #[cfg(any(test, pagemove_test, feature = "mutants"))]
    pub const fn leaves_out(self, step: Self) -> bool {
        self.contains(step)
    }

    /// Whether `step` is left out: never, in this build.
    #[cfg(not(any(test, pagemove_test, feature = "mutants")))]
    pub const fn leaves_out(self, _step: Self) -> bool {
        false
    }
}
