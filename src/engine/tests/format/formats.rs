// SPDX-License-Identifier: GPL-2.0
//! Single entries of every format.

use super::tables::*;
use crate::*;

const PAGE: PhysAddr = PhysAddr(0x000a_bcde_f012_3000);
const OTHER: PhysAddr = PhysAddr(0x0005_4321_0fed_c000);
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Absent,
    Leaf(u64),
    Table,
    /// Present, but none that the format has at that level.
    Reserved,
}

fn kind(format: Format, entry: u64, level: u32) -> Kind {
    match (
        format.leaf_bytes_of(entry, level),
        format.next_table(entry, level),
    ) {
        (Some(bytes), None) => Kind::Leaf(bytes),
        (None, Some((table, lower))) => {
            assert_eq!((table, lower), (format.address(entry), level - 1));
            Kind::Table
        }
        (None, None) if format.is_present(entry) => Kind::Reserved,
        (None, None) => Kind::Absent,
        both => panic!("{format:?} {entry:#x} at {level}: {both:?}"),
    }
}

#[test]
fn x86_64_bits() {
    let format = Format::X86_64;
    assert_eq!((format.accessed(), format.dirty()), (1 << 5, 1 << 6));
    assert_eq!(format.accessed(), PteFlags::A.bits());
    assert_eq!(format.dirty(), PteFlags::D.bits());
    for level in 0..=4 {
        // Everything but P.
        assert_eq!(kind(format, !1, level), Kind::Absent);
        let leaf = [
            Kind::Leaf(1 << 12),
            Kind::Leaf(1 << 21),
            Kind::Leaf(1 << 30),
        ];
        let leaf = leaf.get(level as usize).copied().unwrap_or(Kind::Table);
        assert_eq!(kind(format, PAGE.0 | 0x81, level), leaf);
        // Every bit but PS.
        let table = if level == 0 { leaf } else { Kind::Table };
        assert_eq!(kind(format, !0x80, level), table);
    }
    assert_eq!(kind(format, 0x81, 5), Kind::Reserved);
}

#[test]
fn vtdss_bits() {
    let format = Format::VtdSs;
    assert_eq!((format.accessed(), format.dirty()), (1 << 8, 1 << 9));
    for level in 0..=4 {
        // Everything but R and W.
        assert_eq!(kind(format, !3, level), Kind::Absent);
        for allowed in 1..=3 {
            let leaf = [
                Kind::Leaf(1 << 12),
                Kind::Leaf(1 << 21),
                Kind::Leaf(1 << 30),
            ];
            let leaf = leaf.get(level as usize).copied().unwrap_or(Kind::Table);
            assert_eq!(kind(format, PAGE.0 | 0x80 | allowed, level), leaf);
            let table = if level == 0 { leaf } else { Kind::Table };
            assert_eq!(kind(format, !0x83 | allowed, level), table);
        }
    }
    assert_eq!(kind(format, 0x83, 5), Kind::Reserved);
}

#[test]
fn amdv1_bits() {
    let format = Format::AmdV1;
    assert_eq!((format.accessed(), format.dirty()), (1 << 5, 1 << 6));
    for level in 0..=5u32 {
        assert_eq!(kind(format, !1, level), Kind::Absent);
        for next in 0..=6 {
            // Every bit but those of Next Level.
            let entry = !0xe00 | next << 9;
            let expected = match next {
                0 if level < 5 => Kind::Leaf(level_bytes(level)),
                _ if next == u64::from(level) => Kind::Table,
                _ => Kind::Reserved,
            };
            let expected = if level == 5 && next == 0 {
                Kind::Reserved
            } else {
                expected
            };
            assert_eq!(kind(format, entry, level), expected, "{level} {next}");
        }
    }
    assert_eq!(kind(format, 1, 6), Kind::Reserved);
}

#[test]
fn amdv1_sizes() {
    let format = Format::AmdV1;
    for level in 0..=5u32 {
        for ones in 0..=40u32 {
            let address = (((1u64 << ones) - 1) << 12) & ADDRESS;
            let high = 1 << 51 & !address & !(1 << (12 + ones.min(39)));
            let entry = 1 | 7 << 9 | address | high;
            let (bits, own) = (13 + ones, 12 + 9 * level);
            let sized = own <= bits && bits < own + 9 && bits <= 51 && level < 5;
            let expected = if sized {
                Kind::Leaf(1 << bits)
            } else {
                Kind::Reserved
            };
            assert_eq!(kind(format, entry, level), expected, "{level} {ones}");
            if ones < 39 {
                assert_eq!(format.address(entry), PhysAddr(high));
            }
        }
    }
}

#[test]
fn a_leaf_that_is_made_is_read_back() {
    for format in FORMATS {
        for bytes in leaf_sizes(format) {
            let level = (bytes.trailing_zeros() - 12) / 9;
            let page = PAGE.0 & !(bytes - 1);
            let entry = leaf_entry(format, page, bytes);
            assert_eq!(kind(format, entry, level), Kind::Leaf(bytes), "{format:?}");
            let low = bytes - 1;
            assert_eq!(format.address(entry).0 & !low, page);
            if level == 0 {
                assert_eq!(
                    format.maps(entry, PhysAddr(page), LeafSize::Page),
                    bytes == 4096
                );
            }
        }
        for level in 1..=format.top_level() {
            let entry = table_entry(format, PAGE.0, level);
            assert_eq!(kind(format, entry, level), Kind::Table);
            assert_eq!(format.next_table(entry, level), Some((PAGE, level - 1)));
        }
    }
}

#[test]
fn an_entry_maps_its_page_only_and_only_if_present() {
    for format in FORMATS {
        let entry = leaf_entry(format, PAGE.0, 4096);
        assert!(format.maps(entry, PAGE, LeafSize::Page));
        for bit in 12..52 {
            assert!(!format.maps(entry, PhysAddr(PAGE.0 ^ 1 << bit), LeafSize::Page));
            assert!(!format.maps(entry ^ 1 << bit, PAGE, LeafSize::Page));
        }
        // An address within the page is not the page.
        assert!(!format.maps(entry, PhysAddr(PAGE.0 + 8), LeafSize::Page));
        let absent = if format == Format::VtdSs {
            entry & !3
        } else {
            entry & !1
        };
        assert!(!format.maps(absent, PAGE, LeafSize::Page));
    }
    // Several pages, of which the first is the page.
    let two = leaf_entry(Format::AmdV1, 0x4000, 8192);
    assert!(!Format::AmdV1.maps(two, PhysAddr(0x4000), LeafSize::Page));
}

/// Whether `redirect` changes the address and nothing else, whatever bit is set.
fn keeps_other_bits(format: Format, redirect: impl Fn(u64, PhysAddr) -> u64) -> bool {
    let plain = leaf_entry(format, PAGE.0, 4096);
    (0..64).all(|bit| {
        let entry = plain ^ 1 << bit;
        let new = redirect(entry, OTHER);
        new & !ADDRESS == entry & !ADDRESS && new & ADDRESS == OTHER.0
    })
}

#[test]
fn redirecting_keeps_every_other_bit() {
    for format in FORMATS {
        assert!(keeps_other_bits(format, |e, page| format.redirected(
            e,
            page,
            LeafSize::Page
        )));
        let entry = leaf_entry(format, PAGE.0, 4096);
        assert!(format.maps(
            format.redirected(entry, OTHER, LeafSize::Page),
            OTHER,
            LeafSize::Page
        ));
        // What is no address of a page does not reach the other bits.
        let new = format.redirected(entry, PhysAddr(u64::MAX), LeafSize::Page);
        assert_eq!(new & !ADDRESS, entry & !ADDRESS);
    }
}

/// The twin: each bit in turn is lost, set, or taken from the old address.
#[test]
fn a_bit_that_is_not_kept_is_noticed() {
    for format in FORMATS {
        for bit in 0..64 {
            let mask = 1u64 << bit;
            let lost = |e, page| format.redirected(e, page, LeafSize::Page) & !mask;
            let set = |e, page| format.redirected(e, page, LeafSize::Page) | mask;
            let old = |e, page| (format.redirected(e, page, LeafSize::Page) & !mask) | (e & mask);
            assert!(!keeps_other_bits(format, lost) || OTHER.0 & mask == 0 && ADDRESS & mask != 0);
            assert!(!keeps_other_bits(format, set) || OTHER.0 & mask != 0);
            assert_eq!(keeps_other_bits(format, old), ADDRESS & mask == 0);
        }
    }
}

#[test]
fn any_entry_is_one_thing_and_leads_down() {
    for format in FORMATS {
        let mut random = Random(0x5eed);
        for _ in 0..200_000 {
            let entry = random.draw();
            let level = random.below(8) as u32;
            let page = PhysAddr(random.draw() & ADDRESS);
            let kind = kind(format, entry, level);
            assert_eq!(kind == Kind::Absent, !format.is_present(entry));
            if let Kind::Leaf(bytes) = kind {
                assert!(bytes >= level_bytes(level) && bytes < level_bytes(level) << 9);
            }
            let redirected = format.redirected(entry, page, LeafSize::Page);
            assert_eq!(redirected & !ADDRESS, entry & !ADDRESS);
            assert_eq!(
                format.redirected(redirected, PhysAddr(entry & ADDRESS), LeafSize::Page),
                entry
            );
            let maps = format.maps(redirected, page, LeafSize::Page);
            let single = format.leaf_bytes_of(redirected, 0) == Some(PAGE_SIZE);
            assert_eq!(maps, single);
        }
    }
}

#[test]
fn only_first_stage_tables_have_accessed_and_dirty_bits_unasked() {
    assert_eq!(FORMATS.map(Format::has_ad_bits), [true, false, false]);
    for format in FORMATS {
        assert_eq!(format.accessed() & format.dirty(), 0);
        assert_eq!((format.accessed() | format.dirty()) & ADDRESS, 0);
    }
}
