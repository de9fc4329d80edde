// SPDX-License-Identifier: GPL-2.0
//! Whoever takes pages out of the page cache without their lock, while they move: udmabuf, by
//! `memfd_pin_folios()`. What it gets has to be what the file has. A build for tests keeps the pages
//! frozen for a while, so that it comes in between for certain.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::PAGE_SIZE;

use super::{case, moves, Desk, Memfd};
use crate::region::Mapping;
use pagemove_testkit::tap::{note, Case};

const PAGES: usize = 4;
const ROUNDS: u64 = 40;

pub fn cases() -> Vec<Case<Desk>> {
    vec![case(
        "a dma-buf that is made during a move has the pages of the memfd",
        udmabuf,
    )]
}

/// A memfd that may be shared with devices: one that can't shrink.
fn sealed(pages: usize) -> Result<Memfd> {
    // SAFETY: a C string; the result is checked.
    let fd = unsafe {
        libc::memfd_create(
            c"shared".as_ptr(),
            libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
        )
    };
    ensure!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: a descriptor that was just made for us.
    let memfd = Memfd::of(unsafe { File::from_raw_fd(fd) }, pages)?;
    // SAFETY: a number.
    let done = unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) };
    ensure!(
        done == 0,
        "F_ADD_SEALS: {}",
        std::io::Error::last_os_error()
    );
    Ok(memfd)
}

/// Makes a dma-buf of the whole memfd.
fn share(device: &File, memfd: &Memfd) -> Result<File> {
    const CREATE: libc::c_ulong = 0x4018_7542;
    let create = [
        (1u64 << 32) | memfd.file.as_raw_fd() as u64,
        0,
        memfd.map.length() as u64,
    ];
    // SAFETY: struct udmabuf_create: memfd, flags (close on exec), offset, size.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), CREATE, create.as_ptr()) };
    ensure!(
        fd >= 0,
        "UDMABUF_CREATE: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: a descriptor that was just made for us.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn udmabuf(desk: &Desk) -> Result<()> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")
        .context("/dev/udmabuf")?;
    let memfd = sealed(PAGES)?;
    super::bind(&memfd.map, desk.nodes.here)?;
    memfd.map.fill(0);
    let (over, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let moved = desk.with(&memfd.map, || {
        std::thread::scope(|scope| {
            let sharer = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    compare(&device, &memfd, made.fetch_add(1, Ordering::Relaxed))?;
                }
                Ok(())
            });
            let moved = there_and_back(desk, &sharer);
            over.store(true, Ordering::Relaxed);
            sharer.join().expect("the sharer panicked").and(moved)
        })
    })?;
    note(&format!("{moved} pages moved, {made:?} dma-bufs made"));
    ensure!(moved >= ROUNDS, "only {moved} pages moved");
    Ok(())
}

fn there_and_back(
    desk: &Desk,
    sharer: &std::thread::ScopedJoinHandle<'_, Result<()>>,
) -> Result<u64> {
    let mut moved = 0;
    let begun = std::time::Instant::now();
    for n in 0u64.. {
        let node = if n % 2 == 0 {
            desk.nodes.there
        } else {
            desk.nodes.here
        };
        let (report, _) = desk.move_pages(0, PAGES, node);
        ensure!(
            report.error.is_none(),
            "{}",
            crate::bench::describe(&report)
        );
        moved += report.pages_moved;
        if sharer.is_finished() || moved >= ROUNDS && n >= ROUNDS || begun.elapsed().as_secs() > 60
        {
            break;
        }
    }
    Ok(moved)
}

/// What is written through one has to be seen through the other.
fn compare(device: &File, memfd: &Memfd, number: u64) -> Result<()> {
    let shared = share(device, memfd)?;
    let map: Mapping = moves::map(&shared, PAGES)?;
    for page in 0..PAGES {
        memfd.map.write(page, 1, number);
        let found = map.read(page, 1);
        ensure!(
            found == number,
            "page {page}: the dma-buf has {found}, the memfd {number}: they are two pages"
        );
    }
    ensure!(map.length() == PAGES * PAGE_SIZE, "another length");
    Ok(())
}
