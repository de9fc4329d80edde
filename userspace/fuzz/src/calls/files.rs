// SPDX-License-Identifier: GPL-2.0
//! Files of the module, and the process itself.

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use pagemove_testkit::child::{self, Signal};

use crate::calls::number;
use crate::value::Value;
use crate::world::{File, Outcome, World};

/// How long a child may take for its calls.
const CHILD: Duration = Duration::from_millis(200);
const CAP_SYS_ADMIN: u32 = 21;
const CAPABILITY_VERSION: u32 = 0x2008_0522;

pub fn open(world: &mut World, values: &[Value]) -> Outcome {
    // SAFETY: a C string.
    let fd = unsafe { libc::open(c"/dev/pagemove".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    let outcome = Outcome::of(fd.into());
    if outcome.errno == 0 {
        let file = File {
            // SAFETY: a descriptor that is ours.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            region: None,
        };
        world.files[number(values, 0) as usize] = Some(file);
    }
    outcome
}

pub fn close(world: &mut World, values: &[Value]) -> Outcome {
    match world.files[number(values, 0) as usize].take() {
        Some(_) => Outcome::OK,
        None => Outcome::errno(libc::EBADF),
    }
}

pub fn seek(world: &mut World, values: &[Value]) -> Outcome {
    let (offset, whence) = (number(values, 1) as i64, number(values, 2) as i32);
    // SAFETY: numbers only.
    Outcome::of(unsafe { libc::lseek(world.fd(number(values, 0)), offset, whence) })
}

pub fn poll(world: &mut World, values: &[Value]) -> Outcome {
    let mut wanted = libc::pollfd {
        fd: world.fd(number(values, 0)),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one element, which outlives the call.
    let result = unsafe { libc::poll(&raw mut wanted, 1, number(values, 1) as i32) };
    Outcome::of(result.into())
}

pub fn read_counters(_: &mut World, _: &[Value]) -> Outcome {
    let read =
        ["stats", "sessions"].map(|name| fs::read(format!("/sys/kernel/debug/pagemove/{name}")));
    match read.into_iter().find_map(Result::err) {
        Some(error) => Outcome::errno(error.raw_os_error().unwrap_or(libc::EIO)),
        None => Outcome::OK,
    }
}

/// A request that the ABI does not have.
pub fn strange_ioctl(world: &mut World, values: &[Value]) -> Outcome {
    let spot = world.structure.put("good", &[0; 64], 0, 0);
    let request = number(values, 1);
    // SAFETY: memory of ours.
    let result = unsafe { libc::ioctl(world.fd(number(values, 0)), request, spot.address) };
    let outcome = Outcome::of(result.into());
    if ![libc::ENOTTY, libc::EBADF].contains(&outcome.errno) {
        world.problem(format!(
            "request {request:#x} ends with {} instead of ENOTTY",
            crate::errno::name(outcome.errno)
        ));
    }
    outcome
}

/// The call of test builds that takes pages of windows, keeps them or gives them back.
pub fn test_window(world: &mut World, values: &[Value]) -> Outcome {
    let window = match values[2] {
        Value::Live(at) => world
            .live
            .windows
            .get(usize::from(at))
            .copied()
            .unwrap_or(99),
        _ => number(values, 2) as u32,
    };
    let argument = number(values, 1) | u64::from(window) << 8;
    let request = u64::from(pagemove_uapi::IOC_TYPE << 8 | 0x3e);
    // SAFETY: the argument is a number.
    let result = unsafe { libc::ioctl(world.fd(number(values, 0)), request, argument) };
    let outcome = Outcome::of(result.into());
    if !world.machine.test_build && ![libc::ENOTTY, libc::EBADF].contains(&outcome.errno) {
        world.problem(format!(
            "the shipped module has a call of test builds: {}",
            crate::errno::name(outcome.errno)
        ));
    }
    outcome
}

/// What follows is made by a child, too; see `run.rs`.
pub fn fork(world: &mut World, values: &[Value]) -> Outcome {
    world.fork = Some(number(values, 0) as usize);
    Outcome::OK
}

/// Waits for the children of the program.
pub fn reap(world: &mut World) {
    let since = Instant::now();
    for pid in std::mem::take(&mut world.children) {
        loop {
            match child::poll(pid) {
                Ok(None) if since.elapsed() > CHILD => {
                    child::signal(pid, Signal::SIGKILL);
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
        // A child that was killed by something else than us has run into a bug of this program
        // or of the kernel; the latter is in the log.
    }
}

pub fn privilege(world: &mut World, values: &[Value]) -> Outcome {
    world.set_privilege(number(values, 0) != 0);
    Outcome::OK
}

/// CAP_SYS_ADMIN of this thread. It stays permitted, so that it can be had back.
pub fn set_privilege(on: bool) -> bool {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let mut header = Header {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut data = [Data::default(), Data::default()];
    // SAFETY: structures as these two calls want them.
    unsafe {
        if libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) != 0 {
            return false;
        }
        let bit = 1 << CAP_SYS_ADMIN;
        data[0].effective = if on {
            data[0].effective | bit
        } else {
            data[0].effective & !bit
        };
        libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) == 0
    }
}
