// SPDX-License-Identifier: GPL-2.0
//! CPUs that wait for a page that is to come.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{OFFER_AWAIT, PAGE_SIZE};

use super::{case, flags_of, offer, region, retract, wanted, State, LONG, PAGE};
use crate::region::{Mapping, Region};
use crate::signals;
use pagemove_testkit::tap::{self, Case};

/// How long a CPU that should wait is watched.
const WATCHED: Duration = Duration::from_millis(300);

pub fn cases() -> Vec<Case<State>> {
    vec![
        case(
            "a CPU waits for a page until it has arrived, and reads what the peer wrote",
            waits,
        ),
        case("the twin: without AWAIT it reads at once", does_not_wait),
        case(
            "a page that was mapped before is waited for, too",
            was_mapped,
        ),
        case(
            "CPUs wait for 32 pages, which arrive in another order: each goes on with its own",
            many,
        ),
        case(
            "while a CPU waits its process maps and unmaps memory",
            locks_are_free,
        ),
        case(
            "the kernel waits in read() and write(), and then copies",
            kernel_waits,
        ),
        case(
            "a signal that comes while the kernel waits in write() waits, too, and costs no CPU time",
            kernel_waits_signalled,
        ),
        case(
            "a signal is handled while its thread waits; the access goes on afterwards",
            signalled,
        ),
        case("a process that waits can be killed", killed),
        case(
            "so can one whose threads' robust list is in a page that is awaited",
            killed_with_list,
        ),
        case("retracting an offer ends waiting", retracted),
        case("WANTED: its time, what was seen, signals", calls),
    ]
}

/// Runs `f` while a thread reads word 3 of a page; says what it read.
fn while_reading<T>(
    region: &Region,
    page: usize,
    f: impl FnOnce(&dyn Fn() -> bool) -> Result<T>,
) -> Result<u64> {
    let found = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let reader = scope.spawn(|| found.store(region.map.read(page, 3), Ordering::Release));
        let done = f(&|| found.load(Ordering::Acquire) != u64::MAX);
        if done.is_err() {
            // So that the scope ends.
            let _ = retract(region);
        }
        reader.join().ok().context("the reader panicked")?;
        done.map(drop)
    })?;
    Ok(found.into_inner())
}

fn waits(state: &mut State) -> Result<()> {
    let region = region(4)?;
    let report = offer(&region, OFFER_AWAIT)?;
    let read = while_reading(&region, 2, |done| {
        let wants = wanted(&region, &[2])?;
        ensure!(wants[0].since_ns != 0, "no time");
        thread::sleep(WATCHED);
        ensure!(!done(), "it did not wait");
        let side = state.peer.page(report.targets[2])?;
        side.write(0, 3, 0xb00);
        ensure!(
            region.control.arrive(region.id, 2 * PAGE, PAGE)? == 1,
            "it was not awaited"
        );
        let end = Instant::now() + LONG;
        while !done() {
            ensure!(Instant::now() < end, "it waits on");
            thread::yield_now();
        }
        Ok(())
    })?;
    ensure!(read == 0xb00, "it read {read:#x}");
    wanted(&region, &[])?;
    ensure!(
        region.control.arrive(region.id, 0, 4 * PAGE)? == 3,
        "others were not awaited"
    );
    retract(&region)?;
    Ok(())
}

fn does_not_wait(_: &mut State) -> Result<()> {
    let region = region(4)?;
    offer(&region, 0)?;
    let read = while_reading(&region, 2, |done| {
        let end = Instant::now() + LONG;
        while !done() {
            ensure!(Instant::now() < end, "it waits");
            thread::yield_now();
        }
        Ok(())
    })?;
    ensure!(read == 0, "it read {read:#x}");
    retract(&region)?;
    Ok(())
}

fn was_mapped(_: &mut State) -> Result<()> {
    let region = region(2)?;
    region.map.fill(5);
    let before = region.map.read(1, 3);
    offer(&region, OFFER_AWAIT)?;
    let read = while_reading(&region, 1, |done| {
        wanted(&region, &[1])?;
        thread::sleep(WATCHED);
        ensure!(!done(), "it did not wait");
        region.control.arrive(region.id, PAGE, PAGE)?;
        Ok(())
    })?;
    ensure!(read == before, "what was there is gone");
    retract(&region)?;
    Ok(())
}

fn many(state: &mut State) -> Result<()> {
    const PAGES: usize = 32;
    let region = region(PAGES)?;
    let report = offer(&region, OFFER_AWAIT)?;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..PAGES)
            .map(|page| {
                (
                    page,
                    scope.spawn({
                        let map = &region.map;
                        move || map.read(page, 3)
                    }),
                )
            })
            .collect();
        let arrive = || -> Result<()> {
            wanted(&region, &(0..PAGES as u64).collect::<Vec<_>>())?;
            // 7 and 32 have no common divisor, so that each page comes once.
            for page in (0..PAGES).map(|n| n * 7 % PAGES) {
                state
                    .peer
                    .page(report.targets[page])?
                    .write(0, 3, 900 + page as u64);
                region.control.arrive(region.id, page as u64 * PAGE, PAGE)?;
            }
            Ok(())
        };
        let done = arrive();
        if done.is_err() {
            let _ = retract(&region);
        }
        for (page, reader) in readers {
            let read = reader.join().ok().context("a reader panicked")?;
            ensure!(
                done.is_err() || read == 900 + page as u64,
                "page {page} was read as {read}"
            );
        }
        done
    })?;
    retract(&region)?;
    Ok(())
}

fn locks_are_free(_: &mut State) -> Result<()> {
    let region = region(2)?;
    offer(&region, OFFER_AWAIT)?;
    while_reading(&region, 0, |done| {
        wanted(&region, &[0])?;
        let begin = Instant::now();
        for _ in 0..50 {
            drop(Mapping::anonymous(1 << 20)?);
            drop(Mapping::shared(region.control.file(), 0, PAGE_SIZE));
        }
        let took = begin.elapsed();
        ensure!(!done(), "it did not wait");
        // Had they waited for the page they would have done so until it came, which is below.
        ensure!(took < LONG, "50 mappings took {took:?}");
        region.control.arrive(region.id, 0, PAGE)?;
        Ok(())
    })?;
    retract(&region)?;
    Ok(())
}

fn kernel_waits(state: &mut State) -> Result<()> {
    let region = region(2)?;
    let report = offer(&region, OFFER_AWAIT)?;
    let (mut out, mut inn) = pipe()?;
    thread::scope(|scope| {
        let copier = scope.spawn(|| -> Result<Vec<u8>> {
            // SAFETY: a page of the region, mapped as long as the scope.
            let page = unsafe { std::slice::from_raw_parts(region.map.page(1), 64) };
            inn.write_all(page)?;
            let mut copy = vec![0; 64];
            out.read_exact(&mut copy)?;
            Ok(copy)
        });
        let arrive = || -> Result<()> {
            wanted(&region, &[1])?;
            state.peer.page(report.targets[1])?.write(0, 0, 0x1122_3344);
            region.control.arrive(region.id, PAGE, PAGE)?;
            Ok(())
        };
        let done = arrive();
        if done.is_err() {
            let _ = retract(&region);
        }
        let copy = copier.join().ok().context("the copier panicked")??;
        done?;
        ensure!(
            copy[..4] == 0x1122_3344u32.to_ne_bytes(),
            "it copied {:x?}",
            &copy[..8]
        );
        Ok(())
    })?;
    retract(&region)?;
    Ok(())
}

/// The kernel can't handle the signal before its copy is made, and must not ask for the page
/// over and over. Each time that it asks is counted.
fn kernel_waits_signalled(_: &mut State) -> Result<()> {
    const MOST: u64 = 100;
    let region = region(2)?;
    offer(&region, OFFER_AWAIT)?;
    let (mut out, mut inn) = pipe()?;
    handle_sigusr2();
    let thread = AtomicU64::new(0);
    thread::scope(|scope| {
        let copier = scope.spawn(|| -> Result<()> {
            thread.store(this_thread(), Ordering::Release);
            // SAFETY: a page of the region, mapped as long as the scope.
            let page = unsafe { std::slice::from_raw_parts(region.map.page(1), 64) };
            Ok(inn.write_all(page)?)
        });
        let check = || -> Result<u64> {
            wanted(&region, &[1])?;
            signal(thread.load(Ordering::Acquire));
            let asked = || Ok::<_, pagemove_uapi::Error>(region.control.stats()?.faults_awaited);
            let before = asked()?;
            thread::sleep(Duration::from_secs(1));
            Ok(asked()? - before)
        };
        let asked = check();
        retract(&region)?;
        copier.join().ok().context("the copier panicked")??;
        let asked = asked?;
        tap::note(&format!("it asked {asked} times in a second"));
        ensure!(
            asked < MOST,
            "it asked for the page {asked} times in a second"
        );
        Ok(())
    })?;
    out.read_exact(&mut [0; 64])?;
    Ok(())
}

fn pipe() -> Result<(File, File)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    let made = unsafe { libc::pipe(fds.as_mut_ptr()) };
    ensure!(made == 0, "pipe: {}", std::io::Error::last_os_error());
    // SAFETY: both were just made, and nobody else owns them.
    Ok(unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) })
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Release);
}

fn handle_sigusr2() {
    // SAFETY: the handler only counts.
    unsafe { libc::signal(libc::SIGUSR2, count as *const () as libc::sighandler_t) };
}

fn this_thread() -> u64 {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() as u64 }
}

/// Signals a thread that waits for a page.
fn signal(thread: u64) {
    // SAFETY: both callers have seen that the thread waits, and have not let it go on: it exists.
    unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGUSR2) };
}

fn signalled(_: &mut State) -> Result<()> {
    let region = region(2)?;
    offer(&region, OFFER_AWAIT)?;
    handle_sigusr2();
    HANDLED.store(0, Ordering::Release);
    let thread = AtomicU64::new(0);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            thread.store(this_thread(), Ordering::Release);
            region.map.read(0, 3)
        });
        let check = || -> Result<()> {
            wanted(&region, &[0])?;
            signal(thread.load(Ordering::Acquire));
            let end = Instant::now() + LONG;
            while HANDLED.load(Ordering::Acquire) == 0 {
                ensure!(Instant::now() < end, "the signal waits");
                thread::yield_now();
            }
            wanted(&region, &[0])?;
            region.control.arrive(region.id, 0, PAGE)?;
            Ok(())
        };
        let done = check();
        if done.is_err() {
            let _ = retract(&region);
        }
        reader.join().ok().context("the reader panicked")?;
        done
    })?;
    retract(&region)?;
    Ok(())
}

/// A child that maps a region by a descriptor that it inherits, and reads a page of it.
pub fn child(fd: &str, rest: &[String]) -> ExitCode {
    let numbers = fd
        .parse()
        .ok()
        .zip(rest.first().and_then(|page| page.parse::<usize>().ok()));
    let Some((fd, page)) = numbers else {
        eprintln!("offers wants nothing, or: FD PAGE [list]");
        return ExitCode::from(1);
    };
    // SAFETY: the parent left it open for us.
    let file = unsafe { File::from_raw_fd(fd) };
    match Mapping::shared(&file, 0, (page + 1) * PAGE_SIZE) {
        Ok(map) if rest.len() > 1 => wait_with_list(&map, page),
        Ok(map) => ExitCode::from((map.read(page, 3) & 0x7f) as u8),
        Err(_) => ExitCode::from(2),
    }
}

/// Says that the list of locks which the kernel is to look through at this thread's end begins in a page,
/// which it does not touch before; and waits for the end.
fn wait_with_list(map: &Mapping, page: usize) -> ExitCode {
    const LIST_HEAD: usize = 24;
    // SAFETY: a place inside the mapping, which lives as long as this thread.
    let set = unsafe { libc::syscall(libc::SYS_set_robust_list, map.page(page), LIST_HEAD) };
    println!("{set}");
    thread::sleep(10 * LONG);
    ExitCode::from(3)
}

/// Starts a child that reads a page of the region.
pub fn reader(region: &Region, page: usize) -> Result<Child> {
    child_at(region, page, None)?
        .spawn()
        .context("starting the child")
}

fn child_at(region: &Region, page: usize, more: Option<&str>) -> Result<Command> {
    let fd = region.control.file().as_raw_fd();
    // SAFETY: clears a flag of a descriptor of ours.
    let cleared = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    ensure!(cleared == 0, "fcntl: {}", std::io::Error::last_os_error());
    let program = std::env::current_exe()?;
    let arguments = ["offers".to_string(), fd.to_string(), page.to_string()];
    let mut command = Command::new(program);
    command.args(arguments).args(more);
    Ok(command)
}

fn kill(child: &mut Child) -> Result<()> {
    child.kill()?;
    let end = Instant::now() + LONG;
    while child.try_wait()?.is_none() {
        ensure!(Instant::now() < end, "it can not be killed");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A thread that ends looks through that list before its files are closed, and no signal reaches it any
/// more: who lets it wait there keeps the process for good.
fn killed_with_list(_: &mut State) -> Result<()> {
    let region = region(2)?;
    offer(&region, OFFER_AWAIT)?;
    let mut command = child_at(&region, 1, Some("list"))?;
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    let output = child.stdout.take().context("no output")?;
    BufReader::new(output).read_line(&mut said)?;
    ensure!(said.trim() == "0", "set_robust_list: {said}");
    let killed = kill(&mut child);
    if killed.is_err() {
        // So that it does end.
        retract(&region)?;
        child.wait()?;
        return killed;
    }
    retract(&region)?;
    Ok(())
}

fn killed(_: &mut State) -> Result<()> {
    let region = region(2)?;
    offer(&region, OFFER_AWAIT)?;
    let mut child = reader(&region, 1)?;
    wanted(&region, &[1])?;
    kill(&mut child)?;
    let mut child = reader(&region, 1)?;
    region.control.arrive(region.id, PAGE, PAGE)?;
    let status = child.wait()?;
    ensure!(
        status.code() == Some(0),
        "another process can not read the page: {status}"
    );
    retract(&region)?;
    Ok(())
}

fn retracted(_: &mut State) -> Result<()> {
    let region = region(2)?;
    offer(&region, OFFER_AWAIT)?;
    while_reading(&region, 0, |_| {
        wanted(&region, &[0])?;
        ensure!(retract(&region)? == 2, "not 2 offers ended");
        Ok(())
    })?;
    ensure!(
        flags_of(&region.control, region.id, 0)? == 0,
        "it is awaited still"
    );
    Ok(())
}

fn calls(_: &mut State) -> Result<()> {
    let region = region(4)?;
    offer(&region, OFFER_AWAIT)?;
    let begin = Instant::now();
    let wants = region.control.wanted(region.id, 0, 200_000_000)?;
    let took = begin.elapsed();
    ensure!(wants.seen == 0 && wants.pages.is_empty(), "{wants:?}");
    ensure!(
        took >= Duration::from_millis(190),
        "it took {took:?} instead of 200 ms"
    );
    while_reading(&region, 3, |_| {
        let wants = region
            .control
            .wanted(region.id, 0, LONG.as_nanos() as u64)?;
        ensure!(wants.seen == 1 && wants.pages.len() == 1, "{wants:?}");
        let begin = Instant::now();
        let again = region.control.wanted(region.id, wants.seen, 100_000_000)?;
        ensure!(again == wants, "{again:?} instead of {wants:?}");
        ensure!(
            begin.elapsed() >= Duration::from_millis(90),
            "it returned for a page that was seen"
        );
        signals::catch()?;
        let interrupted = signals::ended_by_one(|| {
            let time = LONG.as_nanos() as u64;
            region.control.wanted(region.id, wants.seen, time)
        });
        ensure!(
            interrupted
                .as_ref()
                .is_err_and(|error| error.errno == libc::EINTR),
            "{interrupted:?}"
        );
        region.control.arrive(region.id, 3 * PAGE, PAGE)?;
        Ok(())
    })?;
    retract(&region)?;
    Ok(())
}
