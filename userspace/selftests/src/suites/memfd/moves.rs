// SPDX-License-Identifier: GPL-2.0
//! What moves, and what its owner notices of that: nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::child;
use pagemove_uapi::PAGE_SIZE;

use super::{are_at, case, Desk, Memfd};
use crate::region::Mapping;
use pagemove_testkit::tap::Case;
use pagemove_testkit::vfio::READ_ONLY;

const PAGES: usize = 200;

pub fn cases() -> Vec<Case<Desk>> {
    vec![
        case(
            "a memfd goes to the other node and comes back, with its bytes",
            there_and_back,
        ),
        case(
            "read(2), write(2) and another process see the pages that moved",
            others_see_it,
        ),
        case(
            "a child that was forked before sees them, and what it writes is seen",
            forked,
        ),
        case("shared anonymous memory moves", anonymous),
        case(
            "a file of tmpfs moves, and one without a name any more",
            tmpfs,
        ),
        case("locked memory moves, and stays locked", locked),
        case("a sealed memfd moves", sealed),
        case("memory that the device may only read moves", read_only),
        case(
            "the shmem pages of the machine are as many as before",
            counted,
        ),
        case("pages that were moved are freed with their file", freed),
        case(
            "a private copy of a page of it stays what it is",
            private_copy,
        ),
    ]
}

fn there_and_back(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(PAGES, desk.nodes.here)?;
    desk.with(&memfd.map, || {
        for node in [desk.nodes.there, desk.nodes.here, desk.nodes.there] {
            desk.moves(0, PAGES, node)?;
            ensure!(memfd.is_at(node)?, "not every page is at node {node}");
            memfd.map.check(0)?;
        }
        Ok(())
    })?;
    memfd.map.check(0)
}

fn others_see_it(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(8, desk.nodes.here)?;
    let second = map(&memfd.file, 8)?;
    second.check(0)?;
    desk.with(&memfd.map, || {
        desk.moves(0, 8, desk.nodes.there)?;
        second.check(0)?;
        let mut word = [0; 8];
        memfd.file.read_exact_at(&mut word, PAGE_SIZE as u64)?;
        ensure!(
            u64::from_ne_bytes(word) == Mapping::pattern(0, 1, 0),
            "read(2) sees {word:x?}"
        );
        memfd
            .file
            .write_all_at(&77u64.to_ne_bytes(), PAGE_SIZE as u64)?;
        ensure!(
            memfd.map.read(1, 0) == 77 && second.read(1, 0) == 77,
            "write(2) is not seen"
        );
        second.write(2, 5, 78);
        desk.moves(0, 8, desk.nodes.here)?;
        ensure!(
            memfd.map.read(2, 5) == 78 && memfd.map.read(1, 0) == 77,
            "a write is lost"
        );
        Ok(())
    })
}

fn forked(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(8, desk.nodes.here)?;
    desk.with(&memfd.map, || {
        let child = child::fork(|| {
            while memfd.map.read(0, 0) != 1 {
                std::thread::yield_now();
            }
            memfd.map.write(7, 7, 7);
            0
        })?;
        desk.moves(0, 8, desk.nodes.there)?;
        memfd.map.write(0, 0, 1);
        child::wait(child)?;
        ensure!(
            memfd.map.read(7, 7) == 7,
            "what the child wrote is not there"
        );
        desk.moves(0, 8, desk.nodes.here)?;
        ensure!(memfd.map.read(7, 7) == 7, "what the child wrote is lost");
        Ok(())
    })
}

fn anonymous(desk: &Desk) -> Result<()> {
    let memory = Mapping::shared_anonymous(8 * PAGE_SIZE)?;
    super::bind(&memory, desk.nodes.here)?;
    memory.fill(3);
    desk.with(&memory, || {
        desk.moves(0, 8, desk.nodes.there)?;
        ensure!(
            are_at(&memory, desk.nodes.there)?,
            "they are not at the other node"
        );
        memory.check(3)
    })
}

fn tmpfs(desk: &Desk) -> Result<()> {
    let path = "/dev/shm-of-selftest";
    let _ = std::fs::create_dir(path);
    let mounted = super::refusals::Mounted::new("tmpfs", path, "")?;
    let name = format!("{path}/memory");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&name)?;
    let memory = Memfd::of(file, 8)?;
    super::bind(&memory.map, desk.nodes.here)?;
    memory.map.fill(4);
    desk.with(&memory.map, || {
        desk.moves(0, 8, desk.nodes.there)?;
        std::fs::remove_file(&name)?;
        desk.moves(0, 8, desk.nodes.here)?;
        memory.map.check(4)
    })?;
    drop(memory);
    mounted.end()
}

fn locked(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(64, desk.nodes.here)?;
    let lock = |on: bool| {
        let (address, length) = (memfd.map.address().cast(), memfd.map.length());
        // SAFETY: our mapping; what is locked is what was there.
        let done = unsafe {
            match on {
                true => libc::mlock(address, length),
                false => libc::munlock(address, length),
            }
        };
        ensure!(done == 0, "mlock: {}", std::io::Error::last_os_error());
        Ok(())
    };
    lock(true)?;
    desk.with(&memfd.map, || {
        for node in [desk.nodes.there, desk.nodes.here] {
            desk.moves(0, 64, node)?;
            memfd.map.check(0)?;
        }
        Ok(())
    })?;
    lock(false)
}

fn sealed(desk: &Desk) -> Result<()> {
    // SAFETY: a C string; the result is checked.
    let fd = unsafe {
        libc::memfd_create(
            c"sealed".as_ptr(),
            libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
        )
    };
    ensure!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: a descriptor that was just made for us.
    let file = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    let memfd = Memfd::of(file, 4)?;
    super::bind(&memfd.map, desk.nodes.here)?;
    memfd.map.fill(5);
    let seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: a number.
    let done = unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) };
    ensure!(
        done == 0,
        "F_ADD_SEALS: {}",
        std::io::Error::last_os_error()
    );
    desk.with(&memfd.map, || {
        desk.moves(0, 4, desk.nodes.there)?;
        memfd.map.check(5)
    })
}

fn read_only(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(4, desk.nodes.here)?;
    desk.with_as(super::IOVA, &memfd.map, READ_ONLY, || {
        desk.moves(0, 4, desk.nodes.there)?;
        memfd.map.check(0)
    })
}

fn counted(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(PAGES, desk.nodes.here)?;
    let before = shmem_kib()?;
    desk.with(&memfd.map, || {
        for node in [desk.nodes.there, desk.nodes.here] {
            desk.moves(0, PAGES, node)?;
        }
        Ok(())
    })?;
    let after = shmem_kib()?;
    ensure!(before == after, "Shmem: {after} KiB instead of {before}");
    Ok(())
}

fn freed(desk: &Desk) -> Result<()> {
    let before = shmem_kib()?;
    let memfd = Memfd::new(PAGES, desk.nodes.here)?;
    desk.with(&memfd.map, || desk.moves(0, PAGES, desk.nodes.there))?;
    drop(memfd);
    let after = shmem_kib()?;
    ensure!(before == after, "Shmem: {after} KiB instead of {before}");
    Ok(())
}

fn private_copy(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(4, desk.nodes.here)?;
    let private = Mapping::private(&memfd.file, 0, 4 * PAGE_SIZE)
        .map_err(std::io::Error::from_raw_os_error)
        .context("a private mapping")?;
    private.write(1, 0, 99);
    desk.with(&memfd.map, || {
        desk.moves(0, 4, desk.nodes.there)?;
        ensure!(private.read(1, 0) == 99, "the copy is gone");
        ensure!(
            private.read(0, 0) == Mapping::pattern(0, 0, 0),
            "what is not copied is wrong"
        );
        memfd.map.check(0)
    })
}

pub fn map(file: &File, pages: usize) -> Result<Mapping> {
    Mapping::shared(file, 0, pages * PAGE_SIZE)
        .map_err(std::io::Error::from_raw_os_error)
        .context("mmap")
}

/// Memory of shmem on the whole machine.
fn shmem_kib() -> Result<u64> {
    std::fs::write("/proc/sys/vm/stat_refresh", "1").context("stat_refresh")?;
    let text = std::fs::read_to_string("/proc/meminfo").context("meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Shmem:"));
    let line = line.context("no Shmem")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
