// SPDX-License-Identifier: GPL-2.0
//! `/dev/pagemove` as a file that a VMM uses for guest memory.

mod cost;
mod listing;
mod poisoned;

use std::io::{Seek, SeekFrom};
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::child::{self, End};
use pagemove_testkit::nodes;
use pagemove_uapi::{
    Control, Place, Region as Listed, MAX_REGION_BYTES, PAGE_SIZE, PLACE_NODE, PLACE_NONE,
};

use crate::bench::Nodes;
use crate::region::{Mapping, Region};
use pagemove_testkit::tap::{self, Case, Outcome, Pass};

const MIB: usize = 1 << 20;

type Check = fn(&mut Nodes) -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    ("new memory is zero", new_memory_is_zero),
    ("two mappings show the same memory", two_mappings),
    ("an mmap further on makes the region longer", growth),
    ("the offset of an mmap is honoured", offsets),
    (
        "memory that is unmapped and mapped again has kept its bytes",
        remapped,
    ),
    ("mprotect forbids and allows writing", protection),
    ("a fork does not have the mapping", fork_has_no_mapping),
    ("a fork that inherits the file can map it", fork_maps_it),
    ("two opens are two regions", two_regions),
    ("region setup puts pages on the node it names", setup_node),
    ("mbind puts pages on its node", mbind_node),
    ("set_mempolicy puts pages on its node", policy_node),
    ("the size of the file is the region's", file_size),
    ("list and query tell what was touched", listed),
    (
        "a sparse region of 64 GiB costs what was touched",
        cost::sparse,
    ),
    (
        "touching a page of a node that has no memory left is SIGBUS",
        cost::full_node,
    ),
    ("closing frees every page", cost::closing_frees),
    (
        "neighbouring pages are not contiguous, so that VFIO maps each by itself, before and after moves",
        cost::small_leaves,
    ),
];

/// With an argument: what needs a build for tests, or a device.
pub fn main(args: &[String]) -> ExitCode {
    match args.first().map(String::as_str) {
        None => {}
        Some("listed") => return listing::main(),
        Some("poisoned") => return poisoned::main(),
        Some("users") => return super::memfd::of_regions(false),
        Some("cost") => return super::memfd::of_regions(true),
        Some(_) => {
            eprintln!("regions wants nothing, or one of: listed, poisoned, users, cost");
            return ExitCode::from(1);
        }
    }
    match Nodes::find() {
        Ok(Some(mut nodes)) => {
            let cases = CHECKS
                .iter()
                .map(|(name, check)| Case::new(*name, check))
                .collect();
            tap::run(&mut nodes, cases)
        }
        Ok(None) => tap::skip_all("the VM has one NUMA node only"),
        Err(error) => tap::fail_all(&error),
    }
}

/// mmap of a file of `/dev/pagemove`.
fn map(control: &Control, offset: usize, length: usize) -> Result<Mapping> {
    Mapping::shared(control.file(), offset as u64, length)
        .map_err(std::io::Error::from_raw_os_error)
        .context("mmap")
}

/// The region of an open file: the last that was made.
fn newest(control: &Control) -> Result<Listed> {
    control
        .region_list()?
        .into_iter()
        .max_by_key(|region| region.id)
        .context("no region is listed")
}

fn new_memory_is_zero(_: &mut Nodes) -> Outcome {
    // Twice, so that pages which were used before come back.
    for _ in 0..2 {
        let control = Control::open()?;
        let map = map(&control, 0, MIB)?;
        for page in 0..map.pages() {
            ensure!(
                (0..PAGE_SIZE / 8).all(|word| map.read(page, word) == 0),
                "page {page} is not zero"
            );
        }
        map.fill(1);
    }
    Ok(Pass)
}

fn two_mappings(_: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let (one, two) = (map(&control, 0, MIB)?, map(&control, 0, MIB)?);
    one.fill(2);
    two.check(2)?;
    two.write(5, 5, 55);
    ensure!(
        one.read(5, 5) == 55,
        "a write through the second mapping is not seen"
    );
    Ok(Pass)
}

fn growth(_: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let first = map(&control, 0, MIB)?;
    first.fill(3);
    ensure!(
        newest(&control)?.length == MIB as u64,
        "its length is {:#x}",
        newest(&control)?.length
    );
    let second = map(&control, 3 * MIB, MIB)?;
    second.fill(4);
    ensure!(
        newest(&control)?.length == 4 * MIB as u64,
        "its length is {:#x}",
        newest(&control)?.length
    );
    first.check(3)?;
    drop((first, second));
    // It does not shrink, and what was written stays.
    let all = map(&control, 0, 4 * MIB)?;
    ensure!(newest(&control)?.length == 4 * MIB as u64, "it has shrunk");
    all.check_page(3, MIB / PAGE_SIZE - 1)?;
    ensure!(
        all.read(2 * MIB / PAGE_SIZE, 0) == 0,
        "the hole is not zero"
    );
    Ok(Pass)
}

fn offsets(_: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let whole = map(&control, 0, MIB)?;
    for page in 0..whole.pages() {
        whole.write(page, 0, 1000 + page as u64);
    }
    for first in [1, 7, 100, 255] {
        let part = map(&control, first * PAGE_SIZE, PAGE_SIZE)?;
        ensure!(
            part.read(0, 0) == 1000 + first as u64,
            "offset {first} pages shows {}",
            part.read(0, 0)
        );
    }
    Ok(Pass)
}

fn remapped(_: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let whole = map(&control, 0, MIB)?;
    whole.fill(5);
    whole
        .punch(10, 20)
        .map_err(std::io::Error::from_raw_os_error)?;
    whole
        .mend(control.file(), 10, 20)
        .map_err(std::io::Error::from_raw_os_error)?;
    whole.check(5)?;
    drop(whole);
    map(&control, 0, MIB)?.check(5)?;
    Ok(Pass)
}

/// Returns the signal that ends a child which touches the first page, 0 if it may.
fn touching_ends_with(map: &Mapping, write: bool) -> Result<i32> {
    let end = child::run(|| {
        if write {
            map.write(0, 0, 1);
        } else {
            map.read(0, 0);
        }
        0
    })?;
    Ok(match end {
        End::Signal(signal) => signal,
        End::Exit(_) => 0,
    })
}

fn protection(_: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let map = map(&control, 0, 16 * PAGE_SIZE)?;
    map.fill(6);
    map.protect(libc::PROT_READ)?;
    map.check(6)?;
    // Whether a write is refused shows in /proc: a child does not have the
    // mapping, and this process would die.
    let refused = write_from_kernel(&map)?;
    ensure!(
        refused == libc::EFAULT,
        "a write into a read-only mapping gave {refused}"
    );
    map.protect(libc::PROT_READ | libc::PROT_WRITE)?;
    map.fill(7);
    map.check(7)?;
    Ok(Pass)
}

/// Lets read(2) write a byte into the mapping: the errno, or 0.
fn write_from_kernel(map: &Mapping) -> Result<i32> {
    use std::os::fd::AsRawFd;
    let zero = std::fs::File::open("/dev/zero").context("/dev/zero")?;
    // SAFETY: a byte of our mapping.
    let result = unsafe { libc::read(zero.as_raw_fd(), map.address().cast(), 1) };
    Ok(if result == 1 {
        0
    } else {
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO)
    })
}

fn fork_has_no_mapping(_: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let map = map(&control, 0, PAGE_SIZE)?;
    map.fill(8);
    for write in [false, true] {
        let signal = touching_ends_with(&map, write)?;
        ensure!(
            signal == libc::SIGSEGV,
            "the child had the mapping: signal {signal}"
        );
    }
    // SAFETY: our mapping.
    let result = unsafe { libc::madvise(map.address().cast(), PAGE_SIZE, libc::MADV_DOFORK) };
    if result == 0 {
        let signal = touching_ends_with(&map, true)?;
        ensure!(
            signal == 0,
            "MADV_DOFORK was accepted, but the child did not have the mapping"
        );
        ensure!(
            map.read(0, 0) == 1,
            "the child wrote into a copy, out of the device's sight"
        );
    } else {
        map.check(8)?;
    }
    Ok(Pass)
}

fn fork_maps_it(_: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let whole = map(&control, 0, MIB)?;
    whole.fill(9);
    let status = child::status_of(|| {
        let Ok(own) = Mapping::shared(control.file(), 0, MIB) else {
            return 1;
        };
        if own.check(9).is_err() {
            return 2;
        }
        own.write(7, 7, 77);
        0
    })?;
    ensure!(status == 0, "the child failed at {status}");
    ensure!(whole.read(7, 7) == 77, "the child's write is not seen");
    Ok(Pass)
}

fn two_regions(_: &mut Nodes) -> Outcome {
    let (one, two) = (Control::open()?, Control::open()?);
    let (first, second) = (map(&one, 0, MIB)?, map(&two, 0, MIB)?);
    first.fill(10);
    second.fill(11);
    first.check(10)?;
    second.check(11)?;
    Ok(Pass)
}

fn setup_node(nodes: &mut Nodes) -> Outcome {
    for node in [nodes.here, nodes.there] {
        let region = Region::on_node(64, node)?;
        region.map.fill(12);
        ensure!(
            region.pages_on(node)? == 64,
            "{} of 64 pages are on node {node}",
            region.pages_on(node)?
        );
    }
    Ok(Pass)
}

const BIND: usize = 2;

fn mbind_node(two: &mut Nodes) -> Outcome {
    let control = Control::open()?;
    let whole = map(&control, 0, 64 * PAGE_SIZE)?;
    for (first, node) in [(0, two.there), (32, two.here)] {
        nodes::bind(whole.page(first) as usize, 32 * PAGE_SIZE, node)?;
    }
    whole.fill(13);
    let id = newest(&control)?.id;
    for (first, node) in [(0, two.there), (32, two.here)] {
        let places = control.region_query(id, (first * PAGE_SIZE) as u64, 32 * PAGE_SIZE as u64)?;
        let there = Place {
            kind: PLACE_NODE,
            number: node,
        };
        ensure!(
            places.iter().all(|place| *place == there),
            "from page {first}: {places:?}, not node {node}"
        );
    }
    Ok(Pass)
}

fn policy_node(nodes: &mut Nodes) -> Outcome {
    let set = |mode: usize, mask: u64| -> Result<()> {
        // SAFETY: a mask of 64 nodes.
        let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, &raw const mask, 64) };
        ensure!(
            result == 0,
            "set_mempolicy: {}",
            std::io::Error::last_os_error()
        );
        Ok(())
    };
    for node in [nodes.there, nodes.here] {
        let control = Control::open()?;
        let whole = map(&control, 0, 64 * PAGE_SIZE)?;
        set(BIND, 1 << node)?;
        whole.fill(14);
        set(0, 0)?;
        let places = control.region_query(newest(&control)?.id, 0, 64 * PAGE_SIZE as u64)?;
        let there = Place {
            kind: PLACE_NODE,
            number: node,
        };
        ensure!(
            places.iter().all(|place| *place == there),
            "{places:?}, not node {node}"
        );
    }
    Ok(Pass)
}

fn file_size(_: &mut Nodes) -> Outcome {
    let size = |control: &Control| control.file().seek(SeekFrom::End(0)).context("SEEK_END");
    let control = Control::open()?;
    control.region_setup(MIB as u64, None)?;
    ensure!(
        size(&control)? == MIB as u64,
        "after setup of 1 MiB it is {:#x}",
        size(&control)?
    );
    let growing = Control::open()?;
    ensure!(
        size(&growing)? == MAX_REGION_BYTES,
        "without setup it is {:#x}",
        size(&growing)?
    );
    Ok(Pass)
}

fn listed(nodes: &mut Nodes) -> Outcome {
    let region = Region::on_node(64, nodes.there)?;
    let find = || -> Result<Listed> {
        let list = region.control.region_list()?;
        list.into_iter()
            .find(|listed| listed.id == region.id)
            .context("it is not listed")
    };
    let before = find()?;
    ensure!(
        (before.length, before.pages) == (64 * PAGE_SIZE as u64, 0),
        "{before:?}"
    );
    ensure!(
        before.node == nodes.there && before.pid == std::process::id() as i32,
        "{before:?}"
    );
    ensure!(before.flags == 0, "{before:?}");
    for page in [0, 10, 63] {
        region.map.write(page, 0, 1);
    }
    ensure!(
        find()?.pages == 3,
        "three pages were touched, {} are listed",
        find()?.pages
    );
    for (page, place) in region.places()?.iter().enumerate() {
        let expected = match page {
            0 | 10 | 63 => Place {
                kind: PLACE_NODE,
                number: nodes.there,
            },
            _ => Place {
                kind: PLACE_NONE,
                number: 0,
            },
        };
        ensure!(*place == expected, "page {page} is at {place:?}");
    }
    Ok(Pass)
}
