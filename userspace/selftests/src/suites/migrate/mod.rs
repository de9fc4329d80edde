// SPDX-License-Identifier: GPL-2.0
//! `pagemove migrate` and `pagemove receive` against the real module. The VM plays both
//! hosts: a BAR shows its own memory, as the aperture of the host A would show B's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_uapi::{
    Control, DETAIL_AWAITED, DETAIL_OFFERED, PAGE_SIZE, PLACE_APERTURE, PLACE_NODE,
};
use serde_json::Value;

use crate::bench::IOVA;
use crate::region::Region;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

mod ends;
mod paths;
mod steered;
mod ways;

const DRIVER: &str = "pagemove_aperture";
/// Those that migrate. Both regions have one page more, which stays.
pub const PAGES: usize = 48;
const PAGE: u64 = PAGE_SIZE as u64;
const LONG: Duration = Duration::from_secs(20);
const NOTES: &str = "/tmp/migrations";

/// Host A is the rig, host B the region; both are made anew for each case.
pub struct Hosts {
    pub rig: Rig,
    pub b: Region,
    pub aperture: u32,
}

pub struct Nothing;

/// `steered`: only what others see and do of a migration that runs.
pub fn main(args: &[String]) -> ExitCode {
    match prepare() {
        Ok(()) => {}
        Err(error) => return tap::fail_all(&error),
    }
    let cases = match args.first() {
        Some(_) => steered::cases(),
        None => [ways::cases(), paths::cases(), ends::cases()]
            .into_iter()
            .flatten()
            .collect(),
    };
    tap::run(&mut Nothing, cases)
}

fn prepare() -> Result<()> {
    let found = pci::find(pci::IVSHMEM)?;
    let function = *found.first().context("no BAR shows this VM's memory")?;
    pci::bind(function, DRIVER)
}

pub fn case(name: &str, check: fn() -> Result<()>) -> Case<Nothing> {
    Case::new(name, move |_: &mut Nothing| {
        check()?;
        Ok(Pass)
    })
}

/// What `pagemove receive` has printed when it ended.
pub struct Received {
    pub code: i32,
    pub json: Value,
    pub errors: String,
}

/// `pagemove receive`, which listens.
pub struct Receiver {
    child: Child,
    pub address: String,
    errors: BufReader<std::process::ChildStderr>,
}

impl Receiver {
    /// For one connection.
    pub fn start(region: u32, more: &[&str]) -> Result<Self> {
        Self::start_lasting(region, &[more, &["--once"]].concat())
    }

    pub fn start_lasting(region: u32, more: &[&str]) -> Result<Self> {
        Self::at(Some("tcp:127.0.0.1:0"), region, more)
    }

    /// At an address, or where it listens by itself.
    pub fn at(listen: Option<&str>, region: u32, more: &[&str]) -> Result<Self> {
        let listen = listen.map(|address| ["--listen", address]);
        let mut child = Command::new("pagemove")
            .args(["--json", "receive", "--region", &region.to_string()])
            .args(listen.iter().flatten())
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting pagemove receive")?;
        let mut errors = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut line = String::new();
        errors.read_line(&mut line)?;
        let address = line.trim().strip_prefix("pagemove: listening on ");
        let address = address
            .with_context(|| format!("receive says {line:?}"))?
            .to_string();
        Ok(Self {
            child,
            address,
            errors,
        })
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn end(mut self) -> Result<Received> {
        let code = wait(&mut self.child)?;
        let mut errors = String::new();
        std::io::Read::read_to_string(&mut self.errors, &mut errors)?;
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().context("no stdout")?;
        std::io::Read::read_to_string(&mut stdout, &mut text)?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Received { code, json, errors })
    }
}

/// The exit code, or minus the signal.
pub fn wait(child: &mut Child) -> Result<i32> {
    let end = Instant::now() + LONG;
    loop {
        if let Some(status) = child.try_wait()? {
            use std::os::unix::process::ExitStatusExt;
            return Ok(status
                .code()
                .unwrap_or_else(|| -status.signal().unwrap_or(0)));
        }
        if Instant::now() > end {
            child.kill()?;
            bail!("a program did not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

pub struct Migrated {
    pub code: i32,
    pub json: Value,
    pub errors: String,
}

impl Migrated {
    pub fn number(&self, name: &str) -> Result<u64> {
        let value = self.json.get(name).and_then(Value::as_u64);
        value.with_context(|| format!("no {name} in {}", self.json))
    }

    pub fn expect(&self, code: i32) -> Result<&Self> {
        ensure!(
            self.code == code,
            "exit code {}: {} {}",
            self.code,
            self.json,
            self.errors
        );
        Ok(self)
    }
}

pub fn finish(child: Child) -> Result<Migrated> {
    use std::os::unix::process::ExitStatusExt;
    let output = child.wait_with_output()?;
    let code = output
        .status
        .code()
        .unwrap_or_else(|| -output.status.signal().unwrap_or(0));
    Ok(Migrated {
        code,
        json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Hosts {
    pub fn open() -> Result<Self> {
        let rig = Rig::open(PAGES)?;
        (0..PAGES).for_each(|page| rig.fill(page, 1));
        let b = Region::on_node(PAGES + 1, rig.nodes.here)?;
        let apertures = rig.control.aperture_list()?;
        let aperture = apertures.first().context("no aperture")?.id;
        let _ = fs::remove_dir_all(NOTES);
        Ok(Self { rig, b, aperture })
    }

    /// The command of `migrate` or `plan`.
    pub fn start(&self, command: &str, to: &str, more: &[&str]) -> Result<Child> {
        let length = PAGES * PAGE_SIZE;
        let line = format!(
            "--json {command} --to {to} {} {IOVA:#x} {length} --region {} --aperture {} --name vm1 --state {NOTES}",
            self.rig.device,
            self.rig.region()?,
            self.aperture
        );
        Command::new("pagemove")
            .args(line.split_whitespace())
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting pagemove")
    }

    pub fn run(&self, command: &str, to: &str, more: &[&str]) -> Result<Migrated> {
        finish(self.start(command, to, more)?)
    }

    /// A whole migration, from both ends.
    pub fn migrate(&self, a: &[&str], b: &[&str]) -> Result<(Migrated, Received)> {
        let receiver = Receiver::start(self.b.id, b)?;
        let migrated = self.run("migrate", &receiver.address.clone(), a)?;
        Ok((migrated, receiver.end()?))
    }

    pub fn is_noted(&self) -> bool {
        Path::new(NOTES).join("vm1.json").exists()
    }

    /// Every page is on B, where B's CPUs and A's device see the same. No CPU of A looks.
    pub fn check_out(&mut self, seed: u64) -> Result<()> {
        let control = Control::open()?;
        let b = control.region_details(self.b.id, 0, PAGES as u64 * PAGE)?;
        for (page, (_, detail)) in b.iter().enumerate() {
            ensure!(
                detail.flags == DETAIL_OFFERED,
                "page {page} has flags {:#x}",
                detail.flags
            );
            let place = self.rig.place_of(page)?;
            ensure!(place.kind == PLACE_APERTURE, "page {page} is at {place:?}");
        }
        for page in 0..PAGES {
            for word in 0..PAGE_SIZE / 8 {
                let (found, expected) = (
                    self.b.map.read(page, word),
                    crate::rig::content(page, word, seed),
                );
                ensure!(
                    found == expected,
                    "page {page} word {word} on B is {found:#x}"
                );
            }
            self.rig.check_by_device(page, seed)?;
        }
        Ok(())
    }

    /// What the device writes on A is what CPUs read on B.
    pub fn check_device(&mut self, page: usize, seed: u64) -> Result<()> {
        self.rig.write_unseen(page, seed)?;
        for word in 0..PAGE_SIZE / 8 {
            let found = self.b.map.read(page, word);
            ensure!(
                found == crate::rig::content(page, word, seed),
                "page {page} word {word} on B is {found:#x}"
            );
        }
        Ok(())
    }

    /// Every page is home, and nothing is offered.
    pub fn check_home(&mut self, seed: u64) -> Result<()> {
        let b = self
            .rig
            .control
            .region_details(self.b.id, 0, PAGES as u64 * PAGE)?;
        for (page, (_, detail)) in b.iter().enumerate() {
            let held = detail.flags & (DETAIL_OFFERED | DETAIL_AWAITED);
            ensure!(held == 0, "page {page} is offered still");
        }
        for page in 0..PAGES {
            let place = self.rig.place_of(page)?;
            ensure!(place.kind == PLACE_NODE, "page {page} is at {place:?}");
            self.rig.check(page, seed)?;
        }
        Ok(())
    }
}
