// SPDX-License-Identifier: GPL-2.0
//! The destination of moves is full, is taken offline, or is of a kind that no region may use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{nodes, wait};
use pagemove_uapi::{Control, ENGINE_AUTO, REASON_NODE, REASON_NO_MEMORY};

use super::play::Play;
use super::scene::{Callers, Scene};
use crate::bench;
use crate::eater::MemoryEater;
use pagemove_testkit::tap::{self, Case, Pass, Skip, Verdict};

const SOME: u64 = 64;
/// When calls are told that the destination is full.
const SOON: Duration = Duration::from_secs(60);
const FULL: (i32, u32) = (libc::ENOMEM, REASON_NO_MEMORY);
const NO_NODE: (i32, u32) = (libc::EINVAL, REASON_NODE);

pub fn main() -> ExitCode {
    let mut play = match Play::begin(
        &[],
        &["--pages", "64", "--cpu-pages", "4", "--queue-depth", "4"],
    ) {
        Ok(play) => play,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |name: &str, check: fn(&mut Scene) -> Result<Verdict>| {
        Case::new(name, move |play: &mut Play| {
            let scene = play.scene()?;
            let verdict = check(scene)?;
            scene.is_clean(1)?;
            play.log.check()?;
            Ok(verdict)
        })
    };
    let cases = vec![
        case("the destination becomes full in the middle of moves: ENOMEM, and with memory they go on", full),
        case("blocks of the destination are taken offline and come back in the middle of moves", offlined),
        case("a destination of movable memory alone is refused (ENOMEM): no region may use it", movable),
        Play::end(),
    ];
    tap::run(&mut play, cases)
}

fn full(scene: &mut Scene) -> Result<Verdict> {
    let there = scene.nodes.there;
    scene.during(&Callers::one(ENGINE_AUTO).allowing(&[FULL]), |_, moves| {
        moves.go_on(SOME, "before the node is full")?;
        let eater = MemoryEater::start(there)?;
        let (before, moved) = (moves.answered(FULL), moves.moved());
        wait::until("a call is told that the node is full", SOON, || {
            Ok(moves.answered(FULL) > before)
        })?;
        tap::note(&format!(
            "{} pages moved within the other node meanwhile",
            moves.moved() - moved
        ));
        drop(eater);
        moves.go_on(SOME, "when the node has memory again")
    })?;
    // Not only within one node.
    let report = scene
        .control
        .move_pages(&scene.request(ENGINE_AUTO, there), None);
    ensure!(
        report.error.is_none() && report.pages_moved > 0,
        "afterwards: {}",
        bench::describe(&report)
    );
    Ok(Pass)
}

/// Memory blocks of a node, by their directories in sysfs.
fn blocks(node: i32) -> Result<Vec<PathBuf>> {
    let directory = format!("/sys/devices/system/node/node{node}");
    let entries = fs::read_dir(&directory).with_context(|| directory.clone())?;
    let is_block = |name: &str| {
        name.strip_prefix("memory")
            .is_some_and(|n| n.parse::<u32>().is_ok())
    };
    let mut blocks: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_block))
        .map(|entry| entry.path())
        .collect();
    blocks.sort();
    Ok(blocks)
}

/// Asks for a state of a block; false if the kernel refuses.
fn set(block: &Path, state: &str) -> Result<bool> {
    match fs::write(block.join("state"), state) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EBUSY | libc::EINVAL | libc::EAGAIN | libc::ENOMEM)
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("{} of {}", state, block.display())),
    }
}

fn is_offline(block: &Path) -> bool {
    fs::read_to_string(block.join("state"))
        .unwrap_or_default()
        .trim()
        == "offline"
}

fn bring_back(blocks: &[PathBuf], movable: &[bool]) -> Result<()> {
    for (block, movable) in blocks
        .iter()
        .zip(movable)
        .filter(|(block, _)| is_offline(block))
    {
        let how = if *movable {
            "online_movable"
        } else {
            "online_kernel"
        };
        ensure!(set(block, how)?, "{} does not come back", block.display());
    }
    Ok(())
}

fn offlined(scene: &mut Scene) -> Result<Verdict> {
    let there = scene.nodes.there;
    let blocks = blocks(there)?;
    if blocks.is_empty() {
        return Ok(Skip("the kernel can not take memory offline".to_string()));
    }
    let movable: Vec<bool> = blocks.iter().map(|block| is_movable(block)).collect();
    let (mut gone, mut refused) = (0, 0);
    // While blocks of it go there may be no page to be had at the node for a moment.
    let callers = Callers::one(ENGINE_AUTO).allowing(&[FULL, NO_NODE]);
    let result = scene.during(&callers, |_, moves| {
        moves.go_on(SOME, "before")?;
        for _ in 0..2 {
            for block in &blocks {
                if set(block, "offline")? {
                    gone += 1;
                } else {
                    refused += 1;
                }
                if let Some(failure) = moves.failure() {
                    anyhow::bail!("{failure}");
                }
            }
            moves.go_on(SOME / 4, "while memory is offline")?;
            bring_back(&blocks, &movable)?;
            moves.go_on(SOME, "when it is back")?;
        }
        Ok(())
    });
    bring_back(&blocks, &movable)?;
    result?;
    tap::note(&format!("{} blocks of node {there}: {gone} times taken offline, {refused} times refused (EBUSY: a page of the region, or of the kernel, was there)", blocks.len()));
    ensure!(gone + refused == 2 * blocks.len(), "not all were tried");
    ensure!(
        gone > 0 || !movable.contains(&true),
        "no block was taken offline"
    );
    ensure!(
        refused > 0,
        "the blocks with pages of the region were let go"
    );
    let report = scene
        .control
        .move_pages(&scene.request(ENGINE_AUTO, there), None);
    ensure!(
        report.error.is_none() && report.pages_moved > 0,
        "afterwards: {}",
        bench::describe(&report)
    );
    Ok(Pass)
}

/// Returns whether the memory of a block is for what Linux can move, and nothing else.
fn is_movable(block: &Path) -> bool {
    fs::read_to_string(block.join("valid_zones"))
        .unwrap_or_default()
        .split_whitespace()
        .next()
        == Some("Movable")
}

/// A part of the node is movable memory, by the kernel's command line.
fn movable(scene: &mut Scene) -> Result<Verdict> {
    let there = scene.nodes.there;
    if !blocks(there)?.iter().any(|block| is_movable(block)) {
        return Ok(Skip(
            "the node has no movable memory: boot with movablecore=".to_string(),
        ));
    }
    refused_there(scene, there).map(|()| Pass)
}

/// The rest of the node is taken by another region: then nothing is left but what is movable.
fn refused_there(scene: &mut Scene, there: i32) -> Result<()> {
    let eater = MemoryEater::start(there)?;
    let request = scene.request(ENGINE_AUTO, there);
    let (report, free) = (
        scene.control.move_pages(&request, None),
        nodes::free_memory(there)?,
    );
    drop(eater);
    let found = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        found == Some(FULL),
        "to movable memory: {}",
        bench::describe(&report)
    );
    tap::note(&format!(
        "{} MiB of movable memory were free at that time",
        free >> 20
    ));
    ensure!(free > 16 << 20, "nothing was free there anyway");
    // The pages are somewhere, as before, and go elsewhere.
    let report = Control::open()?.move_pages(&scene.request(ENGINE_AUTO, scene.nodes.here), None);
    ensure!(report.error.is_none(), "{}", bench::describe(&report));
    Ok(())
}
