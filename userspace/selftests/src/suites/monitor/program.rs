// SPDX-License-Identifier: GPL-2.0
//! The program: `pagemove monitor`.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{Outcome, Pass};
use pagemove_testkit::vfio::READ_WRITE;
use pagemove_testkit::wait;
use pagemove_uapi::PAGE_SIZE;
use serde_json::Value;

use super::region;
use super::sleeper::is_in;
use super::told::AGAIN;
use crate::bench::Bench;

const PATIENCE: Duration = Duration::from_secs(20);

/// A monitor that runs; it ends with this value.
struct Monitor {
    child: Child,
    stdout: Option<ChildStdout>,
}

impl Monitor {
    /// Begins one. Returns when it waits for events.
    fn begin(line: &str) -> Result<Self> {
        let mut child = Command::new("pagemove")
            .args(line.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting pagemove")?;
        let stdout = child.stdout.take();
        let monitor = Self { child, stdout };
        let path = format!("/proc/{}/syscall", monitor.child.id());
        wait::until("pagemove monitor waits", PATIENCE, || {
            is_in(&path, libc::SYS_ppoll)
        })?;
        Ok(monitor)
    }

    /// Returns the lines that it prints, as they come.
    fn lines(&mut self) -> Result<Receiver<String>> {
        let stdout = self.stdout.take().context("its output is read")?;
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines();
            lines
                .map_while(Result::ok)
                .all(|line| tell.send(line).is_ok())
        });
        Ok(told)
    }

    /// Returns how it has ended, which it does soon.
    fn end(&mut self) -> Result<ExitStatus> {
        let mut status = None;
        wait::until("pagemove monitor ends", PATIENCE, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        status.context("no status")
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the next line of this kind.
fn next_of(lines: &Receiver<String>, kind: &str) -> Result<Value> {
    let until = Instant::now() + PATIENCE * slowness();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left);
        let line = line.with_context(|| format!("no line of {kind}"))?;
        let json: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(json["schema"] == 1, "{line}");
        if json["kind"] == kind {
            return Ok(json);
        }
    }
}

pub fn prints() -> Outcome {
    let mut monitor = Monitor::begin("monitor --json")?;
    let lines = monitor.lines()?;
    let region = region()?;
    let id = region.id;
    let made = next_of(&lines, "region-made")?;
    ensure!(
        made["region"] == id
            && made["pid"] == std::process::id()
            && made["command"] == "pagemove-selfte"
            && made["length"] == PAGE_SIZE,
        "{made}"
    );
    drop(region);
    let closed = next_of(&lines, "region-closed")?;
    ensure!(
        closed["region"] == id && closed["number"].as_u64() > made["number"].as_u64(),
        "{closed}"
    );
    // SAFETY: our child, which was not waited for.
    unsafe { libc::kill(monitor.child.id() as i32, libc::SIGINT) };
    let status = monitor.end()?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(Pass)
}

pub fn broken_pipe() -> Outcome {
    let mut monitor = Monitor::begin("monitor")?;
    monitor.stdout = None;
    drop(region()?);
    let status = monitor.end()?;
    ensure!(status.signal() == Some(libc::SIGPIPE), "{status}");
    Ok(Pass)
}

pub fn limited() -> Outcome {
    let mut monitor = Monitor::begin("monitor --events 1")?;
    let region = region()?;
    let status = monitor.end()?;
    let mut text = String::new();
    monitor
        .stdout
        .take()
        .context("no output")?
        .read_to_string(&mut text)?;
    let expected = format!("region-made {}: 4K, 0 allocated by ", region.id);
    ensure!(
        status.code() == Some(0) && text.lines().count() == 1 && text.contains(&expected),
        "{status}: {text}"
    );
    let output = Command::new("pagemove")
        .args(["monitor", "--for", "100ms"])
        .output()?;
    ensure!(
        output.status.code() == Some(0) && output.stdout.is_empty(),
        "{output:?}"
    );
    Ok(Pass)
}

pub fn aborts() -> Outcome {
    let bench = Bench::open(4)?;
    let mapped =
        bench
            .assigned
            .container
            .map(AGAIN, bench.region.map.address(), PAGE_SIZE, READ_WRITE);
    mapped.map_err(std::io::Error::from_raw_os_error)?;
    let mut monitor = Monitor::begin("monitor --json --aborts-above 0")?;
    let lines = monitor.lines()?;
    let (report, _) = bench.move_pages(&bench.request(0, 1, bench.nodes.there));
    ensure!(report.aborts.iter().sum::<u64>() > 0, "{report:?}");
    let ended = next_of(&lines, "move-ended")?;
    ensure!(ended["aborted"].as_u64() > Some(0), "{ended}");
    let above = next_of(&lines, "aborts-above")?;
    ensure!(above["aborts"]["in-use"].as_u64() > Some(0), "{above}");
    let below = next_of(&lines, "aborts-below")?;
    ensure!(below["per_second"] == 0.0, "{below}");
    Ok(Pass)
}
