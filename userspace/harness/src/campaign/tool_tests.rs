// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::script::Script;

#[test]
fn a_tool_that_prints_much_does_not_hang() {
    let range = Range {
        offset: 0,
        iova: 0,
        length: 0,
    };
    let script = Script::new("yes | head -c 1000000\n");
    let tool = Tool {
        program: script.path.to_string_lossy().into_owned(),
        engine: "auto".to_string(),
        retries: 0,
        no_verify: false,
        even_if_there: false,
        window: None,
    };
    let error = tool.start("0:0.0", &range, 1).finish().unwrap_err();
    assert!(error.to_string().contains("Some(0)"), "{error}");
}

fn json(moved: u64, lost: u64, error: &str) -> String {
    let line = |outcome: &str| {
        format!(r#"{{"iova":"0x0","outcome":"{outcome}","abort":null,"attempts":1,"window_ns":5}}"#)
    };
    let mut results = vec![line("moved"); 2];
    results.extend(vec![line("lost-write"); lost as usize]);
    format!(
        r#"{{"status":"moved","pages":3,"pages_moved":{moved},"pages_there":0,"pages_done":{},"pages_aborted":0,
          "pages_lost":{lost},"seconds":0.5,"engines":{{"rtm":2}},"aborts":{{"dirty":4}},"error":{error},"results":[{}]}}"#,
        results.len(),
        results.join(",")
    )
}

#[test]
fn parts_are_whole_pages_and_all_of_it() {
    let range = Range {
        offset: 4096,
        iova: 0x100_1000,
        length: 7 * 4096,
    };
    for parts in 1..10 {
        let divided = range.divide(parts);
        assert_eq!(divided.len(), parts.min(7));
        let mut offset = 4096;
        for part in divided {
            assert_eq!((part.offset, part.iova), (offset, 0x100_0000 + offset));
            assert!(part.pages() > 0 && part.length % 4096 == 0);
            offset += part.length;
        }
        assert_eq!(offset, 8 * 4096);
    }
}

#[test]
fn a_report_is_read() {
    let report = parse(Some(0), json(2, 0, "null").as_bytes(), "").unwrap();
    assert_eq!((report.pages_moved, report.aborts["dirty"]), (2, 4));
    assert_eq!(report.engines["rtm"], 2);
    assert!(!report.found_loss() && report.fatal().is_none());
}

#[test]
fn numbers_that_disagree_are_an_error() {
    assert!(parse(Some(0), json(3, 0, "null").as_bytes(), "").is_err());
    let unknown = json(2, 0, "null").replace(r#""rtm":2"#, r#""rtm":1"#);
    let error = parse(Some(0), unknown.as_bytes(), "").unwrap_err();
    assert!(
        error.to_string().contains("1 of them by an engine"),
        "{error}"
    );
}

#[test]
fn the_tool_is_told_which_engine() {
    let tool = Tool {
        program: "pagemove".to_string(),
        engine: "rtm".to_string(),
        retries: 3,
        no_verify: false,
        even_if_there: false,
        window: None,
    };
    let range = Range {
        offset: 0,
        iova: 4096,
        length: 8192,
    };
    let command = tool.command("0:3.0", &range, 1);
    let arguments: Vec<_> = command
        .get_args()
        .map(|word| word.to_str().unwrap())
        .collect();
    assert!(
        arguments.windows(2).any(|pair| pair == ["--engine", "rtm"]),
        "{arguments:?}"
    );
}

#[test]
fn a_tool_that_crashes_is_an_error() {
    let error = parse(None, b"", "killed").unwrap_err();
    assert!(error.to_string().contains("killed"), "{error}");
    assert!(parse(Some(1), json(2, 0, "null").as_bytes(), "usage").is_err());
}

#[test]
fn a_loss_that_the_module_found_is_seen() {
    let failure = |reason: &str| {
        format!(r#"{{"call":"move","errno":"EIO","number":5,"reason":"{reason}","message":"m"}}"#)
    };
    assert!(parse(Some(5), json(2, 1, "null").as_bytes(), "")
        .unwrap()
        .found_loss());
    assert!(
        parse(Some(5), json(2, 0, &failure("lost-write")).as_bytes(), "")
            .unwrap()
            .found_loss()
    );
    let busy = parse(Some(5), json(2, 0, &failure("busy")).as_bytes(), "").unwrap();
    assert!(!busy.found_loss() && busy.fatal().is_none());
    let cpus = |errno: &str| {
        let failure = failure("cpus").replace("EIO", errno);
        parse(Some(5), json(2, 0, &failure).as_bytes(), "").unwrap()
    };
    let absent = cpus("EBUSY");
    assert!(!absent.found_loss() && absent.fatal().is_none());
    assert!(cpus("EINVAL").fatal().is_some());
    let other = parse(Some(2), json(2, 0, &failure("not-region")).as_bytes(), "").unwrap();
    assert!(!other.found_loss() && other.fatal().unwrap().contains("EIO (not-region)"));
}
