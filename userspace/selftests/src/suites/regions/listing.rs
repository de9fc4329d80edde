// SPDX-License-Identifier: GPL-2.0
//! Which regions are listed: those that are of use, whatever else happens to their files.

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
    let cases = vec![Case::new(
        "a region that is set up while another call fails to map it is listed, and freed",
        set_up_beside_a_failure,
    )];
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
