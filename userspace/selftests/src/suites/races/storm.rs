// SPDX-License-Identifier: GPL-2.0
//! Threads that map, unmap and move the same memory for some seconds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::{errno, Control, MoveRequest, Stats, MOVE_EVEN_IF_THERE, PAGE_SIZE};

use super::State;
use crate::bench::{self, Bench, IOVA};
use crate::region::Mapping;
use pagemove_testkit::random::Random;
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::vfio::READ_WRITE;

/// Memory is mapped for DMA in slots of this many pages.
const SLOT: usize = 16;
const SLOTS: usize = 48;
const PAGES: usize = SLOT * SLOTS;
const SLOT_BYTES: usize = SLOT * PAGE_SIZE;

const SEED: u64 = 0;

/// How long a storm lasts, and how long a thread may be silent.
const TIME: Duration = Duration::from_secs(6);
/// But longer until an unmap has met a move.
const LONGEST: Duration = Duration::from_secs(45);
const SILENCE: Duration = Duration::from_secs(60);

/// What a storm consists of.
#[derive(Clone, Copy)]
struct Mix {
    dma: usize,
    movers: usize,
    cpu: usize,
    /// Threads that unmap prefer neighbours, or one slot.
    near: bool,
}

pub fn cases() -> Vec<Case<State>> {
    let case = |name: &str, mix: Mix| {
        Case::new(name, move |state: &mut State| {
            storm(mix, state.random.split())?;
            state.log.check()?;
            bench::wait_for_no_pages(Duration::from_secs(20))?;
            Ok(Pass)
        })
    };
    vec![
        case(
            "two unmap and map neighbours and the same, one moves",
            Mix {
                dma: 2,
                movers: 1,
                cpu: 0,
                near: true,
            },
        ),
        case(
            "one unmaps and maps, two move",
            Mix {
                dma: 1,
                movers: 2,
                cpu: 0,
                near: true,
            },
        ),
        case(
            "one unmaps in the VMM, one moves",
            Mix {
                dma: 0,
                movers: 1,
                cpu: 1,
                near: false,
            },
        ),
        case(
            "DMA mappings, VMM mappings and moves at once",
            Mix {
                dma: 1,
                movers: 1,
                cpu: 1,
                near: false,
            },
        ),
        case(
            "three unmap and map, one moves, one unmaps in the VMM",
            Mix {
                dma: 3,
                movers: 1,
                cpu: 1,
                near: true,
            },
        ),
    ]
}

impl Mix {
    fn has_to_meet(&self) -> bool {
        self.dma > 0 && self.near
    }
}

/// What the threads share.
struct Storm {
    bench: Bench,
    /// A second mapping that nobody touches: what the memory really holds.
    truth: Mapping,
    mix: Mix,
    stop: AtomicBool,
    failed: Mutex<Option<String>>,
    /// Steps of each thread.
    steps: Vec<AtomicU64>,
    moved: AtomicU64,
    answers: Mutex<BTreeMap<String, u64>>,
}

impl Storm {
    fn new(mix: Mix) -> Result<Self> {
        let bench = Bench::open(PAGES)?;
        let truth = Mapping::shared(bench.region.control.file(), 0, PAGES * PAGE_SIZE)
            .map_err(std::io::Error::from_raw_os_error)
            .context("a second mapping")?;
        // One mapping in each slot instead of one for all.
        let container = &bench.assigned.container;
        container
            .unmap(IOVA, PAGES * PAGE_SIZE)
            .map_err(std::io::Error::from_raw_os_error)?;
        for slot in 0..SLOTS {
            let mapped = container.map(
                iova(slot),
                bench.region.map.page(slot * SLOT),
                SLOT_BYTES,
                READ_WRITE,
            );
            mapped
                .map_err(std::io::Error::from_raw_os_error)
                .context("mapping a slot")?;
        }
        let threads = mix.dma + mix.movers + mix.cpu + 1;
        Ok(Self {
            bench,
            truth,
            mix,
            stop: AtomicBool::new(false),
            failed: Mutex::new(None),
            steps: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            moved: AtomicU64::new(0),
            answers: Mutex::new(BTreeMap::new()),
        })
    }

    /// Repeats a step until the end; the first failure ends the storm.
    fn repeat(&self, thread: usize, mut step: impl FnMut() -> Result<()>) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = step() {
                self.fail(format!("{error:#}"));
                return;
            }
            self.steps[thread].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fail(&self, message: String) {
        self.failed
            .lock()
            .expect("no thread panics")
            .get_or_insert(message);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn count(&self, what: &str, errno: i32) {
        let name = if errno == 0 {
            "done".to_string()
        } else {
            errno::name(errno)
        };
        *self
            .answers
            .lock()
            .expect("no thread panics")
            .entry(format!("{what} {name}"))
            .or_insert(0) += 1;
    }

    /// Whether what the storm is about has happened: pages were moved, and where threads are
    /// close to one another an unmap has waited for a move.
    fn has_met(&self, before: &Stats) -> bool {
        let unmaps = self.bench.control.stats().map(|now| now.unmaps_held);
        self.moved.load(Ordering::Relaxed) > 0
            && (!self.mix.has_to_meet() || unmaps.is_ok_and(|unmaps| unmaps > before.unmaps_held))
    }

    fn choose(&self, random: &mut Random) -> usize {
        // Few slots, so that threads meet; not fewer, since a span whose unmap has
        // waited for a move is not moved for a second.
        random.below(if self.mix.near { 12 } else { SLOTS })
    }
}

fn iova(slot: usize) -> u64 {
    IOVA + (slot * SLOT_BYTES) as u64
}

fn storm(mix: Mix, mut random: Random) -> Result<()> {
    let storm = Storm::new(mix)?;
    let before = storm.bench.control.stats()?;
    thread::scope(|scope| {
        let storm = &storm;
        for thread in 0..storm.steps.len() {
            let mut random = random.split();
            scope.spawn(move || match thread {
                n if n < mix.dma => storm.repeat(n, || map_dma(storm, &mut random)),
                n if n < mix.dma + mix.movers => mover(storm, n, &mut random),
                n if n < mix.dma + mix.movers + mix.cpu => {
                    storm.repeat(n, || map_cpu(storm, &mut random))
                }
                n => storm.repeat(n, || storm.truth.check_page(SEED, random.below(PAGES))),
            });
        }
        watch(storm, &before);
    });
    if let Some(message) = storm.failed.into_inner().expect("no thread panics") {
        bail!("{message}");
    }
    storm.truth.check(SEED)?;
    let after = storm.bench.control.stats()?;
    let (unmaps, faults) = (
        after.unmaps_held - before.unmaps_held,
        after.faults_held - before.faults_held,
    );
    tap::note(&format!(
        "{unmaps} unmaps and {faults} CPU faults waited for a move"
    ));
    ensure!(unmaps > 0 || !mix.has_to_meet(), "no unmap met a move");
    ensure!(
        after.lost_writes == before.lost_writes,
        "{} lost writes",
        after.lost_writes
    );
    let answers = storm.answers.into_inner().expect("no thread panics");
    let moved = storm.moved.into_inner();
    tap::note(&format!("{moved} pages moved; {answers:?}"));
    ensure!(moved > 0, "no page was moved");
    Ok(())
}

/// Ends the storm after its time. A thread that hangs in the kernel can't be
/// ended: then the program says so and gives up.
fn watch(storm: &Storm, before: &Stats) {
    let begun = Instant::now();
    let now = || -> Vec<u64> {
        storm
            .steps
            .iter()
            .map(|steps| steps.load(Ordering::Relaxed))
            .collect()
    };
    let mut last: Vec<(u64, Instant)> = now().into_iter().map(|steps| (steps, begun)).collect();
    let goes_on = || {
        let most = LONGEST * slowness();
        begun.elapsed() < TIME || !storm.has_met(before) && begun.elapsed() < most
    };
    while !storm.stop.load(Ordering::Relaxed) && goes_on() {
        thread::sleep(Duration::from_millis(200));
        for (thread, steps) in now().into_iter().enumerate() {
            if last[thread].0 != steps {
                last[thread] = (steps, Instant::now());
            }
        }
    }
    // Every thread has to make a step, or have made one within the time allowed.
    let silent = |now: &[u64]| {
        now.iter()
            .zip(&last)
            .position(|(steps, (before, _))| steps == before)
    };
    while let Some(thread) = silent(&now()).filter(|_| !storm.stop.load(Ordering::Relaxed)) {
        if last[thread].1.elapsed() > SILENCE {
            hung(thread);
        }
        thread::sleep(Duration::from_millis(100));
    }
    storm.stop.store(true, Ordering::Relaxed);
}

fn hung(thread: usize) -> ! {
    tap::note(&format!(
        "thread {thread} of the storm hangs; the kernel's stacks:"
    ));
    if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
        for task in tasks.flatten() {
            let stack = std::fs::read_to_string(task.path().join("stack")).unwrap_or_default();
            tap::note(&format!("{}\n{stack}", task.path().display()));
        }
    }
    println!("Bail out! a thread hangs in the kernel");
    // No destructor: it would wait for the thread.
    // SAFETY: ends this process.
    unsafe { libc::_exit(1) }
}

/// Unmaps a slot, or two neighbours at once, and maps what is not mapped.
fn map_dma(storm: &Storm, random: &mut Random) -> Result<()> {
    let container = &storm.bench.assigned.container;
    let slot = storm.choose(random);
    let slots = if random.below(4) == 0 && slot + 1 < SLOTS {
        2
    } else {
        1
    };
    match container.unmap(iova(slot), slots * SLOT_BYTES) {
        // A slot that another thread maps again meanwhile is unmapped, and
        // counted, again.
        Ok(bytes) => {
            ensure!(
                bytes % SLOT_BYTES as u64 == 0,
                "{bytes:#x} bytes were unmapped, no whole slots"
            );
            storm.count("unmap", 0);
        }
        Err(errno) => bail!("UNMAP_DMA: {}", errno::name(errno)),
    }
    // The others' turn.
    thread::sleep(random.microseconds(2_000));
    for slot in slot..slot + slots {
        let address = storm.bench.region.map.page(slot * SLOT);
        match container.map(iova(slot), address, SLOT_BYTES, READ_WRITE) {
            Ok(()) => storm.count("map", 0),
            // Another thread was faster.
            Err(libc::EEXIST) => storm.count("map", libc::EEXIST),
            // The VMM has unmapped it for a moment.
            Err(libc::EFAULT | libc::EINVAL) if storm.mix.cpu > 0 => {
                storm.count("map", libc::EFAULT)
            }
            Err(errno) => bail!("MAP_DMA: {}", errno::name(errno)),
        }
    }
    Ok(())
}

/// Unmaps some pages in this process, and maps them again.
fn map_cpu(storm: &Storm, random: &mut Random) -> Result<()> {
    let (map, file) = (&storm.bench.region.map, storm.bench.region.control.file());
    let first = storm.choose(random) * SLOT + random.below(SLOT);
    let pages = 1 + random.below(SLOT.min(PAGES - first));
    map.punch(first, pages)
        .map_err(std::io::Error::from_raw_os_error)
        .context("munmap")?;
    thread::sleep(random.microseconds(300));
    map.mend(file, first, pages)
        .map_err(std::io::Error::from_raw_os_error)
        .context("mmap")?;
    map.check_page(SEED, first)
}

/// Moves some pages over the edges of slots.
fn mover(storm: &Storm, thread: usize, random: &mut Random) {
    let control = match Control::open() {
        Ok(control) => control,
        Err(error) => return storm.fail(error.to_string()),
    };
    let nodes = [storm.bench.nodes.here, storm.bench.nodes.there];
    storm.repeat(thread, || {
        let first = storm.choose(random) * SLOT + random.below(SLOT);
        let pages = 1 + random.below((4 * SLOT).min(PAGES - first));
        let node = nodes[random.below(2)];
        let request = MoveRequest {
            flags: MOVE_EVEN_IF_THERE,
            ..storm.bench.request(first, pages, node)
        };
        let report = control.move_pages(&request, None);
        storm.moved.fetch_add(report.pages_moved, Ordering::Relaxed);
        let errno = bench::errno_of(&report);
        storm.count("move", errno);
        match errno {
            0 | libc::ENOENT if errno == 0 || storm.mix.dma + storm.mix.cpu > 0 => Ok(()),
            libc::EAGAIN if storm.mix.dma > 0 => Ok(()),
            // Of another call's pages, or of those that the call before, which an unmap has ended, has left to VFIO.
            libc::EBUSY if storm.mix.movers > 1 || storm.mix.dma > 0 => Ok(()),
            _ => bail!("a move: {}", bench::describe(&report)),
        }
    });
}
