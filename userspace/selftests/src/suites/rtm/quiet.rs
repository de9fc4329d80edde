// SPDX-License-Identifier: GPL-2.0
//! Moves of every table format while the device is quiet.

use std::process::ExitCode;

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::{self as uapi, text, ENGINE_RTM, PAGE_MOVED};

use super::move_over;
use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

const PAGES: usize = 48;
/// Rounds over all pages, to the other node and back.
const ROUNDS: u64 = 4;

pub fn main(format: &str) -> ExitCode {
    let Some(number) = text::number(text::FORMATS, format) else {
        return tap::fail_all(&anyhow::anyhow!("no format {format}"));
    };
    let mut rig = match Rig::open(PAGES) {
        Ok(rig) => rig,
        Err(error) => return tap::fail_all(&error),
    };
    tap::note(&format!(
        "{format}: the device makes no DMA while pages are moved; rtm-soak is about that"
    ));
    let cases = vec![
        Case::new(
            format!("{format}: the device's table has this format, and rtm works on it"),
            move |rig: &mut Rig| is_listed(rig, number).map(|()| Pass),
        ),
        Case::new(
            format!("{format}: one page after another moves by rtm; CPU and device agree"),
            |rig: &mut Rig| one_by_one(rig).map(|()| Pass),
        ),
        Case::new(
            format!("{format}: batches move by rtm to and fro; CPU and device agree"),
            |rig: &mut Rig| batches(rig).map(|()| Pass),
        ),
        Case::new(
            format!("{format}: what the device writes after a move is in the new page"),
            |rig: &mut Rig| written_after(rig).map(|()| Pass),
        ),
        Case::new(
            format!("{format}: the time without interrupts is counted, once for each transaction"),
            |rig: &mut Rig| without_interrupts(rig).map(|()| Pass),
        ),
    ];
    tap::run(&mut rig, cases)
}

/// How long that is here says nothing: the transactions are emulated.
fn without_interrupts(rig: &mut Rig) -> Result<()> {
    let stats = rig.control.stats()?;
    let sessions = rig.control.session_list()?;
    let transactions: u64 = sessions.iter().map(|session| session.transactions).sum();
    let counted: u64 = stats.irqs_off.iter().sum();
    tap::note(&format!(
        "{transactions} transactions, interrupts off for {} ns at most",
        stats.irqs_off_max_ns
    ));
    ensure!(
        transactions > 0 && counted == transactions,
        "{counted} times for {transactions} transactions"
    );
    let longest = sessions.iter().map(|session| session.irqs_off_max_ns).max();
    ensure!(
        longest == Some(stats.irqs_off_max_ns),
        "{} ns instead of {longest:?}",
        stats.irqs_off_max_ns
    );
    Ok(())
}

fn is_listed(rig: &mut Rig, format: u32) -> Result<()> {
    let devices = rig.control.device_list()?;
    let listed = devices
        .iter()
        .find(|device| {
            (device.segment, device.bus, device.devfn)
                == (rig.device.segment, rig.device.bus, rig.device.devfn)
        })
        .context("the device is not listed")?;
    ensure!(listed.format == format, "format {}", listed.format);
    ensure!(
        listed.engines & 1 << ENGINE_RTM != 0,
        "engines {:#x}, reason {}",
        listed.engines,
        listed.reason
    );
    Ok(())
}

fn one_by_one(rig: &mut Rig) -> Result<()> {
    for page in 0..rig.pages() {
        rig.fill(page, 1);
        move_over(rig, page, 1)?;
        move_over(rig, page, 1)?;
    }
    Ok(())
}

fn batches(rig: &mut Rig) -> Result<()> {
    let (mut together, mut alone) = (0u64, 0u64);
    for round in 0..ROUNDS {
        for page in 0..rig.pages() {
            rig.fill(page, 10 + round);
        }
        let node = rig.other(rig.node_of(0)?);
        let mut request = rig.request(0, rig.pages(), ENGINE_RTM, node);
        request.retries = 1000;
        let before = super::session(rig)?.commits;
        let (report, results) = rig.move_patiently(&request);
        if report.pages_moved != rig.pages() as u64 {
            let left = results.iter().find(|result| result.outcome != PAGE_MOVED);
            let cause = left.map(super::cause).unwrap_or_default();
            bail!(
                "{} moved, {}; {cause}",
                report.pages_moved,
                bench::describe(&report)
            );
        }
        ensure!(
            results.iter().all(|result| result.engine == ENGINE_RTM),
            "a page was moved by another engine"
        );
        let commits = super::session(rig)?.commits - before;
        if commits < report.pages_moved {
            together += 1;
        } else {
            alone += 1;
        }
        for page in 0..rig.pages() {
            super::is_intact(rig, page, node, 10 + round)?;
        }
        describe(&report, commits);
    }
    ensure!(
        together > 0,
        "no transaction changed several entries in {alone} rounds"
    );
    Ok(())
}

fn describe(report: &uapi::MoveReport, commits: u64) {
    let aborts: Vec<String> = text::ABORTS
        .iter()
        .zip(report.aborts)
        .filter(|(_, n)| *n != 0)
        .map(|(text, n)| format!("{} {n}", text.name))
        .collect();
    tap::note(&format!(
        "{} pages in {commits} transactions; aborts: {}",
        report.pages_moved,
        aborts.join(", ")
    ));
}

fn written_after(rig: &mut Rig) -> Result<()> {
    for page in 0..8 {
        let node = rig.other(rig.node_of(page)?);
        rig.fill(page, 20);
        move_over(rig, page, 20)?;
        rig.write_by_device(page, 21)?;
        super::is_intact(rig, page, node, 21)?;
    }
    Ok(())
}
