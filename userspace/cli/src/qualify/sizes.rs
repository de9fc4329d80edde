// SPDX-License-Identifier: GPL-2.0
//! A leaf of 2 MiB that is split and merged again under load, as fast as it goes.

use std::time::Duration;

use anyhow::Result;
use pagemove_uapi::{
    Error, ExperimentReport, EXPERIMENT_SIZES, MAX_EXPERIMENT_NS, REASON_NOT_LARGE,
};

use super::clock::Clock;
use super::decide::Demand;
use super::evidence::{Sizes, Trial};
use super::faults::FaultLog;
use super::load::Counts;
use super::subject::{refused, Scene, Subject, PAGES};

const NO_HUGE_PAGE: &str = "there is no huge page of 2 MiB to be had, which the IOMMU could map by one leaf: \
                            write 1 to /proc/sys/vm/nr_hugepages, or let there be 4 MiB of free memory in one piece";
const NO_LEAF: &str = "the IOMMU maps a huge page of 2 MiB by smaller leaves";

/// Tries both changes.
pub fn sizes(subject: &mut Subject, time: Duration, demand: Demand) -> Result<Trial<Sizes>> {
    let Some(chunk) = subject.map_chunk()? else {
        return Ok(Trial::Pointless(NO_HUGE_PAGE));
    };
    let mut log = FaultLog::from_now(subject.address)?;
    let (load, scene) = subject.load_chunk(&chunk);
    let (trial, counts) = load.during(|counts| to_and_fro(scene, counts, time, demand))?;
    Ok(match trial {
        Trial::Seen(sizes) => Trial::Seen(Sizes {
            met: counts.met(),
            dmas: counts.dmas(),
            reads: counts.reads(),
            dmas_lost: counts.lost(),
            device_errors: counts.errors(),
            faults: log.count()?,
            ..sizes
        }),
        other => other,
    })
}

/// Splits and merges until enough was seen or something was wrong.
fn to_and_fro(
    scene: Scene<'_>,
    load: &Counts,
    time: Duration,
    demand: Demand,
) -> Result<Trial<Sizes>> {
    let mut sizes = Sizes::default();
    // So that A and D are set before it begins.
    load.let_it_work(PAGES);
    let clock = Clock::start(time);
    let is_fine = |sizes: &Sizes| sizes.wrong() + load.lost() + load.errors() == 0;
    while is_fine(&sizes) && clock.goes_on(is_enough(&sizes, load, demand)) {
        load.meet(MAX_EXPERIMENT_NS);
        let done = scene.ask(EXPERIMENT_SIZES, 0, MAX_EXPERIMENT_NS)?;
        load.part();
        match done {
            Ok(report) => add(&mut sizes, report),
            Err(error) if is_small(&error) && sizes == Sizes::default() => {
                return Ok(Trial::Pointless(NO_LEAF))
            }
            // It was the leaf before.
            Err(error) if is_small(&error) => sizes.astray = 1,
            Err(error) if error.is_transient() => sizes.busy += 1,
            Err(error) => return refused(error),
        }
    }
    Ok(Trial::Seen(sizes))
}

fn is_small(error: &Error) -> bool {
    error.reason == REASON_NOT_LARGE
}

fn is_enough(sizes: &Sizes, load: &Counts, demand: Demand) -> bool {
    let least = sizes.splits.min(sizes.merges).min(load.met());
    least >= demand.rounds
}

/// Adds what a call has done. It ends with the leaf, if the IOMMU lets it.
fn add(sizes: &mut Sizes, report: ExperimentReport) {
    sizes.splits += report.found;
    sizes.merges += report.updates;
    sizes.reverted += report.lost;
    sizes.astray |= u64::from(report.found != report.updates);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_ends_split_is_noticed() {
        let report = |found, updates, lost| ExperimentReport {
            found,
            updates,
            lost,
        };
        let mut sizes = Sizes::default();
        add(&mut sizes, report(10, 10, 0));
        assert_eq!((sizes.splits, sizes.merges, sizes.wrong()), (10, 10, 0));
        add(&mut sizes, report(5, 4, 100));
        assert_eq!((sizes.splits, sizes.merges), (15, 14));
        assert_eq!((sizes.astray, sizes.reverted), (1, 100));
        add(&mut sizes, report(1, 1, 0));
        assert_eq!(sizes.astray, 1, "it stays so");
    }
}
