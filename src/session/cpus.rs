// SPDX-License-Identifier: GPL-2.0
//! Which two CPUs a session has, and whether `rtm` can work on them.

use crate::host::cpu::{self, Nearness, Online};
use crate::refusal::Refusal;
use core::sync::atomic::{AtomicU8, Ordering};
use engine::rtm;

/// Transactions to try before it is said that all of them abort: an interrupt may
/// hit any one of them.
const TRIALS: u32 = 1000;

const UNKNOWN: u8 = 0;
const COMMITS: u8 = 1;
const ABORTS: u8 = 2;

/// Whether a transaction has ever committed here. Tried once.
static TRIED: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Checks that the engine `rtm` can work on these CPUs.
pub(crate) fn check_rtm() -> Result<(), Refusal> {
    if !cpu::have_rtm() || !commits() {
        return Err(Refusal::NoRtm);
    }
    if !cpu::tsc_is_steady() {
        return Err(Refusal::Tsc);
    }
    Ok(())
}

/// Returns whether any commits: microcode and `tsx=` can leave the feature bit and abort all.
fn commits() -> bool {
    match TRIED.load(Ordering::Relaxed) {
        COMMITS => true,
        ABORTS => false,
        _ => {
            // SAFETY: the caller has seen that the CPU has RTM.
            let any = (0..TRIALS).any(|_| unsafe { rtm::trial() }.is_ok());
            TRIED.store(if any { COMMITS } else { ABORTS }, Ordering::Relaxed);
            any
        }
    }
}

/// Returns what is to be expected of `rtm`, for the log; tries a transaction for it.
pub(crate) fn outlook() -> &'static str {
    match check_rtm() {
        Ok(()) => "works: a transaction has committed",
        Err(Refusal::Tsc) => "is off: the TSC is not invariant",
        Err(_) => "is off: no transaction commits on this CPU",
    }
}

/// The CPUs of an editor and its helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuPair {
    pub(crate) editor: u32,
    pub(crate) helper: u32,
}

impl CpuPair {
    /// Takes the two that were named, the others chosen: see [`Self::choose`].
    pub(crate) fn new(
        editor: Option<u32>,
        helper: Option<u32>,
        node: i32,
    ) -> Result<Self, Refusal> {
        // What goes well with a CPU may be asked of one that exists only.
        if ![editor, helper].into_iter().flatten().all(cpu::is_online) {
            return Err(Refusal::Cpus);
        }
        let pair = match (editor, helper) {
            (Some(editor), Some(helper)) => Some(Self { editor, helper }),
            (Some(editor), None) => best_helper(editor).map(|helper| Self { editor, helper }),
            (None, Some(helper)) => best_helper(helper).map(|editor| Self { editor, helper }),
            (None, None) => Self::choose(node),
        };
        pair.filter(|pair| pair.is_usable()).ok_or(Refusal::Cpus)
    }

    /// Chooses the last CPU of the device's node, or of any: CPU 0 has most of the interrupts. And
    /// the best helper for it. No isolated ones: these are used if somebody names them.
    fn choose(node: i32) -> Option<Self> {
        let near = cpu::shared_at(node).last();
        let editor = near.or_else(|| cpu::shared().last())?;
        let helper = best_helper(editor)?;
        Some(Self { editor, helper })
    }

    fn is_usable(self) -> bool {
        self.editor != self.helper && cpu::is_online(self.editor) && cpu::is_online(self.helper)
    }

    /// Keeps both online; none if one is not.
    pub(crate) fn keep_online(self) -> Option<Online> {
        let online = Online::keep();
        self.is_usable().then_some(online)
    }
}

/// Finds the CPU that goes best with another: on the same socket, so that a line is handed over
/// soon, but not its sibling, which would share its L1 cache and its write set.
fn best_helper(other: u32) -> Option<u32> {
    let mut best = None;
    let mut best_rank = 0;
    for candidate in cpu::shared().filter(|cpu| *cpu != other) {
        let rank = match cpu::nearness(candidate, other) {
            Some(Nearness::Socket) => 3,
            Some(Nearness::Far) => 2,
            Some(Nearness::Core) => 1,
            None => continue,
        };
        if rank >= best_rank {
            (best, best_rank) = (Some(candidate), rank);
        }
    }
    best
}
