// SPDX-License-Identifier: GPL-2.0
//! Which regions are listed: those that are of use, whatever else happens to their files.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::child::{self, End, Pid};
use pagemove_testkit::wait;
use pagemove_uapi::{Control, PAGE_SIZE};

use super::map;
use crate::bench;
use crate::region::Mapping;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn main() -> ExitCode {
    let cases = vec![
        Case::new(
            "a region that is set up while another call fails to map it is listed, and freed",
            set_up_beside_a_failure,
        ),
        Case::new(
            "numbers of regions that have gone come again, those of others do not",
            numbers,
        ),
        Case::new(
            "when all numbers are taken an open is refused, until one has gone",
            no_number,
        ),
    ];
    tap::run(&mut (), cases)
}

/// A mapping that is refused is held up before the caller learns of it (`inject=6`), and the
/// region is set up meanwhile.
fn set_up_beside_a_failure(_: &mut ()) -> Outcome {
    bench::wait_for_no_pages(PATIENCE)?;
    let control = Control::open()?;
    let file = control.file();
    let refused = child::fork(|| match Mapping::private(file, 0, PAGE_SIZE) {
        Err(libc::EINVAL) => 0,
        _ => 1,
    })?;
    let set_up = wait::until("the mapping is held up", PATIENCE, || is_in_mmap(refused))
        .and_then(|_| Ok(control.region_setup(PAGE_SIZE as u64, None)?));
    let (_, end) = child::wait(refused)?;
    let id = set_up?;
    ensure!(end == End::Exit(0), "a private mapping: {end:?}");
    // Before it is mapped, which would list it if it were not.
    let regions = control.region_list()?;
    ensure!(
        regions.iter().any(|region| region.id == id),
        "region {id} is not listed: {regions:?}"
    );
    let map = map(&control, 0, PAGE_SIZE)?;
    map.fill(1);
    drop((map, control));
    bench::wait_for_no_pages(PATIENCE)?;
    Ok(Pass)
}

/// Whether a process sleeps in mmap().
fn is_in_mmap(process: Pid) -> Result<bool> {
    let path = format!("/proc/{process}/syscall");
    let call = std::fs::read_to_string(&path).context(path)?;
    Ok(call.split_whitespace().next() == Some(&libc::SYS_mmap.to_string()))
}

/// Numbers that there are (`last_region`).
const NUMBERS: usize = 16;

fn set_up() -> Result<(u32, Control)> {
    let control = Control::open()?;
    let id = control.region_setup(PAGE_SIZE as u64, None)?;
    Ok((id, control))
}

/// Waits until no region is left but so many.
fn wait_for_regions(left: usize) -> Result<()> {
    let control = Control::open()?;
    wait::until("closed regions are freed", PATIENCE, || {
        Ok(control.region_list()?.len() == left)
    })?;
    Ok(())
}

fn numbers(_: &mut ()) -> Outcome {
    wait_for_regions(0)?;
    let kept = [set_up()?, set_up()?, set_up()?];
    let mut seen = BTreeSet::new();
    for _ in 0..3 * NUMBERS {
        let (id, control) = set_up()?;
        ensure!(
            (1..=NUMBERS as u32).contains(&id) && kept.iter().all(|(other, _)| *other != id),
            "a region has number {id} beside {:?}",
            kept.each_ref().map(|(id, _)| id)
        );
        seen.insert(id);
        drop(control);
        wait_for_regions(kept.len())?;
    }
    tap::note(&format!("numbers that came: {seen:?}"));
    let most = NUMBERS - kept.len();
    ensure!(seen.len() > most / 2, "only {seen:?} came, of {most}");
    Ok(Pass)
}

fn no_number(_: &mut ()) -> Outcome {
    wait_for_regions(0)?;
    let mut regions = (0..NUMBERS).map(|_| set_up()).collect::<Result<Vec<_>>>()?;
    let refused = Control::open().err().map(|error| error.errno);
    ensure!(
        refused == Some(libc::ENOSPC),
        "one more open: {refused:?} instead of ENOSPC"
    );
    let (gone, _) = regions.pop().context("no region")?;
    let (id, _) = wait::until_it_works(PATIENCE, set_up)?;
    ensure!(id == gone, "number {id} instead of {gone}");
    Ok(Pass)
}
