// SPDX-License-Identifier: GPL-2.0
//! A helper that is away whenever the editor wants to meet it, as if another thread had its
//! CPU: nothing is posted to it, and a call without a deadline ends soon.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, wait};
use pagemove_uapi::{
    MoveReport, PageResult, Session, ABORT_LATE, ENGINE_ADBIT, ENGINE_AUTO, ENGINE_RTM, PAGE_MOVED,
    REASON_CPUS,
};

use super::{is_intact, move_over, session};
use crate::bench;
use crate::patience::is_absence;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

const PAGES: usize = 8;
/// Without the rule a call makes so many attempts at each page, and each takes as long as the
/// helper is away.
const RETRIES: u32 = 30;
/// How long it is away each time: longer than the editor waits.
const AWAY_US: u32 = 60_000;
/// Meetings that may be missed in a row: see `Absence` in the engine.
const MISSED: u64 = 20;

pub fn main(parameters: &str) -> ExitCode {
    let parameters = parameters.to_string();
    let always = format!("stall_for_ms=1000000 {parameters}");
    // From the first stall on: many times as long as it takes to give rtm up.
    let passing = format!("stall_for_ms=8000 {parameters}");
    let again = always.clone();
    let cases = vec![
        Case::new(
            "rtm named: the call ends with EBUSY (cpus) and nothing has moved",
            move |_: &mut ()| named(&always).map(|()| Pass),
        ),
        Case::new(
            "auto: adbit moves all pages, also of the next call",
            move |_: &mut ()| auto(&again).map(|()| Pass),
        ),
        Case::new(
            "when the helper comes again, so does rtm",
            move |_: &mut ()| comes_back(&passing).map(|()| Pass),
        ),
    ];
    tap::run(&mut (), cases)
}

fn open(parameters: &str) -> Result<Rig> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with(&format!(
        "allow_incoherent=1 allow_unqualified=1 longest_us=3000 \
         stall_step=11 stall_us={AWAY_US} {parameters}"
    ))?;
    Rig::open(PAGES)
}

/// One call for all pages, without a deadline.
fn move_all(rig: &Rig, engine: u32) -> (MoveReport, Vec<PageResult>) {
    let mut request = rig.request(0, PAGES, engine, rig.nodes.there);
    request.retries = RETRIES;
    let begin = Instant::now();
    let (report, results) = rig.move_pages(&request);
    let took = begin.elapsed();
    tap::note(&format!("{} after {took:?}", bench::describe(&report)));
    (report, results)
}

/// What the session has done since: attempts that were late, and transactions.
fn since(before: Option<Session>, rig: &Rig) -> Result<(u64, u64)> {
    let now = session(rig)?;
    let late = usize::from(ABORT_LATE);
    let (aborts, transactions) =
        before.map_or((0, 0), |before| (before.aborts[late], before.transactions));
    Ok((now.aborts[late] - aborts, now.transactions - transactions))
}

fn named(parameters: &str) -> Result<()> {
    let mut rig = open(parameters)?;
    let (report, results) = move_all(&rig, ENGINE_RTM);
    let found = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        found == Some((libc::EBUSY, REASON_CPUS)) && report.pages_moved == 0,
        "{}",
        bench::describe(&report)
    );
    let (late, transactions) = since(None, &rig)?;
    ensure!(
        (late, transactions) == (MISSED, 0),
        "{late} late, {transactions} transactions"
    );
    let first = results.first().context("no result")?;
    ensure!(first.abort == ABORT_LATE, "cause {}", first.abort);
    let here = rig.nodes.here;
    (0..PAGES).try_for_each(|page| is_intact(&mut rig, page, here, 0))
}

fn auto(parameters: &str) -> Result<()> {
    let mut rig = open(parameters)?;
    let mut before = None;
    for seed in [0, 1] {
        let (report, results) = move_all(&rig, ENGINE_AUTO);
        ensure!(
            report.error.is_none() && report.pages_moved == PAGES as u64,
            "{}",
            bench::describe(&report)
        );
        let by_adbit =
            |result: &PageResult| result.outcome == PAGE_MOVED && result.engine == ENGINE_ADBIT;
        ensure!(results.iter().all(by_adbit), "{results:?}");
        let (late, transactions) = since(before, &rig)?;
        // Each call tries it anew.
        ensure!(
            (1..=MISSED).contains(&late) && transactions == 0,
            "{late} late, {transactions} transactions"
        );
        before = Some(session(&rig)?);
        let there = rig.nodes.there;
        for page in 0..PAGES {
            is_intact(&mut rig, page, there, seed)?;
            rig.fill(page, 1);
        }
        (rig.nodes.here, rig.nodes.there) = (there, rig.nodes.here);
    }
    Ok(())
}

fn comes_back(parameters: &str) -> Result<()> {
    let mut rig = open(parameters)?;
    let mut absent = 0;
    wait::until("rtm moves again", Duration::from_secs(60), || {
        let (report, _) = move_all(&rig, ENGINE_RTM);
        absent += u32::from(is_absence(&report));
        ensure!(
            report.error.is_none() || is_absence(&report),
            "{}",
            bench::describe(&report)
        );
        Ok(report.error.is_none())
    })?;
    ensure!(absent > 0, "the helper was never absent");
    tap::note(&format!("{absent} calls without a helper before"));
    (0..PAGES).try_for_each(|page| move_over(&mut rig, page, 0))
}
