// SPDX-License-Identifier: GPL-2.0
//! A guest as people have it, here inside the VM: an unmodified QEMU with its default machine and
//! KVM, a memfd or (argument `region`) a region as its RAM, a disk without the host's page cache (O_DIRECT) and an assigned NVMe. It
//! boots a small Linux (this VM's own kernel and busybox), writes to both disks and reads back, and looks
//! after its own memory, while all of that moves from node to node.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::tap::{self, note, Case, Outcome, Pass, Skip};
use pagemove_testkit::{pci, slowness::slowness};
use pagemove_uapi::{Control, PciAddress, PAGE_ABORTED, PAGE_SIZE};

use crate::bench::{self, describe, Nodes};
use crate::complaints::COMPLAINTS;
use pagemove_testkit::kernel_log::KernelLog;

const PROGRAM: &str = "/bin/qemu-system-x86_64";
const KERNEL: &str = "/boot/vmlinuz";
const INSIDE: &str = "/tmp/inside";
const INITRAMFS: &str = "/tmp/inside.cpio";
const CONSOLE: &str = "/tmp/console.log";
const ERRORS: &str = "/tmp/qemu.log";
/// The guest's disk, and one that only says when to stop.
const DISK: &str = "/dev/ram0";
const WORD: &str = "/dev/ram1";

const RAM_MIB: u64 = 192;
/// Passes of all that memory from node to node.
const PASSES: u64 = 10;
/// A busy page is asked for so often in a pass.
const CALLS: u32 = 50;

const INIT: &str = include_str!("linux_init.sh");

struct State {
    is_region: bool,
    device: PciAddress,
    nodes: Nodes,
    control: Control,
    log: KernelLog,
    qemu: Option<Child>,
    begun: Instant,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(qemu) = &mut self.qemu {
            // Gone already, or ended by this.
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }
}

pub fn main(arguments: &[String]) -> ExitCode {
    if !Path::new(PROGRAM).exists() || !Path::new(KERNEL).exists() {
        return tap::skip_all("the VM has no QEMU or kernel inside");
    }
    let is_region = arguments.iter().any(|argument| argument == "region");
    let mut state = match set_up(is_region) {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    if !Path::new("/dev/kvm").exists() {
        return tap::skip_all("the VM's CPUs can not run VMs");
    }
    let cases = vec![
        Case::new(
            match is_region {
                true => "a guest with a region, KVM, an O_DIRECT disk and an NVMe boots",
                false => "a guest with a memfd, KVM, an O_DIRECT disk and an NVMe boots",
            },
            boots as fn(&mut State) -> Outcome,
        ),
        Case::new("all its memory goes from node to node ten times", moves),
        Case::new("it has lost nothing, and shuts down", ends),
        Case::new("nothing stays pinned", unpinned),
    ];
    tap::run(&mut state, cases)
}

fn set_up(is_region: bool) -> Result<State> {
    load_modules()?;
    let device = *bench::devices()?.first().context("the VM has no NVMe")?;
    pci::bind(device, pci::PAGEMOVE)?;
    pack()?;
    Ok(State {
        is_region,
        device,
        nodes: Nodes::find()?.context("the VM has one NUMA node only")?,
        control: Control::open()?,
        log: KernelLog::from_now(COMPLAINTS)?,
        qemu: None,
        begun: Instant::now(),
    })
}

/// The stock modules that are there, but for those that pagemove or the runner loads.
fn stock() -> Result<Vec<PathBuf>> {
    let dirs = fs::read_dir("/lib/modules")?.map(|entry| Ok(entry?.path()));
    let dirs: Vec<PathBuf> = dirs.collect::<Result<_>>()?;
    let mut files = Vec::new();
    for dir in dirs {
        for entry in fs::read_dir(dir)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    Ok(files)
}

fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn is_of_guest(file: &Path) -> bool {
    let name = name(file);
    !["kvm", "vfio", "irqbypass", "brd", "ccp"]
        .iter()
        .any(|other| name.starts_with(other))
}

/// Loads KVM and the RAM disks. What depends on another succeeds in a later round.
fn load_modules() -> Result<()> {
    let files = stock()?;
    for _ in 0..4 {
        for file in files.iter().filter(|file| !is_of_guest(file)) {
            let mut insmod = Command::new("insmod");
            insmod.arg(file).stderr(Stdio::null());
            if name(file) == "brd" {
                insmod.args(["rd_nr=2", "rd_size=16384"]);
            }
            insmod.status().context("insmod")?;
        }
    }
    ensure!(Path::new(DISK).exists(), "there is no {DISK}");
    Ok(())
}

/// Makes the guest's initramfs.
fn pack() -> Result<()> {
    let dir = |name: &str| format!("{INSIDE}/{name}");
    for name in ["bin", "ko", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(dir(name))?;
    }
    fs::copy("/bin/busybox", dir("bin/busybox"))?;
    symlink("busybox", dir("bin/sh"))?;
    for file in stock()?.iter().filter(|file| is_of_guest(file)) {
        fs::copy(file, dir(&format!("ko/{}.ko", name(file))))?;
    }
    fs::write(dir("init"), INIT)?;
    fs::set_permissions(dir("init"), fs::Permissions::from_mode(0o755))?;
    let packed = Command::new("sh")
        .args([
            "-c",
            &format!("cd {INSIDE} && find . | cpio -o -H newc > {INITRAMFS}"),
        ])
        .stderr(Stdio::null())
        .status()?;
    ensure!(packed.success(), "cpio: {packed}");
    Ok(())
}

fn console() -> String {
    fs::read(CONSOLE)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join(" | ")
}

fn start(state: &State) -> Result<Child> {
    let kind = match state.is_region {
        true => format!("memory-backend-file,mem-path={}", pagemove_uapi::DEVICE),
        false => "memory-backend-memfd".to_string(),
    };
    let ram = format!("{kind},id=m,share=on,size={RAM_MIB}M");
    let disk = |file: &str| format!("file={file},format=raw,if=virtio,cache=none");
    Command::new(PROGRAM)
        .args([
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            &format!("{RAM_MIB}M"),
        ])
        .args(["-object", &ram, "-machine", "pc,memory-backend=m"])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args(["-kernel", KERNEL, "-initrd", INITRAMFS])
        .args([
            "-append",
            "console=ttyS0 rdinit=/init loglevel=4 panic=-1 mitigations=off",
        ])
        .args(["-serial", &format!("file:{CONSOLE}")])
        .args(["-drive", &disk(DISK), "-drive", &disk(WORD)])
        .args(["-device", &format!("vfio-pci,host={}", state.device)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(ERRORS).context(ERRORS)?)
        .spawn()
        .context("starting QEMU")
}

fn most() -> Duration {
    Duration::from_secs(240) * slowness()
}

fn is_alive(state: &mut State) -> Result<()> {
    let qemu = state.qemu.as_mut().context("QEMU did not start")?;
    if let Some(status) = qemu.try_wait()? {
        bail!(
            "QEMU ended, {status}: {}; console: {}",
            fs::read_to_string(ERRORS).unwrap_or_default(),
            last_lines(&console())
        );
    }
    Ok(())
}

fn boots(state: &mut State) -> Outcome {
    state.qemu = Some(start(state)?);
    while !console().contains("guest: round 1\n") && !console().contains("guest: round 1\r") {
        is_alive(state)?;
        if let Some(line) = console()
            .lines()
            .find(|line| line.contains("guest: missing"))
        {
            return Ok(Skip(line.to_string()));
        }
        ensure!(
            state.begun.elapsed() < most(),
            "it has not begun: {}",
            last_lines(&console())
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    note(&format!(
        "it works after {} s",
        state.begun.elapsed().as_secs()
    ));
    Ok(Pass)
}

/// RAM below the holes of the default machine, and above.
fn runs() -> [(u64, u64); 2] {
    let mib = 1 << 20;
    [(0, 640 << 10), (mib, (RAM_MIB - 1) * mib)]
}

/// Moves what is not there until everything is, or the calls are over. Tells how many pages moved, and
/// how many stayed.
fn pass(state: &mut State, node: i32) -> Result<(u64, u64)> {
    let mut moved = 0;
    let mut stayed = 0;
    for (iova, length) in runs() {
        for call in 1..=CALLS {
            is_alive(state)?;
            let pages = (length as usize) / PAGE_SIZE;
            let request = bench::request(state.device, iova, pages, node);
            let mut results = Vec::new();
            let report = state.control.move_pages(&request, Some(&mut results));
            ensure!(report.error.is_none(), "{}", describe(&report));
            moved += report.pages_moved;
            let busy = results
                .iter()
                .filter(|result| result.outcome == PAGE_ABORTED)
                .count();
            if busy == 0 {
                break;
            }
            if call == CALLS {
                stayed += busy as u64;
            }
        }
    }
    Ok((moved, stayed))
}

fn moves(state: &mut State) -> Outcome {
    if state.qemu.is_none() {
        return Ok(Skip("there is no guest".to_string()));
    }
    let all: u64 = runs()
        .iter()
        .map(|(_, length)| length / PAGE_SIZE as u64)
        .sum();
    let before = rounds();
    let (mut moved, mut stayed) = (0, 0);
    let begun = Instant::now();
    for n in 0..PASSES {
        let node = if n % 2 == 0 {
            state.nodes.there
        } else {
            state.nodes.here
        };
        let (of_pass, left) = pass(state, node)?;
        moved += of_pass;
        stayed += left;
    }
    let stats = state.control.stats()?;
    note(&format!(
        "{moved} pages moved ({all} pages {PASSES} times), {stayed} stayed in use, {} s; the guest's rounds: {} \
         meanwhile; {} lost writes",
        begun.elapsed().as_secs(),
        rounds() - before,
        stats.lost_writes
    ));
    // The first pass finds some at the other node already.
    ensure!(moved >= all * (PASSES - 1), "{moved} pages moved");
    ensure!(stayed <= all / 100, "{stayed} pages stayed in use");
    ensure!(stats.lost_writes == 0, "{} lost writes", stats.lost_writes);
    state.log.check()?;
    Ok(Pass)
}

/// How often the guest has written and read back.
fn rounds() -> usize {
    console().matches("guest: round").count()
}

fn ends(state: &mut State) -> Outcome {
    let mut qemu = state.qemu.take().context("QEMU did not start")?;
    let mut word = File::options().write(true).open(WORD)?;
    word.write_all(&[b"stop".as_slice(), &[0; 508]].concat())?;
    word.sync_all()?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = qemu.try_wait()? {
            break status;
        }
        if begun.elapsed() > most() {
            qemu.kill()?;
            qemu.wait()?;
            bail!("it goes on: {}", last_lines(&console()));
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let said = console();
    let lost: Vec<&str> = said.lines().filter(|line| line.contains("LOST")).collect();
    ensure!(lost.is_empty(), "{lost:?}");
    ensure!(
        status.success(),
        "QEMU ended, {status}: {}",
        last_lines(&said)
    );
    ensure!(
        said.contains("guest: done"),
        "its last words: {}",
        last_lines(&said)
    );
    let wrong = ["Oops", "BUG:", "WARNING:", "I/O error", "Kernel panic"];
    ensure!(
        !wrong.iter().any(|word| said.contains(word)),
        "its log: {}",
        last_lines(&said)
    );
    note(&format!("{} rounds", rounds()));
    state.log.check()?;
    Ok(Pass)
}

fn unpinned(state: &mut State) -> Outcome {
    let patience = Duration::from_secs(20);
    pagemove_testkit::wait::until("nothing is pinned", patience, || {
        Ok(super::memfd::pins()? == 0)
    })?;
    state.log.check()?;
    Ok(Pass)
}
