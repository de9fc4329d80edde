// SPDX-License-Identifier: GPL-2.0

use super::*;

fn span(first: u64, pages: u64) -> Span {
    Span {
        first,
        last: first + pages * PAGE - 1,
    }
}

/// Lines of QEMU 11.1.3.
#[test]
fn captured_lines() {
    let text = "vtd_inv_desc invalidate desc type p-iotlb high 0x1000048 low 0x70036\n\
        vtd_inv_desc invalidate desc type device high 0x107f001 low 0x10000000003\n\
        vtd_inv_desc invalidate desc type wait high 0x122ea50 low 0x200000025\n\
        vtd_inv_desc_wait_sw wait invalidate status write addr 0x122ea50 data 0x2\n\
        vtd_inv_desc invalidate desc type p-iotlb high 0x0 low 0x70026\n\
        vtd_inv_desc invalidate desc type device high 0x7ffffffffffff001 low 0x10000000003\n\
        vtd_inv_desc invalidate desc type iec high 0x0 low 0x200000014\n\
        fw_cfg_select 0x55556d5c63e0 key 0x0001 'id', ret: 1\n\
        fw_cfg_select 0x55556d5c63e0 key 0x2007 'unknown', ret: 0\n\
        fw_cfg_select 0x55556d5c63e0 key 0xa007 'unknown', ret: 0\n";
    let expected = [
        Event::Invalidate(Tlb::Iotlb, span(0x100_0000, 256)),
        Event::Invalidate(Tlb::Device(0x100), span(0x100_0000, 256)),
        Event::Waited,
        Event::Invalidate(Tlb::Iotlb, Span::EVERYTHING),
        Event::Invalidate(Tlb::Device(0x100), Span::EVERYTHING),
        Event::Copy(7),
        Event::Copied(7),
    ];
    assert_eq!(parse(text), expected);
}

#[test]
fn device_spans_of_each_size() {
    let device = |high: u64| {
        let line =
            format!("vtd_inv_desc invalidate desc type device high {high:#x} low 0x10000000003\n");
        match parse(&line)[..] {
            [Event::Invalidate(Tlb::Device(0x100), span)] => span,
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!(device(0x5000), span(0x5000, 1));
    assert_eq!(device(0x4001), span(0x4000, 2));
    assert_eq!(device(0x5001), span(0x4000, 4));
    assert_eq!(device(0x1_3001), span(0x1_0000, 8));
}

#[test]
fn the_smallest_block() {
    assert_eq!(Span::block(0x5000, 0x5fff), span(0x5000, 1));
    assert_eq!(Span::block(0x4000, 0x5fff), span(0x4000, 2));
    assert_eq!(Span::block(0x5000, 0x6fff), span(0x4000, 4));
    assert_eq!(Span::block(0, u64::MAX), Span::EVERYTHING);
}
