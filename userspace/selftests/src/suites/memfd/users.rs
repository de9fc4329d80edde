// SPDX-License-Identifier: GPL-2.0
//! Others who use a page: it stays while they do, and moves when they do not any more.

use std::fs::File;
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{ensure, Result};
use pagemove_testkit::{child, wait};
use pagemove_uapi::{self as uapi, PAGE_SIZE};

use super::{case, Desk, IOVA};
use crate::bench;
use crate::loan::Loan;
use pagemove_testkit::tap::{note, Case};
use pagemove_testkit::vfio::{Assigned, READ_WRITE};

const SECOND: u64 = 0x4000_0000;

pub fn cases() -> Vec<Case<Desk>> {
    vec![
        case(
            "a second IOVA of the same container: in use, until it is unmapped",
            second_iova,
        ),
        case(
            "another container with another device: in use, until it is unmapped",
            other_container,
        ),
        case("a page in a pipe: in use, until it is read", pipe),
        case(
            "a buffer that io_uring has registered: in use, until that is closed",
            registered,
        ),
        case(
            "the owner is killed while its pages move: nothing is left",
            killed,
        ),
        case(
            "a mapping is made and ended again and again beside moves",
            mapped_and_unmapped,
        ),
    ]
}

fn second_iova(desk: &Desk) -> Result<()> {
    let memory = desk.memory(4)?;
    desk.with(&memory, || {
        desk.with_at(SECOND, &memory, || desk.is_in_use(1))?;
        desk.moves(0, 4, desk.nodes.there)?;
        memory.check(0)
    })
}

fn other_container(desk: &Desk) -> Result<()> {
    let assigned = Assigned::open(desk.other()?)?;
    let memory = desk.memory(4)?;
    let length = memory.length();
    let beside = |iova: u64, check: &dyn Fn() -> Result<()>| {
        assigned
            .container
            .map(iova, memory.address(), length, READ_WRITE)
            .map_err(std::io::Error::from_raw_os_error)?;
        let result = check();
        let unmapped = assigned.container.unmap(iova, length);
        ensure!(unmapped == Ok(length as u64), "UNMAP_DMA: {unmapped:x?}");
        result
    };
    desk.with(&memory, || {
        beside(SECOND, &|| desk.is_in_use(1))?;
        // At the same IOVA it might be another domain of the same container, whose count does not show.
        let shared = (libc::EXDEV, uapi::REASON_SHARED_DOMAIN);
        beside(IOVA, &|| super::refusals::refuses(desk, 1, shared))?;
        desk.moves(0, 4, desk.nodes.there)?;
        memory.check(0)
    })
}

fn pipe(desk: &Desk) -> Result<()> {
    let memory = desk.memory(4)?;
    desk.with(&memory, || {
        // SAFETY: one page of our mapping, which lives longer than the pipe.
        let loan = unsafe { Loan::of(memory.page(1)) }?;
        desk.is_in_use(1)?;
        desk.moves(2, 2, desk.nodes.there)?;
        loan.end()?;
        desk.moves(0, 2, desk.nodes.there)?;
        memory.check(0)
    })
}

/// An io_uring with one buffer. Closing it ends that.
fn ring_with(address: *mut u8, length: usize) -> Result<File> {
    const REGISTER_BUFFERS: usize = 0;
    // struct io_uring_params: 120 bytes, all zero.
    let mut params = [0u64; 15];
    // SAFETY: a structure that the call fills.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    ensure!(
        fd >= 0,
        "io_uring_setup: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: a descriptor that was just made for us.
    let ring = unsafe { File::from_raw_fd(fd as i32) };
    let part = libc::iovec {
        iov_base: address.cast(),
        iov_len: length,
    };
    // SAFETY: one iovec of memory that lives longer than the ring.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            fd,
            REGISTER_BUFFERS,
            &raw const part,
            1,
        )
    };
    ensure!(
        done == 0,
        "IORING_REGISTER_BUFFERS: {}",
        std::io::Error::last_os_error()
    );
    Ok(ring)
}

fn registered(desk: &Desk) -> Result<()> {
    let memory = desk.memory(4)?;
    desk.with(&memory, || {
        let ring = ring_with(memory.page(1), PAGE_SIZE)?;
        desk.is_in_use(1)?;
        desk.moves(2, 2, desk.nodes.there)?;
        drop(ring);
        // The ring's end gives the pin up a moment later, by a work item.
        let patience = Duration::from_secs(20);
        wait::until("the buffer is given up", patience, || {
            let (_, results) = desk.move_pages(1, 1, desk.nodes.there);
            Ok(results[0].outcome == pagemove_uapi::PAGE_MOVED)
        })?;
        memory.check(0)
    })
}

fn killed(desk: &Desk) -> Result<()> {
    let other = desk.other()?;
    for round in 0..4 {
        let (nodes, length) = (desk.nodes, 256 * PAGE_SIZE);
        let ready = crate::region::Mapping::shared_anonymous(PAGE_SIZE)?;
        let owner = child::fork(|| {
            let live = || -> Result<()> {
                let memory = desk.memory(256)?;
                let assigned = Assigned::open(other)?;
                assigned
                    .container
                    .map(IOVA, memory.address(), length, READ_WRITE)
                    .map_err(std::io::Error::from_raw_os_error)?;
                ready.write(0, 0, 1);
                loop {
                    memory.write(round, 0, 1);
                }
            };
            i32::from(live().is_err())
        })?;
        let patience = Duration::from_secs(20);
        wait::until("the owner is there", patience, || Ok(ready.read(0, 0) == 1))?;
        let mut moved = 0;
        for n in 0..=round {
            let node = if n % 2 == 0 { nodes.there } else { nodes.here };
            let request = bench::request(other, IOVA, 256, node);
            if n == round {
                child::kill(owner);
            }
            moved += desk.control.move_pages(&request, None).pages_moved;
        }
        note(&format!("round {round}: {moved} pages moved"));
        // The container's end is a work item's.
        wait::until("the device is closed", patience, || {
            Ok(Assigned::open(other).is_ok())
        })?;
    }
    Ok(())
}

/// A span that VFIO unmaps is left alone meanwhile; so the mapping stays for some moves.
const STAYS: Duration = Duration::from_millis(1300);
const CYCLES: usize = 5;

fn mapped_and_unmapped(desk: &Desk) -> Result<()> {
    let memory = desk.memory(64)?;
    let container = &desk.assigned.container;
    let (address, length) = (memory.address() as u64, memory.length());
    let over = AtomicBool::new(false);
    let moved = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CYCLES {
                let _ = container.map_address(IOVA, address, length as u64, READ_WRITE);
                std::thread::sleep(STAYS);
                let _ = container.unmap(IOVA, length);
            }
            over.store(true, Ordering::Relaxed);
        });
        let (mut moved, mut node) = (0, desk.nodes.there);
        while !over.load(Ordering::Relaxed) {
            moved += desk.move_pages(0, 64, node).0.pages_moved;
            node = desk.nodes.here + desk.nodes.there - node;
        }
        moved
    });
    note(&format!("{moved} pages moved"));
    ensure!(moved > 64, "only {moved} pages moved");
    memory.check(0)
}
