// SPDX-License-Identifier: GPL-2.0
//! `ats`: pages of a device with ATS are moved, and the runner is told which, so that
//! it can compare that with what QEMU traced of the invalidations (xtask,
//! judge/devtlb.rs).
//!
//! First *quiet* pages, which the device maps and does not use while it makes DMA
//! elsewhere: each move succeeds at its first attempt, so the trace has to hold exactly
//! what the protocol says. (A transaction can fail by itself; it is told which did.) Then
//! everything is moved, pages and rings in use.

use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use pagemove_uapi::{PciAddress, PAGE_SIZE};

use crate::campaign::patience::Patience;
use crate::campaign::tool::Range;
use crate::campaign::{judge_last, with_tap, Campaign};
use crate::guest::Layout;
use pagemove_devices::pci::PciBus;
use pagemove_testkit::tap::{claim, Tap};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The device; without it, the first network card.
    #[arg(long)]
    pub address: Option<PciAddress>,
    /// The device has no ATS: nothing is to be sent to it.
    #[arg(long)]
    pub without_ats: bool,
    /// How often each run of quiet pages is moved.
    #[arg(long, default_value_t = 6)]
    pub rounds: u32,
    /// Page moves under DMA; 0: none.
    #[arg(long, default_value_t = 3000)]
    pub storm: u64,
    #[command(flatten)]
    pub campaign: crate::campaign::Options,
}

/// Runs of quiet pages, by first page and count: single ones, blocks, and runs that
/// begin or end inside a block, so that an invalidation can't name them exactly. None has a
/// page in the block around the run before it: then the runner can tell whose invalidations
/// it sees, though there were retries.
const RUNS: [(u64, u64); 9] = [
    (0, 1),
    (5, 1),
    (8, 8),
    (2, 2),
    (7, 2),
    (16, 16),
    (1, 3),
    (13, 7),
    (64, 64),
];

const QUIET_PAGES: u64 = 128;

const TESTS: usize = 5;

pub fn run(options: &Options) -> Result<ExitCode> {
    let mut arguments = ["--device", "virtio-net", "--pages", "64", "--cpu-pages"]
        .map(String::from)
        .to_vec();
    // So many that a block of all quiet pages is among them.
    arguments.push((2 * QUIET_PAGES).to_string());
    if let Some(address) = options.address {
        arguments.extend(["--address".to_string(), address.to_string()]);
    }
    Ok(with_tap(
        TESTS,
        &options.campaign,
        &arguments,
        |campaign, tap| moves(campaign, options, tap),
    ))
}

fn moves(mut campaign: Campaign, options: &Options, tap: &mut Tap) -> Result<()> {
    let layout = campaign.guest.layout.clone();
    let address: PciAddress = layout.device.parse()?;
    let ats = PciBus::default().ats_enabled(address)?;
    tap.test(
        ats != options.without_ats,
        &format!(
            "ATS of {address} is {}",
            if ats { "enabled" } else { "off" }
        ),
    );
    let sid = u16::from(address.bus) << 8 | u16::from(address.devfn);
    let kind = if options.without_ats { "plain" } else { "ats" };
    claim(&format!("device {sid:04x} {:#x} {kind}", layout.iova));
    quiet(&mut campaign, options, tap)?;
    storm(&mut campaign, options, tap)?;
    let last = campaign.guest.stop()?;
    judge_last(&last, tap);
    Ok(())
}

/// The first quiet page: its IOVA is that of a block of all of them.
fn first_quiet(layout: &Layout) -> u64 {
    let base = layout.iova / PAGE_SIZE as u64;
    (base + layout.control_pages as u64).next_multiple_of(QUIET_PAGES) - base
}

/// Moves runs of pages that only the CPU uses; DMA goes on in others.
fn quiet(campaign: &mut Campaign, options: &Options, tap: &mut Tap) -> Result<()> {
    let whole = campaign.range;
    let first_page = first_quiet(&campaign.guest.layout);
    let dmas = campaign.guest.status()?.dmas();
    let (mut moved, mut retried) = (0, 0);
    for round in 0..options.rounds {
        let node = 1 - (round % 2) as i32;
        for (first, count) in RUNS {
            let first = first_page + first;
            let offset = first * PAGE_SIZE as u64;
            campaign.range = Range {
                offset,
                iova: campaign.guest.layout.iova + offset,
                length: count * PAGE_SIZE as u64,
            };
            let at_once = move_run(campaign, options, node, count)?;
            retried += u32::from(!at_once);
            let kind = if at_once { "moved" } else { "retried" };
            claim(&format!("{kind} {first} {count}"));
            moved += count;
        }
    }
    campaign.range = whole;
    let runs = options.rounds * RUNS.len() as u32;
    tap.test(
        retried < runs,
        &format!(
            "{moved} quiet pages moved in {runs} runs, of {} each page at its first attempt",
            runs - retried
        ),
    );
    let dmas = campaign.guest.status()?.dmas() - dmas;
    tap.test(dmas > 0, &format!("{dmas} DMAs to other pages meanwhile"));
    Ok(())
}

/// Moves all pages of a run. Whether each moved at its first attempt, which those of engine
/// rtm need not: a transaction can be aborted by what has nothing to do with it.
fn move_run(campaign: &mut Campaign, options: &Options, node: i32, count: u64) -> Result<bool> {
    let may_fail = options.campaign.engine == "rtm";
    let mut patience = Patience::begin();
    let mut calls = 0;
    while !patience.is_over() {
        let report = campaign.move_even_if_there(node)?;
        let attempts: u64 = report
            .results
            .iter()
            .map(|page| u64::from(page.attempts))
            .sum();
        patience.count(&report);
        calls += 1;
        let at_once = calls == 1 && attempts == count;
        ensure!(
            may_fail || at_once,
            "of {count} quiet pages {} were moved, in {attempts} attempts: {:?}",
            report.pages_moved,
            report.error
        );
        if report.pages_moved == count {
            return Ok(at_once);
        }
    }
    bail!("{count} quiet pages were not moved by {calls} calls")
}

/// Moves everything, and meets DMAs.
fn storm(campaign: &mut Campaign, options: &Options, tap: &mut Tap) -> Result<()> {
    if options.storm == 0 {
        tap.skip("moves of pages in use", "none were asked for");
        return Ok(());
    }
    let quiet = campaign.sums.pages_moved;
    let mut node = 1;
    let mut moved = 0;
    while moved < options.storm && !campaign.time_is_up() {
        let report = campaign.move_even_if_there(node)?;
        if let Some(why) = report.fatal() {
            anyhow::bail!("moving ended: {why}");
        }
        moved = campaign.sums.pages_moved - quiet;
        node = 1 - node;
    }
    claim(&format!("storm {moved}"));
    tap.test(
        moved >= options.storm && campaign.misplaced == 0,
        &format!(
            "{moved} pages moved under DMA, rings too; aborts: {}",
            campaign.sums.describe_aborts()
        ),
    );
    Ok(())
}
