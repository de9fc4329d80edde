// SPDX-License-Identifier: GPL-2.0

use pagemove_uapi::{
    MoveReport, PageResult, PciAddress, ENGINE_ADBIT, MEMORY_REGION, REASON_NODE, REASON_SIGNAL,
};

use super::*;

const PAGE: u64 = PAGE_SIZE as u64;

fn range(iova: u64, pages: u64, memory: u32) -> Range {
    Range {
        device: PciAddress::new(0, 0, 3, 0),
        iova: iova * PAGE,
        length: pages * PAGE,
        memory,
        region: u32::from(memory == MEMORY_REGION),
        offset: 0,
    }
}

fn request() -> MoveRequest {
    MoveRequest {
        device: PciAddress::new(0, 0, 0, 0),
        iova: 0,
        length: 0,
        node: 1,
        engine: ENGINE_AUTO,
        flags: 0,
        retries: 5,
        deadline_ns: 0,
        editor_cpu: None,
        helper_cpu: None,
    }
}

/// A kernel that moves every page up to the one that it refuses, if there is one.
fn kernel(
    part: &MoveRequest,
    results: &mut Vec<PageResult>,
    refused: Option<(u64, Error)>,
) -> MoveReport {
    let first = part.iova / PAGE;
    let pages = part.length / PAGE;
    let refused = refused.filter(|(page, _)| (first..first + pages).contains(page));
    let moved = refused.map_or(pages, |(page, _)| page - first);
    let one = PageResult {
        outcome: PAGE_MOVED,
        window_ns: 1000,
        engine: ENGINE_ADBIT,
        ..PageResult::default()
    };
    results.resize(pages as usize, PageResult::default());
    results[..moved as usize].fill(one);
    MoveReport {
        pages_moved: moved,
        pages_done: moved + u64::from(refused.is_some()),
        engine_used: ENGINE_ADBIT,
        error: refused.map(|(_, error)| error),
        ..MoveReport::default()
    }
}

fn go(ranges: Vec<Range>, refused: Option<(u64, Error)>) -> (Whole, Vec<(u64, u64)>) {
    let mut calls = Vec::new();
    let selection = Selection {
        ranges,
        left_out: Vec::new(),
    };
    let whole = relocate_all(
        selection,
        &request(),
        4,
        &mut |part, results| {
            calls.push((part.iova / PAGE, part.length / PAGE));
            kernel(part, results, refused)
        },
        &|| false,
        &mut |_| {},
    );
    (whole, calls)
}

fn error(errno: i32, reason: u32) -> Error {
    Error::with_reason(Call::Move, errno, reason)
}

#[test]
fn every_range_is_moved_and_no_hole_is_asked_for() {
    let ranges = vec![range(0, 6, MEMORY_REGION), range(16, 3, MEMORY_REGION)];
    let (whole, calls) = go(ranges, None);
    assert_eq!(calls, [(0, 4), (4, 2), (16, 3)]);
    let total = &whole.total;
    assert_eq!(
        (total.pages, total.pages_moved, total.pages_done),
        (9, 9, 9)
    );
    assert_eq!(total.windows.count(), 9);
    assert_eq!(total.engines.get(&ENGINE_ADBIT), Some(&9));
    assert_eq!((whole.parts.len(), whole.left_out.len()), (2, 0));
    assert_eq!(total.error, None);
}

#[test]
fn a_page_that_can_not_be_moved_ends_its_range_alone() {
    let ranges = vec![range(0, 6, MEMORY_REGION), range(16, 3, MEMORY_REGION)];
    let unmapped = error(libc::ENOENT, REASON_NOT_MAPPED);
    let (whole, calls) = go(ranges, Some((2, unmapped)));
    assert_eq!(calls, [(0, 4), (16, 3)]);
    assert_eq!((whole.total.pages, whole.total.pages_moved), (9, 5));
    assert_eq!(whole.total.error, Some(unmapped));
    assert_eq!(whole.parts[1].total.error, None);
}

#[test]
fn what_is_unmapped_for_a_moment_is_asked_for_again() {
    let mut calls = Vec::new();
    let unmapping = error(libc::EAGAIN, REASON_UNMAPPING);
    let selection = Selection {
        ranges: vec![range(0, 6, MEMORY_REGION)],
        left_out: Vec::new(),
    };
    let whole = relocate_all(
        selection,
        &request(),
        4,
        &mut |part, results| {
            calls.push((part.iova / PAGE, part.length / PAGE));
            let refused = (calls.len() == 1).then_some((3, unmapping));
            kernel(part, results, refused)
        },
        &|| false,
        &mut |_| {},
    );
    assert_eq!(calls, [(0, 4), (3, 3)]);
    let total = &whole.total;
    assert_eq!(
        (total.pages, total.pages_moved, total.pages_done),
        (6, 6, 6)
    );
    assert_eq!(total.error, None);
    assert_eq!(whole.parts[0].total.results.len(), 6);
    // A span that was named is not.
    let (whole, calls) = go(vec![range(0, 6, 0)], Some((3, unmapping)));
    assert_eq!((calls.len(), whole.total.error), (1, Some(unmapping)));
}

#[test]
fn anything_else_ends_it_all() {
    for ends in [
        error(libc::EINTR, REASON_SIGNAL),
        error(libc::EINVAL, REASON_NODE),
        error(libc::EPERM, 0),
    ] {
        let ranges = vec![range(0, 6, MEMORY_REGION), range(16, 3, MEMORY_REGION)];
        let (whole, calls) = go(ranges, Some((0, ends)));
        assert_eq!(calls, [(0, 4)]);
        assert_eq!((whole.total.pages, whole.total.error), (9, Some(ends)));
    }
}

#[test]
fn memory_in_no_region_is_tried_and_left_out() {
    let ranges = vec![
        range(0, 6, MEMORY_REGION),
        range(6, 8, MEMORY_OTHER),
        range(16, 3, MEMORY_REGION),
    ];
    let not_ours = error(libc::EADDRNOTAVAIL, REASON_NOT_REGION);
    let (whole, calls) = go(ranges.clone(), Some((6, not_ours)));
    assert_eq!(calls, [(0, 4), (4, 2), (6, 4), (16, 3)]);
    assert_eq!((whole.total.pages, whole.total.pages_moved), (9, 9));
    assert_eq!(whole.total.error, None);
    assert_eq!(whole.left_out.len(), 1);
    assert_eq!(whole.left_out[0].range, ranges[1]);
    // Some of it could be moved.
    let (whole, _) = go(ranges, Some((11, not_ours)));
    assert_eq!((whole.total.pages, whole.total.pages_moved), (14, 14));
    assert_eq!(whole.left_out[0].range, range(11, 3, MEMORY_OTHER));
    assert_eq!(whole.parts.len(), 3);
}

#[test]
fn memory_of_a_region_is_not_left_out_for_that() {
    let not_ours = error(libc::EADDRNOTAVAIL, REASON_NOT_REGION);
    let (whole, _) = go(vec![range(0, 6, MEMORY_REGION)], Some((1, not_ours)));
    assert_eq!(whole.total.error, Some(not_ours));
    assert!(whole.left_out.is_empty());
}

#[test]
fn the_deadline_is_of_all_ranges() {
    let request = MoveRequest {
        deadline_ns: 1_000_000,
        ..request()
    };
    let range = range(0, 1, MEMORY_REGION);
    let left = |passed| part_of(&request, &range, Duration::from_micros(passed));
    assert_eq!(left(400).map(|part| part.deadline_ns), Ok(600_000));
    assert_eq!(left(1000), Err(error(libc::ETIME, REASON_DEADLINE)));
    assert_eq!(left(u64::MAX), Err(error(libc::ETIME, REASON_DEADLINE)));
}
