// SPDX-License-Identifier: GPL-2.0
//! What the cases of a suite hand on from one to the next, and how it begins and ends.

use anyhow::{Context, Result};

use super::scene::{engine_of, Scene};
use crate::complaints::COMPLAINTS;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{Case, Pass};

/// Chances, and what the kernel says meanwhile.
pub struct Watch {
    pub random: Random,
    pub log: KernelLog,
}

impl Watch {
    pub fn begin() -> Result<Self> {
        Ok(Self {
            random: Random::announced(),
            log: KernelLog::from_now(COMPLAINTS)?,
        })
    }
}

/// A suite with one scene, whose memory is moved by one engine.
pub struct Play {
    scene: Option<Scene>,
    pub engine: u32,
    pub random: Random,
    pub log: KernelLog,
}

impl Play {
    /// `[ENGINE]`, and the arguments of the guest.
    pub fn begin(args: &[String], guest: &[&str]) -> Result<Self> {
        let engine = engine_of(args.first())?;
        let scene = Some(Scene::open(guest)?);
        let Watch { random, log } = Watch::begin()?;
        Ok(Self {
            scene,
            engine,
            random,
            log,
        })
    }

    pub fn scene(&mut self) -> Result<&mut Scene> {
        Ok(self.parts()?.0)
    }

    /// The scene and the chances, each by itself.
    pub fn parts(&mut self) -> Result<(&mut Scene, &mut Random)> {
        Ok((
            self.scene.as_mut().context("there is no guest")?,
            &mut self.random,
        ))
    }

    /// The last case.
    pub fn end() -> Case<Self> {
        Case::new("nothing was lost, nothing is left", |play: &mut Self| {
            play.scene.take().context("there is no guest")?.end()?;
            play.log.check()?;
            Ok(Pass)
        })
    }
}
