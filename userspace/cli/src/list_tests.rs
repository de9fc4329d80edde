// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::REASON_FORMAT;

fn device() -> Device {
    let mut device = Device {
        devfn: 0x18,
        flags: DEVICE_OPEN,
        format: 1,
        engines: 0b10,
        node: -1,
        ..Default::default()
    };
    device.iommu[..5].copy_from_slice(b"dmar0");
    device
}

#[test]
fn json_shape_of_a_device() {
    let json = serde_json::to_value(DeviceReport::from(&device())).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(json["address"], "0000:00:03.0");
    assert_eq!(json["open"], true);
    assert_eq!(json["format"], "x86_64");
    assert_eq!(json["engines"], serde_json::json!(["adbit"]));
    assert_eq!(json["iommu"], "dmar0");
    assert!(json["reason"].is_null() && json["node"].is_null());
    assert_eq!(
        (&json["ats"], &json["ats_in_domain"]),
        (&false.into(), &false.into())
    );
}

#[test]
fn tlbs_of_devices_show() {
    for (flags, word, own, domain) in [
        (DEVICE_ATS | DEVICE_ATS_DOMAIN, "yes", true, true),
        (DEVICE_ATS_DOMAIN, "in domain", false, true),
        (0, "no", false, false),
    ] {
        let report = DeviceReport::from(&Device {
            flags: DEVICE_OPEN | flags,
            ..device()
        });
        assert_eq!(
            (ats(&report), report.ats, report.ats_in_domain),
            (word, own, domain)
        );
    }
}

#[test]
fn a_narrowed_dirty_bitmap_shows() {
    for (flags, narrowed) in [(DEVICE_DIRTY_SCOPE, true), (0, false)] {
        let report = DeviceReport::from(&Device {
            flags: DEVICE_OPEN | flags,
            ..device()
        });
        assert_eq!(report.dirty_scope, narrowed);
        let text = human_devices(&[report]);
        assert_eq!(text.contains("dirty bitmap"), narrowed, "{text}");
    }
}

#[test]
fn every_engine_that_works_is_named() {
    let report = DeviceReport::from(&Device {
        engines: 0b110,
        ..device()
    });
    let text = human_devices(&[report]);
    assert!(text.contains("adbit,rtm  no   -"), "{text}");
}

#[test]
fn a_device_that_can_not_move_says_why() {
    let device = Device {
        engines: 0,
        reason: REASON_FORMAT,
        format: 2,
        ..device()
    };
    let report = DeviceReport::from(&device);
    assert_eq!(report.reason.as_deref(), Some("format"));
    let text = human_devices(&[report]);
    assert!(
        text.contains("vtdss") && text.contains("can not move pages: this IOMMU"),
        "{text}"
    );
}

#[test]
fn json_shape_of_a_region() {
    let region = Region {
        id: 3,
        flags: REGION_CLOSED,
        length: 1 << 30,
        pages: 7,
        node: 1,
        pid: 0,
    };
    let json = serde_json::to_value(RegionReport::from(&region)).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(json["id"], 3);
    assert_eq!(json["length"], 1 << 30);
    assert_eq!(json["node"], 1);
    assert_eq!(json["closed"], true);
    assert!(json["pid"].is_null() && json["command"].is_null());
    assert!(human_regions(&[RegionReport::from(&region)]).contains("1G      28K"));
}

#[test]
fn nothing_is_said_in_words() {
    assert!(human_devices(&[]).contains("pagemove_vfio"));
    assert!(human_regions(&[]).contains("no region"));
}

#[test]
fn a_name_without_end_is_taken_whole() {
    let device = Device {
        iommu: *b"0123456789abcdef",
        ..device()
    };
    assert_eq!(DeviceReport::from(&device).iommu, "0123456789abcdef");
}
