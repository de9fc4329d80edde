// SPDX-License-Identifier: GPL-2.0
//! One step left out or done wrongly at a time: each has to be found.

use crate::configs::{
    self as c, Case, Promises, ADBIT, APERTURE, ATS, CPUS, DEADLINE, FAULTS, READS_ALLOWED, RETRY,
    RTM, SKEWED, SOFTWARE, TWO_PAGES,
};
use engine::Steps;
use sim::Config;

/// A mutation, and where it is tried.
pub struct Mutant {
    pub name: &'static str,
    pub about: &'static str,
    pub step: Steps,
    pub config: Config,
    pub promises: Promises,
}

impl Mutant {
    /// Returns the configuration to explore.
    pub fn case(&self) -> Case {
        let mut case = self.unmutated();
        case.config.policy.without = self.step;
        case
    }

    /// The configuration with nothing left out: nothing must be found in it.
    pub fn unmutated(&self) -> Case {
        Case {
            name: self.name,
            about: self.about,
            config: self.config,
            promises: self.promises,
            sometimes: &[],
            states: 0,
        }
    }
}

const fn sound(name: &'static str, about: &'static str, step: Steps, config: Config) -> Mutant {
    Mutant {
        name,
        about,
        step,
        config,
        promises: Promises::Kept,
    }
}

/// On hardware that breaks a promise, where the verification has to find it.
const fn broken(name: &'static str, about: &'static str, step: Steps, config: Config) -> Mutant {
    Mutant {
        promises: Promises::Broken,
        ..sound(name, about, step, config)
    }
}

pub fn all() -> Vec<Mutant> {
    let mut all = rtm();
    all.extend(cleared());
    all.extend(adbit());
    all.extend(both());
    all
}

fn rtm() -> Vec<Mutant> {
    vec![
        sound(
            "rtm-no-invalidation",
            "the helper does not invalidate",
            Steps::FIRST_INVALIDATION,
            RTM,
        ),
        sound(
            "rtm-no-completion",
            "the helper copies before the invalidation is complete",
            Steps::COMPLETION,
            RTM,
        ),
        sound(
            "rtm-no-completion-ats",
            "the same, for a device with a TLB of its own",
            Steps::COMPLETION,
            ATS,
        ),
        sound(
            "rtm-no-signal-1",
            "the helper does not wait for signal 1",
            Steps::SIGNAL_1,
            RTM,
        ),
        sound(
            "rtm-no-late-check",
            "the editor does not look whether phase 1 is late",
            Steps::LATE_CHECK,
            RTM,
        ),
        sound(
            "rtm-no-fence",
            "the late check does not wait for the store buffer",
            Steps::FENCE,
            RTM,
        ),
        sound(
            "rtm-no-margin",
            "the late check leaves no margin for clocks that differ",
            Steps::SKEW,
            SKEWED,
        ),
        sound(
            "rtm-no-compare",
            "the entry is not compared",
            Steps::COMPARE,
            SOFTWARE,
        ),
        sound(
            "rtm-slot-n",
            "the helper sets slot N, not N+1",
            Steps::NEXT_SLOT,
            RTM,
        ),
        sound(
            "rtm-slot-twice",
            "the editor reads a slot twice",
            Steps::SLOT_ONCE,
            RTM,
        ),
        sound(
            "rtm-descending",
            "the helper sets the slots in descending order",
            Steps::ASCENDING,
            c::THREE_SLOTS,
        ),
        sound(
            "rtm-no-generation",
            "slots of an earlier attempt are believed",
            Steps::GENERATION,
            RETRY,
        ),
        sound(
            "rtm-no-timeout",
            "the editor commits after the last slot",
            Steps::TIMEOUT,
            RTM,
        ),
        sound(
            "rtm-status-zero",
            "abort status 0 is taken for a commit",
            Steps::STATUS_ZERO,
            c::unverified(RTM),
        ),
        sound(
            "rtm-no-report",
            "END is given back while the helper copies",
            Steps::AWAIT_REPORT,
            RTM,
        ),
        sound(
            "rtm-past-deadline",
            "the deadline is not looked at",
            Steps::DEADLINE,
            DEADLINE,
        ),
        sound(
            "rtm-no-cpu-hold",
            "other CPUs are not held back",
            Steps::CPU_HOLD,
            CPUS,
        ),
        sound(
            "rtm-no-read-back",
            "END is not read back",
            Steps::READ_BACK,
            APERTURE,
        ),
        sound(
            "rtm-half-copy",
            "the last part is not copied",
            Steps::LAST_PART,
            RTM,
        ),
        sound(
            "rtm-first-page-only",
            "only the first page of two is invalidated",
            Steps::WHOLE_SPAN,
            TWO_PAGES,
        ),
        sound(
            "rtm-failed-invalidation",
            "a failed invalidation is ignored",
            Steps::FAILED_INVALIDATION,
            FAULTS,
        ),
        sound(
            "rtm-link-down",
            "an aperture that does not answer is ignored",
            Steps::FAILED_APERTURE,
            c::APERTURE_FAULTS,
        ),
        sound(
            "rtm-patience",
            "the helper waits for ever for an invalidation",
            Steps::PATIENCE,
            c::MUTE,
        ),
        sound(
            "rtm-other-bits",
            "the other bits of the entry are dropped",
            Steps::OTHER_BITS,
            RTM,
        ),
        sound(
            "rtm-drop-dirty",
            "a D that was set is dropped",
            Steps::KEEP_DIRTY,
            RTM,
        ),
    ]
}

/// `rtm` where only a store of the walk is noticed.
fn cleared() -> Vec<Mutant> {
    vec![
        sound(
            "clear-left-out",
            "A is not cleared",
            Steps::AD_CLEAR,
            c::CLEARED,
        ),
        sound(
            "clear-left-out-cold",
            "A is not cleared, and was clear until a device walked",
            Steps::AD_CLEAR,
            c::CLEARED_COLD,
        ),
        sound(
            "clear-no-restore",
            "A is not given back after an abort",
            Steps::RESTORE,
            c::CLEARED,
        ),
        sound(
            "clear-no-compare",
            "the entry is not compared",
            Steps::COMPARE,
            c::CLEARED_UNCACHED,
        ),
        sound(
            "clear-no-invalidation",
            "the helper does not invalidate",
            Steps::FIRST_INVALIDATION,
            c::CLEARED,
        ),
        broken(
            "clear-blind-or-no-verify",
            "blind A/D updates, no verification",
            Steps::VERIFICATION,
            c::CLEARED_BLIND_OR,
        ),
        broken(
            "clear-blind-or-no-sum",
            "blind A/D updates, verification without the checksum",
            Steps::VERIFY_SUM,
            c::CLEARED_BLIND_OR,
        ),
        broken(
            "clear-blind-or-no-second",
            "blind A/D updates, verification without its invalidation",
            Steps::SECOND_INVALIDATION,
            c::CLEARED_BLIND_OR,
        ),
        broken(
            "clear-store-old-no-verify",
            "A/D updates that store the old entry, no verification",
            Steps::VERIFICATION,
            c::CLEARED_STORE_OLD,
        ),
        broken(
            "clear-store-old-no-third",
            "an entry that maps START again is judged without an invalidation",
            Steps::REVERTED_INVALIDATION,
            c::CLEARED_STORE_OLD,
        ),
        broken(
            "clear-store-old-clear",
            "A and D of the new entry stay clear where they were",
            Steps::SET_AD,
            c::CLEARED_STORE_OLD,
        ),
    ]
}

fn adbit() -> Vec<Mutant> {
    vec![
        sound(
            "adbit-no-invalidation",
            "nothing is invalidated",
            Steps::FIRST_INVALIDATION,
            ADBIT,
        ),
        sound(
            "adbit-no-completion",
            "copied before the invalidation is complete",
            Steps::COMPLETION,
            ADBIT,
        ),
        sound(
            "adbit-no-clear",
            "A and D are not cleared",
            Steps::AD_CLEAR,
            ADBIT,
        ),
        sound(
            "adbit-no-compare",
            "the entry is not compared",
            Steps::COMPARE,
            ADBIT,
        ),
        sound(
            "adbit-ignore-ad",
            "the swap ignores A and D",
            Steps::AD_COMPARE,
            ADBIT,
        ),
        sound(
            "adbit-no-cpu-hold",
            "other CPUs are not held back",
            Steps::CPU_HOLD,
            c::adbit(CPUS),
        ),
        sound(
            "adbit-no-read-back",
            "END is not read back",
            Steps::READ_BACK,
            c::adbit(APERTURE),
        ),
        sound(
            "adbit-no-restore",
            "A and D are not given back after an abort",
            Steps::RESTORE,
            ADBIT,
        ),
        sound(
            "adbit-past-deadline",
            "the deadline is not looked at",
            Steps::DEADLINE,
            c::adbit(DEADLINE),
        ),
        sound(
            "adbit-failed-invalidation",
            "a failed invalidation is ignored",
            Steps::FAILED_INVALIDATION,
            c::adbit(FAULTS),
        ),
        sound(
            "adbit-patience",
            "the wait for an invalidation has no end",
            Steps::PATIENCE,
            c::adbit(c::MUTE),
        ),
        sound(
            "adbit-drop-dirty",
            "a D that was set is dropped",
            Steps::KEEP_DIRTY,
            ADBIT,
        ),
        sound(
            "adbit-first-page-only",
            "only the first page of two is invalidated",
            Steps::WHOLE_SPAN,
            c::adbit(TWO_PAGES),
        ),
    ]
}

fn both() -> Vec<Mutant> {
    vec![
        sound(
            "readers-no-second",
            "no second invalidation where readers are tolerated",
            Steps::SECOND_INVALIDATION,
            READS_ALLOWED,
        ),
        sound(
            "late-report",
            "a commit is reported as an abort when the deadline passed since",
            Steps::LATE_REPORT,
            c::adbit(DEADLINE),
        ),
        broken(
            "blind-or-no-verify",
            "blind A/D updates, no verification",
            Steps::VERIFICATION,
            c::BLIND_OR,
        ),
        broken(
            "blind-or-no-sum",
            "blind A/D updates, verification without the checksum",
            Steps::VERIFY_SUM,
            c::BLIND_OR,
        ),
        broken(
            "blind-or-no-second",
            "blind A/D updates, verification without its invalidation",
            Steps::SECOND_INVALIDATION,
            c::BLIND_OR,
        ),
        broken(
            "store-old-no-verify",
            "A/D updates that store the old entry, no verification",
            Steps::VERIFICATION,
            c::STORE_OLD,
        ),
        broken(
            "store-old-no-third",
            "an entry that maps START again is judged without an invalidation",
            Steps::REVERTED_INVALIDATION,
            c::STORE_OLD,
        ),
        broken(
            "store-old-clear",
            "A and D of the new entry stay clear where they were",
            Steps::SET_AD,
            c::STORE_OLD,
        ),
        broken(
            "silent-walk-no-verify",
            "walks that do not abort transactions, no verification",
            Steps::VERIFICATION,
            c::SILENT_WALKS,
        ),
    ]
}
