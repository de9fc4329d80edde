// SPDX-License-Identifier: GPL-2.0
//! Two hosts: a guest's memory goes from A to B under live DMA, and comes back.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

pub mod agent;
pub mod crashes;
pub mod demo;
pub mod far;
pub mod orders;
pub mod post_copy;
pub mod proxy;
pub mod scene;

use pagemove_testkit::tap::{note, Tap};
use scene::{Copy, Options, Scene};

/// A program of so many tests with two hosts. What ends it early fails those that are left.
pub fn with_hosts(
    tests: usize,
    options: &Options,
    body: impl FnOnce(&mut Scene, &mut Tap) -> Result<()>,
) -> ExitCode {
    let mut tap = Tap::plan(tests + 1);
    let end = Scene::open(options).and_then(|mut scene| {
        body(&mut scene, &mut tap)?;
        Ok(scene)
    });
    match end {
        Ok(scene) => {
            let last = scene.campaign.guest.stop().and_then(|last| {
                scene.far.end()?;
                Ok(last)
            });
            match last {
                Ok(last) => tap.test(
                    last.is_clean(),
                    &format!(
                        "at the end of {} DMAs: {}",
                        last.dmas(),
                        last.describe_losses()
                    ),
                ),
                Err(error) => tap.fail_the_rest(&format!("the end: {error:#}")),
            }
        }
        Err(error) => tap.fail_the_rest(&format!("it ended early: {error:#}")),
    }
    tap.exit_code()
}

const TESTS: usize = 8;

/// `hosts`: there and back, and what is said about it.
pub fn run(options: &Options) -> Result<ExitCode> {
    Ok(with_hosts(TESTS, options, there_and_back))
}

/// DMAs to the other host's memory that are made before it is compared, and how long they may take.
const DMAS: u64 = 500;
const DMAS_WITHIN: Duration = Duration::from_secs(60);

/// Waits for so many DMAs more.
fn more_dmas(scene: &mut Scene) -> Result<u64> {
    let before = scene.campaign.guest.status()?.dmas();
    let end = Instant::now() + DMAS_WITHIN;
    loop {
        let dmas = scene.campaign.guest.status()?.dmas() - before;
        if dmas > DMAS {
            return Ok(dmas);
        }
        ensure!(Instant::now() < end, "only {dmas} DMAs in {DMAS_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn there_and_back(scene: &mut Scene, tap: &mut Tap) -> Result<()> {
    let pages = scene.pages();
    let before = scene.campaign.guest.status()?;
    scene.receive(&[])?;
    let plan = scene.migration.plan()?;
    let end = scene.finish(plan)?;
    scene.all_at(Copy::A)?;
    let offered = scene
        .far
        .pages()?
        .iter()
        .filter(|page| page.target.is_some())
        .count();
    ensure!(offered == 0, "a plan left {offered} pages offered");
    tap.test(
        end.output.contains(&pages.to_string()),
        "a plan says how many pages there are, and changes nothing",
    );
    scene.receive(&[])?;
    let agent = scene.migration.out(&[])?;
    let end = scene.finish(agent)?;
    end.output.lines().for_each(note);
    scene.all_at(Copy::B)?;
    tap.test(
        true,
        &format!("{pages} pages went to B, each to the frame that B offered for it"),
    );
    let compared = scene.compare_on_b()?;
    tap.test(
        compared > pages / 2,
        &format!("B finds {compared} pages in its own RAM as they have to be, and a wrong one if there is one"),
    );
    let dmas = more_dmas(scene)?;
    let compared = scene.compare_on_b()?;
    tap.test(
        compared > pages / 2,
        &format!("after {dmas} DMAs to B: {compared} pages are right there"),
    );
    let during = scene.campaign.guest.status()?;
    tap.test(
        during.is_clean() && during.dmas() > before.dmas() + DMAS,
        &format!(
            "{} DMAs meanwhile: {}",
            during.dmas() - before.dmas(),
            during.describe_losses()
        ),
    );
    scene.receive(&[])?;
    let agent = scene.migration.back()?;
    let end = scene.finish(agent)?;
    end.output.lines().for_each(note);
    scene.all_at(Copy::A)?;
    tap.test(true, &format!("{pages} pages came home"));
    let offered = scene
        .far
        .pages()?
        .iter()
        .filter(|page| page.target.is_some())
        .count();
    tap.test(offered == 0, &format!("B offers {offered} pages"));
    let digests = scene.pause()?;
    scene.campaign.guest.go_on()?;
    let status = scene.campaign.guest.status()?;
    tap.test(
        status.is_clean() && digests.iter().flatten().count() > pages / 2,
        &format!("after the way home: {}", status.describe_losses()),
    );
    Ok(())
}
