// SPDX-License-Identifier: GPL-2.0
//! Who reaches memory without a mapping of his own, and what calls do to the mapping that there is:
//! a debugger, another process, the kernel for a file that goes past the page cache, madvise, mremap.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::child;
use pagemove_uapi::{self as uapi, PAGE_SIZE};

use super::refusals::{refuses, Mounted};
use super::{case, Desk, Memory};
use crate::region::Mapping;
use pagemove_testkit::tap::{note, Case};

const PAGES: usize = 16;

pub fn cases() -> Vec<Case<Desk>> {
    vec![
        case(
            "process_vm_readv and process_vm_writev of another process reach pages that moved",
            other_process,
        ),
        case("so does a debugger, by /proc/PID/mem", debugger),
        case(
            "a file that is read and written past the page cache (O_DIRECT), beside moves",
            direct,
        ),
        case("the pages count as the process's: VmRSS", resident),
        case("clear_refs is written beside moves", clear_refs),
        case(
            "madvise: dontneed, cold, pageout, populate; mlock; mprotect",
            advised,
        ),
        case(
            "mapped at another address since (mremap): refused, until it is back",
            remapped,
        ),
        case(
            "something else is mapped there since: refused, until it is back",
            replaced,
        ),
    ]
}

/// Lets `reach` look after each of some moves, and puts the pages back where they were.
fn beside_moves(
    desk: &Desk,
    memory: &Memory,
    mut reach: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    desk.with(memory, || {
        for round in 0..4 {
            let nodes = [desk.nodes.there, desk.nodes.here];
            desk.moves(0, memory.pages(), nodes[round % 2])?;
            reach(round as u64 + 1).with_context(|| format!("round {round}"))?;
        }
        Ok(())
    })
}

/// The first word of each page, as another process reads it, and that it has written another.
fn other_process(desk: &Desk) -> Result<()> {
    let memory = desk.memory(PAGES)?;
    let parent = std::process::id() as i32;
    beside_moves(desk, &memory, |round| {
        let status = child::status_of(|| {
            for page in 0..PAGES {
                let mut found = 0u64;
                let mut new = Mapping::pattern(round, page, 0);
                let remote = part(memory.page(page), 8);
                let (into, from) = (
                    part((&raw mut found).cast(), 8),
                    part((&raw mut new).cast(), 8),
                );
                // SAFETY: a word of ours, and one of the parent's mapping.
                let moved = unsafe {
                    [
                        libc::process_vm_readv(parent, &into, 1, &remote, 1, 0),
                        libc::process_vm_writev(parent, &from, 1, &remote, 1, 0),
                    ]
                };
                if moved != [8, 8] || found != Mapping::pattern(round - 1, page, 0) {
                    return page as i32 + 1;
                }
            }
            0
        })?;
        ensure!(status == 0, "page {} is wrong, or not reached", status - 1);
        first_words(&memory, round)
    })
}

fn part(address: *mut u8, length: usize) -> libc::iovec {
    libc::iovec {
        iov_base: address.cast(),
        iov_len: length,
    }
}

fn first_words(memory: &Mapping, round: u64) -> Result<()> {
    for page in 0..memory.pages() {
        let found = memory.read(page, 0);
        ensure!(
            found == Mapping::pattern(round, page, 0),
            "page {page} begins with {found:#x}"
        );
    }
    Ok(())
}

fn debugger(desk: &Desk) -> Result<()> {
    let memory = desk.memory(PAGES)?;
    let mem = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")?;
    beside_moves(desk, &memory, |round| {
        for page in 0..PAGES {
            let at = memory.page(page) as u64;
            let mut word = [0; 8];
            mem.read_exact_at(&mut word, at)?;
            let expected = Mapping::pattern(round - 1, page, 0);
            ensure!(
                u64::from_ne_bytes(word) == expected,
                "page {page}: {word:x?}"
            );
            let new = Mapping::pattern(round, page, 0);
            mem.write_all_at(&new.to_ne_bytes(), at)?;
        }
        first_words(&memory, round)
    })
}

/// tmpfs takes O_DIRECT and copies; a disk's driver would do DMA, as in the guest of `linux`.
fn direct(desk: &Desk) -> Result<()> {
    let path = "/dev/shm-of-selftest";
    let _ = std::fs::create_dir(path);
    let mounted = Mounted::new("tmpfs", path, "")?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .custom_flags(libc::O_DIRECT)
        .open(format!("{path}/disk"))?;
    let memory = desk.memory(PAGES)?;
    let length = memory.length();
    beside_moves(desk, &memory, |round| {
        memory.fill(round);
        let address = memory.address();
        // SAFETY: our mapping, which nothing refers to.
        let written = unsafe { libc::pwrite(file.as_raw_fd(), address.cast(), length, 0) };
        ensure!(written == length as isize, "pwrite: {}", last_error());
        memory.fill(100);
        // SAFETY: as above; it is only accessed by volatile loads and stores.
        let read = unsafe { libc::pread(file.as_raw_fd(), address.cast(), length, 0) };
        ensure!(read == length as isize, "pread: {}", last_error());
        memory.check(round)
    })?;
    drop(file);
    mounted.end()
}

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}

/// KiB of this process, of any kind.
fn resident_kib() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?)
}

fn resident(desk: &Desk) -> Result<()> {
    const MANY: usize = 2048;
    let touch = |memory: &Memory| {
        (0..MANY).for_each(|page| {
            memory.read(page, 0);
        });
    };
    let before = resident_kib()?;
    let memory = desk.memory(MANY)?;
    let least = before + (MANY * PAGE_SIZE / 1024) as u64 * 9 / 10;
    let then = resident_kib()?;
    ensure!(
        then >= least,
        "{then} KiB, {before} before {MANY} pages were touched"
    );
    desk.with(&memory, || desk.moves(0, MANY, desk.nodes.there))?;
    touch(&memory);
    let moved = resident_kib()?;
    ensure!(moved >= least, "{moved} KiB after moves, {then} before");
    drop(memory);
    let after = resident_kib()?;
    ensure!(
        after < least,
        "{after} KiB when it is unmapped, {moved} before"
    );
    Ok(())
}

/// 1: forget what was accessed; 4: what was written.
fn clear_refs(desk: &Desk) -> Result<()> {
    let memory = desk.memory(PAGES)?;
    beside_moves(desk, &memory, |round| {
        memory.fill(round);
        for what in ["1", "4"] {
            std::fs::write("/proc/self/clear_refs", what).context("clear_refs")?;
            memory.check(round)?;
        }
        Ok(())
    })?;
    memory.check(4)
}

fn advised(desk: &Desk) -> Result<()> {
    let memory = desk.memory(PAGES)?;
    let (address, length) = (memory.address().cast(), memory.length());
    let calls = [
        ("MADV_DONTNEED", libc::MADV_DONTNEED),
        ("MADV_COLD", libc::MADV_COLD),
        ("MADV_PAGEOUT", libc::MADV_PAGEOUT),
        ("MADV_POPULATE_READ", libc::MADV_POPULATE_READ),
        ("MADV_POPULATE_WRITE", libc::MADV_POPULATE_WRITE),
        ("MADV_COLLAPSE", libc::MADV_COLLAPSE),
        ("MADV_MERGEABLE", libc::MADV_MERGEABLE),
    ];
    let mut refused = Vec::new();
    for (name, advice) in calls {
        beside_moves(desk, &memory, |_| {
            // SAFETY: our mapping; none of these takes bytes from memory that is shared.
            if unsafe { libc::madvise(address, length, advice) } != 0 {
                refused.push(name);
            }
            memory.check(0)
        })
        .context(name)?;
    }
    refused.dedup();
    note(&format!("not for this memory: {refused:?}"));
    beside_moves(desk, &memory, |_| {
        // SAFETY: our mapping.
        let locked = unsafe { libc::mlock(address, length) };
        ensure!(locked == 0, "mlock: {}", last_error());
        memory.check(0)?;
        // SAFETY: as above.
        let unlocked = unsafe { libc::munlock(address, length) };
        ensure!(unlocked == 0, "munlock: {}", last_error());
        memory.protect(libc::PROT_READ)?;
        memory.check(0)?;
        memory.protect(libc::PROT_READ | libc::PROT_WRITE)
    })
}

/// VFIO knows the memory by its address: what is pinned is what is there now, or nothing.
fn remapped(desk: &Desk) -> Result<()> {
    let memory = desk.memory(PAGES)?;
    let other = Mapping::anonymous(memory.length())?;
    desk.with(&memory, || {
        remap(memory.address(), other.address(), memory.length())?;
        let gone = (libc::ENOENT, uapi::REASON_NO_VADDR);
        let refusal = refuses(desk, 1, gone);
        remap(other.address(), memory.address(), memory.length())?;
        refusal?;
        desk.moves(0, PAGES, desk.nodes.there)?;
        memory.check(0)
    })
}

/// Takes what is mapped from one address to another, and leaves nothing.
fn remap(from: *mut u8, to: *mut u8, length: usize) -> Result<()> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: both are mappings of ours, and nothing refers to what is in them.
    let at = unsafe { libc::mremap(from.cast(), length, length, flags, to) };
    ensure!(at == to.cast(), "mremap: {}", last_error());
    Ok(())
}

fn replaced(desk: &Desk) -> Result<()> {
    let (memory, other) = (desk.memory(PAGES)?, desk.memory(PAGES)?);
    let mend = |file: &File| {
        let done = memory.mend(file, 0, PAGES);
        done.map_err(std::io::Error::from_raw_os_error)
            .context("mmap")
    };
    desk.with(&memory, || {
        mend(other.file())?;
        let refusal = refuses(desk, 1, (libc::EADDRNOTAVAIL, uapi::REASON_OTHER_FRAME));
        mend(memory.file())?;
        refusal?;
        desk.moves(0, PAGES, desk.nodes.there)?;
        memory.check(0)
    })?;
    other.check(0)
}
