// SPDX-License-Identifier: GPL-2.0
//! Guests for tests: small and large, whole and in pieces.

use pagemove_uapi::{Mapping, Place, MEMORY_OTHER, PLACE_APERTURE, PLACE_NODE};

pub fn node(number: i32) -> Place {
    Place {
        kind: PLACE_NODE,
        number,
    }
}

pub fn aperture(number: i32) -> Place {
    Place {
        kind: PLACE_APERTURE,
        number,
    }
}

pub fn run(iova: u64, length: u64, place: Place) -> Mapping {
    Mapping {
        iova,
        length,
        memory: MEMORY_OTHER,
        region: 0,
        offset: 0,
        place,
        leaf: 4096,
    }
}

/// Returns a guest as QEMU makes it: holes for VGA and below 4 GiB, a ROM, half of it moved.
pub fn guest(bytes: u64) -> Vec<Mapping> {
    let low = bytes.min(2 << 30);
    let mut runs = vec![
        run(0, 0xa0000, node(0)),
        run(0x10_0000, low - 0x10_0000, node(1)),
        run(0xfffc_0000, 0x4_0000, node(0)),
    ];
    if bytes > low {
        runs.push(run(4 << 30, bytes - low, node(0)));
    }
    runs
}

/// Returns pages, each at another place than the one before: the worst for what can be joined.
fn pieces(count: u64, apart: u64) -> Vec<Mapping> {
    (0..count)
        .map(|n| run(n * apart, 4096, node((n % 3) as i32)))
        .collect()
}

/// Returns pieces of up to 512 pages without holes, so that hardly two blocks look the same.
fn uneven(count: u64) -> Vec<Mapping> {
    let (mut iova, mut random) = (0, 1u64);
    let mut piece = |n: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let piece = run(iova, (1 + (random >> 55)) << 12, node((n % 3) as i32));
        iova += piece.length;
        piece
    };
    (0..count).map(&mut piece).collect()
}

/// Returns guests of all sizes, and in many pieces.
pub fn layouts() -> Vec<(String, Vec<Mapping>)> {
    let mut all: Vec<_> = (21..62)
        .map(|shift| (format!("guest of 1 << {shift}"), guest(1 << shift)))
        .collect();
    for shift in 12..63 {
        all.push((format!("1 << {shift}"), vec![run(0, 1 << shift, node(0))]));
    }
    for shift in [12, 13, 16, 21, 30, 40] {
        let name = format!("pages 1 << {shift} apart");
        all.push((name, pieces(20_000.min(1 << (63 - shift)), 1 << shift)));
    }
    all.push(("pieces of any length".to_string(), uneven(35_000)));
    all
}
