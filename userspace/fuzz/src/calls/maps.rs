// SPDX-License-Identifier: GPL-2.0
//! Mappings of regions. Each slot has a GiB of addresses of its own, where nothing else is.

use std::ptr;

use crate::calls::number;
use crate::touch;
use crate::value::{Value, MAPS, PAGE};
use crate::world::{Outcome, World};

const BASE: u64 = 0x3000_0000_0000;
const ROOM: u64 = 1 << 30;

pub fn address(slot: u64) -> u64 {
    BASE + slot % MAPS as u64 * ROOM
}

/// Pages, kept in the slot's room.
fn length(pages: u64) -> usize {
    (pages * PAGE).min(ROOM / 2) as usize
}

pub fn mmap(world: &mut World, values: &[Value]) -> Outcome {
    let [map, file, offset, pages, protection, private] =
        [0, 1, 2, 3, 4, 5].map(|at| number(values, at));
    let protection = match protection {
        0 => libc::PROT_READ | libc::PROT_WRITE,
        1 => libc::PROT_READ,
        2 => libc::PROT_NONE,
        _ => libc::PROT_READ | libc::PROT_EXEC,
    };
    let sharing = if private == 1 {
        libc::MAP_PRIVATE
    } else {
        libc::MAP_SHARED
    };
    // SAFETY: addresses that are for this alone.
    let result = unsafe {
        libc::mmap(
            address(map) as *mut _,
            length(pages),
            protection,
            sharing | libc::MAP_FIXED,
            world.fd(file),
            offset as i64,
        )
    };
    if result == libc::MAP_FAILED {
        return Outcome::of(-1);
    }
    world.maps[map as usize] = true;
    if private == 1 {
        world.problem("a private mapping of a region was not refused");
    }
    learn_region(world, file as usize);
    Outcome::OK
}

/// The number of a region that was made by mmap: the newest of this process.
fn learn_region(world: &mut World, file: usize) {
    let known = world.files[file]
        .as_ref()
        .is_none_or(|file| file.region.is_some());
    if known {
        return;
    }
    let own = std::process::id() as i32;
    let regions = world.control.region_list().unwrap_or_default();
    let newest = regions
        .iter()
        .filter(|region| region.pid == own)
        .map(|region| region.id)
        .max();
    if let Some(file) = &mut world.files[file] {
        file.region = newest;
    }
}

pub fn munmap(_: &mut World, values: &[Value]) -> Outcome {
    let [map, first, pages] = [0, 1, 2].map(|at| number(values, at));
    // SAFETY: addresses that are for this alone.
    let result = unsafe { libc::munmap((address(map) + first * PAGE) as *mut _, length(pages)) };
    Outcome::of(result.into())
}

pub fn mremap(world: &mut World, values: &[Value]) -> Outcome {
    let [map, pages, to] = [0, 1, 2].map(|at| number(values, at));
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    let target = address(to) + ROOM / 2;
    // SAFETY: addresses that are for this alone.
    let result = unsafe {
        libc::mremap(
            address(map) as *mut _,
            length(4),
            length(pages),
            flags,
            target as *mut libc::c_void,
        )
    };
    world.maps[(to % MAPS as u64) as usize] = true;
    Outcome::of(result as i64)
}

pub fn madvise(_: &mut World, values: &[Value]) -> Outcome {
    let [map, pages, advice] = [0, 1, 2].map(|at| number(values, at));
    // SAFETY: addresses that are for this alone.
    let result = unsafe { libc::madvise(address(map) as *mut _, length(pages), advice as i32) };
    Outcome::of(result.into())
}

pub fn mprotect(_: &mut World, values: &[Value]) -> Outcome {
    let [map, pages, protection] = [0, 1, 2].map(|at| number(values, at));
    // SAFETY: addresses that are for this alone.
    let result =
        unsafe { libc::mprotect(address(map) as *mut _, length(pages), protection as i32) };
    Outcome::of(result.into())
}

/// Accesses a word of each page.
pub fn touch(_: &mut World, values: &[Value]) -> Outcome {
    let [map, first, pages, write] = [0, 1, 2, 3].map(|at| number(values, at));
    let _hurry = touch::Hurry::new();
    for page in first..first + pages.min(64) {
        let at = address(map) + page * PAGE + (page % 512) * 8;
        let done = if write == 1 {
            // SAFETY: in a slot's room, where no Rust value lives.
            unsafe { touch::store(at, page) }
        } else {
            touch::load(at).map(drop)
        };
        match done {
            Ok(()) => {}
            Err(libc::SIGALRM) => return Outcome::errno(libc::EINTR),
            Err(libc::SIGBUS) => return Outcome::errno(libc::ENXIO),
            Err(_) => return Outcome::errno(libc::EFAULT),
        }
    }
    Outcome::OK
}

pub fn unmap_all(world: &mut World) {
    for slot in 0..MAPS {
        if std::mem::take(&mut world.maps[slot]) {
            // SAFETY: addresses that are for this alone.
            unsafe { libc::munmap(address(slot as u64) as *mut _, ROOM as usize) };
        }
    }
}

/// Keeps the rooms free of whatever else the process maps.
pub fn reserve() -> bool {
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let size = ROOM as usize * MAPS;
    // SAFETY: a new mapping, which is taken away at once: the place is far from where the
    // kernel puts others.
    unsafe {
        let base = libc::mmap(BASE as *mut _, size, libc::PROT_NONE, flags, -1, 0);
        base != libc::MAP_FAILED
            && libc::munmap(ptr::with_exposed_provenance_mut(BASE as usize), size) == 0
    }
}
