// SPDX-License-Identifier: GPL-2.0
//! A machine without RTM: `rtm` is refused with the reason, `auto` takes `adbit`.

use std::process::ExitCode;

use anyhow::{ensure, Result};
use pagemove_uapi::{ENGINE_ADBIT, ENGINE_AUTO, ENGINE_RTM, REASON_NO_RTM};

use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

const PAGES: usize = 4;

pub fn main() -> ExitCode {
    let mut rig = match Rig::open(PAGES) {
        Ok(rig) => rig,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = vec![
        Case::new(
            "engine rtm gives EOPNOTSUPP, reason no-rtm",
            |rig: &mut Rig| refused(rig).map(|()| Pass),
        ),
        Case::new("engine auto moves by adbit", |rig: &mut Rig| {
            falls_back(rig).map(|()| Pass)
        }),
    ];
    tap::run(&mut rig, cases)
}

fn refused(rig: &mut Rig) -> Result<()> {
    let request = rig.request(0, PAGES, ENGINE_RTM, rig.nodes.there);
    let (report, _) = rig.move_pages(&request);
    let found = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        found == Some((libc::EOPNOTSUPP, REASON_NO_RTM)),
        "{}",
        bench::describe(&report)
    );
    ensure!(rig.control.session_list()?.is_empty(), "a session was made");
    (0..PAGES).try_for_each(|page| super::is_intact(rig, page, rig.nodes.here, 0))
}

fn falls_back(rig: &mut Rig) -> Result<()> {
    let request = rig.request(0, PAGES, ENGINE_AUTO, rig.nodes.there);
    let (report, results) = rig.move_pages(&request);
    ensure!(
        report.pages_moved == PAGES as u64 && report.engine_used == ENGINE_ADBIT,
        "{} moved by engine {}: {}",
        report.pages_moved,
        report.engine_used,
        bench::describe(&report)
    );
    ensure!(
        results.iter().all(|result| result.engine == ENGINE_ADBIT),
        "a page says another engine"
    );
    (0..PAGES).try_for_each(|page| super::is_intact(rig, page, rig.nodes.there, 0))
}
