// SPDX-License-Identifier: GPL-2.0
//! The VMM: another user, no capability, and the files that it was handed. It does what it is told, a
//! line each, and answers with a line.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::vfio::{Container, READ_WRITE};
use pagemove_testkit::{handing, slowness};
use pagemove_uapi::{self as uapi, Control, PAGE_SIZE};

use super::{IOVA, PAGES, SEED};
use crate::bench;
use crate::call::Call;
use crate::region::Mapping;

/// The hidden subcommand.
pub const NAME: &str = "handed-vmm";

/// What takes CAP_SYS_ADMIN.
const FOR_THE_MANAGER: &[(&str, u32, usize)] = &[
    ("move", uapi::IOC_MOVE, uapi::MOVE_SIZE_V0),
    ("experiment", uapi::IOC_EXPERIMENT, uapi::EXPERIMENT_SIZE_V0),
    (
        "verdict set",
        uapi::IOC_VERDICT_SET,
        uapi::VERDICT_SET_SIZE_V0,
    ),
    ("offer", uapi::IOC_OFFER, uapi::OFFER_SIZE_V0),
    ("arrive", uapi::IOC_ARRIVE, uapi::OFFERED_SIZE_V0),
    ("retract", uapi::IOC_RETRACT, uapi::OFFERED_SIZE_V0),
    ("wanted", uapi::IOC_WANTED, uapi::WANTED_SIZE_V0),
    ("used", uapi::IOC_USED, uapi::USED_SIZE_V0),
    ("maps", uapi::IOC_MAPS, uapi::MAPS_SIZE_V0),
    ("lift", uapi::IOC_LIFT, uapi::LIFT_SIZE_V0),
    ("events", uapi::IOC_EVENTS, uapi::EVENTS_SIZE_V0),
    ("window set", uapi::IOC_WINDOW_SET, uapi::WINDOW_SET_SIZE_V0),
];

/// Its input is the socket.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Vmm {
    control: Control,
    container: Container,
    device: File,
    map: Option<Mapping>,
}

fn run() -> Result<()> {
    // SAFETY: what the manager has started this process with, and nobody else uses.
    let mut talk = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    let files: [File; 3] = match handing::receive(&talk)?.try_into() {
        Ok(files) => files,
        Err(files) => bail!("{} files came", files.len()),
    };
    let [region, container, device] = files;
    let mut vmm = Vmm {
        control: Control::from(region),
        container: Container::from(container),
        device,
        map: None,
    };
    for line in BufReader::new(talk.try_clone()?).lines() {
        let answer = match vmm.obey(&line?) {
            Ok(()) => "ok".to_string(),
            Err(error) => format!("{error:#}").replace('\n', " "),
        };
        writeln!(talk, "{answer}")?;
    }
    Ok(())
}

impl Vmm {
    fn obey(&mut self, line: &str) -> Result<()> {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "who" => no_rights(argument),
            "map" => self.map(),
            "dma" => self.map_for_the_device(),
            "look" => self.look(),
            "refused" => self.refused(argument),
            "namespace" => namespace(),
            "check" => self.check(),
            _ => bail!("no such order: {line}"),
        }
    }

    fn map(&mut self) -> Result<()> {
        let map = Mapping::shared(self.control.file(), 0, PAGES * PAGE_SIZE);
        let map = map.map_err(std::io::Error::from_raw_os_error)?;
        map.fill(SEED);
        self.map = Some(map);
        Ok(())
    }

    fn memory(&self) -> Result<&Mapping> {
        self.map.as_ref().context("it has mapped nothing")
    }

    fn map_for_the_device(&self) -> Result<()> {
        let map = self.memory()?;
        let mapped = self
            .container
            .map(IOVA, map.address(), map.length(), READ_WRITE);
        mapped.map_err(|errno| anyhow::anyhow!("{}", uapi::errno::name(errno)))
    }

    /// CPU and device see what was written; the device writes the last page anew.
    fn check(&self) -> Result<()> {
        let map = self.memory()?;
        (0..PAGES - 1).try_for_each(|page| map.check_page(SEED, page))?;
        map.write(PAGES - 1, 0, 0);
        let last = IOVA + ((PAGES - 1) * PAGE_SIZE) as u64;
        self.transfer(IOVA, false)?;
        self.transfer(last, true)?;
        for word in 0..PAGE_SIZE / 8 {
            let (found, written) = (map.read(PAGES - 1, word), map.read(0, word));
            ensure!(
                found == written,
                "the device has read {found:#x} in word {word} instead of {written:#x}"
            );
        }
        Ok(())
    }

    /// A page into edu's buffer, or from there.
    fn transfer(&self, iova: u64, to_memory: bool) -> Result<()> {
        const BUFFER: u64 = 0x40000;
        const RUN: u64 = 1;
        const TO_MEMORY: u64 = 2;
        // VFIO's file: BAR 0 at 0, the configuration space at 7 << 40.
        let command = (7 << 40) + 4;
        self.device
            .write_all_at(&6u16.to_le_bytes(), command)
            .context("letting the device make DMA")?;
        let (from, to) = match to_memory {
            true => (BUFFER, iova),
            false => (iova, BUFFER),
        };
        let run = if to_memory { RUN | TO_MEMORY } else { RUN };
        let registers = [
            (0x80, from),
            (0x88, to),
            (0x90, PAGE_SIZE as u64),
            (0x98, run),
        ];
        for (at, value) in registers {
            self.device
                .write_all_at(&value.to_le_bytes(), at)
                .context("edu's registers")?;
        }
        let start = Instant::now();
        loop {
            let mut word = [0; 8];
            self.device
                .read_exact_at(&mut word, 0x98)
                .context("edu's registers")?;
            if u64::from_le_bytes(word) & RUN == 0 {
                return Ok(());
            }
            let most = Duration::from_secs(10) * slowness::slowness();
            ensure!(start.elapsed() < most, "the device does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What everybody may who has the file.
    fn look(&self) -> Result<()> {
        let control = &self.control;
        control.info()?;
        control.stats()?;
        control.device_list()?;
        control.session_list()?;
        let regions = control.region_list()?;
        let [region] = regions.as_slice() else {
            bail!("{} regions", regions.len())
        };
        let places = control.region_query(region.id, 0, (PAGES * PAGE_SIZE) as u64)?;
        ensure!(places.len() == PAGES, "{} places", places.len());
        // It can not be changed any more.
        let errno = control.region_setup(region.length, None).err();
        let errno = errno.map_or(0, |error| error.errno);
        ensure!(errno == libc::EBUSY, "setting it up again: {errno}");
        Ok(())
    }

    /// What nobody may but the manager; `device`: one that there is.
    fn refused(&self, device: &str) -> Result<()> {
        for (name, request, size) in FOR_THE_MANAGER {
            let errno = Call::zeroes(name, *request, *size)
                .issue(&self.control)
                .err();
            ensure!(errno == Some(libc::EPERM), "{name}: {errno:?}");
        }
        let device = device.parse()?;
        for node in [0, 1] {
            let request = bench::request(device, IOVA, PAGES, node);
            let errno = bench::errno_of(&self.control.move_pages(&request, None));
            ensure!(errno == libc::EPERM, "a move of its own memory: {errno}");
        }
        Ok(())
    }
}

/// Neither capabilities nor a way to files of its own; `paths`: those that it was handed.
fn no_rights(paths: &str) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    for (name, expected) in [
        ("Uid:", "65534"),
        ("Gid:", "65534"),
        ("CapEff:", "0000000000000000"),
    ] {
        let line = status.lines().find(|line| line.starts_with(name));
        let line = line.with_context(|| format!("no {name}"))?;
        ensure!(
            line.split_whitespace().skip(1).all(|word| word == expected),
            "{line}"
        );
    }
    for path in paths.split_whitespace() {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let errno = opened.err().and_then(|error| error.raw_os_error());
        ensure!(errno == Some(libc::EACCES), "opening {path}: {errno:?}");
    }
    Ok(())
}

/// Makes it root, with all capabilities, in a namespace of its own.
fn namespace() -> Result<()> {
    // SAFETY: a number; this process has one thread.
    let done = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
    ensure!(
        done == 0,
        "CLONE_NEWUSER: {}",
        std::io::Error::last_os_error()
    );
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("CapEff:"));
    let line = line.context("no CapEff")?;
    ensure!(!line.ends_with("0000000000000000"), "{line}");
    Ok(())
}
