// SPDX-License-Identifier: GPL-2.0

use super::*;

fn info() -> Info {
    Info {
        abi_version: 1,
        engines: 0b110,
        formats: 0b10,
        move_flags: 0b10_0111,
        test_build: 1,
        max_region_bytes: 64 << 30,
        max_move_pages: 262144,
        page_size: 4096,
        tested_first: 0x07_02_00,
        tested_last: 0x07_0a_00,
        ..Default::default()
    }
}

#[test]
fn json_shape() {
    let json = serde_json::to_value(InfoReport::from(info())).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(json["engines"], serde_json::json!(["adbit", "rtm"]));
    assert_eq!(json["formats"], serde_json::json!(["x86_64"]));
    assert_eq!(
        json["move_flags"],
        serde_json::json!(["no-verify", "even-if-there", "scratch", "5"])
    );
    assert_eq!(json["test_build"], true);
    assert_eq!(json["max_region_bytes"], 64u64 << 30);
    assert_eq!(json["tested_first"], "7.2");
    assert_eq!(json["tested_last"], "7.10");
}

#[test]
fn the_range_of_kernels_shows_if_the_module_tells_it() {
    assert!(human(&info().into()).contains("7.2 to 7.10"));
    let older = Info {
        tested_first: 0,
        tested_last: 0,
        ..info()
    };
    assert!(!human(&older.into()).contains("tested on"));
    let json = serde_json::to_value(InfoReport::from(older)).unwrap();
    assert!(json["tested_first"].is_null() && json["tested_last"].is_null());
}

#[test]
fn a_test_build_shows() {
    assert!(human(&info().into()).contains("TEST BUILD"));
    assert!(!human(
        &Info {
            test_build: 0,
            ..info()
        }
        .into()
    )
    .contains("TEST BUILD"));
    assert!(human(
        &Info {
            abi_version: 9,
            ..info()
        }
        .into()
    )
    .contains("this program knows 1"));
}
