// SPDX-License-Identifier: GPL-2.0
//! `demo-hosts`: a guest's memory goes to another host under live DMA, is verified there, and
//! comes back, to be looked at.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use super::agent::{Agent, End};
use super::scene::{Copy, Options, Scene};
use crate::campaign::describe_windows;
use crate::programs::display::{bar, print, Display};

pub fn run(options: &Options) -> Result<ExitCode> {
    let mut demo = Demo {
        scene: Scene::open(options)?,
        display: Display::from_environment(),
        ways: Vec::new(),
        moving: Duration::ZERO,
    };
    demo.introduce();
    let compared = demo.both_ways()?;
    demo.sum_up(compared)
}

/// Returns what the agent says of pages that went before the guest left, and afterwards.
fn when(end: &End) -> Result<String> {
    let mut lines = end.output.lines();
    let line = lines.find(|line| line.starts_with("before the guest left: "));
    let line = line.with_context(|| format!("the agent does not say when: {}", end.output))?;
    Ok(line.to_string())
}

struct Demo {
    scene: Scene,
    display: Display,
    /// A line for each thing that is done.
    ways: Vec<String>,
    moving: Duration,
}

impl Demo {
    fn introduce(&self) {
        let layout = &self.scene.migration.layout;
        print(&format!(
            "Two hosts. On A a guest process has {:.0} MiB of memory ({} pages), and {} {} DMAs to\n\
             and from them all the time. Now every page goes to the memory of B, while the device\n\
             works on; B looks at its own memory; and every page comes back.\n\n",
            self.scene.mib(),
            self.scene.pages(),
            layout.kind,
            layout.device
        ));
    }

    /// Pages that B compared.
    fn both_ways(&mut self) -> Result<usize> {
        std::thread::sleep(Duration::from_secs(1));
        self.scene.receive(&[])?;
        let agent = self.scene.migration.out(&[])?;
        self.way("A -> B", agent, Copy::B)?;
        std::thread::sleep(Duration::from_secs(1));
        let compared = self.scene.compare_on_b()?;
        self.say(format!("B has compared {compared} pages of its own memory with what the guest wrote: all are right"))?;
        self.scene.receive(&[])?;
        let agent = self.scene.migration.back()?;
        self.way("B -> A", agent, Copy::A)?;
        std::thread::sleep(Duration::from_secs(1));
        self.scene.pause()?;
        self.scene.campaign.guest.go_on()?;
        self.say("the guest has compared all of its memory on A again".to_string())?;
        Ok(compared)
    }

    fn way(&mut self, name: &str, mut agent: Agent, to: Copy) -> Result<()> {
        let began = Instant::now();
        let before = self.scene.campaign.stats()?.pages_moved;
        while !agent.is_done()? {
            self.scene.serve_hook()?;
            if self.display.is_due() {
                self.draw(name, before, began)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let end = self.scene.finish(agent)?;
        self.moving += began.elapsed();
        self.scene.all_at(to)?;
        let line = self.draw(name, before, began)?;
        self.ways.push(line);
        match to {
            Copy::B => self.say(when(&end)?),
            _ => Ok(()),
        }
    }

    fn say(&mut self, line: String) -> Result<()> {
        self.ways.push(line.clone());
        let status = self.status_lines()?;
        self.display
            .draw(&[&self.ways[..], &status].concat(), &line);
        Ok(())
    }

    fn draw(&mut self, name: &str, before: u64, began: Instant) -> Result<String> {
        let pages = self.scene.campaign.pages();
        let moved = self.scene.campaign.stats()?.pages_moved - before;
        let rate = moved as f64 / began.elapsed().as_secs_f64().max(1e-3);
        let way = format!(
            "{name}  {} {moved}/{pages} pages, {rate:.0} a second",
            bar(moved, pages, 24)
        );
        let now = [vec![way.clone()], self.status_lines()?].concat();
        let plain = format!(
            "{name}: {moved}/{pages} pages, {rate:.0} a second;{}",
            now[1]
        );
        self.display.draw(&[&self.ways[..], &now].concat(), &plain);
        Ok(way)
    }

    fn status_lines(&mut self) -> Result<Vec<String>> {
        let status = self.scene.campaign.guest.status()?;
        Ok(vec![
            format!(
                "  DMAs {} ({:.0} a second), {} pages compared, {}",
                status.dmas(),
                status.rate_since(&self.scene.campaign.status_before),
                status.checked,
                status.describe_losses()
            ),
            format!("  aborts: {}", self.scene.campaign.describe_aborts()?),
        ])
    }

    fn sum_up(mut self, compared: usize) -> Result<ExitCode> {
        let pages = self.scene.campaign.pages();
        let moved =
            self.scene.campaign.stats()?.pages_moved - self.scene.campaign.stats_before.pages_moved;
        let found = self.scene.campaign.lost_writes()?;
        let aborts = self.scene.campaign.describe_aborts()?;
        let windows = describe_windows(&self.scene.campaign.windows()?);
        let during = self.scene.campaign.guest.status()?;
        let dmas = during.dmas() - self.scene.campaign.status_before.dmas();
        let rate = during.rate_since(&self.scene.campaign.status_before);
        let last = self.scene.campaign.guest.stop()?;
        self.scene.far.end()?;
        print(&format!(
            "\npages moved    {moved} ({pages} pages to B and back)\n\
             DMAs meanwhile {dmas} ({rate:.0} a second)\n\
             lost           {} (stale {}, corrupt {}, unfinished {}, CPU writes {}; found by verification {found})\n\
             compared       {compared} pages by B in its own memory, {} by the guest\n\
             aborts         {aborts}; all retried\n\
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
        // Each went out; on the way back the guest's CPUs may have been first, which is no move of a call's.
        if moved < pages {
            print("FAILED\n");
            bail!("{moved} pages moved of {pages}");
        }
        if !last.is_clean() || found != 0 {
            print("FAILED\n");
            bail!("something was lost");
        }
        print("Nothing was lost.\n");
        Ok(ExitCode::SUCCESS)
    }
}
