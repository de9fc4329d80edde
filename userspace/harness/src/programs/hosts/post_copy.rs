// SPDX-License-Identifier: GPL-2.0
//! `post-copy`: the guest goes on on B with a tenth of its pages there. It waits for those that
//! it touches, and they come before their neighbours.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

use super::scene::{Copy, Options, Scene};
use super::with_hosts;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{note, Tap};

const TESTS: usize = 7;

pub fn run(options: &Options) -> Result<ExitCode> {
    Ok(with_hosts(TESTS, options, post_copy))
}

fn post_copy(scene: &mut Scene, tap: &mut Tap) -> Result<()> {
    let pages = scene.pages();
    // The guest's CPUs stop on A; its device may go on, but then nobody knows what to compare.
    scene.campaign.guest.hands_off(true)?;
    let digests = scene.pause()?;
    scene.receive(&["--post-copy"])?;
    // The guest has left already.
    scene.migration.hooks = false;
    // Single pages: who waits for one waits for no more than another, and most are still to come.
    let agent = scene.migration.out(&["--batch", "1"])?;
    scene.migration.hooks = true;
    wait_for(scene, pages / 10)?;
    let here = scene
        .account()?
        .iter()
        .filter(|copy| **copy == Copy::B)
        .count();
    tap.test(
        here < pages / 2,
        &format!("{here} of {pages} pages are on B when the guest begins there"),
    );
    let order = far_order(pages, here);
    scene.far.walk(order.clone(), digests.clone())?;
    let walk = scene.far.walked(60)?;
    tap.test(
        walk.read == order.len() && walk.differ.is_empty(),
        &format!(
            "it reads {} pages; {} differ; {} waited, the longest {} us",
            walk.read,
            walk.differ.len(),
            walk.slow,
            walk.longest_us
        ),
    );
    let copies = scene.account()?;
    let missing = copies.iter().filter(|copy| **copy == Copy::A).count();
    tap.test(
        missing > pages / 10,
        &format!("{missing} pages that it did not touch were still on A then"),
    );
    let all_there = order.iter().all(|page| copies[*page] == Copy::B);
    tap.test(all_there, "what it touched is there");
    let (_, output) = scene.finish_both(agent)?;
    scene.all_at(Copy::B)?;
    let log = scene.far.log()?;
    log.lines().take(8).chain(output.lines()).for_each(note);
    let served: Vec<usize> = log.lines().filter_map(page_of).collect();
    let expected: Vec<usize> = order
        .iter()
        .copied()
        .filter(|page| served.contains(page))
        .collect();
    let first = served
        .iter()
        .filter(|page| walk.before_previous.contains(page))
        .count();
    tap.test(
        first * 10 > served.len() * 8,
        &format!(
            "{first} of {} that were waited for came before the page in front of them",
            served.len()
        ),
    );
    // Some may have come by themselves before they were touched.
    tap.test(
        served == expected && served.len() * 2 > order.len() && output.contains("p99"),
        &format!(
            "the log names {} pages that were waited for, in the order of the accesses",
            served.len()
        ),
    );
    let differ = scene.far.compare(&digests)?;
    ensure!(differ.is_empty(), "pages {differ:?} differ at the end");
    scene.campaign.guest.go_on()?;
    scene.receive(&[])?;
    let agent = scene.migration.back()?;
    scene.finish(agent)?;
    scene.all_at(Copy::A)?;
    scene.pause()?;
    scene.campaign.guest.go_on()?;
    tap.test(true, "all is right on B at the end, and comes home");
    Ok(())
}

/// Reads a line of the log: `3 page 2795 after 61198960 ns`.
fn page_of(line: &str) -> Option<usize> {
    line.split_whitespace()
        .skip_while(|word| *word != "page")
        .nth(1)?
        .parse()
        .ok()
}

fn wait_for(scene: &mut Scene, pages: usize) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while scene
        .account()?
        .iter()
        .filter(|copy| **copy == Copy::B)
        .count()
        < pages
    {
        ensure!(Instant::now() < end, "nothing moves");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Pages that come last if nobody asks, far from one another, in a random order.
fn far_order(pages: usize, here: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (here + (pages - here) / 2..pages).step_by(16).collect();
    let mut random = Random::new(7);
    for n in (1..order.len()).rev() {
        order.swap(n, random.below(n + 1));
    }
    order
}
