// SPDX-License-Identifier: GPL-2.0
//! `soak`: thousands of page moves under continuous DMA, with nothing lost.
//! `edu`: the same in small, with the slow device.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::campaign::patience::Patience;
use crate::campaign::{describe_windows, with_tap, Campaign};
use crate::ledger::account::Status;
use pagemove_devices::device::Kind;
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{note, Tap};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Kind of device that makes the DMA.
    #[arg(long, value_enum, default_value = "nvme")]
    pub device: Kind,
    /// Page moves to make.
    #[arg(long, default_value_t = 20_000)]
    pub moves: u64,
    /// DMAs to make meanwhile.
    #[arg(long, default_value_t = 20_000)]
    pub dmas: u64,
    /// DMAs a second that there have to be, on average; a sixth of it on a kernel that looks for mistakes,
    /// and no more than a part of what the device does on this machine while nothing moves.
    #[arg(long, default_value_t = 1000)]
    pub min_rate: u64,
    /// Pages of the data area.
    #[arg(long, default_value_t = 128)]
    pub pages: usize,
    #[command(flatten)]
    pub campaign: crate::campaign::Options,
}

impl Options {
    /// The small one: edu does ten transfers a second.
    pub fn for_edu(campaign: crate::campaign::Options) -> Self {
        Self {
            device: Kind::Edu,
            moves: 500,
            dmas: 60,
            min_rate: 5,
            pages: 4,
            campaign,
        }
    }

    /// DMAs a second that are wanted on this kernel, and on a machine where there are `alone` while
    /// nothing moves.
    fn rate(&self, alone: f64) -> f64 {
        let rate = self.min_rate as f64 / f64::from(slowness());
        rate.min(alone / SHARE)
    }

    /// Returns whether DMAs and moves are many enough to meet for certain.
    fn expects_aborts(&self) -> bool {
        self.min_rate >= 50 && self.moves >= 1000
    }
}

/// How long the device is watched before anything moves.
const ALONE: Duration = Duration::from_secs(2);
/// What is left of its DMAs while pages move, at least: one of so many. Moves and DMAs share two
/// CPUs, which others may use, too.
const SHARE: f64 = 3.0;

/// Between two lines of progress.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// Between two calls.
const LONGEST_REST: Duration = Duration::from_millis(200);

const TESTS: usize = 9;

pub fn run(options: &Options) -> Result<ExitCode> {
    let kind = options.device.name();
    let arguments = ["--device", kind, "--pages", &options.pages.to_string()].map(String::from);
    Ok(with_tap(
        TESTS,
        &options.campaign,
        &arguments,
        |campaign, tap| soak(campaign, options, kind, tap),
    ))
}

fn soak(mut campaign: Campaign, options: &Options, kind: &str, tap: &mut Tap) -> Result<()> {
    let layout = campaign.guest.layout.clone();
    tap.test(
        true,
        &format!(
            "{kind} {} DMAs into {} pages at IOVA {:#x}: {} of rings and lists, {} of CPU writers, {} of data",
            layout.device, campaign.pages(), layout.iova, layout.control_pages, layout.cpu_pages, layout.data_pages
        ),
    );
    let alone = rate_alone(&mut campaign)?;
    let rate = options.rate(alone);
    let stopped = back_and_forth(&mut campaign, options, rate)?;
    let during = campaign.guest.status()?;
    let gathered = gather(&mut campaign, 0)?;
    report_moves(&campaign, options, &stopped, tap);
    report_dma(&campaign, &during, (rate, alone), tap);
    report_places(&campaign, gathered, tap)?;
    finish(campaign, tap)
}

/// DMAs a second while nothing moves: what this machine can do, beside whatever else it does.
/// What comes afterwards is counted from here.
fn rate_alone(campaign: &mut Campaign) -> Result<f64> {
    let before = campaign.guest.status()?;
    std::thread::sleep(ALONE);
    campaign.status_before = campaign.guest.status()?;
    Ok(campaign.status_before.rate_since(&before))
}

/// Moves everything to node 1, to node 0 and so on. Says why it stopped, if
/// not because it was done.
fn back_and_forth(campaign: &mut Campaign, options: &Options, rate: f64) -> Result<Option<String>> {
    let mut node = 1;
    let mut dmas = 0;
    let mut noted = Instant::now();
    let aborted =
        |campaign: &Campaign| campaign.sums.aborts_by_access() > 0 || !options.expects_aborts();
    while campaign.sums.pages_moved < options.moves || dmas < options.dmas || !aborted(campaign) {
        if campaign.time_is_up() {
            return Ok(Some("the time is up".to_string()));
        }
        let report = campaign.move_to(node)?;
        if let Some(why) = report.fatal() {
            return Ok(Some(why));
        }
        let status = campaign.guest.status()?;
        if !status.is_clean() || report.found_loss() {
            return Ok(Some(status.describe_losses()));
        }
        rest(campaign, &status, rate)?;
        if noted.elapsed() >= NOTE_EVERY {
            progress(campaign, &status, options.moves);
            noted = Instant::now();
        }
        dmas = status.dmas();
        node = 1 - node;
    }
    Ok(None)
}

/// Where the machine is slow, moves leave the CPUs to the DMAs for a while: at
/// most as long as it takes to get well above the rate that is wanted.
fn rest(campaign: &mut Campaign, status: &Status, rate: f64) -> Result<()> {
    let wanted = rate * 1.5;
    let began = Instant::now();
    let mut rate = status.rate_since(&campaign.status_before);
    while rate < wanted && began.elapsed() < LONGEST_REST {
        std::thread::sleep(Duration::from_millis(20));
        rate = campaign.guest.status()?.rate_since(&campaign.status_before);
    }
    Ok(())
}

fn progress(campaign: &Campaign, status: &Status, moves: u64) {
    note(&format!(
        "{:.0} s: {} of {moves} pages moved, {} DMAs, {:.0} a second, aborts: {}",
        status.seconds,
        campaign.sums.pages_moved,
        status.dmas(),
        status.rate_since(&campaign.status_before),
        campaign.sums.describe_aborts()
    ));
}

/// Brings every page to one node. False: some stayed away.
fn gather(campaign: &mut Campaign, node: i32) -> Result<bool> {
    let mut patience = Patience::begin();
    while !patience.is_over() {
        if campaign.places()?.iter().all(|place| *place == node) {
            return Ok(true);
        }
        let report = campaign.move_to(node)?;
        if report.fatal().is_some() {
            return Ok(false);
        }
        patience.count(&report);
    }
    Ok(campaign.places()?.iter().all(|place| *place == node))
}

fn report_moves(campaign: &Campaign, options: &Options, stopped: &Option<String>, tap: &mut Tap) {
    let sums = &campaign.sums;
    let why = stopped
        .as_ref()
        .map_or(String::new(), |why| format!(" ({why})"));
    tap.test(
        sums.pages_moved >= options.moves && campaign.engine_is_as_asked(),
        &format!(
            "{}, with --engine {}, in {} calls, {} wanted{why}",
            sums.describe_moved(),
            campaign.tool.engine,
            sums.calls,
            options.moves
        ),
    );
    let aborts = format!(
        "aborts: {}; {} pages moved by a later attempt, {} given up by a call",
        sums.describe_aborts(),
        sums.moved_by_retry,
        sums.given_up
    );
    if options.expects_aborts() {
        tap.test(
            sums.aborts_by_access() > 0 && sums.moved_by_retry > 0,
            &aborts,
        );
    } else {
        tap.skip(&aborts, "DMAs are too few to meet a move for certain");
    }
    tap.test(
        sums.lost == 0,
        &format!(
            "{} pages with a lost write by the module's own verification",
            sums.lost
        ),
    );
}

fn report_dma(campaign: &Campaign, during: &Status, rates: (f64, f64), tap: &mut Tap) {
    let (wanted, alone) = rates;
    let rate = during.rate_since(&campaign.status_before);
    let dmas = during.dmas() - campaign.status_before.dmas();
    tap.test(
        dmas > 0 && rate >= wanted,
        &format!(
            "{dmas} DMAs meanwhile, {rate:.0} a second, at least {wanted:.0} wanted ({alone:.0} \
             while nothing moved)"
        ),
    );
}

fn report_places(campaign: &Campaign, gathered: bool, tap: &mut Tap) -> Result<()> {
    tap.test(
        campaign.misplaced == 0,
        &format!(
            "{} pages were not where the tool said, after {} calls",
            campaign.misplaced, campaign.sums.calls
        ),
    );
    if campaign.came_home > 0 {
        note(&format!(
            "{} pages were touched by a CPU, and home, when somebody looked",
            campaign.came_home
        ));
    }
    tap.test(
        gathered,
        &format!("all {} pages are at node 0 at last", campaign.pages()),
    );
    let counted = campaign.stats()?.pages_moved - campaign.stats_before.pages_moved;
    tap.test(
        counted == campaign.sums.pages_moved,
        &format!(
            "the module counts {counted} pages moved, the tool {}",
            campaign.sums.pages_moved
        ),
    );
    note(&format!(
        "window: {}",
        describe_windows(&campaign.windows()?)
    ));
    Ok(())
}

fn finish(campaign: Campaign, tap: &mut Tap) -> Result<()> {
    let last = campaign.guest.stop()?;
    for event in &last.events {
        note(event);
    }
    tap.test(
        last.is_clean(),
        &format!(
            "{} pages compared, {} CPU writes: {} lost, {} stale, {} corrupt, {} unfinished, {} CPU writes lost",
            last.checked, last.cpu_writes, last.lost, last.stale, last.corrupt, last.unfinished, last.cpu_lost
        ),
    );
    if let Some(why) = last.failed {
        note(&format!("the guest failed: {why}"));
    }
    Ok(())
}
