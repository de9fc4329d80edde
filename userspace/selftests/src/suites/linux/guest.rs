// SPDX-License-Identifier: GPL-2.0
//! The guest: QEMU, what it says, and how it ends.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::note;
use pagemove_uapi::PciAddress;
use serde_json::{json, Value};

use super::pack::{DISK, INITRAMFS, WORD};
use super::{Memory, Options};
use crate::qmp::Monitor;

pub const PROGRAM: &str = "/bin/qemu-system-x86_64";
pub const KERNEL: &str = "/boot/vmlinuz";
const CONSOLE: &str = "/tmp/console.log";
const ERRORS: &str = "/tmp/qemu.log";
const MONITOR: &str = "/tmp/monitor";

pub const RAM_MIB: u64 = 192;

/// How long the guest may take for anything.
pub fn most() -> Duration {
    Duration::from_secs(240) * slowness()
}

pub fn console() -> String {
    fs::read(CONSOLE)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join(" | ")
}

/// How often the guest has written and read back.
pub fn rounds() -> usize {
    console().matches("guest: round").count()
}

/// Returns the last number that the guest has said after a word.
pub fn said(word: &str) -> Option<u64> {
    let console = console();
    let mut lines = console.lines().rev();
    let said = lines.find_map(|line| line.trim_end().strip_prefix(word))?;
    said.trim().parse().ok()
}

/// Whether this VM's own CPUs are emulated.
pub fn is_emulated() -> Result<bool> {
    Ok(fs::read_to_string("/proc/cpuinfo")?.contains("QEMU TCG"))
}

pub struct Guest {
    qemu: Child,
    pub monitor: Monitor,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Gone already, or ended by this.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The memory backend that QEMU is told to make, as its option and its monitor take it.
pub fn backend(memory: Memory, id: &str, bytes: u64) -> Value {
    let mut of = match memory {
        Memory::Region => json!({
            "qom-type": "memory-backend-file",
            "mem-path": pagemove_uapi::DEVICE,
        }),
        Memory::Memfd => json!({ "qom-type": "memory-backend-memfd" }),
    };
    of["id"] = id.into();
    of["share"] = true.into();
    of["size"] = bytes.into();
    of
}

/// What only some guests have.
fn extras(options: Options) -> Vec<String> {
    let mut extras = Vec::new();
    let mut add = |key: &str, value: &str| extras.extend([key.to_string(), value.to_string()]);
    if options.has_viommu {
        // Before the devices behind it.
        add(
            "-device",
            "intel-iommu,intremap=off,caching-mode=on,aw-bits=39",
        );
    }
    if options.has_vhost {
        add(
            "-netdev",
            "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=on",
        );
        add("-device", "virtio-net-pci,netdev=n,romfile=");
    }
    if options.has_hotplug {
        add("-object", "memory-backend-memfd,id=v,share=on,size=128M");
        add("-device", "virtio-mem-pci,id=vm0,memdev=v,requested-size=0");
    }
    extras
}

/// The kernel's words for the guest: what it does not know it gives to init.
fn append(options: Options) -> String {
    let mut words = "console=ttyS0 rdinit=/init loglevel=4 panic=-1 mitigations=off".to_string();
    for (wanted, more) in [
        (
            options.has_viommu,
            " intel_iommu=on iommu.strict=1 iommu.passthrough=0 NVME_KIB=4",
        ),
        (options.has_vhost, " NET=192.0.2.2"),
        (options.is_nested, " NESTED=1"),
        (options.has_hotplug, " memhp_default_state=online_movable"),
    ] {
        if wanted {
            words += more;
        }
    }
    words
}

impl Guest {
    pub fn start(options: Options, device: PciAddress) -> Result<Self> {
        let machine = if options.has_viommu { "q35" } else { "pc" };
        let size = match options.has_hotplug {
            true => format!("{RAM_MIB}M,slots=2,maxmem=1G"),
            false => format!("{RAM_MIB}M"),
        };
        let ram = backend(options.memory, "m", RAM_MIB << 20);
        let disk = |file: &str| format!("file={file},format=raw,if=virtio,cache=none");
        let mut qemu = Command::new(PROGRAM)
            .args(["-accel", "kvm", "-cpu", "host", "-m", &size])
            .args(["-object", &ram.to_string()])
            .args(["-machine", &format!("{machine},memory-backend=m")])
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            // A guest that ends by itself stays to be looked at.
            .args(["-action", "reboot=shutdown,shutdown=pause"])
            .args(["-qmp", &format!("unix:{MONITOR},server=on,wait=off")])
            .args(["-kernel", KERNEL, "-initrd", INITRAMFS])
            .args(["-append", &append(options)])
            .args(["-serial", &format!("file:{CONSOLE}")])
            .args(["-drive", &disk(DISK), "-drive", &disk(WORD)])
            .args(extras(options))
            .args(["-device", &format!("vfio-pci,host={device}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(ERRORS).context(ERRORS)?)
            .spawn()
            .context("starting QEMU")?;
        match Self::connect(&mut qemu) {
            Ok(monitor) => Ok(Self { qemu, monitor }),
            Err(error) => Err(error.context(Self::end_of(qemu))),
        }
    }

    fn connect(qemu: &mut Child) -> Result<Monitor> {
        let since = Instant::now();
        loop {
            let error = match Monitor::connect(MONITOR) {
                Ok(monitor) => return Ok(monitor),
                Err(error) => error,
            };
            let has_ended = qemu.try_wait()?.is_some();
            ensure!(!has_ended && since.elapsed() < most(), "{error:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends a QEMU that has no monitor, and returns what it has said.
    fn end_of(mut qemu: Child) -> String {
        // Gone already, or ended by this.
        let _ = qemu.kill();
        let status = qemu.wait();
        let errors = fs::read_to_string(ERRORS).unwrap_or_default();
        format!("QEMU ended, {status:?}: {errors}")
    }

    pub fn pid(&self) -> u32 {
        self.qemu.id()
    }

    /// Fails where QEMU or the guest has ended.
    pub fn is_alive(&mut self) -> Result<()> {
        if let Some(status) = self.qemu.try_wait()? {
            bail!(
                "QEMU ended, {status}: {}; console: {}",
                fs::read_to_string(ERRORS).unwrap_or_default(),
                last_lines(&console())
            );
        }
        let status = self.monitor.status()?;
        if status != "running" {
            self.show();
            bail!("the guest is {status}: {}", last_lines(&console()));
        }
        Ok(())
    }

    /// Tells whether the guest's CPU has shut down, as after a triple fault: QEMU goes on, the guest does not.
    pub fn has_ended_by_itself(&mut self) -> bool {
        self.monitor
            .status()
            .is_ok_and(|status| status == "shutdown")
    }

    /// Shows where a guest stands that should not.
    fn show(&mut self) {
        super::trace::show();
        for command in ["info registers -a", "x/16i $pc", "x/32gx $rsp"] {
            match self.monitor.tell(command) {
                Ok(said) => said.lines().for_each(note),
                Err(error) => note(&format!("{command}: {error:#}")),
            }
        }
        let errors = fs::read_to_string(ERRORS).unwrap_or_default();
        errors.lines().for_each(note);
    }

    /// Waits until the guest has said a line.
    pub fn await_line(&mut self, line: &str) -> Result<()> {
        let since = Instant::now();
        while !console().lines().any(|said| said.trim_end() == line) {
            self.is_alive()?;
            let missing = console()
                .lines()
                .find(|said| said.contains("guest: missing"))
                .map(str::to_string);
            ensure!(missing.is_none(), "{}", missing.unwrap_or_default());
            ensure!(
                since.elapsed() < most(),
                "it does not say {line:?}: {}",
                last_lines(&console())
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Tells the guest what to do: it looks at its second disk in each round.
    pub fn order(&self, word: &str) -> Result<()> {
        let mut sector = word.as_bytes().to_vec();
        sector.resize(512, 0);
        let mut disk = File::options().write(true).open(WORD)?;
        disk.write_all(&sector)?;
        Ok(disk.sync_all()?)
    }

    /// Has the guest shut down, and QEMU end. Returns what it has said.
    pub fn end(mut self) -> Result<String> {
        self.order("stop")?;
        let since = Instant::now();
        while self.monitor.status()? == "running" {
            ensure!(
                since.elapsed() < most(),
                "it goes on: {}",
                last_lines(&console())
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        let said = console();
        if !said.contains("guest: done") {
            self.show();
            bail!("its last words: {}", last_lines(&said));
        }
        self.monitor.execute("quit", json!({}))?;
        let status = self.qemu.wait()?;
        ensure!(status.success(), "QEMU ended, {status}");
        Ok(said)
    }
}
