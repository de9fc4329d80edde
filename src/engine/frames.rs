// SPDX-License-Identifier: GPL-2.0
//! Does the IOMMU mark only the entry that it goes by? An entry is swapped between two frames
//! until A or D shows in it. Where the update is a compare-and-swap the frame that the entry then has is the one
//! that gets the access. An update that ORs marks, or stores what it had read, shows in an entry whose frame
//! gets nothing, or undoes a swap (proof.rst, the promise *compare-and-swap*).

use core::mem::swap;
use core::sync::atomic::{AtomicU64, Ordering};

/// One of two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The one that the entry has at first.
    First,
    /// The one that it is swapped with.
    Second,
}

/// What was seen while an entry's frame was swapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameSwaps {
    /// Swaps that took place.
    pub swaps: u64,
    /// Swaps that were gone when the entry was looked at again.
    pub overwritten: u64,
    /// The frame of the entry when marks showed in it. None: they never did.
    pub marked: Option<Frame>,
}

/// Swaps an entry between two values without marks until one of `marks` shows, or `goes_on` says no.
/// The entry is the first of both when this is called, and nobody but the IOMMU changes it meanwhile.
pub fn swap_frames(
    entry: &AtomicU64,
    (first, second): (u64, u64),
    marks: u64,
    mut goes_on: impl FnMut() -> bool,
) -> FrameSwaps {
    let mut seen = FrameSwaps::default();
    let (mut now, mut other) = (first, second);
    while goes_on() {
        let found = entry.load(Ordering::Acquire);
        if found & !marks != now {
            seen.overwritten = seen.overwritten.wrapping_add(1);
            swap(&mut now, &mut other);
            if found & !marks != now {
                // Neither of both: nothing more can be said.
                break;
            }
        }
        if found & marks != 0 {
            let is_first = found & !marks == first;
            seen.marked = Some(if is_first {
                Frame::First
            } else {
                Frame::Second
            });
            break;
        }
        if entry
            .compare_exchange(found, other, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            seen.swaps = seen.swaps.wrapping_add(1);
            swap(&mut now, &mut other);
        }
    }
    seen
}
