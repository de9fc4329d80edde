// SPDX-License-Identifier: GPL-2.0
//! The transaction on the current CPU, with nothing that could disturb it.

use crate::host::cpu;
use crate::session::counters::Counters;
use core::sync::atomic::{AtomicU64, Ordering};
use engine::rtm::{self, Block, Committed, Edit, Plan, Slots, Status, OFFSETS};
use engine::PAGE_SIZE;

/// Bytes of a cache line.
const LINE: u64 = 64;

/// Runs a transaction with interrupts off. The caller has seen that the CPU has RTM, and has the
/// entries and pages of `plan` from the tables of a domain that is held.
pub(crate) fn run(
    plan: &Plan<'_>,
    slots: &Slots,
    counters: &Counters,
) -> Result<Committed, Status> {
    let block = Block::new(plan, core::ptr::from_ref(slots).cast(), &OFFSETS);
    warm(plan.edits);
    let (outcome, ticks) = cpu::without_irqs(|| {
        let begin = rtm::ticks();
        // SAFETY: The CPU has RTM (the caller). Entries are those of table pages in the
        // direct map, which are not freed while the hold pins the pages they map, and
        // which other code reaches as atomics; watched pages are pages of regions, whole
        // and in the direct map. All of it is write-back memory. The slots are atomics of
        // this session. The plan is borrowed.
        let outcome = unsafe { rtm::transact(&block) };
        (outcome, rtm::ticks().wrapping_sub(begin))
    });
    counters.add_transaction(outcome.is_ok(), ticks);
    outcome
}

/// Reads everything that the transaction will access, so that no page walk and no miss
/// makes it late. The slots it leaves out: their lines are the helper's to write, and
/// one that is brought here would have to be fetched back.
fn warm(edits: &[Edit]) {
    for edit in edits {
        // SAFETY: as in `run`: an aligned entry of a table.
        unsafe { AtomicU64::from_ptr(edit.entry as *mut u64) }.load(Ordering::Relaxed);
        let mut at = edit.watch;
        while edit.watch != 0 && at < edit.watch.saturating_add(PAGE_SIZE) {
            // SAFETY: as in `run`: within a page in the direct map. A device may write
            // it this instant; what is read is not used.
            let _ = unsafe { (at as *const u64).read_volatile() };
            at = at.saturating_add(LINE);
        }
    }
}
