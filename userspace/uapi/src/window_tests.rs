// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn buckets_and_bounds_agree() {
    for bucket in 0..WINDOW_BUCKETS {
        assert_eq!(window_bucket(window_bucket_lower(bucket)), bucket);
        if bucket > 0 {
            assert_eq!(window_bucket(window_bucket_lower(bucket) - 1), bucket - 1);
        }
    }
    assert_eq!(window_bucket(u64::MAX), WINDOW_BUCKETS - 1);
}

#[test]
fn no_windows_no_percentile() {
    let windows = Windows::default();
    assert_eq!(windows.percentile_ns(50.0), None);
    assert_eq!(windows.max_ns(), None);
}

#[test]
fn percentiles_bound_the_truth_from_above() {
    let mut windows = Windows::default();
    for ns in 1..=1000 {
        windows.add(ns * 10);
    }
    for (percent, truth) in [(50.0, 5000), (99.0, 9900), (100.0, 10000)] {
        let found = windows.percentile_ns(percent).unwrap();
        assert!(
            found >= truth && found <= truth * 5 / 4,
            "p{percent}: {found} for {truth}"
        );
    }
    assert_eq!(windows.max_ns(), Some(10000));
    assert_eq!(windows.percentile_ns(100.0), Some(10000));
}

#[test]
fn one_window_is_every_percentile() {
    let mut windows = Windows::default();
    windows.add(777);
    for percent in [0.0, 50.0, 99.0, 100.0] {
        assert_eq!(windows.percentile_ns(percent), Some(777));
    }
}

#[test]
fn since_leaves_the_earlier_out() {
    let mut earlier = Windows::default();
    earlier.add(1_000_000);
    let mut now = earlier.clone();
    now.add(100);
    let since = now.since(&earlier);
    assert_eq!(since.count(), 1);
    assert_eq!(since.max_ns(), Some(111));
    now.add(2_000_000);
    assert_eq!(now.since(&earlier).max_ns(), Some(2_000_000));
}

#[test]
fn the_last_bucket_is_bounded_by_the_longest() {
    let mut windows = Windows::default();
    windows.add(u64::MAX / 2);
    assert_eq!(windows.percentile_ns(99.0), Some(u64::MAX / 2));
}
