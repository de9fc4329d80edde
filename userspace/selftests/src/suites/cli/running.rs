// SPDX-License-Identifier: GPL-2.0
//! A move that runs, seen, ended and waited for by others.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{Outcome, Pass};
use serde_json::Value;

use super::{answer, bench, line, number, run, State, PAGES, PROGRAM};
use crate::bench::Bench;

const RUN_DIR: &str = "/run/pagemove/running";
const PATIENCE: Duration = Duration::from_secs(60);

fn spawn(line: &str) -> Result<Child> {
    let child = Command::new(PROGRAM)
        .arg("--json")
        .args(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    child.context("starting pagemove")
}

/// Returns what comes in time.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "{what}: not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Returns what `status` says of a process.
pub fn shown(pid: u32) -> Result<Option<Value>> {
    let (code, json) = run("status")?;
    ensure!(code == 0, "exit code {code}: {json}");
    let commands = json["commands"].as_array().context("no commands")?;
    Ok(commands
        .iter()
        .find(|command| command["pid"] == pid)
        .cloned())
}

/// Begins a move that takes half a minute.
fn begin(bench: &Bench) -> Result<Child> {
    run(&line(bench, PAGES, bench.nodes.here))?;
    let line = line(bench, PAGES, bench.nodes.there);
    spawn(&format!("{line} --limit 1M"))
}

/// Begins to wait for a process. Returns when it can't miss its end any more.
pub fn begin_wait(pid: u32) -> Result<Child> {
    let waiter = spawn(&format!("wait {pid} --timeout 60s"))?;
    let files = format!("/proc/{}/fd", waiter.id());
    until("it waits", || {
        Ok(has_pidfd(Path::new(&files))?.then_some(()))
    })?;
    Ok(waiter)
}

/// Returns the exit code and the JSON of one that was begun.
pub fn answer_of(child: Child) -> Result<(i32, Value)> {
    answer(child.wait_with_output()?)
}

fn has_pidfd(files: &Path) -> Result<bool> {
    let links = fs::read_dir(files)?.flatten();
    let mut links = links.filter_map(|file| fs::read_link(file.path()).ok());
    Ok(links.any(|link| link.to_string_lossy().contains("pidfd")))
}

pub fn cancelled(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    let child = begin(bench)?;
    let pid = child.id();
    let progress = until("its progress", || {
        Ok(shown(pid)?.filter(|found| found["pages_done"].as_u64() > Some(0)))
    })?;
    ensure!(
        progress["verb"] == "move"
            && progress["phase"] == "moving"
            && progress["device"] == bench.device.to_string()
            && progress["pages"] == PAGES,
        "{progress}"
    );
    let waiter = begin_wait(pid)?;
    let (code, json) = run(&format!("cancel {pid} --wait --timeout 60s"))?;
    ensure!(
        code == 5 && json["ended"] == true && json["code"] == 5,
        "cancel: {code}, {json}"
    );
    let (code, json) = answer(waiter.wait_with_output()?)?;
    ensure!(
        code == 5 && json["ended"] == true && json["code"] == 5,
        "wait: {code}, {json}"
    );
    let (code, json) = answer(child.wait_with_output()?)?;
    let there = bench.region.pages_on(bench.nodes.there)? as u64;
    ensure!(
        code == 5
            && json["error"]["reason"] == "signal"
            && number(&json, "/pages_moved")? == there
            && there >= number(&progress, "/pages_done")?,
        "move: {code}, {there} pages are there: {json}"
    );
    bench.region.map.check(0)?;
    ensure!(shown(pid)?.is_none(), "status shows what has ended");
    ensure!(fs::read_dir(RUN_DIR)?.count() == 0, "something is left");
    for verb in ["cancel", "wait"] {
        let (code, json) = run(&format!("{verb} {pid}"))?;
        ensure!(
            code == 1 && json["error"]["kind"] == "usage",
            "{verb}: {json}"
        );
    }
    Ok(Pass)
}

pub fn killed(state: &mut State) -> Outcome {
    let bench = bench(state)?;
    let mut child = begin(bench)?;
    let pid = child.id();
    until("it is shown", || shown(pid))?;
    let waiter = begin_wait(pid)?;
    child.kill()?;
    let (code, json) = answer(waiter.wait_with_output()?)?;
    ensure!(
        code == 7 && json["ended"] == true && json["code"].is_null(),
        "wait: {code}, {json}"
    );
    child.wait()?;
    ensure!(
        fs::read_dir(RUN_DIR)?.count() > 0,
        "it has left nothing, so that this shows nothing"
    );
    ensure!(shown(pid)?.is_none(), "status shows what was killed");
    ensure!(fs::read_dir(RUN_DIR)?.count() == 0, "something is left");
    bench.region.map.check(0)?;
    Ok(Pass)
}
