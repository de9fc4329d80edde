// SPDX-License-Identifier: GPL-2.0
//! The text against a small checker of the format, and against the counters.

use std::collections::BTreeMap;

use pagemove_uapi::{ABORT_DIRTY, ABORT_SLOTS};

use super::*;

/// What a family has said of itself, and its samples: name with labels, and value.
#[derive(Default)]
struct Family {
    kind: String,
    unit: String,
    help: String,
    samples: Vec<(String, f64)>,
}

/// Reads a text; says what is wrong with it.
fn check(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        let wrong = |what: &str| Err(format!("{what}: {line}"));
        let Some(about) = line.strip_prefix("# ") else {
            let Some((sample, value)) = line.rsplit_once(' ') else {
                return wrong("no value");
            };
            let Ok(value) = value.parse::<f64>() else {
                return wrong("no number");
            };
            let Some(family) = families.get_mut(&current) else {
                return wrong("a sample of no family");
            };
            if !may_have(&current, &family.kind, sample) {
                return wrong("no sample of this family");
            }
            if family.samples.iter().any(|(name, _)| name == sample) {
                return wrong("twice");
            }
            family.samples.push((sample.to_string(), value));
            continue;
        };
        let mut words = about.splitn(3, ' ');
        let (what, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let rest = words.next().unwrap_or("").to_string();
        match what {
            "TYPE" if families.contains_key(name) => return wrong("a family twice"),
            "TYPE" => {
                current = name.to_string();
                families.entry(current.clone()).or_default().kind = rest;
            }
            _ if name != current => return wrong("about another family"),
            _ if !families[name].samples.is_empty() => return wrong("behind samples"),
            "UNIT" if !name.ends_with(&format!("_{rest}")) => return wrong("not in the name"),
            "UNIT" => families.entry(current.clone()).or_default().unit = rest,
            "HELP" => families.entry(current.clone()).or_default().help = rest,
            _ => return wrong("what is it"),
        }
    }
    families
        .iter()
        .try_for_each(|(name, one)| whole(name, one))?;
    Ok(families)
}

/// Returns whether a family of this kind may have a sample of this name.
fn may_have(family: &str, kind: &str, sample: &str) -> bool {
    let name = sample.split('{').next().unwrap_or("");
    match kind {
        "counter" => name == format!("{family}_total"),
        "gauge" => name == family,
        "histogram" => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name == format!("{family}{suffix}")),
        _ => false,
    }
}

/// Checks what a family has to have.
fn whole(name: &str, family: &Family) -> Result<(), String> {
    if family.samples.is_empty() || family.help.is_empty() {
        return Err(format!("{name} has no sample, or no help"));
    }
    if family.samples.iter().any(|(_, value)| *value < 0.0) {
        return Err(format!("{name} is negative"));
    }
    if family.kind != "histogram" {
        return Ok(());
    }
    let has = |suffix| {
        family
            .samples
            .iter()
            .any(|(one, _)| *one == format!("{name}{suffix}"))
    };
    if has("_sum") != has("_count") {
        return Err(format!("{name} has one of _sum and _count alone"));
    }
    let bound = |sample: &str| -> Option<f64> {
        let bound = sample.split_once("{le=\"")?.1.strip_suffix("\"}")?;
        bound.parse().ok()
    };
    let buckets: Vec<(f64, f64)> = family
        .samples
        .iter()
        .filter_map(|(sample, value)| Some((bound(sample)?, *value)))
        .collect();
    if buckets.last().map(|(bound, _)| *bound) != Some(f64::INFINITY) {
        return Err(format!("{name} does not end with +Inf"));
    }
    match buckets
        .windows(2)
        .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1)
    {
        true => Ok(()),
        false => Err(format!("{name} is not cumulative")),
    }
}

fn zero() -> Stats {
    Stats {
        size: 0,
        flags: 0,
        calls: 0,
        pages_moved: 0,
        pages_aborted: 0,
        attempts: 0,
        lost_writes: 0,
        invalidations: 0,
        pages_premapped: 0,
        faults_held: 0,
        faults_awaited: 0,
        owned_pages: 0,
        irqs_off_max_ns: 0,
        irqs_off: [0; WINDOW_BUCKETS],
        offered_pages: 0,
        unmaps_held: 0,
        leaves_split: 0,
        leaves_moved: 0,
        leaves_merged: 0,
        regions: 0,
        region_pages: 0,
        closed_pages: 0,
        window_max_ns: 0,
        aborts: [0; ABORT_SLOTS],
        windows: [0; WINDOW_BUCKETS],
    }
}

/// Returns the value of a sample, as it was written.
fn value<'a>(text: &'a str, sample: &str) -> &'a str {
    let line = text.lines().find(|line| {
        line.strip_prefix(sample)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.rsplit(' ').next().unwrap_or("")
}

#[test]
fn nothing_was_moved() {
    let text = text(&zero());
    let families = check(&text).unwrap();
    assert!(families.keys().all(|name| name.starts_with("pagemove_")));
    for (name, family) in &families {
        assert!(
            family.samples.iter().all(|(_, value)| *value == 0.0),
            "{name}"
        );
        for unit in ["bytes", "seconds"] {
            assert_eq!(name.ends_with(unit), family.unit == unit, "{name}");
        }
    }
    let buckets = &families["pagemove_window_seconds"].samples;
    assert_eq!(buckets.len(), WINDOW_BUCKETS);
    assert_eq!(
        buckets[0].0,
        "pagemove_window_seconds_bucket{le=\"7.9e-08\"}"
    );
    assert_eq!(families["pagemove_aborts"].samples.len(), ABORT_SLOTS);
    assert_eq!(value(&text, "pagemove_window_max_seconds"), "0.0");
}

#[test]
fn each_number_is_where_it_belongs() {
    let mut stats = zero();
    (stats.calls, stats.pages_moved, stats.pages_aborted) = (1, 2, 3);
    (stats.attempts, stats.lost_writes, stats.invalidations) = (4, 5, 6);
    (
        stats.pages_premapped,
        stats.faults_held,
        stats.faults_awaited,
    ) = (7, 8, 9);
    (stats.unmaps_held, stats.regions, stats.region_pages) = (10, 11, 12);
    (stats.leaves_split, stats.leaves_moved) = (13, 14);
    stats.leaves_merged = 15;
    (stats.closed_pages, stats.owned_pages, stats.offered_pages) = (13, 14, 15);
    (stats.window_max_ns, stats.irqs_off_max_ns) = (2_000, 1_500_000_000);
    stats.aborts[ABORT_DIRTY as usize] = 16;
    (
        stats.windows[0],
        stats.windows[1],
        stats.irqs_off[WINDOW_BUCKETS - 1],
    ) = (17, 1, 1);
    let text = text(&stats);
    check(&text).unwrap();
    for (sample, expected) in [
        ("move_calls_total", "1"),
        ("pages_moved_total", "2"),
        ("pages_aborted_total", "3"),
        ("attempts_total", "4"),
        ("lost_writes_total", "5"),
        ("invalidations_total", "6"),
        ("pages_premapped_total", "7"),
        ("cpu_faults_held_total", "8"),
        ("cpu_faults_awaited_total", "9"),
        ("vfio_unmaps_held_total", "10"),
        ("leaves_split_total", "13"),
        ("leaves_moved_total", "14"),
        ("leaves_merged_total", "15"),
        ("regions", "11"),
        ("region_bytes", "49152"),
        ("closed_region_bytes", "53248"),
        ("allocated_bytes", "57344"),
        ("offered_bytes", "61440"),
        ("window_max_seconds", "2e-06"),
        ("irqs_off_max_seconds", "1.5"),
        ("aborts_total{cause=\"dirty\"}", "16"),
        ("window_seconds_bucket{le=\"7.9e-08\"}", "17"),
        ("window_seconds_bucket{le=\"9.5e-08\"}", "18"),
        ("window_seconds_bucket{le=\"+Inf\"}", "18"),
        ("irqs_off_seconds_bucket{le=\"0.939524095\"}", "0"),
        ("irqs_off_seconds_bucket{le=\"+Inf\"}", "1"),
    ] {
        assert_eq!(
            value(&text, &format!("pagemove_{sample}")),
            expected,
            "{sample}"
        );
    }
}

#[test]
fn the_largest_numbers_wrap_nowhere() {
    let mut stats = zero();
    (stats.pages_moved, stats.region_pages, stats.window_max_ns) = (u64::MAX, u64::MAX, u64::MAX);
    stats.windows = [u64::MAX; WINDOW_BUCKETS];
    stats.aborts = [u64::MAX; ABORT_SLOTS];
    let text = text(&stats);
    check(&text).unwrap();
    assert_eq!(
        value(&text, "pagemove_pages_moved_total"),
        "18446744073709551615"
    );
    let bytes = u128::from(u64::MAX) * 4096;
    assert_eq!(value(&text, "pagemove_region_bytes"), bytes.to_string());
    let count = u128::from(u64::MAX) * WINDOW_BUCKETS as u128;
    let all = value(&text, "pagemove_window_seconds_bucket{le=\"+Inf\"}");
    assert_eq!(all, count.to_string());
}

#[test]
fn bounds_are_canonical_numbers() {
    for (ns, text) in [
        (0, "0.0"),
        (1, "1e-09"),
        (64, "6.4e-08"),
        (99_999, "9.9999e-05"),
        (100_000, "0.0001"),
        (1_000_000_000, "1.0"),
        (60_000_000_000, "60.0"),
    ] {
        assert_eq!(seconds(ns), text);
    }
}

/// The checker itself: each of these is wrong.
#[test]
fn what_is_wrong_is_found() {
    let right = text(&zero());
    let without = |line: &str| right.replacen(line, "", 1);
    let (first, last) = ("{le=\"7.9e-08\"} 0\n", "{le=\"+Inf\"} 0\n");
    let all = [
        without("# EOF\n"),
        without("# TYPE pagemove_attempts counter\n"),
        without("# HELP pagemove_attempts Attempts at one page.\n"),
        without("pagemove_regions 0\n"),
        without(&format!("pagemove_window_seconds_bucket{last}")),
        right.replace("attempts_total", "attempts"),
        right.replace("bytes bytes\n", "bytes pages\n"),
        right.replacen(first, "{le=\"7.9e-08\"} 1\n", 1),
        right.replacen(first, "{le=\"7.9e-08\"} x\n", 1),
        right.replacen(first, "{le=\"1\"} 0\n", 1),
        format!("pagemove_x 1\n{right}"),
    ];
    for (case, wrong) in all.iter().enumerate() {
        assert!(*wrong != right, "{case}: nothing was changed");
        assert!(check(wrong).is_err(), "{case}");
    }
}
