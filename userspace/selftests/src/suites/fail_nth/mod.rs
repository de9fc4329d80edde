// SPDX-License-Identifier: GPL-2.0
//! Every call into the kernel that can fail does fail, once at a time, on every way into the
//! module: the caller is told by an errno of the header's, nothing is changed, nothing is lost,
//! and the next call works. In the end every place in the module's code that makes such a call
//! has been hit.

mod devices;
mod fault;
mod files;
mod lists;
mod load;
mod moves;
mod offers;
mod sites;
mod snapshot;
mod sweep;
mod windows;
mod world;

use std::process::ExitCode;

use anyhow::{ensure, Result};

use crate::tap::{self, Case, Pass};
use sweep::{Path, Table};
use world::World;

/// Ways that want no device of this process: while VFIO has memory of it mapped, none of its
/// regions is freed.
fn without_device() -> Vec<Path<World>> {
    [files::paths(), lists::paths(), offers::paths(), windows::paths(), devices::paths()].into_iter().flatten().collect()
}

/// With arguments: only the paths whose name has one of these in it; places that were not hit
/// are then none of its business.
pub fn main(args: &[String]) -> ExitCode {
    if !fault::is_there() {
        return tap::skip_all("this build of the module has no parameter fault");
    }
    let mut world = match World::open() {
        Ok(world) => world,
        Err(error) => return tap::fail_all(&error),
    };
    let wanted = |path: &Path<World>| args.is_empty() || args.iter().any(|part| path.name.contains(part.as_str()));
    let mut cases: Vec<Case<World>> = without_device().into_iter().filter(wanted).map(case).collect();
    cases.push(Case::new("a device is opened", |world: &mut World| {
        world.open_rig()?;
        Ok(Pass)
    }));
    cases.extend(moves::paths().into_iter().filter(wanted).map(case));
    cases.push(Case::new("nothing is left, and the module unloads", |world: &mut World| {
        world.end()?;
        Ok(Pass)
    }));
    if args.is_empty() {
        cases.push(Case::new("the module is loaded, or it is not there", |world: &mut World| {
            let points = load::sweep(&mut world.table)?;
            tap::diagnostic(&format!("insmod: {points} points"));
            Ok(Pass)
        }));
        cases.push(Case::new("every call of the module that can fail has failed", |world: &mut World| {
            is_complete(&world.table)?;
            Ok(Pass)
        }));
    }
    let status = tap::run(&mut world, cases);
    for line in world.table.lines() {
        tap::diagnostic(&line);
    }
    tap::diagnostic(&format!("{} points swept", world.table.points));
    status
}

fn case(path: Path<World>) -> Case<World> {
    Case::new(path.name, move |world: &mut World| {
        let mut table = std::mem::take(&mut world.table);
        let swept = sweep::sweep(world, &path, World::control, &mut table);
        world.table = table;
        let points = swept?;
        ensure!(points > 0, "no call on this way can fail");
        tap::diagnostic(&format!("{}: {points} points", path.name));
        Ok(Pass)
    })
}

/// Places that nothing here reaches, and why.
const OUT_OF_REACH: &[(&str, &str)] = &[
    ("stop_machine", "only where several CPUs idle on the address space of a closed region, more than a second later"),
];

fn is_complete(table: &Table) -> Result<()> {
    let sites = sites::of_module()?;
    let mut missed = sites.missed(table.places());
    for (call, count) in sites.by_function() {
        tap::diagnostic(&format!("{call}: called from {count} places"));
    }
    missed.retain(|place| !OUT_OF_REACH.iter().any(|(part, _)| place.contains(part)));
    ensure!(missed.is_empty(), "{} of {} places were not hit:\n{}", missed.len(), sites.count(), missed.join("\n"));
    tap::diagnostic(&format!("{} places", sites.count()));
    Ok(())
}
