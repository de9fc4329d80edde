// SPDX-License-Identifier: GPL-2.0

use pagemove_uapi::MEMORY_REGION;

use super::*;

fn range(device: u8, iova: u64, length: u64) -> Range {
    Range {
        device: PciAddress::new(0, 0, device, 0),
        iova,
        length,
        memory: MEMORY_REGION,
        region: 1,
        offset: 0,
    }
}

#[test]
fn ranges_follow_each_other_in_the_aperture() {
    let ranges = [
        range(3, 0x10000, 0x8000),
        range(3, 0x40000, 0x4000),
        range(4, 0x10000, 0x2000),
    ];
    let targets = |device: u8, iova: u64, length: u64| {
        let part = MoveRequest {
            device: PciAddress::new(0, 0, device, 0),
            iova,
            length,
            node: -1,
            engine: 0,
            flags: 0,
            retries: 0,
            deadline_ns: 0,
            editor_cpu: None,
            helper_cpu: None,
        };
        targets(0x100000, &ranges, &part)
    };
    assert_eq!(targets(3, 0x10000, 0x2000), [0x100000, 0x101000]);
    assert_eq!(targets(3, 0x17000, 0x1000), [0x107000]);
    assert_eq!(targets(3, 0x41000, 0x1000), [0x109000]);
    assert_eq!(targets(4, 0x10000, 0x2000), [0x10c000, 0x10d000]);
}
