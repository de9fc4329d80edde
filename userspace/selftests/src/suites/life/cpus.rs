// SPDX-License-Identifier: GPL-2.0
//! CPUs are taken offline and come back while pages move: those of editor and helper, both at
//! once, all but one.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{Control, MoveRequest, ENGINE_ADBIT, ENGINE_AUTO, ENGINE_RTM, REASON_CPUS};

use super::play::Play;
use super::scene::{Callers, Scene};
use crate::{bench, patience};
use pagemove_testkit::random::Random;
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{self, Case, Pass, Skip};
use pagemove_testkit::wait;

/// How often a CPU goes.
const ROUNDS: usize = 8;
/// Pages that show that moves go on, as the module counts them. By `rtm` fewer: beside others an
/// emulated transaction takes long.
const SOME: u64 = 64;
const SOME_BY_RTM: u64 = 12;
/// Time of each call. One that ends by it is no failure: what has to go on are moves.
const CALL: Duration = Duration::from_secs(5);
/// Changes of CPUs that there are at least while pages move, and how long they may take.
const CHANGES: u64 = 24;
const LONGEST: Duration = Duration::from_secs(80);

fn some(engine: u32) -> u64 {
    match engine {
        ENGINE_RTM => SOME_BY_RTM,
        _ => SOME,
    }
}

/// A call of its own, with the time that callers have.
fn request(scene: &Scene, engine: u32, node: i32) -> MoveRequest {
    let time = CALL * slowness();
    MoveRequest {
        deadline_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        ..scene.request(engine, node)
    }
}

fn one_caller(engine: u32) -> Callers {
    Callers::one(engine).within(CALL)
}

/// `cpus ENGINE`: with `rtm` the CPUs are those of the session that is used.
pub fn main(args: &[String]) -> ExitCode {
    let guest = ["--pages", "64", "--cpu-pages", "4", "--queue-depth", "2"];
    let mut play = match Play::begin(args, &guest) {
        Ok(play) => play,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |name: &str, check: fn(&mut Scene, u32, &mut Random) -> Result<tap::Verdict>| {
        Case::new(name, move |play: &mut Play| {
            let engine = play.engine;
            let (scene, random) = play.parts()?;
            let result = check(scene, engine, random);
            all_online()?;
            let verdict = result?;
            scene.is_clean(1)?;
            play.log.check()?;
            Ok(verdict)
        })
    };
    let cases = vec![
        case(
            "one CPU after another goes and comes back during moves, which go on",
            one_by_one,
        ),
        case(
            "both CPUs of the session go at once, and moves go on by others",
            both,
        ),
        case(
            "CPUs go and come all the time while two callers move",
            all_the_time,
        ),
        case(
            "a call that names a CPU that is offline: EINVAL (cpus)",
            named,
        ),
        case(
            "with one CPU left rtm is refused (cpus), auto and adbit move; back, rtm moves",
            one_left,
        ),
        case(
            "threads are on their CPUs again when they work",
            bound_again,
        ),
        Play::end(),
    ];
    tap::run(&mut play, cases)
}

fn control_of(cpu: u32) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/online")
}

/// CPU 0 has no such file: the kernel does not let it go.
fn may_go(cpu: u32) -> bool {
    Path::new(&control_of(cpu)).exists()
}

pub fn set_online(cpu: u32, online: bool) -> Result<()> {
    let path = control_of(cpu);
    let word = if online { "1" } else { "0" };
    fs::write(&path, word).with_context(|| format!("writing {word} to {path}"))
}

/// CPUs that may go.
fn cpus() -> Vec<u32> {
    (1..64).filter(|cpu| may_go(*cpu)).collect()
}

fn all_online() -> Result<()> {
    for cpu in cpus() {
        let now = fs::read_to_string(control_of(cpu)).unwrap_or_default();
        if now.trim() == "0" {
            set_online(cpu, true)?;
        }
    }
    Ok(())
}

/// The CPUs that are worth taking away: those of the session that was used last, else any.
fn used(scene: &Scene, engine: u32) -> Result<Vec<u32>> {
    if engine == ENGINE_ADBIT {
        return Ok(cpus());
    }
    let sessions = scene.control.session_list()?;
    let last = sessions.iter().max_by_key(|session| session.transactions);
    let last = last.context("there is no session")?;
    Ok([last.editor_cpu, last.helper_cpu]
        .into_iter()
        .filter(|cpu| may_go(*cpu))
        .collect())
}

fn one_by_one(scene: &mut Scene, engine: u32, random: &mut Random) -> Result<tap::Verdict> {
    let callers = one_caller(engine);
    let control = Control::open()?;
    let mut gone = Vec::new();
    scene.during(&callers, |_, moves| {
        moves.go_on(some(engine), "before a CPU has gone")?;
        for round in 0..ROUNDS {
            let used = match engine {
                ENGINE_ADBIT => cpus(),
                _ => {
                    let sessions = control.session_list()?;
                    let busy = sessions
                        .iter()
                        .filter(|s| s.flags & pagemove_uapi::SESSION_BUSY != 0);
                    let mut cpus: Vec<u32> =
                        busy.flat_map(|s| [s.editor_cpu, s.helper_cpu]).collect();
                    cpus.retain(|cpu| may_go(*cpu));
                    if cpus.is_empty() {
                        super::cpus::cpus()
                    } else {
                        cpus
                    }
                }
            };
            let cpu = used[round % used.len()];
            thread::sleep(random.microseconds(20_000));
            set_online(cpu, false)?;
            gone.push(cpu);
            moves.go_on(some(engine), &format!("after CPU {cpu} has gone"))?;
            set_online(cpu, true)?;
            moves.go_on(some(engine), &format!("after CPU {cpu} has come back"))?;
        }
        Ok(())
    })?;
    tap::note(&format!("gone during moves, in this order: {gone:?}"));
    Ok(Pass)
}

fn both(scene: &mut Scene, engine: u32, random: &mut Random) -> Result<tap::Verdict> {
    let used = used(scene, engine)?;
    if cpus().len() < 3 || used.len() < 2 {
        return Ok(Skip(format!(
            "{} CPUs may go, {used:?} are used: four are needed",
            cpus().len()
        )));
    }
    let pair = [used[0], used[1]];
    scene.during(&one_caller(engine), |_, moves| {
        for _ in 0..ROUNDS / 2 {
            moves.go_on(some(engine), "before both have gone")?;
            thread::sleep(random.microseconds(20_000));
            let gone = thread::scope(|scope| {
                let all: Vec<_> = pair
                    .iter()
                    .map(|cpu| scope.spawn(|| set_online(*cpu, false)))
                    .collect();
                all.into_iter()
                    .try_for_each(|one| one.join().expect("writing does not panic"))
            });
            // Two CPUs have to be left for rtm.
            gone?;
            moves.go_on(some(engine), &format!("after CPUs {pair:?} have gone"))?;
            pair.iter().try_for_each(|cpu| set_online(*cpu, true))?;
        }
        Ok(())
    })?;
    Ok(Pass)
}

fn all_the_time(scene: &mut Scene, engine: u32, random: &mut Random) -> Result<tap::Verdict> {
    const BUSY: (i32, u32) = (libc::EBUSY, pagemove_uapi::REASON_BUSY);
    // While two of four are away there may be no pair at all for a moment.
    let callers = Callers {
        count: 2,
        ..one_caller(engine)
    }
    .allowing(&[BUSY, CPUS]);
    let all = cpus();
    let control = Control::open()?;
    let mut changes = 0;
    scene.during(&callers, |_, moves| {
        let (before, begun) = (moved(&control)?, Instant::now());
        while changes < CHANGES || moved(&control)? < before + some(engine) {
            let cpu = all[random.below(all.len())];
            thread::sleep(random.microseconds(10_000));
            // It may be in that state already: nothing happens then.
            set_online(cpu, random.below(2) == 0)?;
            changes += 1;
            ensure!(
                begun.elapsed() < LONGEST * slowness(),
                "{} pages were moved during {changes} changes in {LONGEST:?}",
                moved(&control)? - before
            );
            if let Some(failure) = moves.failure() {
                anyhow::bail!("{failure}");
            }
        }
        all_online()?;
        moves.go_on(some(engine), "at the end")
    })?;
    tap::note(&format!("{changes} changes"));
    Ok(Pass)
}

fn moved(control: &Control) -> Result<u64> {
    Ok(control.stats()?.pages_moved)
}

const CPUS: (i32, u32) = (libc::EINVAL, REASON_CPUS);

fn answer(scene: &Scene, request: &MoveRequest) -> (i32, u32) {
    let report = scene.control.move_pages(request, None);
    report
        .error
        .map_or((0, 0), |error| (error.errno, error.reason))
}

fn named(scene: &mut Scene, engine: u32, _: &mut Random) -> Result<tap::Verdict> {
    if engine != ENGINE_RTM {
        return Ok(Skip("adbit uses no CPUs of its own here".to_string()));
    }
    let last = *cpus().last().context("no CPU may go")?;
    set_online(last, false)?;
    for (editor, helper) in [
        (Some(last), None),
        (None, Some(last)),
        (Some(0), Some(last)),
    ] {
        let request = MoveRequest {
            editor_cpu: editor,
            helper_cpu: helper,
            ..request(scene, engine, scene.nodes.there)
        };
        let found = answer(scene, &request);
        ensure!(
            found == CPUS,
            "editor {editor:?} helper {helper:?}: {found:?}"
        );
    }
    Ok(Pass)
}

fn one_left(scene: &mut Scene, engine: u32, _: &mut Random) -> Result<tap::Verdict> {
    let all = cpus();
    let callers = one_caller(engine).allowing(if engine == ENGINE_RTM { &[CPUS] } else { &[] });
    scene.during(&callers, |_, moves| {
        moves.go_on(some(engine), "before")?;
        all.iter().try_for_each(|cpu| set_online(*cpu, false))?;
        if engine == ENGINE_RTM {
            let before = moves.answered(CPUS);
            wait::until("rtm is refused with one CPU", 8 * CALL, || {
                Ok(moves.answered(CPUS) > before)
            })?;
        } else {
            moves.go_on(some(engine), "with one CPU left")?;
        }
        Ok(())
    })?;
    for (other, engine) in [("auto", ENGINE_AUTO), ("adbit", ENGINE_ADBIT)] {
        let report = scene
            .control
            .move_pages(&request(scene, engine, scene.nodes.there), None);
        ensure!(
            report.pages_moved > 0,
            "{other} with one CPU: {}",
            bench::describe(&report)
        );
        ensure!(
            report.engine_used == ENGINE_ADBIT,
            "{other} moved by {}",
            report.engine_used
        );
    }
    if engine == ENGINE_RTM {
        let found = answer(scene, &request(scene, engine, scene.nodes.here));
        ensure!(found == CPUS, "rtm with one CPU: {found:?}");
    }
    all_online()?;
    scene.during(&one_caller(engine), |_, moves| {
        moves.go_on(some(engine), "with all CPUs back")
    })?;
    Ok(Pass)
}

/// The CPUs that the kernel lets a thread run on, by its name.
pub fn allowed_cpus(name: &str) -> Result<String> {
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let value = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(|v| v.trim().to_string())
        };
        if value("Name:").as_deref() == Some(name) {
            return value("Cpus_allowed_list:").context("no Cpus_allowed_list");
        }
    }
    anyhow::bail!("there is no thread {name}")
}

fn bound_again(scene: &mut Scene, engine: u32, _: &mut Random) -> Result<tap::Verdict> {
    if engine != ENGINE_RTM {
        return Ok(Skip("adbit has no threads here".to_string()));
    }
    let sessions = scene.control.session_list()?;
    ensure!(!sessions.is_empty(), "there is no session");
    let mut lost = 0;
    for session in &sessions {
        let (editor, helper) = (session.editor_cpu, session.helper_cpu);
        let names = [
            (format!("pagemove_e/{editor}"), editor),
            (format!("pagemove_h/{helper}"), helper),
        ];
        for (name, cpu) in &names {
            lost += usize::from(allowed_cpus(name)? != cpu.to_string());
        }
        let request = MoveRequest {
            editor_cpu: Some(editor),
            helper_cpu: Some(helper),
            ..request(scene, engine, scene.nodes.there)
        };
        let (report, _) = patience::patiently(|| {
            let mut results = Vec::new();
            let report = scene.control.move_pages(&request, Some(&mut results));
            (report, results)
        });
        ensure!(
            report.pages_moved > 0,
            "by CPUs {editor} and {helper}: {}",
            bench::describe(&report)
        );
        for (name, cpu) in &names {
            let allowed = allowed_cpus(name)?;
            ensure!(allowed == cpu.to_string(), "{name} may run on {allowed}");
        }
    }
    tap::note(&format!(
        "{} sessions; {lost} threads had lost their CPU before they worked",
        sessions.len()
    ));
    Ok(Pass)
}
