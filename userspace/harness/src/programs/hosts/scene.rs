// SPDX-License-Identifier: GPL-2.0
//! Two hosts: a guest under DMA on A, its memory's frames on B, the agents, and what both
//! kernels say of each page.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{PAGE_SIZE, PLACE_APERTURE, PLACE_NODE};

use super::agent::{self, Agent, End, Event, Migration};
use super::orders::Far;
use crate::campaign::{self, Campaign};
use crate::guest::process::GuestProcess;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The program on host B.
    #[arg(long, default_value = "10.77.0.2:7000")]
    pub far: String,
    /// Where host B's agent listens.
    #[arg(long, default_value = "10.77.0.2:7001")]
    pub agent: String,
    /// Pages of the guest's data area.
    #[arg(long, default_value_t = 1024)]
    pub pages: usize,
    #[command(flatten)]
    pub campaign: campaign::Options,
}

/// The guest's CPUs leave A, or come back; its device goes on.
fn serve_hook(guest: &mut GuestProcess) -> Result<()> {
    let Some(event) = agent::asked_by_hook() else {
        return Ok(());
    };
    guest.hands_off(event == Event::Leave)?;
    agent::answer_hook()
}

/// How long one migration may take.
pub const PATIENCE: Duration = Duration::from_secs(200);

pub struct Scene {
    pub campaign: Campaign,
    pub far: Far,
    pub migration: Migration,
    agent_address: String,
}

/// Where a page's only copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    A,
    B,
}

impl Scene {
    pub fn open(options: &Options) -> Result<Self> {
        let mut far = Far::connect(&options.far)?;
        let mut settings = options.campaign.clone();
        settings.window = true;
        let pages = options.pages.to_string();
        let arguments = ["--device", "nvme", "--pages", &pages, "--rings-apart"].map(String::from);
        let campaign = Campaign::start(&settings, false, &arguments)?;
        far.region(campaign.pages() as usize)?;
        let migration = Migration {
            tool: settings.tool.clone(),
            engine: settings.engine.clone(),
            to: options.agent.clone(),
            aperture: campaign.tool.window.context("no aperture")?,
            layout: campaign.guest.layout.clone(),
            hooks: true,
        };
        Ok(Self {
            campaign,
            far,
            migration,
            agent_address: options.agent.clone(),
        })
    }

    /// Starts B's agent.
    pub fn receive(&mut self, more: &[&str]) -> Result<()> {
        let address = format!("tcp:{}", self.agent_address);
        let arguments = [&["--listen", &address, "--once"], more].concat();
        self.far.receive(&arguments)
    }

    /// Both agents end, and well. What A's has said.
    pub fn finish(&mut self, agent: Agent) -> Result<End> {
        Ok(self.finish_both(agent)?.0)
    }

    /// What both have said.
    pub fn finish_both(&mut self, agent: Agent) -> Result<(End, String)> {
        let guest = &mut self.campaign.guest;
        let end = agent.wait(PATIENCE, || serve_hook(guest))?;
        ensure!(
            end.is_good(),
            "A's agent ended with {:?}: {}",
            end.code,
            end.output
        );
        let (code, output) = self.far.wait(20)?;
        ensure!(code == Some(0), "B's agent ended with {code:?}: {output}");
        Ok((end, output))
    }

    /// Does what a hook of A's agent waits for. Who waits for an agent calls it all the time.
    pub fn serve_hook(&mut self) -> Result<()> {
        serve_hook(&mut self.campaign.guest)
    }

    pub fn pages(&self) -> usize {
        self.campaign.pages() as usize
    }

    /// Where each page's copy is. What both kernels say has to fit: a page is in memory of A,
    /// or in the very frame that B has offered for it.
    pub fn account(&mut self) -> Result<Vec<Copy>> {
        let region = self.migration.layout.region.context("no region")?;
        let length = self.migration.layout.length;
        let near = self.campaign.control.region_details(region, 0, length)?;
        let far = self.far.pages()?;
        ensure!(
            near.len() == far.len(),
            "A has {} pages, B has {}",
            near.len(),
            far.len()
        );
        let mut copies = Vec::with_capacity(near.len());
        let mut targets = std::collections::BTreeSet::new();
        for (page, ((place, detail), far)) in near.iter().zip(&far).enumerate() {
            copies.push(match place.kind {
                PLACE_NODE => Copy::A,
                PLACE_APERTURE => {
                    ensure!(
                        far.target == Some(detail.offset),
                        "page {page} is at {:#x} of the aperture, B has offered {:x?} for it",
                        detail.offset,
                        far.target
                    );
                    ensure!(
                        targets.insert(detail.offset),
                        "two pages are at {:#x}",
                        detail.offset
                    );
                    Copy::B
                }
                kind => anyhow::bail!("page {page} is in a place of kind {kind}"),
            });
        }
        Ok(copies)
    }

    /// Every page has its copy there.
    pub fn all_at(&mut self, where_: Copy) -> Result<()> {
        let copies = self.account()?;
        let others = copies.iter().filter(|copy| **copy != where_).count();
        ensure!(
            others == 0,
            "{others} of {} pages are not on {where_:?}",
            copies.len()
        );
        Ok(())
    }

    /// With the device at rest: B's own RAM has what each page there has to hold. Says how many
    /// pages were compared.
    pub fn compare_on_b(&mut self) -> Result<usize> {
        let digests = self.campaign.guest.pause()?;
        let compared = self.compare_these(digests);
        self.campaign.guest.go_on()?;
        compared
    }

    fn compare_these(&mut self, mut digests: Vec<Option<u64>>) -> Result<usize> {
        let copies = self.account()?;
        for (digest, copy) in digests.iter_mut().zip(&copies) {
            if *copy == Copy::A {
                *digest = None;
            }
        }
        let differ = self.far.compare(&digests)?;
        ensure!(
            differ.is_empty(),
            "{} pages differ on B, the first: {:?}",
            differ.len(),
            &differ[..differ.len().min(8)]
        );
        // A comparison that can't fail would be none.
        let Some(page) = digests.iter().rposition(Option::is_some) else {
            return Ok(0);
        };
        let known = digests.iter().flatten().count();
        digests[page] = digests[page].map(|digest| digest ^ 1);
        let differ = self.far.compare(&digests)?;
        ensure!(
            differ == [page],
            "a wrong digest of page {page} was not found: {differ:?}"
        );
        Ok(known)
    }

    /// The guest rests; says what each page has to hold.
    pub fn pause(&mut self) -> Result<Vec<Option<u64>>> {
        self.campaign.guest.pause()
    }

    pub fn mib(&self) -> f64 {
        (self.pages() * PAGE_SIZE) as f64 / f64::from(1 << 20)
    }
}
