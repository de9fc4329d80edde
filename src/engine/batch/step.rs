// SPDX-License-Identifier: GPL-2.0
//! Steps of the protocol that a build for tests can leave out.

use bitflags::bitflags;

bitflags! {
    /// Steps to leave out or to do wrongly, to show that the tests notice. The
    /// shipped build has no way to set one: [`Steps::leaves_out`] is constant there.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Steps: u64 {
        /// The invalidation before copying.
        const FIRST_INVALIDATION = 1 << 0;
        /// Clearing A and D (`adbit`), or A (`rtm`, where that is asked for).
        const AD_CLEAR = 1 << 1;
        /// Holding CPU accesses back.
        const CPU_HOLD = 1 << 2;
        /// Comparing the entry at the commit.
        const COMPARE = 1 << 3;
        /// The verification after the commit.
        const VERIFICATION = 1 << 4;
        /// Waiting for the completion of the first invalidation.
        const COMPLETION = 1 << 5;
        /// Making END visible: the read-back.
        const READ_BACK = 1 << 6;
        /// `rtm`: setting only slots that the editor has not come to.
        const NEXT_SLOT = 1 << 7;
        /// `rtm`: reading a slot once.
        const SLOT_ONCE = 1 << 8;
        /// `rtm`: the late check.
        const LATE_CHECK = 1 << 9;
        /// Keeping the other bits of the entry.
        const OTHER_BITS = 1 << 10;
        /// `adbit`: comparing A and D at the commit.
        const AD_COMPARE = 1 << 11;
        /// The invalidation after the commit.
        const SECOND_INVALIDATION = 1 << 12;
        /// Looking at the deadline.
        const DEADLINE = 1 << 13;
        /// `rtm`: setting the slots in ascending order.
        const ASCENDING = 1 << 14;
        /// `rtm`: the fence between the stores and the late check.
        const FENCE = 1 << 15;
        /// `rtm`: waiting for signal 1.
        const SIGNAL_1 = 1 << 16;
        /// `rtm`: telling the slots of this attempt from those of earlier ones.
        const GENERATION = 1 << 17;
        /// `rtm`: taking an abort without a cause for an abort.
        const STATUS_ZERO = 1 << 18;
        /// `rtm`: waiting for the helper's report before END is given back.
        const AWAIT_REPORT = 1 << 19;
        /// Copying the last part before END is used.
        const LAST_PART = 1 << 20;
        /// Giving up when the invalidation failed.
        const FAILED_INVALIDATION = 1 << 21;
        /// Giving A and D back after an abort.
        const RESTORE = 1 << 22;
        /// Keeping a D that was set.
        const KEEP_DIRTY = 1 << 23;
        /// Invalidating all pages of a batch, and of a chunk, not the first alone.
        const WHOLE_SPAN = 1 << 24;
        /// `rtm`: giving up after the last slot.
        const TIMEOUT = 1 << 25;
        /// Reporting what happened, rather than what was wanted.
        const LATE_REPORT = 1 << 26;
        /// The checksum of the verification.
        const VERIFY_SUM = 1 << 27;
        /// `rtm`: the distance between the late check and signal 1.
        const SKEW = 1 << 28;
        /// The invalidation before an entry that maps START again is judged.
        const REVERTED_INVALIDATION = 1 << 30;
        /// Setting A and D in the new entry.
        const SET_AD = 1 << 31;
        /// Ending the wait for an invalidation at the deadline.
        const PATIENCE = 1 << 32;
        /// `rtm`: posting nothing while the helper is not there.
        const MEETING = 1 << 33;
        /// `adbit`: clearing A and D before the invalidation, not after it.
        const CLEAR_FIRST = 1 << 34;
        /// `rtm`: making END visible before the slots are set, not after it.
        const PUBLISH_FIRST = 1 << 35;
        /// Holding CPUs back until the verification is over.
        const CPUS_LAST = 1 << 36;
        /// Looking whether an entry maps START before it is changed.
        const LOOK = 1 << 37;
        /// Obeying an order to stop.
        const STOP = 1 << 38;
        /// Leaving pages alone that CPUs can not be held back from.
        const HELD = 1 << 39;
        /// Judging no entry that maps START again after an invalidation that failed.
        const REVERTED_SETTLED = 1 << 40;
        /// Giving A and D back to an entry that maps START again.
        const REVERTED_BACK = 1 << 41;
        /// `adbit`: looking at the entry of a chunk before each part of its copy. It saves work, no page.
        const PART_LOOK = 1 << 42;
        /// Giving up when END could not be reached.
        const FAILED_APERTURE = 1 << 29;
    }
}

impl Steps {
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
