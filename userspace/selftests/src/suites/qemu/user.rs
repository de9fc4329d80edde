// SPDX-License-Identifier: GPL-2.0
//! QEMU as a user without rights, with a region as its RAM: which ways there are, and which not.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_uapi::{Control, DEVICE};

use super::{begins, command, ends, freed, moves_on, ram_of_file, State, QEMU_ERRORS};

const USER: u32 = 65534;
/// The group of /dev/pagemove, as packaging/udev.rules makes it.
const GROUP: u32 = 997;
/// What VFIO may pin: RAM, and what the device reaches besides.
const ENOUGH: u64 = 128 << 20;
const TOO_LITTLE: u64 = 8 << 20;

#[derive(Clone, Copy)]
pub(super) enum Rights {
    Root,
    /// A user in the group of /dev/pagemove, to whom VFIO's group belongs.
    Granted {
        locked: u64,
    },
    /// A user with nothing.
    Nothing,
    /// Root that becomes that user when it has opened all.
    GivenUp,
}

impl Rights {
    pub(super) fn dress(self, qemu: &mut Command) -> Result<()> {
        match self {
            Self::Root => {}
            Self::Granted { locked } => {
                limit(locked)?;
                qemu.gid(GROUP).uid(USER);
            }
            Self::Nothing => {
                limit(ENOUGH)?;
                qemu.gid(USER).uid(USER);
            }
            Self::GivenUp => {
                limit(ENOUGH)?;
                qemu.args(["-run-with", &format!("user={USER}:{USER}")]);
            }
        }
        Ok(())
    }
}

/// Lets this process, and who is started by it, lock so many bytes. Root is not held back by it.
fn limit(bytes: u64) -> Result<()> {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: a limit of this process.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    ensure!(done == 0, "setrlimit: {}", std::io::Error::last_os_error());
    Ok(())
}

pub(super) fn cases() -> Vec<Case<State>> {
    let case = |name: &str, run: fn(&mut State) -> Outcome| Case::new(name, run);
    vec![
        case("a user without rights: QEMU can not open /dev/pagemove", |state| {
            state.rights = Rights::Nothing;
            refused(state, DEVICE, "Permission denied")
        }),
        case(
            "nor by /proc/self/fd, if it was handed the file: that opens the node anew",
            handed_by_proc,
        ),
        case(
            "nor by /dev/fdset: memory-backend-file does not know it",
            handed_by_fdset,
        ),
        case(
            "the group of /dev/pagemove and an own VFIO group, but little to be locked: VFIO refuses",
            little_locked,
        ),
        case("with RLIMIT_MEMLOCK for its RAM as well QEMU starts", |state| {
            state.rights = Rights::Granted { locked: ENOUGH };
            begins(state)
        }),
        case("its RAM moves", |state| is_unprivileged(state).and_then(|()| moves_on(state))),
        case("and it ends", ends),
        case("root that becomes another user (-run-with user=) starts", |state| {
            take_rights(state)?;
            state.rights = Rights::GivenUp;
            state.moved = 0;
            begins(state)
        }),
        case("its RAM moves, too", |state| is_unprivileged(state).and_then(|()| moves_on(state))),
        case("and it ends, too", ends),
        case("all RAM is freed, and the module unloads", freed),
    ]
}

/// QEMU ends before it has begun, and says this.
fn refused(state: &State, path: &str, words: &str) -> Outcome {
    let mut qemu = command(state, &ram_of_file(state, path))?;
    state.rights.dress(&mut qemu)?;
    ends_with(qemu, words)
}

fn ends_with(mut qemu: Command, words: &str) -> Outcome {
    let mut qemu = qemu.spawn().context("starting QEMU")?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = qemu.try_wait()? {
            break status;
        }
        if start.elapsed() > Duration::from_secs(60) {
            qemu.kill()?;
            qemu.wait()?;
            bail!("it has started");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = fs::read_to_string(QEMU_ERRORS).unwrap_or_default();
    tap::note(said.trim());
    ensure!(
        !status.success() && said.contains(words),
        "{status}: {said}"
    );
    Ok(Pass)
}

/// Lets a child have this file under the same number.
fn inherit(control: &Control) -> Result<i32> {
    let number = control.file().as_raw_fd();
    // SAFETY: a number.
    let done = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    ensure!(done == 0, "F_SETFD: {}", std::io::Error::last_os_error());
    Ok(number)
}

fn handed_by_proc(state: &mut State) -> Outcome {
    let control = Control::open()?;
    let number = inherit(&control)?;
    refused(
        state,
        &format!("/proc/self/fd/{number}"),
        "Permission denied",
    )
}

fn handed_by_fdset(state: &mut State) -> Outcome {
    let control = Control::open()?;
    let number = inherit(&control)?;
    let mut qemu = command(state, &ram_of_file(state, "/dev/fdset/1"))?;
    qemu.args(["-add-fd", &format!("fd={number},set=1")]);
    state.rights.dress(&mut qemu)?;
    ends_with(qemu, "No such file or directory")
}

fn group_node(state: &State) -> Result<String> {
    let group = pci::group(state.device).context("the device has no group")?;
    Ok(format!("/dev/vfio/{group}"))
}

/// As udev rules and a manager do.
fn little_locked(state: &mut State) -> Outcome {
    chown(DEVICE, None, Some(GROUP))?;
    fs::set_permissions(DEVICE, fs::Permissions::from_mode(0o660))?;
    chown(group_node(state)?, Some(USER), None)?;
    state.rights = Rights::Granted { locked: TOO_LITTLE };
    refused(state, DEVICE, "Cannot allocate memory")
}

fn take_rights(state: &State) -> Result<()> {
    chown(DEVICE, None, Some(0))?;
    fs::set_permissions(DEVICE, fs::Permissions::from_mode(0o600))?;
    Ok(chown(group_node(state)?, Some(0), None)?)
}

/// QEMU has neither root's user nor a capability.
fn is_unprivileged(state: &State) -> Result<()> {
    let pid = state.qemu.as_ref().context("QEMU did not start")?.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    for (name, expected) in [("Uid:", "65534"), ("CapEff:", "0000000000000000")] {
        let line = status.lines().find(|line| line.starts_with(name));
        let line = line.with_context(|| format!("no {name}"))?;
        ensure!(
            line.split_whitespace().skip(1).all(|word| word == expected),
            "{line}"
        );
    }
    Ok(())
}
