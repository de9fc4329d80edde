// SPDX-License-Identifier: GPL-2.0

use super::*;

fn version(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn info() -> Info {
    Info {
        abi_version: 1,
        engines: 0b110,
        formats: 0b10,
        move_flags: 0b10_0000_0111,
        test_build: 1,
        max_region_bytes: 64 << 30,
        max_move_pages: 262144,
        page_size: 4096,
        tested_first: 0x07_02_00,
        tested_last: 0x07_0a_00,
        parameters: PARAMETER_ALLOW_UNQUALIFIED,
        longest_us: 100,
        limit_mib: 512,
        patience_ms: 1000,
        rtm_reason: pagemove_uapi::REASON_NO_RTM,
        version: version("0.1.0"),
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
        serde_json::json!(["no-verify", "even-if-there", "scratch", "9"])
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

#[test]
fn what_the_module_was_loaded_with_shows() {
    let text = human(&info().into());
    for part in [
        "version                    0.1.0",
        "allow_incoherent=0 allow_unqualified=1 longest_us=100 limit_mib=512 patience_ms=1000 region_chunks=0",
        "UNQUALIFIED",
        "off (no-rtm)",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let json = serde_json::to_value(InfoReport::from(info())).unwrap();
    assert_eq!(json["version"], "0.1.0");
    assert_eq!(json["parameters"]["allow_unqualified"], true);
    assert_eq!(json["parameters"]["allow_incoherent"], false);
    assert_eq!(
        (&json["rtm"], &json["rtm_reason"]),
        (&false.into(), &"no-rtm".into())
    );
    let strict = Info {
        parameters: 0,
        rtm_reason: REASON_NONE,
        ..info()
    };
    let text = human(&strict.into());
    assert!(
        !text.contains("UNQUALIFIED") && text.contains("works"),
        "{text}"
    );
}

#[test]
fn an_older_module_tells_nothing_of_it() {
    let older = Info {
        version: [0; 32],
        parameters: 0,
        rtm_reason: 0,
        ..info()
    };
    let json = serde_json::to_value(InfoReport::from(older)).unwrap();
    assert!(json["version"].is_null() && json["parameters"].is_null() && json["rtm"].is_null());
    assert!(!human(&older.into()).contains("engine rtm"));
}

/// The module's version is that of the program, from two files.
#[test]
fn module_and_program_have_one_version() {
    let line = format!("export PAGEMOVE_VERSION := {}\n", env!("CARGO_PKG_VERSION"));
    assert!(include_str!("../../../Kbuild").contains(&line), "{line}");
}
