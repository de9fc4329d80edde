// SPDX-License-Identifier: GPL-2.0
//! `storm`: devices with deep queues work on blocks of 4 KiB, each with content and a
//! version of its own, while every page of the memory is moved from node to node the whole
//! time. In memory each block is compared as it comes back, and at last the media are read
//! back by a way that no moved page is on.

mod outcome;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_uapi::{PciAddress, Stats};

use crate::campaign::mover::{Mover, Work};
use crate::campaign::tool::Range;
use crate::campaign::{describe_windows, Campaign};
use crate::ledger::account::Status;
use crate::programs::display::{bar, conclude, print, Display};
use crate::programs::figures::Figures;
use outcome::Outcome;
use pagemove_devices::device::Kind;
use pagemove_devices::pci::PciBus;
use pagemove_testkit::tap::{note, Tap};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The devices: they share the memory of one guest, or each has a guest of its own.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nvme")]
    pub devices: Vec<Kind>,
    /// A guest, and so a region and a container, for each device.
    #[arg(long)]
    pub apart: bool,
    /// Movers at a time for each guest: each has a part of the memory, and another of the
    /// devices as the one that it names.
    #[arg(long, default_value_t = 1)]
    pub movers: usize,
    /// Pages that a call of the tool moves at most; 0: all of a mover's part.
    #[arg(long, default_value_t = 0)]
    pub call_pages: u64,
    /// Blocks of 4 KiB that the devices have to read or write.
    #[arg(long, default_value_t = 20_000)]
    pub blocks: u64,
    /// Page moves that there have to be meanwhile.
    #[arg(long, default_value_t = 1000)]
    pub moves: u64,
    /// Pages of each guest's data area.
    #[arg(long, default_value_t = 640)]
    pub pages: usize,
    /// Commands in flight for each device, as far as it can.
    #[arg(long, default_value_t = 63)]
    pub queue_depth: u16,
    /// So many commands are prepared before a device is told of them.
    #[arg(long, default_value_t = 36)]
    pub burst: usize,
    /// Blocks of each medium that are worked on.
    #[arg(long, default_value_t = 4096)]
    pub roam: usize,
    /// Move without the module's verification: then only the comparisons can find a loss.
    /// Rings and lists stay where they are: a lost entry would stop the device before data
    /// is lost.
    #[arg(long)]
    pub no_verify: bool,
    /// A display for people, with all figures at the end, instead of TAP.
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub campaign: crate::campaign::Options,
}

/// Between two looks at the accounts.
const LOOK: Duration = Duration::from_millis(250);
/// Between two lines of progress.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// Results of the program: one more where a medium keeps what was written.
fn tests(options: &Options) -> usize {
    8 + usize::from(options.devices.iter().any(|kind| kind.keeps()))
}

pub fn run(options: &Options) -> Result<ExitCode> {
    if options.live {
        return show(options);
    }
    let mut tap = Tap::plan(tests(options));
    let result = Storm::start(options).and_then(|storm| storm.judge(options, &mut tap));
    if let Err(error) = result {
        tap.fail_the_rest(&format!("it ended early: {error:#}"));
    }
    Ok(tap.exit_code())
}

/// Guests whose memory is being moved.
struct Storm {
    campaigns: Vec<Campaign>,
    movers: Vec<Mover>,
    stop: Arc<AtomicBool>,
    stats_before: Stats,
    began: Instant,
}

impl Storm {
    fn start(options: &Options) -> Result<Self> {
        let arguments = arguments(options)?;
        let start = |arguments: &Vec<String>| {
            Campaign::start(&options.campaign, options.no_verify, arguments)
        };
        let campaigns = arguments
            .iter()
            .map(start)
            .collect::<Result<Vec<Campaign>>>()?;
        let stats_before = campaigns[0].stats()?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut storm = Self {
            campaigns,
            movers: Vec::new(),
            stop,
            stats_before,
            began: Instant::now(),
        };
        for campaign in &storm.campaigns {
            let layout = &campaign.guest.layout;
            let range = if options.no_verify {
                Range::without_control(layout)
            } else {
                campaign.range
            };
            for (number, part) in range.divide(options.movers).into_iter().enumerate() {
                let device = &layout.devices[number % layout.devices.len()];
                let calls = match options.call_pages {
                    0 => 1,
                    pages => part.pages().div_ceil(pages) as usize,
                };
                let ranges = part.divide(calls);
                let mover =
                    Mover::start(campaign.tool.clone(), layout, device, ranges, &storm.stop)?;
                storm.movers.push(mover);
            }
        }
        Ok(storm)
    }

    fn introduce(&self, options: &Options) -> String {
        let describe = |campaign: &Campaign| {
            let layout = &campaign.guest.layout;
            let devices = layout.kinds.iter().zip(&layout.devices);
            let devices: Vec<String> = devices
                .map(|(kind, address)| format!("{kind} {address}"))
                .collect();
            format!(
                "{} on {} pages at IOVA {:#x}",
                devices.join(" and "),
                campaign.pages(),
                layout.iova
            )
        };
        let guests: Vec<String> = self.campaigns.iter().map(describe).collect();
        format!(
            "{}; {} movers at a time, engine {}",
            guests.join("; "),
            self.movers.len(),
            options.campaign.engine
        )
    }

    fn statuses(&mut self) -> Result<Vec<Status>> {
        self.campaigns
            .iter_mut()
            .map(|campaign| campaign.guest.status())
            .collect()
    }

    /// Waits until enough was done and moves have met accesses, or something is wrong, or the time is up; `look` sees
    /// how far it is.
    fn rage(
        &mut self,
        options: &Options,
        mut look: impl FnMut(&Self, &[Status]) -> Result<()>,
    ) -> Result<()> {
        loop {
            std::thread::sleep(LOOK);
            let statuses = self.statuses()?;
            look(self, &statuses)?;
            let work: Vec<Work> = self.movers.iter().map(Mover::work).collect();
            let blocks: u64 = statuses.iter().map(Status::blocks).sum();
            let moves: u64 = work.iter().map(|one| one.sums.pages_moved).sum();
            let each_moved = work.iter().all(|one| one.sums.pages_moved > 0);
            let is_wrong = work.iter().any(|one| one.ended.is_some())
                || statuses.iter().any(|status| !status.is_clean());
            let have_met = work.iter().any(|one| one.sums.aborts_by_access() > 0);
            let is_done =
                blocks >= options.blocks && moves >= options.moves && each_moved && have_met;
            if is_wrong || is_done || self.campaigns[0].time_is_up() {
                return Ok(());
            }
        }
    }

    /// Ends the moves first, then the guests, which check everything once more.
    fn end(mut self) -> Result<Outcome> {
        let during = self.statuses()?;
        let elapsed = self.began.elapsed();
        self.stop.store(true, Ordering::Relaxed);
        let work: Vec<Work> = self.movers.into_iter().map(Mover::finish).collect();
        let stats = self.campaigns[0].stats()?;
        let windows = describe_windows(&self.campaigns[0].windows()?);
        let engine = self.campaigns[0].tool.engine.clone();
        let names: Vec<String> = self
            .campaigns
            .iter()
            .flat_map(|campaign| {
                let layout = &campaign.guest.layout;
                layout
                    .kinds
                    .iter()
                    .zip(&layout.devices)
                    .map(|(kind, address)| format!("{kind} {address}"))
            })
            .collect();
        let last = self
            .campaigns
            .into_iter()
            .map(|campaign| campaign.guest.stop())
            .collect::<Result<Vec<Status>>>()?;
        let mut figures = Figures::new(&engine, elapsed, &during, &last, &work);
        let devices = during
            .iter()
            .flat_map(|status| status.devices.iter().cloned());
        figures.devices = names.into_iter().zip(devices).collect();
        Ok(Outcome {
            engine_is_as_asked: work.iter().all(|one| one.sums.are_all_by(&engine)),
            counted: stats.pages_moved - self.stats_before.pages_moved,
            figures,
            work,
            last,
            windows,
        })
    }

    fn judge(mut self, options: &Options, tap: &mut Tap) -> Result<()> {
        note(&self.introduce(options));
        let mut noted = Instant::now();
        self.rage(options, |storm, statuses| {
            if noted.elapsed() >= NOTE_EVERY {
                noted = Instant::now();
                note(&storm.progress(options, statuses)?);
            }
            Ok(())
        })?;
        let outcome = self.end()?;
        outcome.report_moves(options, tap);
        outcome.report_blocks(options, tap);
        note(&format!("window: {}", outcome.windows));
        note(&outcome.figures.line());
        Ok(())
    }

    /// The figures up to now: calls that go on are in the module's counters only.
    fn figures(&self, options: &Options, statuses: &[Status]) -> Result<Figures> {
        let work: Vec<Work> = self.movers.iter().map(Mover::work).collect();
        let engine = &options.campaign.engine;
        let mut figures = Figures::new(engine, self.began.elapsed(), statuses, statuses, &work);
        figures.moves = self.campaigns[0].stats()?.pages_moved - self.stats_before.pages_moved;
        Ok(figures)
    }

    fn progress(&self, options: &Options, statuses: &[Status]) -> Result<String> {
        let figures = self.figures(options, statuses)?;
        Ok(format!(
            "{:.0} s: {} of {} blocks, {} DMAs, {} pages moved, lost {}, stale {}, aborts: {}",
            figures.seconds,
            figures.blocks,
            options.blocks,
            figures.dmas,
            figures.moves,
            figures.lost,
            figures.stale,
            self.campaigns[0].describe_aborts()?
        ))
    }
}

/// The arguments of each guest.
fn arguments(options: &Options) -> Result<Vec<Vec<String>>> {
    let bus = PciBus::default();
    let mut chosen: Vec<(Kind, PciAddress)> = Vec::new();
    for kind in &options.devices {
        let found = bus.find(kind.pci_id())?;
        let left = found
            .into_iter()
            .find(|address| chosen.iter().all(|(_, other)| other != address));
        chosen.extend(left.map(|address| (*kind, address)));
    }
    ensure!(
        chosen.len() == options.devices.len() && !chosen.is_empty(),
        "of the devices {:?} only {} are there",
        options.devices,
        chosen.len()
    );
    let size = if options.apart { 1 } else { chosen.len() };
    let guest = |devices: &[(Kind, PciAddress)]| {
        let (kind, address) = devices[0];
        let mut words = vec!["--device".to_string(), kind.name().to_string()];
        words.extend(["--address".to_string(), address.to_string()]);
        for (kind, _) in &devices[1..] {
            words.extend(["--also".to_string(), kind.name().to_string()]);
        }
        for (name, value) in [
            ("--pages", options.pages),
            ("--queue-depth", options.queue_depth.into()),
            ("--roam", options.roam),
            ("--long-one-in", 1),
            ("--burst", options.burst),
        ] {
            words.extend([name.to_string(), value.to_string()]);
        }
        words
    };
    Ok(chosen.chunks(size).map(guest).collect())
}

/// For people.
fn show(options: &Options) -> Result<ExitCode> {
    let mut storm = Storm::start(options)?;
    print(&format!("{}.\n\n", storm.introduce(options)));
    let mut display = Display::from_environment();
    storm.rage(options, |storm, statuses| {
        if display.is_due() {
            let plain = storm.progress(options, statuses)?;
            display.draw(&storm.block(options, statuses)?, &plain);
        }
        Ok(())
    })?;
    let outcome = storm.end()?;
    let figures = &outcome.figures;
    print("\n");
    figures
        .describe_devices()
        .iter()
        .for_each(|line| print(&format!("{line}\n")));
    print(&figures.describe());
    print(&format!("window         {}\n", outcome.windows));
    for status in &outcome.last {
        status
            .events
            .iter()
            .for_each(|event| print(&format!("  {event}\n")));
    }
    for why in outcome.work.iter().filter_map(|one| one.ended.as_deref()) {
        print(&format!("  a mover ended: {why}\n"));
    }
    let misplaced: u64 = outcome.work.iter().map(|one| one.misplaced).sum();
    let good = figures.lost + figures.stale + misplaced == 0
        && outcome.last.iter().all(Status::is_clean)
        && outcome.work.iter().all(|one| one.ended.is_none())
        && outcome.engine_is_as_asked
        && outcome.counted == figures.moves
        && outcome.is_deep(options)
        && figures.blocks >= options.blocks
        && figures.moves >= options.moves
        && figures.medium > 0;
    let code = conclude(good);
    print(&format!("{}\n", figures.line()));
    Ok(code)
}

impl Storm {
    /// The lines of the display.
    fn block(&self, options: &Options, statuses: &[Status]) -> Result<Vec<String>> {
        let figures = self.figures(options, statuses)?;
        let windows = self.campaigns[0].windows()?;
        Ok(vec![
            format!(
                "{} {} of {} blocks, {:.0} a second, {:.0} s",
                bar(figures.blocks, options.blocks, 24),
                figures.blocks,
                options.blocks,
                figures.blocks as f64 / figures.seconds,
                figures.seconds
            ),
            format!(
                "  DMAs {}, {} pages compared, lost {}, stale {}",
                figures.dmas, figures.compared, figures.lost, figures.stale
            ),
            format!(
                "  pages moved {}, {:.0} a second",
                figures.moves,
                figures.moves as f64 / figures.seconds
            ),
            format!("  aborts: {}", self.campaigns[0].describe_aborts()?),
            format!("  window: {}", describe_windows(&windows)),
        ])
    }
}
