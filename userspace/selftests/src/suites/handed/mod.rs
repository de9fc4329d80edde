// SPDX-License-Identifier: GPL-2.0
//! A manager with rights opens a region, VFIO's container and a device, and hands them to a VMM without
//! any: another user, no capability. That one uses them as its guest's memory and device, the manager moves
//! its pages, and what takes rights the VMM can't do by these files.

mod process;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{handing, pci, wait};
use pagemove_uapi::{Control, PciAddress, DEVICE, DEVICE_OPEN, PAGE_SIZE};

use crate::bench::{self, Nodes};
use crate::complaints::COMPLAINTS;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass, Skip};
use pagemove_testkit::vfio::Assigned;

pub use process::{main as process, NAME};

const PAGES: usize = 256;
/// Below 256 MiB: edu knows no more.
const IOVA: u64 = 0x100_0000;
const SEED: u64 = 21;
const NOBODY: u32 = 65534;
const SOON: Duration = Duration::from_secs(20);

struct State {
    device: PciAddress,
    nodes: Nodes,
    /// The manager's own.
    control: Control,
    /// The region's file, until it is closed here, too.
    region: Option<Control>,
    vmm: Vmm,
    log: KernelLog,
}

pub fn main(_: &[String]) -> ExitCode {
    let mut state = match set_up() {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = vec![
        Case::new(
            "the VMM has no capability, and can open neither /dev/pagemove nor VFIO's group",
            has_no_rights as fn(&mut State) -> Outcome,
        ),
        Case::new(
            "it maps the region that it was handed, and its device does, as RLIMIT_MEMLOCK allows",
            uses,
        ),
        Case::new("its manager moves its pages, to and fro, under its device", moves),
        Case::new("it can look at what there is", |state: &mut State| {
            state.vmm.expect("look", "ok")?;
            Ok(Pass)
        }),
        Case::new(
            "a move, and all else that takes rights, is refused to it by the file that it was handed: EPERM",
            refused,
        ),
        Case::new(
            "and in a user namespace in which it has all capabilities",
            refused_in_a_namespace,
        ),
        Case::new(
            "it is killed: its device is closed, its pages stay until the manager closes the file, too",
            ends,
        ),
    ];
    tap::run(&mut state, cases)
}

fn set_up() -> Result<State> {
    let device = *pci::find(pci::EDU)?
        .first()
        .context("the VM has no edu device")?;
    let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
    pci::bind(device, pci::PAGEMOVE)?;
    let region = Control::open()?;
    region.region_setup((PAGES * PAGE_SIZE) as u64, Some(nodes.here))?;
    let assigned = Assigned::open(device)?;
    let vmm = Vmm::start()?;
    let files = [
        region.file(),
        assigned.container.file(),
        assigned.device.file(),
    ];
    handing::send(&vmm.talk, &files)?;
    // As a manager does. VFIO keeps the group as long as the device is open.
    drop(assigned);
    Ok(State {
        device,
        nodes,
        control: Control::open()?,
        region: Some(region),
        vmm,
        log: KernelLog::from_now(COMPLAINTS)?,
    })
}

/// The process; killed when dropped.
struct Vmm {
    child: Child,
    talk: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Vmm {
    fn start() -> Result<Self> {
        let (talk, theirs) = UnixStream::pair()?;
        let answers = BufReader::new(talk.try_clone()?);
        let child = Command::new(std::env::current_exe()?)
            .arg(NAME)
            .stdin(OwnedFd::from(theirs))
            .gid(NOBODY)
            .uid(NOBODY)
            .spawn()
            .context("starting the VMM")?;
        Ok(Self {
            child,
            talk,
            answers,
        })
    }

    /// Tells it something, and returns its answer.
    fn tell(&mut self, line: &str) -> Result<String> {
        writeln!(self.talk, "{line}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim().to_string())
    }

    fn expect(&mut self, line: &str, expected: &str) -> Result<()> {
        let answer = self.tell(line)?;
        ensure!(answer == expected, "{line}: {answer:?}");
        Ok(())
    }

    /// What VFIO may pin for it.
    fn limit_locked_pages(&self, pages: usize) -> Result<()> {
        let bytes = (pages * PAGE_SIZE) as u64;
        let limit = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: bytes,
        };
        // SAFETY: a limit of our child's; no old one is asked for.
        let done = unsafe {
            libc::prlimit(
                self.child.id() as i32,
                libc::RLIMIT_MEMLOCK,
                &raw const limit,
                std::ptr::null_mut(),
            )
        };
        ensure!(done == 0, "prlimit: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_no_rights(state: &mut State) -> Outcome {
    let group = pci::group(state.device).context("the device has no group")?;
    let order = format!("who {DEVICE} /dev/vfio/{group}");
    state.vmm.expect(&order, "ok")?;
    Ok(Pass)
}

fn uses(state: &mut State) -> Outcome {
    state.vmm.expect("map", "ok")?;
    state.vmm.limit_locked_pages(PAGES - 1)?;
    state.vmm.expect("dma", "ENOMEM")?;
    state.vmm.limit_locked_pages(PAGES)?;
    state.vmm.expect("dma", "ok")?;
    state.vmm.expect("check", "ok")?;
    state.log.check()?;
    Ok(Pass)
}

fn moves(state: &mut State) -> Outcome {
    for node in [state.nodes.there, state.nodes.here, state.nodes.there] {
        let request = bench::request(state.device, IOVA, PAGES, node);
        let report = state.control.move_pages(&request, None);
        ensure!(
            report.error.is_none() && report.pages_moved == PAGES as u64,
            "{} pages moved: {}",
            report.pages_moved,
            bench::describe(&report)
        );
        state.vmm.expect("check", "ok")?;
    }
    state.log.check()?;
    Ok(Pass)
}

fn refused(state: &mut State) -> Outcome {
    let before = state.control.stats()?.pages_moved;
    state
        .vmm
        .expect(&format!("refused {}", state.device), "ok")?;
    let after = state.control.stats()?.pages_moved;
    ensure!(after == before, "{} pages were moved", after - before);
    Ok(Pass)
}

fn refused_in_a_namespace(state: &mut State) -> Outcome {
    let answer = state.vmm.tell("namespace")?;
    if answer.starts_with("CLONE_NEWUSER") {
        return Ok(Skip(answer));
    }
    ensure!(answer == "ok", "{answer}");
    refused(state)
}

fn ends(state: &mut State) -> Outcome {
    state.vmm.child.kill()?;
    state.vmm.child.wait()?;
    let (control, device) = (&state.control, state.device);
    wait::until("its device is closed", SOON, || {
        let devices = control.device_list()?;
        Ok(!devices.iter().any(|found| {
            (found.segment, found.bus, found.devfn) == (device.segment, device.bus, device.devfn)
                && found.flags & DEVICE_OPEN != 0
        }))
    })?;
    let pages = control.stats()?.region_pages;
    ensure!(pages == PAGES as u64, "the region has {pages} pages");
    state.region = None;
    bench::wait_for_no_pages(SOON)?;
    state.log.check()?;
    Ok(Pass)
}
