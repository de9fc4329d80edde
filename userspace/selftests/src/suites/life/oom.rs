// SPDX-License-Identifier: GPL-2.0
//! Memory runs out in the middle of moves: the kernel kills the VMM, by the limit of its control
//! group or because the machine has none left.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, nodes};
use pagemove_uapi::{
    Control, ENGINE_AUTO, REASON_CLOSED_REGION, REASON_NONE, REASON_NOT_MAPPED, REASON_NO_MEMORY,
    REASON_NO_VADDR, REASON_UNMAPPING,
};

use super::scene::{gauges_are_zero, Callers, Scene};
use crate::bench;
use crate::region::Mapping;
use pagemove_testkit::child;
use pagemove_testkit::tap::{self, Case, Pass, Verdict};

const SOME: u64 = 64;
const ROUNDS: usize = 3;
const SOON: Duration = Duration::from_secs(60);

/// How calls may end when the VMM dies, or when memory is short.
pub(super) const ENDS: [(i32, u32); 6] = [
    (libc::EAGAIN, REASON_UNMAPPING),
    (libc::ENOTCONN, REASON_NONE),
    (libc::ENOENT, REASON_NO_VADDR),
    (libc::ENOENT, REASON_NOT_MAPPED),
    (libc::ESTALE, REASON_CLOSED_REGION),
    (libc::ENOMEM, REASON_NO_MEMORY),
];

/// The kernel's log is judged by the runner here: the OOM killer prints a trace.
pub fn main() -> ExitCode {
    let case = |name: &str, check: fn() -> Result<Verdict>| {
        Case::new(name, move |_: &mut ()| {
            for _ in 0..ROUNDS {
                check()?;
                bench::wait_for_no_pages(SOON)?;
                gauges_are_zero(&Control::open()?)?;
            }
            Ok(Pass)
        })
    };
    let cases = vec![
        case(
            "the limit of its control group kills the VMM in the middle of moves, three times",
            by_limit,
        ),
        case(
            "the machine has no memory left and kills the VMM in the middle of moves, three times",
            by_machine,
        ),
        Case::new(
            "a new VMM's pages move, and the module unloads",
            |_: &mut ()| {
                let mut scene = guest()?;
                scene.during(&Callers::one(ENGINE_AUTO), |_, moves| {
                    moves.go_on(SOME, "afterwards")
                })?;
                scene.end()?;
                module::unload_pagemove(SOON)?;
                module::load_pagemove()?;
                Ok(Pass)
            },
        ),
    ];
    tap::run(&mut (), cases)
}

fn guest() -> Result<Scene> {
    Scene::open(&["--pages", "256", "--cpu-pages", "4", "--queue-depth", "4"])
}

fn oom_kills() -> Result<u64> {
    let text = fs::read_to_string("/proc/vmstat").context("/proc/vmstat")?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count
        .context("no oom_kill")?
        .trim()
        .parse()
        .context("oom_kill")
}

pub(super) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Waits until the VMM is dead, while callers go on.
fn wait_for_death(pid: u32) -> Result<()> {
    let start = Instant::now();
    while is_alive(pid) {
        ensure!(start.elapsed() < SOON, "the VMM lives on");
        thread::sleep(Duration::from_millis(5));
    }
    // Some calls more, at a device that is closing or closed.
    thread::sleep(Duration::from_millis(50));
    Ok(())
}

fn killed_in_the_middle(
    start: impl FnOnce() -> Result<Scene>,
    kill: impl FnOnce(u32) -> Result<()>,
) -> Result<Verdict> {
    let before = oom_kills()?;
    let mut scene = start()?;
    let pid = scene.guest.pid();
    scene.during(&Callers::one(ENGINE_AUTO).allowing(&ENDS), |_, moves| {
        moves.go_on(SOME, "before memory is short")?;
        kill(pid)
    })?;
    let kills = oom_kills()? - before;
    ensure!(kills > 0, "the OOM killer did not come");
    tap::note(&format!(
        "{} pages had moved; {kills} processes killed",
        scene.moved()?
    ));
    let lost = scene.control.stats()?.lost_writes;
    ensure!(lost == 0, "{lost} lost writes");
    Ok(Pass)
}

const GROUP: &str = "/tmp/cgroup/vmm";

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing '{text}' to {path}"))
}

fn by_limit() -> Result<Verdict> {
    if !Path::new(GROUP).exists() {
        fs::create_dir_all("/tmp/cgroup")?;
        let name = c"cgroup2";
        // SAFETY: C strings; a mount for this machine, which is ours.
        let result = unsafe {
            libc::mount(
                name.as_ptr(),
                c"/tmp/cgroup".as_ptr(),
                name.as_ptr(),
                0,
                std::ptr::null(),
            )
        };
        ensure!(
            result == 0,
            "mount cgroup2: {}",
            std::io::Error::last_os_error()
        );
        write("/tmp/cgroup/cgroup.subtree_control", "+memory")?;
        fs::create_dir_all(GROUP).context(GROUP)?;
    }
    write(&format!("{GROUP}/memory.max"), "max")?;
    let me = std::process::id().to_string();
    let start = || -> Result<Scene> {
        // A child is charged to the group that it is born in.
        write(&format!("{GROUP}/cgroup.procs"), &me)?;
        let scene = guest();
        write("/tmp/cgroup/cgroup.procs", &me)?;
        scene
    };
    killed_in_the_middle(start, |pid| {
        // The kernel takes what it can, and kills when that is not enough.
        write(&format!("{GROUP}/memory.max"), "65536")?;
        wait_for_death(pid)
    })
}

/// A hog takes memory until the kernel kills: the VMM first, whose score says so.
fn by_machine() -> Result<Verdict> {
    killed_in_the_middle(guest, |pid| {
        write(&format!("/proc/{pid}/oom_score_adj"), "1000")?;
        write("/proc/self/oom_score_adj", "-900")?;
        let hog = child::fork(eat)?;
        write(&format!("/proc/{hog}/oom_score_adj"), "0")?;
        let death = wait_for_death(pid);
        child::kill(hog);
        death
    })
}

fn eat() -> i32 {
    let mut taken = Vec::with_capacity(4096);
    loop {
        let Ok(piece) = Mapping::anonymous(4 << 20) else {
            return 1;
        };
        (0..piece.pages()).for_each(|page| piece.write(page, 0, 1));
        taken.push(piece);
        if nodes::free_memory(0).unwrap_or(0) < 8 << 20 {
            // Slower, so that what the kernel frees is not taken at once.
            thread::sleep(Duration::from_millis(20));
        }
    }
}
