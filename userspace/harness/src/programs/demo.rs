// SPDX-License-Identifier: GPL-2.0
//! `demo`: memory under live DMA goes to another NUMA node and comes back,
//! with a live display and a summary.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use crate::campaign::patience::Patience;
use crate::campaign::{describe_counts, describe_windows, Campaign};
use crate::ledger::account::Status;
use crate::programs::display::{bar, conclude, print, Display};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Pages of the data area: each is moved there and back.
    #[arg(long, default_value_t = 8192)]
    pub pages: usize,
    /// Times that everything goes there and back.
    #[arg(long, default_value_t = 3)]
    pub round_trips: u64,
    /// Seconds of DMA before the first move and after the last.
    #[arg(long, default_value_t = 1)]
    pub rest: u64,
    #[command(flatten)]
    pub campaign: crate::campaign::Options,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let pages = options.pages.to_string();
    let mut arguments = vec!["--device", "nvme", "--pages", &pages];
    if !options.campaign.window {
        // As any VMM has it.
        arguments.extend(["--memory", "memfd"]);
    }
    let arguments: Vec<String> = arguments.into_iter().map(String::from).collect();
    let campaign = Campaign::start(&options.campaign, false, &arguments)?;
    Demo {
        campaign,
        display: Display::from_environment(),
        moving: Duration::ZERO,
        ways: Vec::new(),
    }
    .run(options)
}

struct Demo {
    campaign: Campaign,
    display: Display,
    /// Time spent moving.
    moving: Duration,
    /// A line for each way that is done.
    ways: Vec<String>,
}

impl Demo {
    fn run(mut self, options: &Options) -> Result<ExitCode> {
        self.introduce();
        self.rest(options.rest)?;
        for _ in 0..options.round_trips {
            self.one_way(0, 1)?;
            self.one_way(1, 0)?;
        }
        let during = self.campaign.guest.status()?;
        self.rest(options.rest)?;
        self.sum_up(&during, options.round_trips)
    }

    fn introduce(&self) {
        let layout = &self.campaign.guest.layout;
        print(&format!(
            "A guest process has {} pages of memory on node 0 at IOVA {:#x}.\n\
             {} {} DMAs to and from them all the time, by its driver {}.\n\
             Now every page goes to node 1 and back: rings, lists and data, with the DMA going on.\n\n",
            self.campaign.pages(),
            layout.iova,
            layout.kind,
            layout.device,
            layout.driver
        ));
    }

    /// Lets the device work for a while.
    fn rest(&self, seconds: u64) -> Result<()> {
        std::thread::sleep(Duration::from_secs(seconds));
        Ok(())
    }

    /// Moves everything from a node to another.
    fn one_way(&mut self, from: i32, to: i32) -> Result<()> {
        let began = Instant::now();
        let before = self.campaign.stats()?.pages_moved;
        let mut patience = Patience::begin();
        while !patience.is_over() {
            let running = self.campaign.start_move(to);
            while !running.is_done() {
                if self.display.is_due() {
                    self.draw(from, to, before, began)?;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let report = self.campaign.finish_move(running, to)?;
            if let Some(why) = report.fatal() {
                bail!("moving to node {to} ended: {why}");
            }
            patience.count(&report);
            if self.campaign.places()?.iter().all(|place| *place == to) {
                break;
            }
        }
        self.moving += began.elapsed();
        let line = self.draw(from, to, before, began)?;
        self.ways.push(line);
        Ok(())
    }

    /// Draws what is done of a way. Returns its line.
    fn draw(&mut self, from: i32, to: i32, before: u64, began: Instant) -> Result<String> {
        let status = self.campaign.guest.status()?;
        let pages = self.campaign.pages();
        let moved = self.campaign.stats()?.pages_moved - before;
        let rate = moved as f64 / began.elapsed().as_secs_f64().max(1e-3);
        let way = format!(
            "node {from} -> node {to}  {} {moved}/{pages} pages, {rate:.0} a second",
            bar(moved, pages, 24)
        );
        let now = [
            way.clone(),
            format!(
                "  DMAs {} ({:.0} a second), {} pages compared, lost {}, stale {}",
                status.dmas(),
                status.rate_since(&self.campaign.status_before),
                status.checked,
                status.lost + status.corrupt + status.unfinished + status.cpu_lost,
                status.stale
            ),
            format!("  aborts: {}", self.campaign.describe_aborts()?),
            format!("  window: {}", describe_windows(&self.campaign.windows()?)),
        ];
        let plain = format!(
            "node {from} -> node {to}: {moved}/{pages} pages, {rate:.0} a second; {} DMAs, {}; aborts: {}",
            status.dmas(),
            status.describe_losses(),
            self.campaign.describe_aborts()?
        );
        self.display.draw(&[&self.ways[..], &now].concat(), &plain);
        Ok(way)
    }

    fn sum_up(self, during: &Status, trips: u64) -> Result<ExitCode> {
        let aborts = self.campaign.describe_aborts()?;
        let windows = describe_windows(&self.campaign.windows()?);
        let (pages, moved) = (self.campaign.pages(), self.campaign.sums.pages_moved);
        let engines = describe_counts(&self.campaign.sums.engines);
        let ended = self.campaign.sums.describe_ended();
        let misplaced = self.campaign.misplaced
            + self
                .campaign
                .places()?
                .iter()
                .filter(|place| **place != 0)
                .count() as u64;
        let found = self.campaign.lost_writes()?;
        let as_asked = self.campaign.engine_is_as_asked();
        let dmas = during.dmas() - self.campaign.status_before.dmas();
        let rate = during.rate_since(&self.campaign.status_before);
        let last = self.campaign.guest.stop()?;
        print(&format!(
            "\npages moved    {moved} ({pages} pages, {trips} times to node 1 and back; {misplaced} misplaced)\n\
             by engine      {engines}\n\
             DMAs meanwhile {dmas} ({rate:.0} a second)\n\
             lost           {} (stale {}, corrupt {}, unfinished {}, CPU writes {}; found by verification {found})\n\
             compared       {} pages, byte by byte\n\
             aborts         {aborts}; all retried{ended}\n\
             window         {windows}\n\
             pages/s        {:.0}\n",
            last.lost,
            last.stale,
            last.corrupt,
            last.unfinished,
            last.cpu_lost,
            last.checked,
            moved as f64 / self.moving.as_secs_f64().max(1e-3)
        ));
        last.events
            .iter()
            .for_each(|event| print(&format!("  {event}\n")));
        let good = as_asked
            && last.is_clean()
            && found == 0
            && misplaced == 0
            && moved >= 2 * trips * pages;
        Ok(conclude(good))
    }
}
