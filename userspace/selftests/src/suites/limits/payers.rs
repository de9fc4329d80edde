// SPDX-License-Identifier: GPL-2.0
//! Who pays where it could be nobody, or somebody else: a process that has ended while its memory is
//! written, and one that maps another's region.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::child::{self, Pid};
use pagemove_testkit::wait;
use pagemove_uapi::{Control, PAGE_SIZE};

use super::charges::{is_about, new_cgroup, BYTES, PAGES};
use super::late::offer_from_outside;
use crate::bench::Bench;
use crate::cgroup::Cgroup;
use crate::region::Mapping;
use pagemove_testkit::tap::{self, Outcome, Pass, Skip};

/// What is written in one call, which is to go on when its process has ended.
const WRITTEN: usize = 8 * PAGES;
/// So often it may be over before that.
const TRIES: usize = 10;
/// With these, and two, a region has one mapping more than it remembers.
const MAPPINGS: usize = 15;

/// A child that maps a region, says where, and waits until it is killed, or the last is closed.
fn mapper(control: &Control, cgroup: &Cgroup, pages: usize) -> Result<(Pid, u64, UnixStream)> {
    let (mut here, mut there) = UnixStream::pair()?;
    let pid = child::fork(|| {
        let mut map = || -> Result<()> {
            cgroup.enter()?;
            let map = Mapping::shared(control.file(), 0, pages * PAGE_SIZE)
                .map_err(std::io::Error::from_raw_os_error)?;
            there.write_all(&(map.address() as u64).to_le_bytes())?;
            // Until it is killed.
            there.read_exact(&mut [0])?;
            Ok(())
        };
        i32::from(map().is_err())
    })?;
    drop(there);
    let mut address = [0; 8];
    here.read_exact(&mut address)
        .context("a child that maps the region")?;
    Ok((pid, u64::from_le_bytes(address), here))
}

/// A child that writes to another's memory, in one call.
fn writer(pid: Pid, address: u64, cgroup: &Cgroup) -> Result<Pid> {
    // Zeros that nobody has touched: they are charged to nobody.
    let zeros = Mapping::anonymous(WRITTEN * PAGE_SIZE)?;
    child::fork(|| {
        let write = || -> Result<bool> {
            cgroup.enter()?;
            let memory: File = OpenOptions::new()
                .write(true)
                .open(format!("/proc/{pid}/mem"))?;
            // SAFETY: the mapping is as long, and nobody else has it.
            let bytes = unsafe { std::slice::from_raw_parts(zeros.address(), zeros.length()) };
            Ok(memory.write_at(bytes, address)? == bytes.len())
        };
        i32::from(!write().unwrap_or(false))
    })
}

/// What is written to a process that has ended meanwhile pays who writes. Tells how many pages were
/// there when it had; None: all.
fn writes_on(
    control: &Control,
    of_the_mapper: &Cgroup,
    of_the_writer: &Cgroup,
) -> Result<Option<u64>> {
    let before = control.stats()?.region_pages;
    let pages = || -> Result<u64> { Ok(control.stats()?.region_pages - before) };
    let (mapper, address, _line) = mapper(control, of_the_mapper, WRITTEN)?;
    let writer = writer(mapper, address, of_the_writer)?;
    let begun = wait::until("pages are written", Duration::from_secs(20), || {
        Ok(pages()? >= WRITTEN as u64 / 8)
    });
    child::kill(mapper);
    let then = pages()?;
    let (_, end) = child::wait(writer)?;
    begun?;
    ensure!(end == child::End::Exit(0), "the writer ended with {end:?}");
    Ok((then < WRITTEN as u64 / 2).then_some(then))
}

/// The process whose memory is written has ended: the kernel knows of no cgroup that its memory has.
pub fn of_who_has_ended(_: &mut Option<Bench>) -> Outcome {
    let of_the_mapper = new_cgroup!("has-ended");
    let of_the_writer = new_cgroup!("writes-on");
    for _ in 0..TRIES {
        let control = Control::open()?;
        control.region_setup((WRITTEN * PAGE_SIZE) as u64, None)?;
        let Some(then) = writes_on(&control, &of_the_mapper, &of_the_writer)? else {
            continue;
        };
        tap::note(&format!("{then} pages of {WRITTEN} when it had ended"));
        let (first, second) = (of_the_mapper.used()?, of_the_writer.used()?);
        tap::note(&format!("{first} bytes by it, {second} by who writes"));
        is_about("both", first + second, 8 * BYTES)?;
        return Ok(Pass);
    }
    Ok(Skip(format!(
        "{TRIES} times all was written before the process had ended"
    )))
}

/// However often a region is mapped, and by whom: the first process that lives pays for what is offered.
pub fn of_the_first(bench: &mut Option<Bench>) -> Outcome {
    let node = bench.as_ref().context("no bench")?.nodes.here;
    let first = new_cgroup!("maps-first");
    let second = new_cgroup!("maps-too");
    let control = Control::open()?;
    let id = control.region_setup(BYTES, Some(node))?;
    first.enter()?;
    let maps = || -> Result<(u64, u64)> {
        let map = |_| {
            Mapping::shared(control.file(), 0, PAGES * PAGE_SIZE)
                .map_err(std::io::Error::from_raw_os_error)
        };
        let _first = map(0)?;
        let (other, _, _line) = mapper(&control, &second, PAGES)?;
        let more: Result<Vec<Mapping>, _> = (0..MAPPINGS).map(map).collect();
        let offered = offer_from_outside(id);
        let used = (first.used()?, second.used()?);
        child::kill(other);
        more?;
        offered?;
        Control::open()?.retract(id, 0, BYTES)?;
        Ok(used)
    };
    let used = maps();
    Cgroup::leave()?;
    let (of_first, of_second) = used?;
    is_about("that of the first", of_first, BYTES)?;
    is_about("that of another", of_second, 0)?;
    Ok(Pass)
}
