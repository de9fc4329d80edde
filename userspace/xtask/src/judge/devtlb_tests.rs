// SPDX-License-Identifier: GPL-2.0

use super::*;

const IOTLB: &str = "vtd_inv_desc invalidate desc type p-iotlb high 0x1000042 low 0x70036\n";
const DEVICE: &str = "vtd_inv_desc invalidate desc type device high 0x1001001 low 0x10000000003\n";
const WAIT: &str = "vtd_inv_desc_wait_sw wait invalidate status write addr 0x122ea50 data 0x2\n";

/// Returns copies of pages 1 to 3 of a region at 0x1000000, of which the block is four pages.
fn copies() -> String {
    let line = |key: u64| format!("fw_cfg_select 0x1 key {key:#06x} 'unknown', ret: 0\n");
    (1..=3)
        .map(|page| line(0x2000 + page) + &line(0xa000 + page))
        .collect()
}

fn flush() -> String {
    [IOTLB, DEVICE, WAIT].concat()
}

fn good() -> String {
    let batch = flush() + &copies() + &flush();
    batch.clone() + &batch
}

fn claims(lines: &[&str]) -> Claims {
    let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
    Claims::parse(&lines).unwrap()
}

fn quiet() -> Claims {
    claims(&["device 0100 0x1000000 ats", "moved 1 3", "moved 1 3"])
}

fn refused(trace: &str, claims: &Claims, why: &str) {
    let error = format!("{:#}", check(trace, claims).unwrap_err());
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_good_trace_passes() {
    let found = check(&good(), &quiet()).unwrap();
    assert!(
        found.contains("6 quiet pages in 2 batches (2 of 4), exactly"),
        "{found}"
    );
}

#[test]
fn each_invalidation_left_out_is_found() {
    for n in 0..4 {
        let parts: Vec<String> = good().split(DEVICE).map(String::from).collect();
        let trace = parts[..=n].join(DEVICE) + &parts[n + 1..].join(DEVICE);
        assert_eq!(trace.matches(DEVICE).count(), 3);
        refused(&trace, &quiet(), "invalidation of the TLB of device 0100");
    }
}

#[test]
fn each_wait_left_out_is_found() {
    for n in 0..4 {
        let parts: Vec<String> = good().split(WAIT).map(String::from).collect();
        let trace = parts[..=n].join(WAIT) + &parts[n + 1..].join(WAIT);
        // The second flush of a batch may be completed by the wait of the next.
        if n == 1 {
            check(&trace, &quiet()).unwrap();
        } else {
            refused(&trace, &quiet(), "invalidation of the TLB of device 0100");
        }
    }
}

#[test]
fn a_flush_after_the_copy_comes_too_late() {
    let trace = copies() + &flush() + &copies() + &flush();
    refused(&trace, &quiet(), "was complete before the copy");
}

#[test]
fn another_device_or_span_is_none() {
    refused(
        &good().replace("0x10000000003", "0x20000000003"),
        &quiet(),
        "TLB of device 0100",
    );
    // Two pages more, two pages less.
    refused(
        &good().replace("0x1001001", "0x1003001"),
        &quiet(),
        "0x1000000..=0x1007fff",
    );
    refused(
        &good().replace("0x1001001", "0x1000001"),
        &quiet(),
        "0x1000000..=0x1001fff",
    );
}

#[test]
fn pages_that_were_not_claimed_or_not_copied_are_found() {
    let other = claims(&["device 0100 0x1000000 ats", "moved 1 3", "moved 2 3"]);
    refused(&good(), &other, "not those that were claimed");
    let more = claims(&[
        "device 0100 0x1000000 ats",
        "moved 1 3",
        "moved 1 3",
        "storm 1",
    ]);
    refused(&good(), &more, "1 moves under DMA claimed, 0 copies traced");
    refused("", &quiet(), "no mark of a copy");
}

#[test]
fn a_device_without_ats_gets_none() {
    let plain = claims(&["device 0100 0x1000000 plain", "moved 1 3", "moved 1 3"]);
    refused(&good(), &plain, "which has none");
    let found = check(&good().replace(DEVICE, ""), &plain).unwrap();
    assert!(found.contains("IOTLB invalidated"), "{found}");
}

#[test]
fn in_a_storm_each_copy_needs_a_flush_of_its_own() {
    let storm = claims(&["device 0100 0x1000000 ats", "moved 1 3", "storm 3"]);
    check(&good(), &storm).unwrap();
    let trace = flush() + &copies() + &flush() + &copies() + &flush();
    check(&trace, &storm).unwrap();
    let trace = flush() + &copies() + &flush() + &copies() + &copies();
    refused(&trace, &storm, "before its copy");
}

/// Returns a trace of page 9, moved at once, and the pages 1 to 3 in three attempts: one ends
/// before its copies, one after them. Then page 9 again.
fn retried() -> String {
    let other = |text: String| {
        text.replace("0x1000042", "0x1009040")
            .replace("0x1001001", "0x1009000")
    };
    let alone = "fw_cfg_select 0x1 key 0x2009 'unknown', ret: 0\nfw_cfg_select 0x1 key 0xa009 'unknown', ret: 0\n";
    let page = other(flush()) + alone + &other(flush());
    page.clone() + &flush() + &flush() + &copies() + &flush() + &copies() + &flush() + &page
}

fn claims_of_retried() -> Claims {
    claims(&[
        "device 0100 0x1000000 ats",
        "moved 9 1",
        "retried 1 3",
        "moved 9 1",
    ])
}

#[test]
fn a_run_with_retries_passes() {
    let found = check(&retried(), &claims_of_retried()).unwrap();
    assert!(
        found.contains("2 quiet pages in 2 batches (2 of 1), exactly the block of each, 3 in runs"),
        "{found}"
    );
    let once = claims(&[
        "device 0100 0x1000000 ats",
        "moved 9 1",
        "moved 1 3",
        "moved 9 1",
    ]);
    refused(&retried(), &once, "not those that were claimed");
}

#[test]
fn each_invalidation_left_out_of_a_run_with_retries_is_found() {
    let trace = retried();
    let parts: Vec<&str> = trace.split(DEVICE).collect();
    // One of the two attempts at the beginning is enough for the first copies.
    for n in [1, 2].map(|n| parts.len() - 1 - n) {
        let trace = parts[..=n].join(DEVICE) + parts[n + 1..].join(DEVICE).as_str();
        refused(
            &trace,
            &claims_of_retried(),
            "invalidation of the TLB of device 0100",
        );
    }
    let none = trace.replacen(DEVICE, "", 2);
    refused(
        &none,
        &claims_of_retried(),
        "invalidation of the TLB of device 0100",
    );
}

#[test]
fn a_run_with_retries_asks_for_its_own_block_alone() {
    let strange = DEVICE.replace("0x1001001", "0x1008000");
    let trace = retried().replacen(
        &(DEVICE.to_string() + WAIT + &copies()),
        &(DEVICE.to_string() + &strange + WAIT + &copies()),
        1,
    );
    assert_ne!(trace, retried());
    refused(&trace, &claims_of_retried(), "0x1008000..=0x1008fff");
}

#[test]
fn runs_with_retries_have_to_be_apart() {
    let together = claims(&[
        "device 0100 0x1000000 ats",
        "moved 9 1",
        "retried 1 3",
        "moved 3 1",
    ]);
    refused(&retried(), &together, "can't be told from");
}

#[test]
fn claims_have_to_be_complete() {
    let parse = |lines: &[&str]| {
        Claims::parse(
            &lines
                .iter()
                .map(|line| line.to_string())
                .collect::<Vec<_>>(),
        )
    };
    assert!(parse(&[]).is_err());
    assert!(parse(&["device 0100 0x1000000 ats"]).is_err());
    assert!(parse(&["moved 1 3"]).is_err());
    assert!(parse(&["device 0100 0x1000000 ats", "moved 8191 2"]).is_err());
    assert!(parse(&["device 0100 0x1000000 ats", "copied 1 2"]).is_err());
}
