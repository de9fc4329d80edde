// SPDX-License-Identifier: GPL-2.0
//! MOVE by both engines, to nodes and to an aperture and home; USED; MAPS; EXPERIMENT.

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{
    ExperimentRequest, Move, MoveReport, MoveRequest, PageResult, ENGINE_ADBIT, ENGINE_AUTO,
    ENGINE_RTM, EXPERIMENT_CLEAR, EXPERIMENT_FRAMES, EXPERIMENT_LANDS, EXPERIMENT_RACE,
    EXPERIMENT_SET, EXPERIMENT_USED, EXPERIMENT_WATCH, IOC_MOVE, MOVE_SIZE_V0, PAGE_MOVED,
    PAGE_RESULT_SIZE_V0, PAGE_SIZE, PLACE_APERTURE,
};

use super::fault::Fired;
use super::lists::quietly;
use super::sweep::Path;
use super::world::{World, PAGES};
use crate::bench;
use crate::call::Call;
use crate::rig::Rig;

/// What the header lists, but for what no failed call can mean.
pub const MOVING: &[i32] = &[
    libc::EPERM,
    libc::EFAULT,
    libc::ENOMEM,
    libc::EINVAL,
    libc::ENODEV,
    libc::EOPNOTSUPP,
    libc::EAGAIN,
    libc::EINTR,
    libc::ENOENT,
];

pub fn paths() -> Vec<Path<World>> {
    let mut paths = moving();
    paths.extend(super::lists::of_something());
    paths
}

fn moving() -> Vec<Path<World>> {
    let other = |name, go| Path::new(name, MOVING, go);
    let path = |name, go| Path {
        prepare: filled,
        exact: false,
        settle: settle_move,
        ..other(name, go)
    };
    vec![
        path("MOVE one page by adbit", |world| {
            there(world, 1, ENGINE_ADBIT, (None, None))
        }),
        Path {
            only: "copy",
            ..path("MOVE by an older program", older)
        },
        path("MOVE a batch by adbit", |world| {
            there(world, PAGES, ENGINE_ADBIT, (None, None))
        }),
        path("MOVE named pages", named),
        // What fails is no memory and no thread: anything else might be overcome, and the session be there.
        Path {
            again: false,
            only: "alloc",
            ..path("MOVE by rtm, memory for a new session", |world| {
                there(world, 1, ENGINE_RTM, (Some(0), Some(1)))
            })
        },
        Path {
            again: false,
            only: "kthread",
            ..path("MOVE by rtm, threads of a new session", |world| {
                there(world, 1, ENGINE_RTM, (Some(1), Some(0)))
            })
        },
        path("MOVE a batch by rtm", |world| {
            there(world, PAGES, ENGINE_RTM, (Some(0), Some(1)))
        }),
        path("MOVE a batch by either engine", |world| {
            there(world, PAGES, ENGINE_AUTO, (Some(1), None))
        }),
        Path {
            prepare: shown,
            ..path("MOVE to an aperture", out)
        },
        Path {
            prepare: away,
            ..path("MOVE from an aperture", home)
        },
        Path {
            prepare: away,
            settle: settle_touch,
            ..path("a touch of pages in an aperture", touch)
        },
        other("USED", |world| used(world, false)),
        other("USED, and cleared", |world| used(world, true)),
        other("MAPS", maps),
        other("LIFT", lift),
        other("EVENTS", |world| quietly(world.control().events(0, 16))),
        other("EXPERIMENT used", |world| {
            experiment(world, EXPERIMENT_USED, 0)
        }),
        other("EXPERIMENT clear", |world| {
            experiment(world, EXPERIMENT_CLEAR, 0)
        }),
        other("EXPERIMENT set", |world| {
            experiment(world, EXPERIMENT_SET, 0)
        }),
        other("EXPERIMENT race", |world| {
            experiment(world, EXPERIMENT_RACE, 20_000)
        }),
        other("EXPERIMENT frames", |world| {
            experiment(world, EXPERIMENT_FRAMES, 20_000)
        }),
        other("EXPERIMENT lands", |world| {
            experiment(world, EXPERIMENT_LANDS, 20_000)
        }),
        other("EXPERIMENT watch", |world| {
            experiment(world, EXPERIMENT_WATCH, 20_000)
        }),
    ]
}

/// Writes what the pages have to hold.
pub fn filled(world: &mut World) -> Result<()> {
    world.made.outcome = None;
    world.made.seed += 1;
    let seed = world.made.seed;
    let rig = world.rig()?;
    (0..PAGES).for_each(|page| rig.fill(page, seed));
    Ok(())
}

/// Makes an aperture to go to, and writes what the pages have to hold.
fn shown(world: &mut World) -> Result<()> {
    super::windows::show_one(world)?;
    world.made.number = world.bridge.as_ref().context("no bridge")?.aperture(0)?.id;
    filled(world)
}

/// Moves the pages to an aperture.
fn away(world: &mut World) -> Result<()> {
    shown(world)?;
    out(world)
        .map_err(std::io::Error::from_raw_os_error)
        .context("on the way there")?;
    world.made.outcome = None;
    Ok(())
}

fn finish(
    world: &mut World,
    report: MoveReport,
    results: Vec<PageResult>,
    pages: usize,
) -> Result<(), i32> {
    let errno = bench::errno_of(&report);
    let moved = report.pages_moved;
    world.made.outcome = Some((report, results));
    match errno {
        0 if moved == pages as u64 => Ok(()),
        // Pages that stay aborted are no error of the call; here they would hide one.
        0 => Err(libc::ENOENT),
        errno => Err(errno),
    }
}

pub fn request(rig: &Rig, pages: usize, engine: u32, node: i32) -> MoveRequest {
    MoveRequest {
        retries: 2000,
        ..rig.request(0, pages, engine, node)
    }
}

pub fn there(
    world: &mut World,
    pages: usize,
    engine: u32,
    cpus: (Option<u32>, Option<u32>),
) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    let mut request = request(rig, pages, engine, rig.nodes.there);
    if engine != ENGINE_ADBIT {
        (request.editor_cpu, request.helper_cpu) = cpus;
    }
    let (report, results) = rig.move_patiently(&request);
    finish(world, report, results, pages)
}

/// It knows the first version of the results.
fn older(world: &mut World) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    let mut results = vec![0u8; PAGES * PAGE_RESULT_SIZE_V0];
    let argument = Move {
        segment: rig.device.segment,
        bus: rig.device.bus,
        devfn: rig.device.devfn,
        engine: ENGINE_ADBIT,
        iova: bench::IOVA,
        length: (PAGES * PAGE_SIZE) as u64,
        node: rig.nodes.there,
        retries: 2000,
        results: results.as_mut_ptr() as u64,
        ..Default::default()
    };
    Call::new("move", IOC_MOVE, argument, MOVE_SIZE_V0).issue(&rig.control)
}

fn named(world: &mut World) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    let of = (rig.region().map_err(|_| libc::EIO)?, 0);
    let mut results = Vec::new();
    let request = request(rig, PAGES, ENGINE_ADBIT, rig.nodes.there);
    let report = rig
        .control
        .move_region_pages(&request, of, None, Some(&mut results));
    finish(world, report, results, PAGES)
}

fn targets() -> Vec<u64> {
    (0..PAGES as u64)
        .map(|page| (3 + 2 * page) * PAGE_SIZE as u64)
        .collect()
}

fn out(world: &mut World) -> Result<(), i32> {
    let id = world.made.number;
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    let (report, results) = rig.move_out(0, id, &targets());
    finish(world, report, results, PAGES)
}

fn home(world: &mut World) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    let (report, results) = rig.move_pages(&request(rig, PAGES, ENGINE_AUTO, rig.nodes.here));
    finish(world, report, results, PAGES)
}

/// The kernel reads there for us, so that a touch in vain is an errno and no signal.
fn touch(world: &mut World) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    (0..PAGES).try_for_each(|page| rig.touch_to_read(page))
}

/// Each page has moved or it has not, and the report says which; its content is what it was,
/// for CPUs and for the device. Then all go home.
fn settle_move(world: &mut World, done: &Result<(), i32>, _: Option<&Fired>) -> Result<()> {
    let seed = world.made.seed;
    let outcome = world.made.outcome.take();
    let rig = world.rig()?;
    let mut away = 0;
    for page in 0..PAGES {
        let place = rig.place_of(page)?;
        away += u64::from(place.kind == PLACE_APERTURE || place.number != rig.nodes.here);
        rig.check(page, seed)?;
    }
    // Where the structure or the results could not be written they say less than was done.
    if let (Some((report, results)), true) = (&outcome, *done != Err(libc::EFAULT)) {
        let moved = results
            .iter()
            .filter(|result| result.outcome == PAGE_MOVED)
            .count() as u64;
        ensure!(
            moved == report.pages_moved,
            "{} moved, the results say {moved}",
            report.pages_moved
        );
        ensure!(
            moved == away || moved == PAGES as u64 - away,
            "{moved} moved, {away} are away"
        );
    }
    if away > 0 {
        let (report, _) = rig.move_pages(&request(rig, PAGES, ENGINE_ADBIT, rig.nodes.here));
        ensure!(
            report.error.is_none(),
            "on the way back: {}",
            bench::describe(&report)
        );
        for page in 0..PAGES {
            ensure!(
                rig.node_of(page)? == rig.nodes.here,
                "page {page} did not come back"
            );
        }
    }
    Ok(())
}

/// A slot that could not be looked at when its page left stays out of use until somebody wants it.
fn settle_touch(world: &mut World, done: &Result<(), i32>, fired: Option<&Fired>) -> Result<()> {
    settle_move(world, done, fired)?;
    away(world)?;
    settle_move(world, &Ok(()), None)
}

fn used(world: &mut World, clear: bool) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    let length = (PAGES * PAGE_SIZE) as u64;
    quietly(world.control().used(rig.device, bench::IOVA, length, clear))
}

fn lift(world: &mut World) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    quietly(world.control().lift(rig.device, false))
}

fn maps(world: &mut World) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    quietly(world.control().maps(rig.device))
}

fn experiment(world: &mut World, kind: u32, ns: u64) -> Result<(), i32> {
    let rig = world.rig.as_ref().ok_or(libc::EIO)?;
    let request = ExperimentRequest {
        kind,
        device: rig.device,
        iova: bench::IOVA,
        ns,
    };
    let file = rig.region_file().ok_or(libc::EIO)?;
    quietly(file.experiment(&request))
}
