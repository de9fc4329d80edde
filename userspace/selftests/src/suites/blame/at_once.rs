// SPDX-License-Identifier: GPL-2.0
//! Lost writes of one domain, found by several calls at once: a build for tests (`inject=36`) holds each call up that
//! has found one, so that nothing is turned off before all have begun.

use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;

use anyhow::{ensure, Result};
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_uapi::{PAGE_LOST_WRITE, PAGE_SIZE, REASON_LOST_WRITE};

use super::{lift, Scene, LOST, PAGES};
use crate::bench::{self, IOVA};
use crate::region::Region;

/// As many as would turn the IOMMU off.
const CALLS: usize = 3;

type Check = fn(&mut Scene) -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    ("three calls find a lost write each, at once", find),
    ("their domain is off", is_off),
    ("other domains of its IOMMU go on", others_go_on),
    ("they are lifted as one", are_one),
];

pub fn main() -> ExitCode {
    let opened = Scene::open().and_then(|scene| Ok((with_more(&scene)?, scene)));
    let (_regions, mut scene) = match opened {
        Ok(opened) => opened,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |(name, check): &(&'static str, Check)| Case::new(*name, *check);
    tap::run(&mut scene, CHECKS.iter().map(case).collect())
}

/// Gives the first guest more regions, one behind the other.
fn with_more(scene: &Scene) -> Result<Vec<Region>> {
    let more = (1..CALLS).map(|n| {
        let region = Region::on_node(PAGES, scene.nodes.here)?;
        region.map.fill(n as u64);
        bench::map(&scene.guests[0].assigned, iova_of(n), &region)?;
        Ok(region)
    });
    more.collect()
}

fn iova_of(region: usize) -> u64 {
    IOVA + (region * PAGES * PAGE_SIZE) as u64
}

fn find(scene: &mut Scene) -> Outcome {
    let ready = Barrier::new(CALLS);
    let (scene, ready) = (&*scene, &ready);
    thread::scope(|threads| {
        let calls: Vec<_> = (0..CALLS)
            .map(|n| {
                threads.spawn(move || {
                    ready.wait();
                    scene.move_at(0, iova_of(n) + (LOST * PAGE_SIZE) as u64)
                })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            let (report, result) = call.join().expect("a thread has failed");
            let reason = report.error.map(|error| error.reason);
            ensure!(
                reason == Some(REASON_LOST_WRITE) && result.outcome == PAGE_LOST_WRITE,
                "call {n}: {}, {result:?}",
                bench::describe(&report)
            );
        }
        Ok(Pass)
    })
}

fn is_off(scene: &mut Scene) -> Outcome {
    scene.is_off(0).map(|()| Pass)
}

fn others_go_on(scene: &mut Scene) -> Outcome {
    (1..scene.guests.len()).try_for_each(|guest| scene.moves(guest))?;
    Ok(Pass)
}

fn are_one(scene: &mut Scene) -> Outcome {
    lift(scene, 0, false, 1)?;
    lift(scene, 0, true, 0)?;
    scene.moves(0)?;
    Ok(Pass)
}
