// SPDX-License-Identifier: GPL-2.0

use super::*;
use clap::Parser;
use pagemove_uapi::{
    Call, Error, PciAddress, ABORT_CONFLICT, ABORT_DIRTY, ENGINE_ADBIT, ENGINE_RTM, MEMORY_OTHER,
    PAGE_ABORTED, PAGE_LOST_WRITE, REASON_SIGNAL,
};
use std::time::Duration;

fn args(pages: bool) -> MoveArgs {
    let mut line = "pagemove move 0:3.0 --iova 64K --length 16K --to-node 1".to_string();
    if pages {
        line.push_str(" --pages");
    }
    match crate::args::Args::try_parse_from(line.split(' '))
        .unwrap()
        .command
    {
        crate::args::Command::Move(args) => args,
        other => panic!("{other:?}"),
    }
}

fn total() -> Total {
    let mut total = Total {
        pages: 4,
        pages_moved: 2,
        pages_done: 3,
        pages_aborted: 1,
        engine_used: ENGINE_RTM,
        engines: BTreeMap::from([(ENGINE_ADBIT, 1), (ENGINE_RTM, 1)]),
        time: Duration::from_millis(500),
        error: Some(Error::with_reason(Call::Move, libc::EINTR, REASON_SIGNAL)),
        ..Total::default()
    };
    let moved = PageResult {
        outcome: PAGE_MOVED,
        abort: ABORT_NONE,
        attempts: 1,
        window_ns: 900,
        engine: ENGINE_RTM,
        reserved: 0,
    };
    let by_other = PageResult {
        engine: ENGINE_ADBIT,
        ..moved
    };
    let aborted = PageResult {
        outcome: PAGE_ABORTED,
        abort: ABORT_DIRTY,
        attempts: 6,
        window_ns: 0,
        engine: ENGINE_AUTO,
        reserved: 0,
    };
    total.results = vec![moved, aborted, by_other];
    total.aborts[ABORT_DIRTY as usize] = 6;
    total.aborts[ABORT_CONFLICT as usize] = 2;
    total.windows.add(900);
    total
}

/// Pages of a region, and what was left out behind them.
fn whole() -> Whole {
    let range = Range {
        device: PciAddress::new(0, 0, 3, 0),
        iova: 0x10000,
        length: 0x4000,
        memory: MEMORY_REGION,
        region: 7,
        offset: 0,
    };
    let rom = Range {
        iova: 0xc0000,
        memory: MEMORY_OTHER,
        ..range.clone()
    };
    Whole {
        total: total(),
        parts: vec![Part {
            range,
            total: total(),
        }],
        left_out: vec![LeftOut {
            range: rom,
            why: "it is a ROM".to_string(),
        }],
    }
}

#[test]
fn json_shape() {
    let args = args(true);
    let json = serde_json::to_value(json(&args, &whole())).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(json["status"], "partial");
    assert_eq!(json["device"], "0000:00:03.0");
    assert_eq!(json["iova"], "0x10000");
    assert_eq!(json["engine"], "rtm");
    assert_eq!(json["engines"], serde_json::json!({ "adbit": 1, "rtm": 1 }));
    assert_eq!(
        (&json["pages"], &json["pages_moved"]),
        (&4.into(), &2.into())
    );
    assert_eq!(json["aborts"]["dirty"], 6);
    assert_eq!(json["aborts"]["conflict"], 2);
    for cause in text::ABORTS {
        assert!(json["aborts"][cause.name].is_u64(), "{}", cause.name);
    }
    assert_eq!(json["window_ns"]["max"], 900);
    assert_eq!(json["error"]["errno"], "EINTR");
    assert_eq!(json["error"]["reason"], "signal");
    assert_eq!(json["results"][1]["iova"], "0x11000");
    assert_eq!(json["results"][1]["outcome"], "aborted");
    assert_eq!(json["results"][1]["abort"], "dirty");
    assert!(json["results"][0]["abort"].is_null());
    assert_eq!(json["results"][0]["engine"], "rtm");
    assert!(json["results"][1]["engine"].is_null());
    assert_eq!(json["results"][2]["engine"], "adbit");
}

#[test]
fn ranges_tell_which_memory_they_are_of() {
    let json = serde_json::to_value(json(&args(false), &whole())).unwrap();
    let range = &json["ranges"][0];
    assert_eq!(
        (&range["iova"], &range["length"]),
        (&"0x10000".into(), &0x4000.into())
    );
    assert_eq!(
        (&range["region"], &range["pages_moved"]),
        (&7.into(), &2.into())
    );
    assert_eq!(range["error"]["reason"], "signal");
    let rom = &json["left_out"][0];
    assert_eq!(
        (&rom["iova"], &rom["why"]),
        (&"0xc0000".into(), &"it is a ROM".into())
    );
    assert!(rom["region"].is_null());
}

#[test]
fn two_devices_are_not_one() {
    let mut whole = whole();
    let mut second = whole.parts[0].clone();
    second.range.device = PciAddress::new(0, 0, 4, 0);
    whole.parts.push(second);
    let json = serde_json::to_value(json(&args(true), &whole)).unwrap();
    assert!(json["device"].is_null());
    assert_eq!(json["results"].as_array().unwrap().len(), 6);
}

#[test]
fn results_only_if_asked_for() {
    let args = args(false);
    let json = serde_json::to_value(json(&args, &whole())).unwrap();
    assert!(json.get("results").is_none());
    assert!(!human(&args, &whole()).contains("0x11000"));
}

#[test]
fn words() {
    let args = args(true);
    let text = human(&args, &whole());
    for part in [
        "moved 2 of 4 pages to node 1 in 0.500 s (4 pages/s)",
        "given up, still at the source: 1 page\n",
        "not reached: 1 page\n",
        "engines: adbit 1, rtm 1\n",
        "aborts: conflict 2, dirty 6\n",
        "window: p50 900 ns",
        "left out: 16K at 0xc0000 of 0000:00:03.0: it is a ROM\n",
        "0x11000 aborted after 6 attempts, last: dirty",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("LOST"));
}

#[test]
fn a_move_without_an_attempt_has_no_engine() {
    let args = args(false);
    let json = serde_json::to_value(json(&args, &Whole::default())).unwrap();
    assert!(json["engine"].is_null());
    assert_eq!(json["engines"], serde_json::json!({}));
    assert!(human(&args, &Whole::default()).contains("engines: none\n"));
}

#[test]
fn a_lost_write_names_the_engine() {
    let lost = PageResult {
        outcome: PAGE_LOST_WRITE,
        abort: ABORT_NONE,
        attempts: 1,
        window_ns: 5,
        engine: ENGINE_RTM,
        reserved: 0,
    };
    assert_eq!(
        PageReport::new(0x1000, &lost).human(),
        "  0x1000 lost-write by rtm after 1 attempts\n"
    );
}
