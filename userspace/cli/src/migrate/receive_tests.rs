// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_migrate::events::Served;
use pagemove_migrate::wrong::Wrong;

#[test]
fn latencies() {
    let served = |latency_ns| Served {
        order: 1,
        page: 0,
        latency_ns,
    };
    let report = Report {
        pages: 200,
        arrived: 200,
        served: (1..=200).rev().map(served).collect(),
        ..Report::default()
    };
    let latency = LatencyReport::new(&report);
    assert_eq!(
        (latency.p50, latency.p99, latency.max),
        (Some(100), Some(198), Some(200))
    );
    assert_eq!(
        LatencyReport::new(&Report::default()),
        LatencyReport::default()
    );
    let made = connection(&report, &Ok(()), Some((200, 0)));
    let text = human(&made);
    assert!(
        text.contains("CPUs waited for 200 pages: p50 100 ns, p99 198 ns"),
        "{text}"
    );
    let json = serde_json::to_value(&made).unwrap();
    crate::report::expect_documented(&json);
    assert_eq!(
        (&json["status"], &json["pages_offered"]),
        (&"done".into(), &200.into())
    );
}

#[test]
fn a_failure_says_what_came() {
    let report = Report {
        pages: 9,
        arrived: 4,
        ..Report::default()
    };
    let result = Err(Failure::Connection("the peer closed it".into()));
    let made = connection(&report, &result, None);
    assert_eq!(made.status, "partial");
    assert!(human(&made).contains("of 9 pages, 4 came"));
    assert_eq!(exit(&Report::default(), &result), Exit::Aborted);
}

#[test]
fn a_stranger_is_told_from_a_migration() {
    let nothing = Report::default();
    let begun = Report {
        pages: 4,
        ..Report::default()
    };
    let lost = || Failure::Connection("closed".into());
    assert!(is_stray(&nothing, &Err(lost())));
    assert!(is_stray(&nothing, &Err(Wrong::new("no magic").into())));
    // Refused, but by name.
    assert!(!is_stray(
        &nothing,
        &Err(Failure::State("another size".into()))
    ));
    assert!(!is_stray(&begun, &Err(lost())));
    assert!(!is_stray(&begun, &Ok(())));
}
