// SPDX-License-Identifier: GPL-2.0
//! Whether a leaf in use may be split, and a table in use become a leaf again.
//!
//! Both were tried at once: what is wrong is a no to either, for a DMA that was lost does not say which of the two
//! it met.
//!
//! An old entry that came back is wrong, too, though nothing was lost by it. A and D are set when Linux maps
//! (facts.md F9), or by the load before the first split, and what the module stores has them, so that no walk has
//! anything to set: in the model none comes back then (`split-old-used`, `split-lags-used`). An IOMMU that brings one
//! back all the same may do so after the module has looked.

use super::decide::{Answer, Demand};
use super::evidence::Sizes;

pub fn split_live(sizes: &Sizes, demand: Demand) -> (Answer, String) {
    live(sizes, sizes.splits, demand)
}

pub fn merge_live(sizes: &Sizes, demand: Demand) -> (Answer, String) {
    live(sizes, sizes.merges, demand)
}

/// Judges `done` changes of the size.
fn live(sizes: &Sizes, done: u64, demand: Demand) -> (Answer, String) {
    let why = told(sizes);
    // A change that no DMA has met shows nothing.
    let events = done.min(sizes.met);
    if sizes.wrong() > 0 {
        (Answer::No, why)
    } else if events >= demand.rounds {
        let bound = events / 3;
        let why = format!("{why}. Fewer than one of {bound} loses something (95 % confidence)");
        (Answer::Yes, why)
    } else {
        let why = format!(
            "{why}: {} are asked for, and as many DMAs meanwhile",
            demand.rounds
        );
        (Answer::NotSeen, why)
    }
}

fn told(sizes: &Sizes) -> String {
    let Sizes {
        splits,
        merges,
        reverted,
        astray,
        busy,
        met,
        dmas,
        reads,
        dmas_lost,
        device_errors,
        faults,
    } = *sizes;
    let astray = match astray {
        0 => "",
        _ => ", the entry is not the leaf any more",
    };
    let busy = match busy {
        0 => String::new(),
        calls => format!(", {calls} calls given up"),
    };
    format!(
        "{splits} splits and {merges} merges, {met} DMAs meanwhile, of {dmas} ({reads} reads){busy}. An old entry \
         came back {reverted} times{astray}. Lost: {dmas_lost} by their bytes. Device errors {device_errors}, IOMMU \
         faults {faults}"
    )
}

#[cfg(test)]
#[path = "decide_sizes_tests.rs"]
mod tests;
