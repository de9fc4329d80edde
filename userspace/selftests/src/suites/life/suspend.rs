// SPDX-License-Identifier: GPL-2.0
//! The machine is suspended in the middle of moves: callers are frozen between two batches,
//! and go on afterwards.

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};

use super::play::Play;
use super::scene::Callers;
use pagemove_testkit::child;
use pagemove_uapi::{errno, Control, MoveRequest};

use pagemove_testkit::tap::{self, Case, Pass, Verdict};

/// Pages that show that moves go on.
const SOME: u64 = 64;

/// How far a suspend goes, and how often it is tried.
const DEPTHS: &[(&str, usize)] = &[
    ("freezer", 8),
    ("devices", 3),
    ("platform", 2),
    ("processors", 2),
    ("core", 2),
];

/// `suspend ENGINE`
pub fn main(args: &[String]) -> ExitCode {
    // Time stops during a suspend for some clocks only: a transfer that takes as long as the
    // suspend is not lost.
    let guest = [
        "--pages",
        "64",
        "--cpu-pages",
        "4",
        "--queue-depth",
        "2",
        "--transfer-timeout",
        "120",
    ];
    let mut play = match Play::begin(args, &guest) {
        Ok(play) => play,
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = Vec::new();
    for (depth, times) in DEPTHS {
        cases.push(Case::new(
            format!("suspend as far as '{depth}', {times} times: every call goes on afterwards"),
            move |play: &mut Play| rehearse(play, depth, *times),
        ));
    }
    cases.push(Case::new(
        "suspend to idle as far as its platform stage: every call goes on",
        |play: &mut Play| rehearse_to("freeze", play, "platform", 2),
    ));
    cases.push(Case::new(
        "a signal that arrives during a suspend ends the call with EINTR afterwards",
        interrupted,
    ));
    cases.push(Play::end());
    tap::run(&mut play, cases)
}

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing '{text}' to {path}"))
}

/// Suspends are counted by the kernel.
fn suspends(what: &str) -> Result<u64> {
    let path = format!("/sys/power/suspend_stats/{what}");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    text.trim().parse().with_context(|| path)
}

/// Some suspends during moves, each of which has to succeed.
fn suspend_times(play: &mut Play, word: &str, times: usize) -> Result<()> {
    let engine = play.engine;
    let (scene, random) = play.parts()?;
    let (done, failed) = (suspends("success")?, suspends("fail")?);
    let dmas = scene.guest.status()?.dmas();
    scene.during(
        &Callers {
            count: 2,
            ..Callers::one(engine)
        }
        .allowing(&[BUSY]),
        |_, moves| {
            for _ in 0..times {
                moves.go_on(SOME, "before the suspend")?;
                thread::sleep(random.microseconds(20_000));
                let start = Instant::now();
                write("/sys/power/state", word)?;
                tap::note(&format!("away for {:.2} s", start.elapsed().as_secs_f64()));
                moves.go_on(SOME, "after the suspend")?;
            }
            Ok(())
        },
    )?;
    let (done, failed) = (suspends("success")? - done, suspends("fail")? - failed);
    ensure!(
        done == times as u64 && failed == 0,
        "{done} suspends succeeded, {failed} failed"
    );
    let now = scene.guest.status()?.dmas();
    ensure!(now > dmas, "the device makes no DMA any more");
    scene.is_clean(1)?;
    play.log.check()
}

/// How long a rehearsal stays at its stage, in seconds.
const DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";

/// With it, on a machine that is busy.
const LONGEST_SUSPEND: Duration = Duration::from_secs(10);

const BUSY: (i32, u32) = (libc::EBUSY, pagemove_uapi::REASON_BUSY);

fn rehearse(play: &mut Play, depth: &str, times: usize) -> Result<Verdict> {
    // What the last state is says nothing about how far it goes, but the platform has to
    // know it.
    let states = fs::read_to_string("/sys/power/state").context("/sys/power/state")?;
    let word = if states.contains("mem") {
        "mem"
    } else {
        "freeze"
    };
    rehearse_to(word, play, depth, times)
}

fn rehearse_to(word: &str, play: &mut Play, depth: &str, times: usize) -> Result<Verdict> {
    write("/sys/power/pm_test", depth)?;
    write(DELAY, "1")?;
    let result = suspend_times(play, word, times);
    write("/sys/power/pm_test", "none")?;
    result?;
    Ok(Pass)
}

/// A child calls without end, and gets a signal while it is frozen: the call that was frozen
/// ends with EINTR, and not before the machine goes on.
fn interrupted(play: &mut Play) -> Result<Verdict> {
    let engine = play.engine;
    let scene = play.scene()?;
    let requests = [scene.nodes.there, scene.nodes.here].map(|node| scene.request(engine, node));
    write("/sys/power/pm_test", "freezer")?;
    write(DELAY, "4")?;
    // The signal has to come within the four seconds, on a machine that may be busy.
    for alarm in [2000, 3000, 4000, 2500, 3500, 5000] {
        let begin = thread::spawn(|| {
            thread::sleep(Duration::from_millis(500));
            write("/sys/power/state", "freeze")
        });
        let status =
            child::status_of(|| call_until_signal(&requests, Duration::from_millis(alarm)));
        begin.join().expect("writing does not panic")?;
        match status? {
            INTERRUPTED => {
                write("/sys/power/pm_test", "none")?;
                return Ok(Pass);
            }
            MISSED => tap::note("the signal missed the suspend"),
            TOO_EARLY => bail!("a call ended with EINTR before there was a signal"),
            WRONG => bail!("the child could not begin"),
            status => bail!(
                "a call ended with {} instead of EINTR",
                errno::name(status - ERRNO)
            ),
        }
    }
    write("/sys/power/pm_test", "none")?;
    bail!("no signal met a suspend")
}

extern "C" fn nothing(_: libc::c_int) {}

/// What the child says.
const INTERRUPTED: i32 = 0;
const WRONG: i32 = 1;
const TOO_EARLY: i32 = 2;
const MISSED: i32 = 3;
/// And an errno.
const ERRNO: i32 = 64;

/// In a child: calls until a signal ends one. A call that was frozen took seconds.
fn call_until_signal(requests: &[MoveRequest; 2], after: Duration) -> i32 {
    let Ok(control) = Control::open() else {
        return WRONG;
    };
    // SAFETY: all zeroes is an action without flags, and a timer that is off.
    let armed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
        let mut timer: libc::itimerval = std::mem::zeroed();
        timer.it_value.tv_sec = after.as_secs() as i64;
        timer.it_value.tv_usec = i64::from(after.subsec_micros());
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut())
    };
    let start = Instant::now();
    if armed != 0 {
        return WRONG;
    }
    for request in requests.iter().cycle() {
        let begun = Instant::now();
        match control.move_pages(request, None).error {
            None => {}
            Some(error) if error.errno == libc::EBUSY => {}
            Some(error) if error.errno != libc::EINTR => return ERRNO + error.errno,
            Some(_) if start.elapsed() < after => return TOO_EARLY,
            Some(_) if begun.elapsed() > Duration::from_secs(3) => return INTERRUPTED,
            Some(_) => return MISSED,
        }
        // It came between two calls, or while one had nothing left to do.
        if start.elapsed() > after + 2 * LONGEST_SUSPEND {
            return MISSED;
        }
    }
    WRONG
}
