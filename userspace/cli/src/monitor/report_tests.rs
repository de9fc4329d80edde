// SPDX-License-Identifier: GPL-2.0

use pagemove_uapi::{ABORT_SLOTS, REASON_BUSY};

use super::*;
use crate::report::{expect_documented, SCHEMA};

const CLOCK: Clock = Clock {
    monotonic_ns: 2_000_000_000,
    unix_ns: 86_402_000_000_000,
};

/// No process has this number.
const PID: i32 = i32::MAX;

fn event(kind: u32, values: [u64; 2]) -> Event {
    Event {
        number: 41,
        time_ns: 1_500_000_000,
        kind,
        id: 7,
        bus: 0x65,
        pid: PID,
        values,
        ..Event::NONE
    }
}

fn words(event: &Event) -> String {
    let line = Line::of(event, CLOCK);
    let human = line.human();
    let time = "1970-01-02T00:00:01.500000Z ";
    human
        .strip_prefix(time)
        .unwrap_or_else(|| panic!("{human}"))
        .to_string()
}

fn json(line: &Line) -> serde_json::Value {
    let value = serde_json::to_value(line).unwrap();
    expect_documented(&value);
    value
}

#[test]
fn every_kind_has_words() {
    for (kind, values, expected) in [
        (EVENT_REGION_MADE, [1 << 32, 0], "region-made 7: 4G, 0 allocated by 2147483647"),
        (EVENT_REGION_CLOSED, [1 << 30, 2], "region-closed 7: 1G, 8K allocated by 2147483647"),
        (EVENT_DEVICE_OPENED, [0; 2], "device-opened 0000:65:00.0"),
        (EVENT_DEVICE_CLOSED, [0; 2], "device-closed 0000:65:00.0"),
        (
            EVENT_MOVE_BEGUN,
            [16384, 0x10_0000],
            "move-begun 7 0000:65:00.0 by 2147483647: 16384 pages from 0x100000 on",
        ),
        (
            EVENT_MOVE_ENDED,
            [16384, 31],
            "move-ended 7 0000:65:00.0 by 2147483647: 16384 pages moved, 31 attempts aborted",
        ),
        (EVENT_APERTURE_ADDED, [64 << 20, 2], "aperture-added 7: 64M of 0000:65:00.0, number 2"),
        (EVENT_APERTURE_REMOVED, [64 << 20, 2], "aperture-removed 7: 64M of 0000:65:00.0, number 2"),
        (EVENT_LINK_UP, [0; 2], "link-up 0000:65:00.0"),
        (EVENT_LINK_DOWN, [0; 2], "link-down 0000:65:00.0"),
        (
            EVENT_LOST_WRITE,
            [0; 2],
            "lost-write 0000:65:00.0: no page is moved in its domain again until `pagemove lift`",
        ),
        (
            EVENT_LOST_WRITE,
            [1, 0],
            "lost-write 0000:65:00.0: no page is moved behind its IOMMU again until `pagemove lift`",
        ),
        (EVENT_LIFTED, [1, 0], "lifted 0000:65:00.0: one lost write"),
        (EVENT_LIFTED, [2, 0], "lifted 0000:65:00.0: 2 lost writes"),
        (99, [3, 4], "kind 99, newer than this program: 7, [3, 4]"),
    ] {
        let event = event(kind, values);
        assert_eq!(words(&event), expected);
        let json = json(&Line::of(&event, CLOCK));
        assert_eq!(json["kind"], text::name_or_number(text::EVENTS, kind));
        assert_eq!((json["number"].as_u64(), json["time_ns"].as_u64()), (Some(41), Some(1_500_000_000)));
        assert_eq!(json["unix_ns"], 86_401_500_000_000u64);
    }
}

#[test]
fn a_call_that_failed_says_why() {
    let mut event = event(EVENT_MOVE_ENDED, [3, 0]);
    event.error = libc::EBUSY as u32;
    assert!(words(&event).ends_with("0 attempts aborted, EBUSY"));
    event.reason = REASON_BUSY;
    assert!(words(&event).ends_with("0 attempts aborted, EBUSY (busy)"));
    let json = json(&Line::of(&event, CLOCK));
    assert_eq!(
        (&json["errno"], &json["reason"]),
        (&"EBUSY".into(), &"busy".into())
    );
    assert_eq!(
        (json["call"].as_u64(), json["pages_moved"].as_u64()),
        (Some(7), Some(3))
    );
    assert_eq!(json["device"], "0000:65:00.0");
}

#[test]
fn what_the_program_tells_itself_has_no_number() {
    let line = Line::lost(12, CLOCK);
    assert!(line
        .human()
        .ends_with("Z lost 12 events: they were not read in time"));
    assert!(Line::lost(1, CLOCK)
        .human()
        .ends_with("Z lost 1 event: it was not read in time"));
    let of_lost = json(&line);
    assert!(of_lost["number"].is_null() && of_lost["lost"] == 12 && of_lost["kind"] == "lost");
    let mut crossed = Crossed {
        is_above: true,
        most: 100,
        per_second: 123.45,
        aborts: [0; ABORT_SLOTS],
    };
    crossed.aborts[0] = 123;
    let line = Line::aborts(&crossed, CLOCK);
    assert!(
        line.human()
            .ends_with("Z aborts-above 100 a second: 123.5 (accessed 123)"),
        "{}",
        line.human()
    );
    assert_eq!(json(&line)["aborts"]["accessed"], 123);
    crossed.is_above = false;
    assert_eq!(json(&Line::aborts(&crossed, CLOCK))["kind"], "aborts-below");
}

#[test]
fn a_name_does_nothing_to_a_terminal() {
    assert_eq!(process(Some(5), Some("a\x1b[2Jb")), " by 5 (a?[2Jb)");
}

#[test]
fn a_line_is_a_document() {
    let page = include_str!("../../../../Documentation/json.md");
    assert_eq!(SCHEMA, 1);
    for kind in text::EVENTS.iter().map(|text| text.name) {
        assert!(
            page.contains(&format!("`{kind}`")),
            "{kind} is not in json.md"
        );
    }
}
