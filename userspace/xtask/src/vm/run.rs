// SPDX-License-Identifier: GPL-2.0
//! Run a VM from its start to its end and collect what it said.

use super::accel::Accel;
use super::console::Console;
use super::cpus;
use super::fate::{Fate, Why};
use super::job::Job;
use super::kernel;
use super::pair::Socket;
use super::profile::Profile;
use super::qemu;
use super::ram::SharedRam;
use super::rtm::RtmReport;
use crate::root::image::Image;
use crate::root::BuildRoot;
use anyhow::{ensure, Context, Result};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A line of the guest's output that is meant for the runner begins so.
const MARK: &[u8] = b"@pagemove-vm ";

/// How a line begins that is a result, or says that there is none (TAP).
const RESULTS: [&str; 4] = ["ok ", "not ok ", "1..0", "Bail out!"];

/// How the guest's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Status(i32),
    /// The VM stopped without saying how the program ended.
    Died,
    TimedOut,
    /// The runner ended it, for it was left alone by the other VM of its pair.
    Stopped(Why),
}

#[derive(Clone, Debug)]
pub struct Outcome {
    pub end: End,
    /// The program's output.
    pub output: String,
    /// The kernel's console.
    pub dmesg: String,
    /// The registers of its CPUs when it had to be stopped, as QEMU shows them.
    pub registers: String,
    /// Why pagemove could not be unloaded, if so.
    pub stuck: Option<String>,
    /// What the emulation of RTM counted, if it was there and QEMU ended by itself.
    pub rtm: Option<RtmReport>,
    /// What the program told the runner to compare with the trace.
    pub claims: Vec<String>,
    /// What QEMU traced.
    pub trace: String,
    pub wall: Duration,
}

/// A VM that is to boot `profile` and do `job`.
#[derive(Clone, Copy)]
pub struct Vm<'a> {
    pub root: &'a BuildRoot,
    pub image: &'a Image,
    pub profile: &'a Profile,
    pub accel: Accel,
    pub job: &'a Job,
    /// Where unpacked modules of the stock kernel, and itself, are kept.
    pub unpacked: &'a Path,
}

/// What a VM has in common with another one.
#[derive(Default)]
pub struct Beside<'a> {
    pub ram: Option<&'a SharedRam>,
    pub peer_ram: Option<&'a SharedRam>,
    pub link: Option<&'a Socket>,
    pub fate: Option<&'a Fate>,
}

/// Runs one VM alone, and leaves the logs in `logs`.
pub fn run(vm: &Vm, logs: &Path) -> Result<Outcome> {
    ensure!(
        !vm.profile.needs_peer(),
        "this profile ({}) needs a peer",
        vm.profile.about
    );
    let ram = ram(vm.profile)?;
    boot(
        vm,
        &Beside {
            ram: ram.as_ref(),
            ..Beside::default()
        },
        &fresh(logs)?,
    )
}

/// Makes the RAM of a VM, if something can show it.
pub fn ram(profile: &Profile) -> Result<Option<SharedRam>> {
    profile
        .shared_ram
        .then(|| SharedRam::new(profile.mib()))
        .transpose()
}

/// Runs a VM from its start to its end; `logs` is an empty directory.
pub fn boot(vm: &Vm, beside: &Beside, logs: &Path) -> Result<Outcome> {
    let Vm {
        root,
        image,
        profile,
        accel,
        job,
        unpacked,
    } = *vm;
    let scratch = Scratch::make(logs, profile)?;
    let kernel = match job.packed {
        true => image.vmlinuz.clone(),
        false => kernel::bootable(root, image, unpacked)?,
    };
    job.pack(root, image, profile, unpacked, &scratch.initrd)?;
    let dmesg = logs.join("dmesg.log");
    let console = Arc::new(Console::new()?);
    let trace = logs.join("trace.log");
    let files = qemu::Files {
        kernel: &kernel,
        initrd: &scratch.initrd,
        dmesg: &dmesg,
        console: &console,
        disks: &scratch.disks,
        windows: &scratch.windows,
        trace: &trace,
        ram: beside.ram,
        peer_ram: beside.peer_ram,
        link: beside.link,
    };
    let mut command = qemu::command(root, image, profile, accel, &job.trace, &files);
    let report = logs.join("rtm.report");
    let rtm = job.rtm.as_ref();
    command.args(rtm.iter().flat_map(|rtm| rtm.args(&report)));
    if let Some(counter) = &job.counter {
        command.arg("-plugin").arg(counter);
    }
    fs::write(logs.join("qemu.cmd"), format!("{command:?}\n"))?;
    let start = Instant::now();
    let mut child = spawn(&mut command, &logs.join("qemu.log"))?;
    let output = child.stdout.take().context("QEMU's output is not a pipe")?;
    let has_result = Arc::new(AtomicBool::new(false));
    let reader = Reader {
        log: File::create(logs.join("output.log"))?,
        live: job.live,
        console: console.clone(),
        has_result: has_result.clone(),
    };
    let reader = thread::spawn(move || reader.read(output));
    if rtm.is_some() {
        if let Err(error) = cpus::keep_apart(child.id(), profile.cpus) {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    }
    let due = || {
        let is_silent = !has_result.load(Ordering::Relaxed);
        let first = job.first_result.filter(|_| is_silent);
        start + first.unwrap_or(job.timeout)
    };
    let stopped = wait(&mut child, due, beside.fate, &console)?;
    let (ended, registers) = stopped.map_or((None, String::new()), |stopped| {
        (Some(stopped.end), stopped.registers)
    });
    if !registers.is_empty() {
        fs::write(logs.join("registers.log"), &registers)?;
    }
    let heard = reader
        .join()
        .expect("the reader of the guest's output panicked")?;
    let end = match heard.status {
        Some(status) => End::Status(status),
        None => ended.unwrap_or(End::Died),
    };
    let rtm = rtm
        .filter(|_| ended.is_none())
        .map(|_| RtmReport::read(&report))
        .transpose()?;
    // A console that can not be read is not a clean one.
    let dmesg = fs::read(&dmesg).with_context(|| format!("reading {}", dmesg.display()))?;
    let dmesg = String::from_utf8_lossy(&dmesg).replace('\r', "");
    let trace = read_trace(job, &trace)?;
    Ok(Outcome {
        end,
        output: heard.text,
        dmesg,
        registers,
        stuck: heard.stuck,
        rtm,
        claims: heard.claims,
        trace,
        wall: start.elapsed(),
    })
}

impl Outcome {
    /// Tells whether the VM itself failed before its program had a result.
    pub fn never_began(&self) -> bool {
        let is_result = |line: &str| RESULTS.iter().any(|word| line.starts_with(word));
        matches!(self.end, End::Died | End::TimedOut) && !self.output.lines().any(is_result)
    }
}

#[cfg(test)]
impl Outcome {
    /// Makes up an outcome, for tests of those who judge it.
    pub fn made_up(end: End, output: &str) -> Self {
        Self {
            end,
            output: output.into(),
            dmesg: "[ 0.0] Linux version 1.2.3\n".into(),
            registers: String::new(),
            stuck: None,
            rtm: None,
            claims: Vec::new(),
            trace: String::new(),
            wall: Duration::from_secs(60),
        }
    }
}

/// Reads the trace. One that was asked for and is not there is an error, not an empty one.
fn read_trace(job: &Job, file: &Path) -> Result<String> {
    if job.trace.is_empty() {
        return Ok(String::new());
    }
    let text =
        fs::read(file).with_context(|| format!("reading QEMU's trace, {}", file.display()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Makes an empty directory for the logs of this run, as an absolute path: QEMU's
/// options are relative to where it was started.
pub fn fresh(logs: &Path) -> Result<PathBuf> {
    if logs.exists() {
        fs::remove_dir_all(logs).with_context(|| format!("emptying {}", logs.display()))?;
    }
    fs::create_dir_all(logs).with_context(|| format!("making {}", logs.display()))?;
    Ok(logs.canonicalize()?)
}

/// Files that live as long as the VM.
struct Scratch {
    initrd: PathBuf,
    disks: Vec<PathBuf>,
    windows: Vec<PathBuf>,
}

impl Scratch {
    fn make(logs: &Path, profile: &Profile) -> Result<Self> {
        let mut scratch = Self {
            initrd: logs.join("initrd"),
            disks: Vec::new(),
            windows: Vec::new(),
        };
        for disk in &profile.disks {
            let path = logs.join(format!("{}.disk", disk.node));
            File::create(&path)?.set_len(disk.mib << 20)?;
            scratch.disks.push(path);
        }
        for (n, window) in profile.windows.iter().enumerate() {
            let path = logs.join(format!("{n}.window"));
            File::create(&path)?.set_len(window.mib << 20)?;
            scratch.windows.push(path);
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for file in self.disks.iter().chain(&self.windows).chain([&self.initrd]) {
            // Best effort: a file that stays is overwritten by the next run.
            let _ = fs::remove_file(file);
        }
    }
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(log)?);
    // SAFETY: between fork and exec the child makes one system call and
    // allocates nothing.
    unsafe {
        command.pre_exec(|| {
            // A runner that is killed takes its VM with it.
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            Ok(())
        });
    }
    command
        .spawn()
        .with_context(|| format!("starting {:?}", command.get_program()))
}

/// A VM that did not end by itself.
struct Stopped {
    end: End,
    /// The registers of its CPUs.
    registers: String,
}

/// Waits for the end: how the VM had to be ended, or none if it did so by itself; afterwards it has
/// ended.
fn wait(
    child: &mut Child,
    due: impl Fn() -> Instant,
    fate: Option<&Fate>,
    console: &Console,
) -> Result<Option<Stopped>> {
    let end = loop {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        let now = Instant::now();
        if let Some(why) = fate.and_then(|fate| fate.due(now)) {
            break End::Stopped(why);
        }
        if now >= due() {
            break End::TimedOut;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let registers = console.question();
    child.kill()?;
    child.wait()?;
    Ok(Some(Stopped { end, registers }))
}

/// What came out of the guest's ttyS1.
#[derive(Default)]
struct Heard {
    text: String,
    status: Option<i32>,
    stuck: Option<String>,
    claims: Vec<String>,
}

impl Heard {
    fn mark(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("status", number)) => self.status = number.parse().ok(),
            Some(("unload", why)) => self.stuck = Some(why.to_string()),
            Some(("claim", text)) => self.claims.push(text.to_string()),
            _ => {}
        }
    }
}

struct Reader {
    log: File,
    live: bool,
    console: Arc<Console>,
    /// Whether a result has come, or the word that there will be none.
    has_result: Arc<AtomicBool>,
}

impl Reader {
    fn read(mut self, output: ChildStdout) -> io::Result<Heard> {
        let mut heard = Heard::default();
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            let chunk = output.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            // Up to the end of the line; a live display shows what there is of it.
            let end = chunk
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(chunk.len(), |at| at + 1);
            let part = chunk[..end].to_vec();
            output.consume(end);
            let shown = line.len();
            line.extend_from_slice(&part);
            if self.live && !MARK.starts_with(&line[..line.len().min(MARK.len())]) {
                let from = if MARK.starts_with(&line[..shown.min(MARK.len())]) {
                    0
                } else {
                    shown
                };
                self.show(&line[from..])?;
            }
            if line.ends_with(b"\n") {
                self.line(&line, &mut heard)?;
                line.clear();
            }
        }
        self.line(&line, &mut heard)?;
        Ok(heard)
    }

    fn line(&mut self, line: &[u8], heard: &mut Heard) -> io::Result<()> {
        let text = String::from_utf8_lossy(line);
        match line.strip_prefix(MARK) {
            Some(_) => self.mark(text[MARK.len()..].trim_end(), heard),
            None => {
                if RESULTS.iter().any(|word| text.starts_with(word)) {
                    self.has_result.store(true, Ordering::Relaxed);
                }
                self.log.write_all(line)?;
                heard.text.push_str(&text);
            }
        }
        Ok(())
    }

    fn mark(&self, line: &str, heard: &mut Heard) {
        match line.strip_prefix("unplug ") {
            // A device that stays is what the guest's program fails for.
            Some(device) => drop(self.console.unplug(device)),
            None => heard.mark(line),
        }
    }

    fn show(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }
}
