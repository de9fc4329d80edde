// SPDX-License-Identifier: GPL-2.0
//! An invalidation that takes 15 s, as a device that does not answer makes it: the move
//! ends by its deadline with the page as it was, and others go on when it is over.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_testkit::{module, wait};
use pagemove_uapi::{
    MoveRequest, ABORT_INVALIDATE, ABORT_LATE, ENGINE_RTM, PAGE_ABORTED, REASON_DEADLINE,
    REASON_STUCK, SESSION_STUCK,
};

use super::{cause, is_intact, move_over, session};
use crate::bench;
use crate::patience::Answer;
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Pass};

const DEADLINE: Duration = Duration::from_millis(300);
/// What a busy machine may add to it: less than the invalidation takes, so that a call that waits
/// for that is told from one that does not.
const SLACK: Duration = Duration::from_secs(8);
/// How often to call until a helper is in the invalidation when the deadline passes: on a busy
/// machine it may pass before.
const TRIES: u32 = 20;

pub fn main(more: &str) -> ExitCode {
    let more = more.to_string();
    let cases = vec![Case::new(
        "an invalidation that does not end: aborted by the deadline, refused meanwhile, then going on",
        move |_: &mut ()| mute(&more).map(|()| Pass),
    )];
    tap::run(&mut (), cases)
}

/// Calls until one ends for anything but its deadline alone. Each ends soon.
fn until_it_stalls(rig: &Rig, request: &MoveRequest) -> Result<Answer> {
    for _ in 0..TRIES {
        let begin = Instant::now();
        let (report, results) = rig.move_pages(request);
        let took = begin.elapsed();
        tap::note(&format!("{} after {took:?}", bench::describe(&report)));
        ensure!(took < DEADLINE + SLACK, "it took {took:?}");
        let found = report.error.map(|error| (error.errno, error.reason));
        if found != Some((libc::ETIME, REASON_DEADLINE)) {
            return Ok((report, results));
        }
    }
    bail!("no helper came to the invalidation in {TRIES} calls")
}

fn mute(more: &str) -> Result<()> {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with(&format!(
        "allow_incoherent=1 allow_unqualified=1 longest_us=3000 stall_step=4 stall_us=15000000 stall_for_ms=1000 {more}"
    ))?;
    let mut rig = Rig::open(4)?;
    let here = rig.nodes.here;
    let mut request = rig.request(0, 1, ENGINE_RTM, rig.nodes.there);
    request.deadline_ns = DEADLINE.as_nanos() as u64;
    let (report, results) = until_it_stalls(&rig, &request)?;
    let result = results.first().context("no result")?;
    ensure!(
        // On a busy machine the attempt that meets it may be late as well.
        result.outcome == PAGE_ABORTED && [ABORT_INVALIDATE, ABORT_LATE].contains(&result.abort),
        "outcome {}, {}",
        result.outcome,
        cause(result)
    );
    let found = report.error.map(|error| (error.errno, error.reason));
    let stuck = Some((libc::EBUSY, REASON_STUCK));
    ensure!(found == stuck, "{}", bench::describe(&report));
    // G3, while the invalidation still goes on.
    is_intact(&mut rig, 0, here, 0)?;
    rig.fill(0, 5);
    is_intact(&mut rig, 0, here, 5)?;
    ensure!(
        session(&rig)?.flags & SESSION_STUCK != 0,
        "it is not listed as stuck"
    );

    let (report, _) = rig.move_pages(&rig.request(1, 1, ENGINE_RTM, rig.nodes.there));
    let found = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        found == stuck,
        "a second move: {}",
        bench::describe(&report)
    );

    wait::until("the helper comes back", Duration::from_secs(60), || {
        Ok(session(&rig)?.flags & SESSION_STUCK == 0)
    })?;
    is_intact(&mut rig, 0, here, 5)?;
    move_over(&mut rig, 0, 5)?;
    move_over(&mut rig, 1, 0)
}
