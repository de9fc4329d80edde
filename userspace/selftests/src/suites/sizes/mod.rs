// SPDX-License-Identifier: GPL-2.0
//! A leaf of 2 MiB is split and merged while a device uses the memory. The argument is the format that the VM
//! is meant to have.

mod busy;
mod chunks;
mod met;
mod moves;
mod scene;
mod whole;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::wait;
use pagemove_uapi::{
    self as uapi, EXPERIMENT_SIZES, EXPERIMENT_SPLIT, MAX_EXPERIMENT_NS, PAGE_SIZE,
    REASON_NOT_LARGE, REASON_NOT_MAPPED,
};

use self::scene::{Parts, Scene, BYTES, IOVA};

/// As often as the leaf is split and merged, at least, and pages go through the device meanwhile.
const ROUNDS: u64 = 500;
const TRANSFERS: u64 = 500;
const LONGEST: Duration = Duration::from_secs(60);

pub fn main(args: &[String]) -> ExitCode {
    match args.split_first().map(|(part, rest)| (part.as_str(), rest)) {
        Some(("moves", rest)) => return moves::main(rest),
        Some(("chunks", rest)) => return chunks::main(rest),
        Some(("busy", rest)) => return busy::main(rest),
        Some(("met", _)) => return met::main(),
        Some(("whole", rest)) => return whole::main(rest),
        _ => {}
    }
    let format = match args.first().map(String::as_str) {
        Some("x86_64") => uapi::FORMAT_X86_64,
        Some("vtdss") => uapi::FORMAT_VTDSS,
        Some("amdv1") => uapi::FORMAT_AMDV1,
        _ => {
            eprintln!("sizes wants one of: x86_64 vtdss amdv1");
            return ExitCode::from(1);
        }
    };
    let mut scene = match Scene::open(format) {
        Ok(scene) => scene,
        Err(error) => return tap::fail_all(&error),
    };
    tap::run(&mut scene, cases())
}

fn case(name: &str, check: fn(&mut Scene) -> Result<()>) -> Case<Scene> {
    Case::new(name, move |scene: &mut Scene| {
        check(scene)?;
        Ok(Pass)
    })
}

fn cases() -> Vec<Case<Scene>> {
    vec![
        case("the device maps 2 MiB by one leaf", |scene| {
            scene.parts.has_leaves_of(BYTES as u64)
        }),
        case("a wrong address, time or memory is refused", refused),
        case(
            "the leaf is split and merged 500 times under DMA: nothing is lost or astray, no table is left",
            to_and_fro,
        ),
        case(
            "the chunk is unmapped and mapped while it is split and merged: every call ends",
            unmapped_meanwhile,
        ),
        case(
            "a leaf that stays split: 4 KiB each, the device goes on, it can't be split again",
            stays_split,
        ),
        case(
            "a chunk that is split is unmapped as a whole, and its table is freed",
            unmapped,
        ),
        case("the device is closed while its leaf is split", closed),
    ]
}

fn refused(scene: &mut Scene) -> Result<()> {
    let wrong = [
        (
            "inside of a leaf",
            EXPERIMENT_SIZES,
            IOVA + PAGE_SIZE as u64,
            1,
        ),
        ("no time", EXPERIMENT_SIZES, IOVA, 0),
        ("too long", EXPERIMENT_SIZES, IOVA, MAX_EXPERIMENT_NS + 1),
        ("a time", EXPERIMENT_SPLIT, IOVA, 1),
        ("at the end", EXPERIMENT_SPLIT, u64::MAX - 4095, 0),
    ];
    for (what, kind, iova, ns) in wrong {
        let found = scene.parts.try_out(kind, iova, ns).err();
        let found = found.map(|error| (error.errno, error.reason));
        ensure!(found == Some((libc::EINVAL, 0)), "{what}: {found:?}");
    }
    let found = scene
        .parts
        .try_out(EXPERIMENT_SPLIT, IOVA + 16 * BYTES as u64, 0);
    let found = found.err().map(|error| (error.errno, error.reason));
    let expected = Some((libc::ENOENT, REASON_NOT_MAPPED));
    ensure!(found == expected, "nothing there: {found:?}");
    scene.parts.has_leaves_of(BYTES as u64)
}

/// How far the device is.
#[derive(Default)]
struct Dma {
    is_enough: AtomicBool,
    has_failed: AtomicBool,
}

impl Dma {
    /// Whether there is something to go on for, after so many splits.
    fn goes_on(&self, splits: u64) -> bool {
        let is_enough = splits >= ROUNDS && self.is_enough.load(Ordering::Acquire);
        !is_enough && !self.has_failed.load(Ordering::Acquire)
    }
}

/// Pages go through the device and come back until it is enough; `beside` runs meanwhile, and hears of it.
fn with_dma(
    scene: &mut Scene,
    beside: impl FnOnce(&Parts, &Dma) -> Result<()> + Send,
) -> Result<()> {
    let dma = scene.dma.as_deref_mut().context("the device is closed")?;
    let parts = &scene.parts;
    let (is_over, state) = (AtomicBool::new(false), Dma::default());
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let result = beside(parts, &state);
            is_over.store(true, Ordering::Release);
            result
        });
        let mut transfers = 0;
        let mut done = Ok(());
        while done.is_ok() && (transfers < TRANSFERS || !is_over.load(Ordering::Acquire)) {
            done = parts
                .there_and_back(dma, transfers)
                .with_context(|| format!("transfer {transfers}"));
            transfers += 1;
            if transfers >= TRANSFERS {
                state.is_enough.store(true, Ordering::Release);
            }
        }
        state.has_failed.store(done.is_err(), Ordering::Release);
        let other = other.join().expect("the thread does not panic");
        println!("# {transfers} pages went through the device");
        done.and(other)
    })
}

fn to_and_fro(scene: &mut Scene) -> Result<()> {
    let before = scene::tables()?;
    with_dma(scene, |parts, dma| {
        let (mut splits, mut reverted) = (0, 0);
        while dma.goes_on(splits) {
            let report = parts
                .try_out(EXPERIMENT_SIZES, IOVA, MAX_EXPERIMENT_NS)
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            ensure!(report.found == report.updates, "it stays split: {report:?}");
            ensure!(report.found + report.lost > 0, "nothing was done");
            splits += report.found;
            reverted += report.lost;
        }
        println!("# {splits} splits and merges, an old entry came back {reverted} times");
        Ok(())
    })?;
    scene.parts.has_leaves_of(BYTES as u64)?;
    let after = scene::tables()?;
    ensure!(after == before, "{after} KiB of tables instead of {before}");
    Ok(())
}

/// While its leaf changes its size all the time.
const UNMAPS: u32 = 30;

fn unmapped_meanwhile(scene: &mut Scene) -> Result<()> {
    let before = scene::tables()?;
    let is_over = AtomicBool::new(false);
    let calls = AtomicU32::new(0);
    let (parts, maps) = (&scene.parts, &scene.maps);
    thread::scope(|scope| {
        let sizes = scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                match parts.try_out(EXPERIMENT_SIZES, IOVA, MAX_EXPERIMENT_NS) {
                    Ok(_) => _ = calls.fetch_add(1, Ordering::AcqRel),
                    // It is not mapped just now, or about to be unmapped.
                    Err(error) if [libc::ENOENT, libc::EAGAIN].contains(&error.errno) => {}
                    Err(error) => anyhow::bail!("{error}"),
                }
            }
            Ok(())
        });
        let others = scope.spawn(|| maps.unmap_others(&is_over));
        let unmaps = || {
            for _ in 0..UNMAPS {
                // So that one is met.
                let seen = calls.load(Ordering::Acquire);
                wait::until("a call has ended", LONGEST, || {
                    Ok(calls.load(Ordering::Acquire) != seen || sizes.is_finished())
                })?;
                maps.unmap()?;
                maps.map()?;
            }
            Ok(())
        };
        let done: Result<()> = unmaps();
        is_over.store(true, Ordering::Release);
        let sizes = sizes.join().expect("the thread does not panic");
        let others = others.join().expect("the thread does not panic");
        done.and(sizes).and(others)
    })?;
    scene.parts.has_leaves_of(BYTES as u64)?;
    let after = scene::tables()?;
    ensure!(after <= before + 4, "{after} KiB of tables after {before}");
    with_dma(scene, |_, _| Ok(()))
}

fn stays_split(scene: &mut Scene) -> Result<()> {
    let before = scene::tables()?;
    scene.parts.split()?;
    scene.parts.has_leaves_of(PAGE_SIZE as u64)?;
    let after = scene::tables()?;
    ensure!(after == before + 4, "{after} KiB of tables after {before}");
    let found = scene.parts.try_out(EXPERIMENT_SPLIT, IOVA, 0);
    let found = found.err().map(|error| (error.errno, error.reason));
    let expected = Some((libc::EOPNOTSUPP, REASON_NOT_LARGE));
    ensure!(found == expected, "split again: {found:?}");
    with_dma(scene, |_, _| Ok(()))
}

fn unmapped(scene: &mut Scene) -> Result<()> {
    let split = scene::tables()?;
    scene.maps.unmap()?;
    scene.maps.map()?;
    scene.parts.has_leaves_of(BYTES as u64)?;
    let after = scene::tables()?;
    ensure!(after + 4 == split, "{after} KiB of tables after {split}");
    with_dma(scene, |_, _| Ok(()))
}

fn closed(scene: &mut Scene) -> Result<()> {
    scene.parts.split()?;
    scene.close();
    let (before, after) = (scene.before, scene::tables()?);
    ensure!(after == before, "{after} KiB of tables after {before}");
    Ok(())
}
