// SPDX-License-Identifier: GPL-2.0
//! Every call into the kernel that can fail does fail, once at a time, on every way into the
//! module: the caller is told by an errno of the header's, nothing is changed, nothing is lost,
//! and the next call works. In the end every place in the module's code that makes such a call
//! has been hit.

mod devices;
mod fault;
mod files;
mod first;
mod lists;
mod load;
mod moves;
mod offers;
mod plain;
mod sites;
mod snapshot;
mod source;
mod sweep;
mod windows;
mod world;

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{ensure, Result};

use pagemove_testkit::tap::{self, Case, Pass};
use source::Source;
use sweep::{Path, Table};
use world::World;

/// Ways that want no device of this process: while VFIO has memory of it mapped, none of its
/// regions is freed.
fn without_device() -> Vec<Path<World>> {
    [
        files::paths(),
        lists::paths(),
        offers::paths(),
        windows::paths(),
        devices::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Before names: what fails is in the kernel, not a call of the module's.
const KERNEL: &str = "--kernel";

/// With names: only the paths whose name has one of these in it; places that were not hit
/// are then none of its business.
pub fn main(args: &[String]) -> ExitCode {
    let (source, names) = match args.split_first() {
        Some((first, names)) if first == KERNEL => (Source::kernel(), names),
        _ => (Ok(fault::is_there().then_some(Source::Module)), args),
    };
    let made = source.and_then(|source| Ok((source, World::open()?)));
    let (source, mut world) = match made {
        Ok((Some(source), world)) => (Rc::new(source), world),
        Ok((None, _)) => return tap::skip_all(
            "this build of the module has no parameter fault, or this kernel no fault injection",
        ),
        Err(error) => return tap::fail_all(&error),
    };
    let wanted = |path: &Path<World>| {
        let is_named =
            names.is_empty() || names.iter().any(|part| path.name.contains(part.as_str()));
        is_named && (source.knows_names() || path.only.is_empty())
    };
    let case = |path| case(path, source.clone());
    let mut cases: Vec<Case<World>> = without_device()
        .into_iter()
        .filter(wanted)
        .map(case)
        .collect();
    cases.push(Case::new("a device is opened", |world: &mut World| {
        world.open_rig()?;
        Ok(Pass)
    }));
    cases.extend(moves::paths().into_iter().filter(wanted).map(case));
    cases.push(Case::new(
        "a device is opened with a memfd",
        |world: &mut World| {
            world.open_plain_rig()?;
            Ok(Pass)
        },
    ));
    cases.extend(plain::paths().into_iter().filter(wanted).map(case));
    cases.push(Case::new(
        "nothing is left, and the module unloads",
        |world: &mut World| {
            world.end()?;
            Ok(Pass)
        },
    ));
    if source.knows_names() && names.is_empty() {
        cases.extend(first::firsts().into_iter().map(|first| {
            Case::new(first.name, move |world: &mut World| {
                let points = first::sweep(&first, &mut world.table)?;
                tap::note(&format!("{}: {points} points", first.name));
                Ok(Pass)
            })
        }));
        cases.push(Case::new(
            "the module is loaded, or it is not there",
            |world: &mut World| {
                let points = load::sweep(&mut world.table)?;
                tap::note(&format!("insmod: {points} points"));
                Ok(Pass)
            },
        ));
        cases.push(Case::new(
            "every call of the module that can fail has failed",
            |world: &mut World| {
                is_complete(&world.table)?;
                Ok(Pass)
            },
        ));
    }
    let status = tap::run(&mut world, cases);
    if source.knows_names() {
        world.table.lines().iter().for_each(|line| tap::note(line));
    }
    tap::note(&format!("{} points swept", world.table.points));
    status
}

fn case(path: Path<World>, source: Rc<Source>) -> Case<World> {
    Case::new(path.name, move |world: &mut World| {
        let mut table = std::mem::take(&mut world.table);
        let swept = sweep::sweep(world, &path, &source, World::control, &mut table);
        world.table = table;
        let points = swept?;
        ensure!(
            points > 0 || !source.knows_names(),
            "no call on this way can fail"
        );
        tap::note(&format!("{}: {points} points", path.name));
        Ok(Pass)
    })
}

/// Places that no sweep reaches: what is called, from where, and why.
const OUT_OF_REACH: &[(&str, &str, &str)] = &[
    // Signals.
    (
        "signal_pending",
        "Machine>::stop",
        "between attempts, after one that was aborted: `cli` interrupts moves there",
    ),
    ("signal_pending", "Machine>::back_off", "as above"),
    ("signal_pending", ">::step", "as above"),
    ("signal_pending", "Batch>::run", "as above"),
    ("signal_pending", "Call>::settle", "as above"),
    (
        "signal_pending",
        "EditorSide",
        "pagemove's threads get no signals",
    ),
    ("signal_pending", "HelperSide", "as above"),
    // VFIO pins in a thread of the kernel's: it fails where it is asked to.
    ("vfio_pin_pages", "Errand<", "`Hold::pin_some` has the same"),
    (
        "queue_begin",
        "Queue>::begin",
        "a copy that the compiler left: insmod has the one that runs",
    ),
    // What comes after another failure.
    (
        "krealloc",
        "Call>::refused",
        "only for a page that could not be pinned",
    ),
    (
        "krealloc",
        "quarantine::add",
        "only after a write was lost: `blame`",
    ),
    ("krealloc", "lost_write", "as above"),
    ("krealloc", "quarantine::Member", "as above"),
    ("krealloc", "Call>::settle", "as above, in its caller"),
    ("domain_format", "After>::suspect", "as above"),
    (
        "krealloc",
        "Stays>::",
        "only where VFIO unmaps in the middle of a move: `races`",
    ),
    (
        "krealloc",
        "hold::Hold",
        "only for pins that it can't give up by itself: `races`",
    ),
    (
        "signal_pending",
        "hold::Hold",
        "only while as many others of the container pin as may, or VFIO takes long: `races`, `turn-left`",
    ),
    ("signal_pending", "errand::Errand", "as above"),
    (
        "krealloc",
        "Device>::hold+",
        "only for more than 16 holds of a container at a time",
    ),
    (
        "krealloc",
        "pagemove_vfio_dma_unmap",
        "only for more threads that unmap at a time than there is room for",
    ),
    (
        "domain_format",
        "kept::review",
        "only for pins that were left to others: `turn-left`",
    ),
    (
        "cpu_is_online",
        "shmem::drain",
        "only for pages that something else has pinned: `memfd`",
    ),
    // Leaves of 2 MiB are not swept: `sizes-*` have them.
    ("signal_pending", "sizes::Subject", "2 MiB"),
    ("signal_pending", "whole::Ahead", "2 MiB"),
    ("krealloc", "whole::Ahead", "2 MiB"),
    ("krealloc", "Call>::goes_together", "2 MiB"),
    ("kvrealloc", "mover::batch::Batch", "2 MiB: `goes_together`"),
    ("domain_format", "others::check_range", "2 MiB"),
    ("iommu_alloc_pages", "pagemove_domain_flush_tables", "2 MiB"),
    ("iommu_alloc_pages", "pagemove_table_alloc", "2 MiB"),
    ("alloc_pages_node", "pagemove_alloc_chunk", "2 MiB"),
    ("vmf_insert_page", "pagemove_insert_ahead", "2 MiB"),
    // Of builds for tests.
    ("", "sabotage::overrun", "planted, for the fuzzer"),
    (
        "",
        "testing::posted::",
        "a bridge that is slow: `aperture-delayed`",
    ),
    ("", "arenas::command", "for `ntb-arenas`"),
    ("", "paths::command", "for `paths`"),
];

fn is_complete(table: &Table) -> Result<()> {
    let sites = sites::of_module()?;
    let mut missed = sites.missed(table.places());
    for (call, count) in sites.by_function() {
        tap::note(&format!("{call}: called from {count} places"));
    }
    missed.retain(|place| {
        !OUT_OF_REACH
            .iter()
            .any(|(call, from, _)| is_of(place, call, from))
    });
    ensure!(
        missed.is_empty(),
        "{} of {} places were not hit:\n{}",
        missed.len(),
        sites.count(),
        missed.join("\n")
    );
    tap::note(&format!("{} places", sites.count()));
    Ok(())
}

/// Returns whether a line of `Sites::missed` is about such a call from there.
fn is_of(place: &str, call: &str, from: &str) -> bool {
    place
        .split_once(" < ")
        .is_some_and(|(called, caller)| called.contains(call) && caller.contains(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_out_of_reach() {
        let place = "pagemove_signal_pending < <main::batch::Batch>::settle+0x1";
        assert!(is_of(place, "signal_pending", "Batch>::settle"));
        assert!(!is_of(place, "signal_pending", "Batch>::run"));
        assert!(!is_of(place, "krealloc", "Batch>::settle"));
    }
}
