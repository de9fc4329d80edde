// SPDX-License-Identifier: GPL-2.0
//! CPUs that were set aside, which sessions leave alone unless a call names them. The VM has four,
//! and `nohz_full=2`.

use std::process::ExitCode;

use anyhow::{ensure, Result};
use pagemove_uapi::{MoveReport, MoveRequest, ENGINE_ADBIT, ENGINE_AUTO, ENGINE_RTM, REASON_CPUS};

use crate::bench;
use crate::cgroup::Isolated;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

const PAGES: usize = 4;

type Check = fn(&mut Rig) -> Result<()>;

pub fn main() -> ExitCode {
    let mut rig = match Rig::open(PAGES) {
        Ok(rig) => rig,
        Err(error) => return tap::fail_all(&error),
    };
    let cases: [(&str, Check); 4] = [
        ("CPUs of nohz_full are not taken", |rig| takes(rig, (3, 1))),
        ("nor are those of an isolated partition", |rig| {
            let _isolated = Isolated::new("3")?;
            takes(rig, (1, 0))
        }),
        ("those that the call names are", named),
        (
            "with one CPU left rtm is refused, and adbit moves",
            one_left,
        ),
    ];
    let cases = cases
        .into_iter()
        .map(|(name, check)| Case::new(name, move |rig: &mut Rig| check(rig).map(|()| Pass)))
        .collect();
    tap::run(&mut rig, cases)
}

/// Moves all pages to the other node; whether they move does not matter here.
fn call(rig: &Rig, engine: u32, change: impl FnOnce(&mut MoveRequest)) -> Result<MoveReport> {
    let to = rig.other(rig.node_of(0)?);
    let mut request = rig.request(0, PAGES, engine, to);
    request.retries = 20;
    change(&mut request);
    Ok(rig.move_patiently(&request).0)
}

/// Editor and helper of all sessions, in the order in which they were made.
fn sessions(rig: &Rig) -> Result<Vec<(u32, u32)>> {
    let sessions = rig.control.session_list()?;
    Ok(sessions
        .iter()
        .map(|session| (session.editor_cpu, session.helper_cpu))
        .collect())
}

/// A call that names no CPU takes these.
fn takes(rig: &mut Rig, pair: (u32, u32)) -> Result<()> {
    let before = sessions(rig)?;
    let report = call(rig, ENGINE_RTM, |_| {})?;
    let now = sessions(rig)?;
    ensure!(
        report.error.is_none() && !before.contains(&pair) && now.last() == Some(&pair),
        "{}: sessions {now:?}, before {before:?}",
        bench::describe(&report)
    );
    Ok(())
}

fn named(rig: &mut Rig) -> Result<()> {
    let _isolated = Isolated::new("3")?;
    let report = call(rig, ENGINE_RTM, |request| {
        request.editor_cpu = Some(2);
        request.helper_cpu = Some(3);
    })?;
    let now = sessions(rig)?;
    ensure!(
        report.error.is_none() && now.last() == Some(&(2, 3)),
        "{}: sessions {now:?}",
        bench::describe(&report)
    );
    Ok(())
}

fn one_left(rig: &mut Rig) -> Result<()> {
    let _isolated = Isolated::new("1,3")?;
    let before = sessions(rig)?;
    let refused = call(rig, ENGINE_RTM, |_| {})?;
    ensure!(
        refused
            .error
            .is_some_and(|error| (error.errno, error.reason) == (libc::EINVAL, REASON_CPUS)),
        "rtm: {}",
        bench::describe(&refused)
    );
    let report = call(rig, ENGINE_AUTO, |_| {})?;
    ensure!(
        report.error.is_none() && report.engine_used == ENGINE_ADBIT,
        "auto: {} by engine {}",
        bench::describe(&report),
        report.engine_used
    );
    ensure!(sessions(rig)? == before, "a session was made");
    Ok(())
}
