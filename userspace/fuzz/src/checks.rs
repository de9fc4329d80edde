// SPDX-License-Identifier: GPL-2.0
//! What has to be true of the answer of an ioctl, whatever it was asked.

use std::mem::offset_of;

use pagemove_uapi::{Maps, Move, Offer, RegionSetup, Used, MAX_RETRIES, PAGE_SIZE, REASON_NONE};

use crate::world::Outcome;

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    u32::from_ne_bytes(word.unwrap_or_default())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    u64::from_ne_bytes(word.unwrap_or_default())
}

/// Tells apart what a call did, beside its errno and reason.
pub fn way(name: &str, after: &[u8]) -> u32 {
    let some = |at| u32::from(u64_at(after, at) != 0);
    match name {
        "move" => {
            some(offset_of!(Move, pages_moved))
                | some(offset_of!(Move, pages_there)) << 1
                | some(offset_of!(Move, pages_done)) << 2
                | u32_at(after, offset_of!(Move, engine_used)).min(3) << 3
        }
        "offer" => some(offset_of!(Offer, pages)),
        "used" => some(offset_of!(Used, pages)),
        "maps" => {
            u32_at(after, offset_of!(Maps, filled)).min(3) | some(offset_of!(Maps, next)) << 2
        }
        "arrive" | "retract" => some(32),
        _ => 0,
    }
}

/// What is wrong with the members that the kernel wrote.
pub fn outputs(name: &str, before: &[u8], after: &[u8], outcome: Outcome) -> Option<String> {
    if before.get(..4) != after.get(..4) {
        return Some("the member size was changed".to_string());
    }
    // Before its structure was read nothing is written.
    if [libc::EINVAL, libc::E2BIG, libc::EFAULT, libc::EPERM].contains(&outcome.errno) {
        return None;
    }
    match name {
        "move" => moved(before, after, outcome),
        "used" => (u64_at(after, offset_of!(Used, pages))
            > u64_at(before, offset_of!(Used, length)) / PAGE_SIZE as u64)
            .then(|| "more pages have an answer than were asked for".to_string()),
        "maps" => (u32_at(after, offset_of!(Maps, filled))
            > u32_at(before, offset_of!(Maps, capacity)))
        .then(|| "more runs were told than there is room for".to_string()),
        "offer" => (u64_at(after, offset_of!(Offer, pages))
            > u64_at(before, offset_of!(Offer, length)) / PAGE_SIZE as u64)
            .then(|| "more pages were offered than were named".to_string()),
        "region_setup" if outcome.errno == 0 => (u32_at(after, offset_of!(RegionSetup, id)) == 0)
            .then(|| "a region has no number".to_string()),
        _ => None,
    }
}

fn moved(before: &[u8], after: &[u8], outcome: Outcome) -> Option<String> {
    let pages = u64_at(before, offset_of!(Move, length)) / PAGE_SIZE as u64;
    let done = u64_at(after, offset_of!(Move, pages_done));
    let moved = u64_at(after, offset_of!(Move, pages_moved));
    let there = u64_at(after, offset_of!(Move, pages_there));
    let reason = u32_at(after, offset_of!(Move, reason));
    if done > pages || moved.saturating_add(there) > done {
        return Some(format!(
            "{moved} moved and {there} there of {done} done of {pages}"
        ));
    }
    if outcome.errno == 0 && (done != pages || reason != REASON_NONE) {
        return Some(format!(
            "it succeeded with {done} of {pages} pages done and reason {reason}"
        ));
    }
    let attempts: u64 = (0..16)
        .map(|n| u64_at(after, offset_of!(Move, aborts) + 8 * n))
        .sum();
    let most = pages.saturating_mul(u64::from(MAX_RETRIES) + 1);
    (attempts > most).then(|| format!("{attempts} aborts of {pages} pages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(length: u64, moved: u64, there: u64, done: u64) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Move>()];
        let mut put =
            |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        put(offset_of!(Move, length), length * PAGE_SIZE as u64);
        put(offset_of!(Move, pages_moved), moved);
        put(offset_of!(Move, pages_there), there);
        put(offset_of!(Move, pages_done), done);
        bytes
    }

    #[test]
    fn sums_that_can_not_be_are_found() {
        let found = |bytes: &[u8], errno| outputs("move", bytes, bytes, Outcome::errno(errno));
        assert_eq!(found(&answer(4, 2, 1, 4), 0), None);
        assert_eq!(found(&answer(4, 2, 0, 2), libc::EBUSY), None);
        assert!(found(&answer(4, 2, 1, 3), 0).unwrap().contains("3 of 4"));
        assert!(found(&answer(4, 3, 2, 4), 0)
            .unwrap()
            .contains("3 moved and 2 there"));
        assert!(found(&answer(4, 1, 1, 5), libc::EBUSY).is_some());
    }

    #[test]
    fn a_changed_size_is_found() {
        let before = answer(1, 1, 0, 1);
        let mut after = before.clone();
        after[0] = 1;
        assert!(outputs("move", &before, &after, Outcome::OK)
            .unwrap()
            .contains("size"));
    }
}
