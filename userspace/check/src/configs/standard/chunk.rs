// SPDX-License-Identifier: GPL-2.0
//! Of a chunk that is moved whole: one leaf, two pages.

use super::*;
use engine::Steps;

/// Lists them.
pub fn all() -> Vec<Case> {
    let both = devices(RTM, [DeviceKind::plain(2), DeviceKind::ats(1, 1)]);
    let once = devices(RTM, [DeviceKind::plain(1), NONE]);
    let pieces = |config| chunk(config, Leaves::Pieces);
    let mut blind = adbit(pieces(both));
    blind.policy.without = Steps::PART_LOOK;
    let lazy = Hardware {
        rewalk_clean: false,
        ..Hardware::SOUND
    };
    vec![
        sound(
            "chunk-adbit",
            "cached as one translation, two devices",
            adbit(chunk(both, Leaves::Whole)),
            &[p::MOVED, p::ACCESSED, p::DIRTY, p::HALF_COPIED],
            125_989,
        ),
        sound(
            "chunk-adbit-pieces",
            "cached in pieces, two devices",
            adbit(pieces(both)),
            &[p::MOVED, p::ACCESSED, p::DIRTY, p::HALF_COPIED],
            313_995,
        ),
        sound(
            "chunk-adbit-blind",
            "without the looks between the parts of the copy: they only save work",
            blind,
            OF_ADBIT,
            241_047,
        ),
        sound(
            "chunk-adbit-no-rewalk",
            "a write through a clean entry sets no D, cached as one translation",
            adbit(hardware(chunk(both, Leaves::Whole), lazy)),
            &[p::MOVED, p::ACCESSED, p::DIRTY, p::HALF_COPIED],
            128_509,
        ),
        sound(
            "chunk-adbit-faults",
            "invalidations that fail, a caller that is told to stop",
            adbit(pieces(FAULTS)),
            &[p::MOVED, p::INVALIDATE, p::CANCELLED, p::HALF_COPIED],
            8_710,
        ),
        sound(
            "chunk-adbit-deadline",
            "a deadline that can pass at any step",
            adbit(pieces(DEADLINE)),
            &[p::MOVED, p::DEADLINE, p::HALF_COPIED],
            7_574,
        ),
        sound(
            "chunk-adbit-cpu",
            "another CPU writes to the chunk",
            adbit(pieces(CPUS)),
            &[p::MOVED, p::DIRTY],
            1_236,
        ),
        sound(
            "chunk-adbit-aperture",
            "END behind a window, a link that can go down",
            adbit(pieces(APERTURE_FAULTS)),
            &[p::MOVED, p::APERTURE],
            18_486,
        ),
        sound(
            "chunk-rtm",
            "cached as one translation",
            chunk(RTM, Leaves::Whole),
            &[p::MOVED, p::TIMEOUT, p::BY_WALK, p::BY_SLOT, p::HALF_COPIED],
            330_369,
        ),
        sound(
            "chunk-rtm-pieces",
            "cached in pieces",
            pieces(RTM),
            &[p::MOVED, p::TIMEOUT, p::BY_WALK, p::BY_SLOT, p::HALF_COPIED],
            469_388,
        ),
        sound(
            "chunk-clear",
            "cached in pieces, A is cleared first",
            pieces(cleared(once, AdUpdate::CompareAndSwap)),
            &[p::MOVED, p::TIMEOUT, p::BY_WALK, p::BY_SLOT, p::HALF_COPIED],
            88_512,
        ),
        broken(
            "chunk-adbit-store-old",
            "cached in pieces, A/D updates that store the old entry",
            pieces(STORE_OLD),
            &[p::MOVED, p::OVERWRITTEN, p::LOST_AND_REPORTED],
            742_652,
        ),
        broken(
            "chunk-rtm-silent-walks",
            "cached in pieces, walks that abort nothing",
            pieces(SILENT_WALKS),
            &[p::MOVED, p::LOST_AND_REPORTED],
            461_453,
        ),
    ]
}
