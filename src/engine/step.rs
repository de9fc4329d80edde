// SPDX-License-Identifier: GPL-2.0
//! Steps of the protocol that a build for tests can leave out.

use bitflags::bitflags;

bitflags! {
    /// Steps to leave out, to show that the tests notice. The shipped build has
    /// no way to set one: [`Steps::leaves_out`] is constant there.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Steps: u32 {
        /// The invalidation between clearing A and D and copying.
        const FIRST_INVALIDATION = 1 << 0;
        /// Clearing A and D.
        const AD_CLEAR = 1 << 1;
        /// Holding CPU accesses back.
        const CPU_HOLD = 1 << 2;
        /// Comparing in the swap to END.
        const COMPARE = 1 << 3;
        /// The verification after the commit.
        const VERIFICATION = 1 << 4;
    }
}

impl Steps {
    /// Whether `step` is left out.
    #[cfg(any(test, pagemove_test))]
    pub const fn leaves_out(self, step: Self) -> bool {
        self.contains(step)
    }

    /// Whether `step` is left out: never, in this build.
    #[cfg(not(any(test, pagemove_test)))]
    pub const fn leaves_out(self, _step: Self) -> bool {
        false
    }
}
