// SPDX-License-Identifier: GPL-2.0
//! Moves with one member that is wrong.

use anyhow::{ensure, Result};
use pagemove_testkit::nodes;
use pagemove_uapi::{
    self as uapi, Call, Control, Error, Move, MoveReport, PageResult, MAX_MOVE_PAGES, MAX_RETRIES,
    PAGE_SIZE,
};

use super::{argument, refused, State};
use crate::bench::{self, IOVA};
use pagemove_testkit::tap::{Case, Pass};

const PAGE: u64 = PAGE_SIZE as u64;

/// A member that is wrong: what it is, how to break it, and the answer.
type Wrong = (&'static str, fn(&mut Move), (i32, u32));

const INVALID: (i32, u32) = (libc::EINVAL, uapi::REASON_NONE);
const NO_NODE: (i32, u32) = (libc::EINVAL, uapi::REASON_NODE);
const NOT_MAPPED: (i32, u32) = (libc::ENOENT, uapi::REASON_NOT_MAPPED);

const WRONG: &[Wrong] = &[
    ("an IOVA that begins no page", |m| m.iova += 1, INVALID),
    (
        "an IOVA in the middle of a page",
        |m| m.iova += PAGE / 2,
        INVALID,
    ),
    (
        "a length of a page and a byte",
        |m| m.length = PAGE + 1,
        INVALID,
    ),
    ("a length of half a page", |m| m.length = PAGE / 2, INVALID),
    ("no length", |m| m.length = 0, INVALID),
    (
        "a range past the end of the address space",
        |m| (m.iova, m.length) = (PAGE.wrapping_neg(), 2 * PAGE),
        INVALID,
    ),
    (
        "a length that wraps",
        |m| m.length = PAGE.wrapping_neg(),
        INVALID,
    ),
    (
        "one page too many",
        |m| m.length = (MAX_MOVE_PAGES as u64 + 1) * PAGE,
        INVALID,
    ),
    (
        "one retry too many",
        |m| m.retries = MAX_RETRIES + 1,
        INVALID,
    ),
    ("4294967295 retries", |m| m.retries = u32::MAX, INVALID),
    ("node -1", |m| m.node = -1, NO_NODE),
    ("node -2", |m| m.node = -2, NO_NODE),
    ("the least node number", |m| m.node = i32::MIN, NO_NODE),
    ("node 999", |m| m.node = 999, NO_NODE),
    (
        "node 1024, past the largest that a kernel can have",
        |m| m.node = 1024,
        NO_NODE,
    ),
    ("the greatest node number", |m| m.node = i32::MAX, NO_NODE),
    (
        "engine rtm on a CPU without RTM",
        |m| m.engine = uapi::ENGINE_RTM,
        (libc::EOPNOTSUPP, uapi::REASON_NO_RTM),
    ),
    (
        "engine 3",
        |m| m.engine = 3,
        (libc::EOPNOTSUPP, uapi::REASON_NONE),
    ),
    ("results of a byte", |m| m.result_size = 1, INVALID),
    (
        "results of a byte less than the first",
        |m| m.result_size = uapi::PAGE_RESULT_SIZE_V0 as u32 - 1,
        INVALID,
    ),
    (
        "results longer than any",
        |m| m.result_size = size_of::<PageResult>() as u32 + 8,
        INVALID,
    ),
    (
        "4294967295 bytes of a result",
        |m| m.result_size = u32::MAX,
        INVALID,
    ),
    (
        "targets without an aperture",
        |m| m.targets = 0x1000,
        INVALID,
    ),
    (
        "an aperture that is not there",
        |m| m.aperture = 1,
        (libc::EINVAL, uapi::REASON_NO_APERTURE),
    ),
    (
        "engine 4294967295",
        |m| m.engine = u32::MAX,
        (libc::EOPNOTSUPP, uapi::REASON_NONE),
    ),
    (
        "an IOVA below the mapping",
        |m| m.iova = IOVA - PAGE,
        NOT_MAPPED,
    ),
    (
        "an IOVA behind the mapping",
        |m| m.iova = IOVA + super::PAGES as u64 * PAGE,
        NOT_MAPPED,
    ),
    ("IOVA 0", |m| m.iova = 0, NOT_MAPPED),
    (
        "an editor that is no CPU, for adbit which has none",
        |m| (m.editor_cpu, m.iova) = (u32::MAX, 0),
        NOT_MAPPED,
    ),
    (
        "a helper that is no CPU, for adbit which has none",
        |m| (m.helper_cpu, m.iova) = (0x1_0000, 0),
        NOT_MAPPED,
    ),
    (
        "an IOVA wider than the tables",
        |m| m.iova = 1 << 62,
        NOT_MAPPED,
    ),
    (
        "the last page of the address space",
        |m| m.iova = PAGE.wrapping_neg(),
        NOT_MAPPED,
    ),
    (
        "a deadline of a nanosecond",
        |m| m.deadline_ns = 1,
        (libc::ETIME, uapi::REASON_DEADLINE),
    ),
];

pub fn cases() -> Vec<Case<State>> {
    let mut cases: Vec<Case<State>> = WRONG.iter().map(of_wrong).collect();
    cases.push(Case::new(
        "move: a node that is possible but has no memory, or does not exist: EINVAL",
        |state: &mut State| {
            let bench = state.bench()?;
            let nodes = nodes::with_memory()?;
            let missing = (0..)
                .find(|node| !nodes.contains(node))
                .expect("there are not so many nodes");
            state.refuses(&bench.request(0, 1, missing), NO_NODE)?;
            Ok(Pass)
        },
    ));
    cases.push(Case::new(
        "move: a range that runs off the mapping: ENOENT, and what was before it is exact",
        |state: &mut State| {
            runs_off(state)?;
            Ok(Pass)
        },
    ));
    cases.push(Case::new(
        "move: pages of another file's region as scratch: EACCES",
        |state: &mut State| {
            let mut argument = argument(state.bench()?);
            argument.flags = uapi::MOVE_SCRATCH;
            let report = issue_on(&Control::open()?, &mut argument);
            refused(&report, &[], (libc::EACCES, uapi::REASON_NOT_SCRATCH))?;
            state.nothing_moved()?;
            Ok(Pass)
        },
    ));
    for (what, pointer) in [
        ("a kernel address", 0xffff_8880_0000_0000),
        ("an unmapped address", 0x10_0000),
        ("an odd kernel address", u64::MAX),
    ] {
        cases.push(Case::new(
            format!("move: {what} for the results: EFAULT"),
            move |state: &mut State| {
                bad_results(state, pointer)?;
                Ok(Pass)
            },
        ));
    }
    cases.push(Case::new(
        "move: results that can not be written: EFAULT",
        |state: &mut State| {
            let page = crate::region::Mapping::anonymous(PAGE_SIZE)?;
            page.write(0, 0, 0);
            page.protect(libc::PROT_READ)?;
            bad_results(state, page.address() as u64)?;
            Ok(Pass)
        },
    ));
    cases
}

fn of_wrong((what, spoil, expected): &'static Wrong) -> Case<State> {
    let name = format!("move: {what}: {}", uapi::errno::name(expected.0));
    Case::new(name, move |state: &mut State| {
        let mut argument = argument(state.bench()?);
        spoil(&mut argument);
        refused(&issue(state, &mut argument)?, &[], *expected)?;
        state.nothing_moved()?;
        Ok(Pass)
    })
}

/// The call with the structure as it is, which no library would make.
fn issue(state: &State, argument: &mut Move) -> Result<MoveReport> {
    Ok(issue_on(&state.bench()?.control, argument))
}

fn issue_on(control: &Control, argument: &mut Move) -> MoveReport {
    use std::os::fd::AsFd;
    let file = control.file().as_fd();
    // SAFETY: the structure is whole. Where it names results the kernel has to
    // refuse the pointer.
    let result = unsafe { uapi::raw_ioctl(file, uapi::IOC_MOVE, (&raw mut *argument).cast()) };
    MoveReport {
        pages_moved: argument.pages_moved,
        pages_done: argument.pages_done,
        pages_there: argument.pages_there,
        engine_used: argument.engine_used,
        aborts: argument.aborts,
        error: result
            .err()
            .map(|errno| Error::with_reason(Call::Move, errno, argument.reason)),
    }
}

/// The last two pages of the region and two behind it, all of which would stay
/// where they are: the first two have results, the third ends the call.
fn runs_off(state: &State) -> Result<()> {
    let bench = state.bench()?;
    let (report, results) = bench.move_pages(&bench.request(super::PAGES - 2, 4, bench.nodes.here));
    refused(&report, &results, NOT_MAPPED)?;
    ensure!(
        report.pages_there == 2,
        "{} pages were there",
        report.pages_there
    );
    let outcomes: Vec<u8> = results.iter().map(|result| result.outcome).collect();
    let [there, refused, not_tried] = [
        uapi::PAGE_ALREADY_THERE,
        uapi::PAGE_REFUSED,
        uapi::PAGE_NOT_TRIED,
    ];
    ensure!(
        outcomes == [there, there, refused, not_tried],
        "outcomes {outcomes:?}"
    );
    ensure!(
        report.pages_done == 3,
        "{} pages have a result",
        report.pages_done
    );
    state.nothing_moved()
}

fn bad_results(state: &State, pointer: u64) -> Result<()> {
    let mut argument = Move {
        results: pointer,
        ..argument(state.bench()?)
    };
    let report = issue(state, &mut argument)?;
    ensure!(
        bench::errno_of(&report) == libc::EFAULT,
        "{} instead of EFAULT",
        bench::describe(&report)
    );
    let there = state.bench()?.region.pages_on(state.bench()?.nodes.there)? as u64;
    ensure!(
        report.pages_moved == there,
        "{} pages are said to be moved, {there} are there",
        report.pages_moved
    );
    ensure!(
        there == 0,
        "a page was moved though its result could not be told"
    );
    state.nothing_moved()
}
