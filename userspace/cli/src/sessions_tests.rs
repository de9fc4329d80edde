// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::{ABORT_CONFLICT, ABORT_LATE, ABORT_SLOTS};

fn session(flags: u32) -> Session {
    let mut aborts = [0; ABORT_SLOTS];
    aborts[ABORT_LATE as usize] = 7;
    aborts[ABORT_CONFLICT as usize] = 3;
    Session {
        editor_cpu: 2,
        helper_cpu: 5,
        flags,
        slots: 16,
        lead_ns: 1800,
        first_slot_ns: 900,
        interval_ns: 120,
        tsc_khz: 2_400_000,
        transactions: 110,
        commits: 100,
        irqs_off_max_ns: 15_000,
        aborts,
    }
}

#[test]
fn json_shape() {
    let json = serde_json::to_value(SessionReport::from(&session(SESSION_BUSY))).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(
        (&json["editor_cpu"], &json["helper_cpu"]),
        (&2.into(), &5.into())
    );
    assert_eq!(
        (&json["busy"], &json["stuck"]),
        (&true.into(), &false.into())
    );
    assert_eq!(
        json["schedule"],
        serde_json::json!({
            "lead_ns": 1800, "first_slot_ns": 900, "interval_ns": 120, "slots": 16
        })
    );
    assert_eq!(
        (
            &json["transactions"],
            &json["commits"],
            &json["irqs_off_max_ns"]
        ),
        (&110.into(), &100.into(), &15_000.into())
    );
    assert_eq!(
        (&json["aborts"]["late"], &json["aborts"]["timeout"]),
        (&7.into(), &0.into())
    );
}

#[test]
fn a_row_for_each() {
    let text = human(&[(&session(0)).into(), (&session(SESSION_BUSY)).into()]);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], COLUMNS);
    let row = "2 5 idle 1800 900 120 16 110 100 15000 conflict 3, late 7";
    assert_eq!(lines[1].join(" "), row);
    assert_eq!(lines[2].join(" "), row.replace("idle", "busy"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_helper_that_waits_for_ever_is_pointed_out() {
    let text = human(&[(&session(SESSION_BUSY | SESSION_STUCK)).into()]);
    assert!(text.contains(" stuck "), "{text}");
    assert!(text.contains("helper on CPU 5 waits"), "{text}");
}

#[test]
fn nothing_is_said_in_words() {
    assert!(human(&[]).contains("no session"));
}
