// SPDX-License-Identifier: GPL-2.0
//! Threads of sessions that are on one CPU, though each has one of its own: all have the same real-time priority, and
//! helpers do not sleep while there is work.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Result};
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_uapi::{MoveRequest, REASON_BUSY};

use super::cpus::{allowed_cpus, set_online};
use super::play::Play;
use super::scene::{Answer, Callers, Moves};

const BUSY: Answer = (libc::EBUSY, REASON_BUSY);
/// How often moves have to go on, and by how many pages each time.
const ROUNDS: usize = 12;
const SOME: u64 = 12;
/// Time of each call. One that ends by it is no failure: what has to go on are moves.
const CALL: Duration = Duration::from_secs(5);

/// `crossed`: two sessions have the same two CPUs. `displaced`: a helper wakes while its CPU is away.
pub fn main(args: &[String]) -> ExitCode {
    let guest = ["--pages", "64", "--cpu-pages", "4", "--queue-depth", "2"];
    let mut play = match Play::begin(&["rtm".to_string()], &guest) {
        Ok(play) => play,
        Err(error) => return tap::fail_all(&error),
    };
    let case = match args.first().map(String::as_str) {
        Some("crossed") => Case::new(
            "two sessions, each with its editor where the other has its helper: both move",
            |play: &mut Play| crossed(play),
        ),
        _ => Case::new(
            "a helper that was away when its CPU went and came back: moves go on, it is there again",
            |play: &mut Play| displaced(play),
        ),
    };
    tap::run(&mut play, vec![case, Play::end()])
}

/// A part of the guest's memory, by these CPUs.
fn part(play: &mut Play, number: u32, editor: u32, helper: u32) -> Result<MoveRequest> {
    let (engine, scene) = (play.engine, play.scene()?);
    let request = scene.request(engine, scene.nodes.there);
    let length = request.length / 2;
    Ok(MoveRequest {
        iova: request.iova + u64::from(number) * length,
        length,
        editor_cpu: Some(editor),
        helper_cpu: Some(helper),
        ..request
    })
}

fn crossed(play: &mut Play) -> Result<tap::Verdict> {
    let requests = [part(play, 0, 1, 2)?, part(play, 1, 2, 1)?];
    let callers = Callers {
        count: 2,
        ..Callers::one(play.engine).within(CALL)
    }
    .allowing(&[BUSY]);
    Moves::during(&callers, &requests, |moves| {
        (0..ROUNDS).try_for_each(|round| moves.go_on(SOME, &format!("in round {round}")))
    })?;
    let sessions = play.scene()?.control.session_list()?;
    for (editor, helper) in [(1, 2), (2, 1)] {
        let commits = sessions
            .iter()
            .find(|s| (s.editor_cpu, s.helper_cpu) == (editor, helper))
            .map_or(0, |s| s.commits);
        tap::note(&format!(
            "editor {editor}, helper {helper}: {commits} commits"
        ));
        ensure!(commits > 0, "editor {editor}, helper {helper}: no commit");
    }
    play.log.check()?;
    Ok(Pass)
}

fn displaced(play: &mut Play) -> Result<tap::Verdict> {
    const HELPER: u32 = 1;
    let requests = [part(play, 0, 0, HELPER)?, part(play, 1, 0, HELPER)?];
    let callers = Callers::one(play.engine).within(CALL);
    let some = |moves: &Moves| moves.go_on(SOME, "");
    for _ in 0..ROUNDS / 3 {
        Moves::during(&callers, &requests, some)?;
        // The build for tests has the helper look about while it should sleep.
        set_online(HELPER, false)?;
        std::thread::sleep(Duration::from_millis(20));
        set_online(HELPER, true)?;
        let allowed = allowed_cpus("pagemove_h/1")?;
        ensure!(
            allowed != HELPER.to_string(),
            "the helper did not lose its CPU"
        );
        Moves::during(&callers, &requests, some)?;
        let allowed = allowed_cpus("pagemove_h/1")?;
        ensure!(
            allowed == HELPER.to_string(),
            "the helper may run on {allowed}"
        );
    }
    play.log.check()?;
    Ok(Pass)
}
