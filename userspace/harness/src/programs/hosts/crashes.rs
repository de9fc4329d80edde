// SPDX-License-Identifier: GPL-2.0
//! `crashes`: A's agent, B's agent or the connection ends at a random point, again and again;
//! whatever is resumed or brought home afterwards, every page is accounted for exactly once.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

use super::agent::{self, Agent};
use super::proxy::Proxy;
use super::scene::{self, Copy, Scene, PATIENCE};
use super::with_hosts;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{note, Tap};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Points at which each of the three is ended.
    #[arg(long, default_value_t = 30)]
    pub points: usize,
    #[command(flatten)]
    pub scene: scene::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    AgentOfA,
    AgentOfB,
    Connection,
}

const VICTIMS: [Victim; 3] = [Victim::AgentOfA, Victim::AgentOfB, Victim::Connection];

pub fn run(options: &Options) -> Result<ExitCode> {
    let tests = options.points * VICTIMS.len() + 1;
    Ok(with_hosts(tests, &options.scene, |scene, tap| {
        let proxy = Proxy::start(&scene.migration.to)?;
        scene.migration.to = proxy.address();
        Rounds::new(scene, proxy, options)?.run(tap, options.points)
    }))
}

/// What the rounds have seen.
#[derive(Default)]
struct Seen {
    rounds: usize,
    in_the_middle: usize,
    resumed: usize,
    brought_back: usize,
}

impl Seen {
    fn is_enough(&self, points: usize) -> bool {
        self.in_the_middle >= points && self.resumed > 0 && self.brought_back > 0
    }
}

struct Rounds<'a> {
    scene: &'a mut Scene,
    proxy: Proxy,
    random: Random,
    seen: Seen,
}

impl<'a> Rounds<'a> {
    fn new(scene: &'a mut Scene, proxy: Proxy, options: &Options) -> Result<Self> {
        let random = Random::new(options.scene.campaign.seed);
        Ok(Self {
            scene,
            proxy,
            random,
            seen: Seen::default(),
        })
    }

    fn run(mut self, tap: &mut Tap, points: usize) -> Result<()> {
        for point in 1..=points {
            for victim in VICTIMS {
                let line = self.round(victim)?;
                tap.test(true, &format!("{victim:?}, point {point}: {line}"));
            }
        }
        // Where too few ended in the middle, some more: the points are random, and A may be done
        // before it is ended.
        for more in 0..3 * points {
            if self.seen.is_enough(points) {
                break;
            }
            let line = self.round(VICTIMS[more % VICTIMS.len()])?;
            note(&format!("one more: {line}"));
        }
        let is_enough = self.seen.is_enough(points);
        let Seen {
            in_the_middle,
            resumed,
            brought_back,
            ..
        } = self.seen;
        tap.test(
            is_enough,
            &format!("{in_the_middle} ended with pages on both hosts; {resumed} resumed, {brought_back} brought home"),
        );
        Ok(())
    }

    /// Moves everything to A.
    fn home(&mut self) -> Result<()> {
        self.scene.receive(&[])?;
        let agent = self.scene.migration.back()?;
        self.scene.finish(agent)?;
        self.scene.all_at(Copy::A)
    }

    fn round(&mut self, victim: Victim) -> Result<String> {
        self.scene.receive(&[])?;
        let mut agent = self.scene.migration.out(&[])?;
        self.wait_for_point(&mut agent)?;
        self.end(victim, &mut agent)?;
        // The shell of a hook outlives its agent, and goes on by itself.
        agent::forget_hook();
        let copies = self.scene.account()?;
        let on_b = copies.iter().filter(|copy| **copy == Copy::B).count();
        self.seen.in_the_middle += usize::from(on_b > 0 && on_b < copies.len());
        self.seen.rounds += 1;
        let back = self.seen.rounds % 2 == 0;
        self.scene.receive(&[])?;
        let agent = match back {
            true => self.scene.migration.back()?,
            // Where A's agent had not begun, or had ended, there is nothing to go on with.
            false if on_b == 0 || on_b == copies.len() => self.scene.migration.out(&[])?,
            false => self.scene.migration.resume()?,
        };
        self.scene.finish(agent)?;
        if back {
            self.seen.brought_back += 1;
            self.scene.all_at(Copy::A)?;
        } else {
            self.seen.resumed += usize::from(on_b > 0 && on_b < copies.len());
            self.scene.all_at(Copy::B)?;
            self.scene.compare_on_b()?;
            self.home()?;
        }
        let status = self.scene.campaign.guest.status()?;
        ensure!(status.is_clean(), "{}", status.describe_losses());
        let way = if back { "brought home" } else { "gone on" };
        Ok(format!(
            "{on_b} of {} pages were on B; {way}, nothing lost",
            copies.len()
        ))
    }

    /// A random page of the way, and a random time after it: in a call to the kernel, in a
    /// message, or between them; now and then before the first or after the last.
    fn wait_for_point(&mut self, agent: &mut Agent) -> Result<()> {
        let pages = self.scene.pages();
        let point = self.random.below(pages + pages / 8) as u64;
        let before = self.scene.campaign.stats()?.pages_moved;
        while self.scene.campaign.stats()?.pages_moved - before < point && !agent.is_done()? {
            self.scene.serve_hook()?;
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(self.random.below(5000) as u64));
        Ok(())
    }

    /// Ends the victim as it is; then both agents are gone.
    fn end(&mut self, victim: Victim, agent: &mut Agent) -> Result<()> {
        match victim {
            Victim::AgentOfA => agent.kill()?,
            Victim::AgentOfB => self.scene.far.kill()?,
            Victim::Connection => self.proxy.cut(),
        }
        let end = Instant::now() + PATIENCE;
        while !agent.is_done()? {
            self.scene.serve_hook()?;
            ensure!(
                Instant::now() < end,
                "A's agent does not notice: {}",
                agent.output()
            );
            // It may have connected after the cut.
            if victim == Victim::Connection {
                self.proxy.cut();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if victim != Victim::AgentOfB {
            // It ends by itself, well or not; what it says is for people.
            if victim == Victim::AgentOfA {
                self.proxy.cut();
            }
            self.scene.far.kill()?;
        }
        Ok(())
    }
}
