// SPDX-License-Identifier: GPL-2.0
//! Experiments with one member that is wrong, or on pages of others.

use anyhow::{ensure, Result};
use pagemove_uapi::{self as uapi, errno, Control, Error, Experiment, ExperimentRequest};

use super::State;
use crate::bench::{expect_errno, IOVA};
use crate::call::Call;
use pagemove_testkit::tap::{Case, Pass};

/// What is asked for, and the answer.
type Wrong = (&'static str, fn(&mut ExperimentRequest), (i32, u32));

const INVALID: (i32, u32) = (libc::EINVAL, uapi::REASON_NONE);
const UNKNOWN: (i32, u32) = (libc::EOPNOTSUPP, uapi::REASON_NONE);

const WRONG: &[Wrong] = &[
    ("kind 0", |e| e.kind = 0, UNKNOWN),
    ("kind 10", |e| e.kind = 10, UNKNOWN),
    ("kind 4294967295", |e| e.kind = u32::MAX, UNKNOWN),
    ("a time where there is none", |e| e.ns = 1, INVALID),
    (
        "a race of no time",
        |e| e.kind = uapi::EXPERIMENT_RACE,
        INVALID,
    ),
    (
        "a race that is too long",
        |e| (e.kind, e.ns) = (uapi::EXPERIMENT_RACE, uapi::MAX_EXPERIMENT_NS + 1),
        INVALID,
    ),
    (
        "frames that are swapped for no time",
        |e| e.kind = uapi::EXPERIMENT_FRAMES,
        INVALID,
    ),
    (
        "a write that is waited for no time",
        |e| e.kind = uapi::EXPERIMENT_LANDS,
        INVALID,
    ),
    (
        "frames of a page and of nothing behind it",
        |e| (e.kind, e.ns, e.iova) = (uapi::EXPERIMENT_FRAMES, 1, 4096u64.wrapping_neg()),
        INVALID,
    ),
    (
        "a watch that is too long",
        |e| (e.kind, e.ns) = (uapi::EXPERIMENT_WATCH, uapi::MAX_WATCH_NS + 1),
        INVALID,
    ),
    (
        "a watch on a CPU without RTM",
        |e| (e.kind, e.ns) = (uapi::EXPERIMENT_WATCH, uapi::MAX_WATCH_NS),
        (libc::EOPNOTSUPP, uapi::REASON_NO_RTM),
    ),
    ("an IOVA that begins no page", |e| e.iova += 1, INVALID),
    (
        "an IOVA that nothing maps",
        |e| e.iova = 0,
        (libc::ENOENT, uapi::REASON_NOT_MAPPED),
    ),
    (
        "the last page of the address space",
        |e| e.iova = 4096u64.wrapping_neg(),
        (libc::ENOENT, uapi::REASON_NOT_MAPPED),
    ),
    (
        "a device that is none",
        |e| e.device.segment = 0xffff,
        (libc::ENODEV, uapi::REASON_NONE),
    ),
];

fn right(state: &State) -> Result<ExperimentRequest> {
    Ok(ExperimentRequest {
        kind: uapi::EXPERIMENT_USED,
        device: state.bench()?.device,
        iova: IOVA,
        ns: 0,
    })
}

fn case(name: String, check: impl FnOnce(&State) -> Result<()> + 'static) -> Case<State> {
    Case::new(name, |state: &mut State| {
        check(state)?;
        state.nothing_moved()?;
        Ok(Pass)
    })
}

fn expect(error: Option<Error>, expected: (i32, u32)) -> Result<()> {
    let found = error.map_or((0, 0), |error| (error.errno, error.reason));
    ensure!(
        found == expected,
        "errno {} with reason {} instead of {} with reason {}",
        found.0,
        found.1,
        errno::name(expected.0),
        expected.1
    );
    Ok(())
}

pub fn cases() -> Vec<Case<State>> {
    let mut cases: Vec<Case<State>> = WRONG.iter().map(of_wrong).collect();
    cases.push(case(
        "experiment: one that is right works".into(),
        |state| {
            state.bench()?.region.control.experiment(&right(state)?)?;
            Ok(())
        },
    ));
    cases.push(case(
        "experiment: a page of another file's region: EACCES".into(),
        |state| {
            let tried = Control::open()?.experiment(&right(state)?);
            expect(tried.err(), (libc::EACCES, uapi::REASON_NOT_SCRATCH))
        },
    ));
    let sizes = [
        ("no bytes", 0, libc::EINVAL),
        (
            "a byte less than V0",
            uapi::EXPERIMENT_SIZE_V0 as u32 - 1,
            libc::EINVAL,
        ),
        ("a page and a byte", 4097, libc::E2BIG),
    ];
    for (what, size, expected) in sizes {
        let name = format!("experiment: a size of {what}: {}", errno::name(expected));
        cases.push(case(name, move |_| {
            let call = Call::new(
                "experiment",
                uapi::IOC_EXPERIMENT,
                Experiment::default(),
                uapi::EXPERIMENT_SIZE_V0,
            );
            let found = call.with_size(size).issue(&Control::open()?);
            expect_errno("experiment", found, expected)
        }));
    }
    cases
}

fn of_wrong((what, spoil, expected): &'static Wrong) -> Case<State> {
    let name = format!("experiment: {what}: {}", errno::name(expected.0));
    case(name, move |state| {
        let mut request = right(state)?;
        spoil(&mut request);
        expect(
            state.bench()?.region.control.experiment(&request).err(),
            *expected,
        )
    })
}
