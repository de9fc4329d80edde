// SPDX-License-Identifier: GPL-2.0
//! Pages that the IOMMU maps by leaves of 2 MiB move: the leaves are split. Arguments: the format, the engine, and
//! whose pages they are: those of a memfd (contiguous), or of a region (pagemove) that has its memory in such pieces.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure, Result};
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::wait;
use pagemove_uapi::{text, MoveRequest, MOVE_EVEN_IF_THERE, PAGE_SIZE};

use super::scene::tables;
use crate::bench;
use crate::complaints::COMPLAINTS;
use crate::suites::life::scene::{engine_of, Callers, Scene};

const CHUNK: u64 = 2 << 20;
/// Chunks of the guest, and its arguments: rings, pages of CPUs and data together are a little more than that.
const CHUNKS: u64 = 4;
const GUEST: [&str; 10] = [
    "--map-piece",
    "16777216",
    "--iova",
    "0x1000000",
    "--pages",
    "2048",
    "--cpu-pages",
    "8",
    "--queue-depth",
    "4",
];
/// How often all pages go, at least.
const ROUNDS: u64 = 3;
const KILLS: u32 = 6;

struct Play {
    scene: Option<Scene>,
    engine: u32,
    memory: String,
    format: u32,
    /// KiB of tables before there was a guest.
    before: u64,
    log: KernelLog,
}

pub fn main(args: &[String]) -> ExitCode {
    let play = || -> Result<Play> {
        let name = args.first().ok_or_else(|| anyhow!("a format is wanted"))?;
        let format = text::number(text::FORMATS, name);
        Ok(Play {
            format: format.ok_or_else(|| anyhow!("no format {name}"))?,
            engine: engine_of(args.get(1))?,
            memory: args.get(2).map_or("contiguous", String::as_str).to_string(),
            before: tables()?,
            scene: None,
            log: KernelLog::from_now(COMPLAINTS)?,
        })
    };
    match play() {
        Ok(mut play) => tap::run(&mut play, cases()),
        Err(error) => tap::fail_all(&error),
    }
}

fn case(name: &str, check: fn(&mut Play) -> Result<()>) -> Case<Play> {
    Case::new(name, move |play: &mut Play| {
        check(play)?;
        play.log.check()?;
        Ok(Pass)
    })
}

fn cases() -> Vec<Case<Play>> {
    vec![
        case(
            "the IOMMU maps the guest's memory by leaves of 2 MiB",
            begins,
        ),
        case(
            "a page that is there already stays: no leaf is split",
            stays,
        ),
        case("one page moves: its leaf is split, and no other", one),
        case(
            "a run of pages over the end of a leaf: both are split",
            over_the_end,
        ),
        case(
            "all pages move to and fro under DMA and writes of CPUs: nothing is lost",
            all,
        ),
        case(
            "the guest ends: every byte is there, every table is freed",
            ends,
        ),
        case(
            "guests are killed while their leaves are split: nothing is left",
            killed,
        ),
    ]
}

fn request(play: &mut Play, first: u64, pages: u64, there: bool) -> Result<MoveRequest> {
    let engine = play.engine;
    let scene = play.scene()?;
    let node = match there {
        true => scene.nodes.there,
        false => scene.nodes.here,
    };
    let request = scene.request(engine, node);
    Ok(MoveRequest {
        iova: request.iova + first * PAGE_SIZE as u64,
        length: pages * PAGE_SIZE as u64,
        flags: request.flags & !MOVE_EVEN_IF_THERE,
        retries: 1000,
        ..request
    })
}

impl Play {
    fn open(&self) -> Result<Scene> {
        let memory = ["--memory", self.memory.as_str()];
        Scene::open(&[&memory[..], &GUEST[..]].concat())
    }

    fn scene(&mut self) -> Result<&mut Scene> {
        self.scene
            .as_mut()
            .ok_or_else(|| anyhow!("there is no guest"))
    }

    /// Moves pages, of which some may be busy for a while.
    fn moves(&mut self, request: &MoveRequest) -> Result<()> {
        let scene = self.scene()?;
        let mut left = *request;
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let mut results = Vec::new();
            let report = scene.control.move_pages(&left, Some(&mut results));
            let done = report.pages_moved + report.pages_there;
            if done * PAGE_SIZE as u64 == left.length {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{}", bench::describe(&report));
            left.deadline_ns = 0;
        }
    }

    fn splits(&mut self) -> Result<u64> {
        Ok(self.scene()?.control.stats()?.leaves_split)
    }

    /// Returns the sizes of the leaves of the guest's chunks.
    fn leaves(&mut self) -> Result<Vec<u64>> {
        let scene = self.scene()?;
        let runs = scene.control.maps(scene.device);
        let runs = runs.map_err(|error| anyhow!("{error}"))?;
        let first = scene.guest.layout.iova;
        let leaf_at = |iova: u64| {
            let is_in = |at: u64, length: u64| (at..at + length).contains(&iova);
            let run = runs.iter().find(|run| is_in(run.iova, run.length));
            run.map_or(0, |run| run.leaf)
        };
        Ok((0..CHUNKS).map(|n| leaf_at(first + n * CHUNK)).collect())
    }
}

fn begins(play: &mut Play) -> Result<()> {
    play.scene = Some(play.open()?);
    let format = play.format;
    let scene = play.scene()?;
    let devices = scene.control.device_list()?;
    let device = scene.device;
    let own = devices
        .iter()
        .find(|it| (it.bus, it.devfn) == (device.bus, device.devfn));
    ensure!(own.is_some_and(|it| it.format == format), "{own:?}");
    let leaves = play.leaves()?;
    ensure!(leaves == [CHUNK; CHUNKS as usize], "{leaves:?}");
    Ok(())
}

fn stays(play: &mut Play) -> Result<()> {
    let request = request(play, 0, CHUNKS * 512, false)?;
    play.moves(&request)?;
    ensure!(play.splits()? == 0, "a leaf was split");
    let leaves = play.leaves()?;
    ensure!(leaves == [CHUNK; CHUNKS as usize], "{leaves:?}");
    Ok(())
}

fn one(play: &mut Play) -> Result<()> {
    let before = tables()?;
    let request = request(play, 512 + 77, 1, true)?;
    play.moves(&request)?;
    ensure!(play.splits()? == 1, "{} leaves were split", play.splits()?);
    let leaves = play.leaves()?;
    let expected = [CHUNK, PAGE_SIZE as u64, CHUNK, CHUNK];
    ensure!(leaves == expected, "{leaves:?}");
    let after = tables()?;
    ensure!(after == before + 4, "{after} KiB of tables after {before}");
    Ok(())
}

fn over_the_end(play: &mut Play) -> Result<()> {
    let request = request(play, 3 * 512 - 20, 40, true)?;
    play.moves(&request)?;
    ensure!(play.splits()? == 3, "{} leaves were split", play.splits()?);
    let leaves = play.leaves()?;
    let small = PAGE_SIZE as u64;
    ensure!(leaves == [CHUNK, small, small, small], "{leaves:?}");
    Ok(())
}

fn all(play: &mut Play) -> Result<()> {
    let engine = play.engine;
    let scene = play.scene()?;
    let pages = scene.pages() as u64;
    let callers = Callers::one(engine).within(Duration::from_secs(20));
    scene.during(&callers, |_, moves| {
        (0..ROUNDS).try_for_each(|round| moves.go_on(pages, &format!("in round {round}")))
    })?;
    scene.is_clean(100)?;
    // The last one, where the rings are, may have moved whole.
    let stats = play.scene()?.control.stats()?;
    let changed = stats.leaves_split + u64::from(stats.leaves_moved > 0);
    ensure!(
        changed >= CHUNKS,
        "{} leaves were split",
        stats.leaves_split
    );
    Ok(())
}

fn ends(play: &mut Play) -> Result<()> {
    let scene = play
        .scene
        .take()
        .ok_or_else(|| anyhow!("there is no guest"))?;
    scene.end()?;
    no_tables_left(play.before)
}

/// Tables are freed when their container has gone, which takes a while.
fn no_tables_left(before: u64) -> Result<()> {
    wait::until("tables are freed", Duration::from_secs(20), || {
        Ok(tables()? <= before)
    })
    .map(drop)
}

/// At a moment by chance, from before the first leaf is split until most are.
fn killed(play: &mut Play) -> Result<()> {
    let mut random = Random::announced();
    for _ in 0..KILLS {
        let scene = play.open()?;
        let request = MoveRequest {
            retries: 1000,
            ..scene.request(play.engine, scene.nodes.there)
        };
        let is_over = AtomicBool::new(false);
        let control = pagemove_uapi::Control::open()?;
        thread::scope(|scope| {
            let mover = scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let _ = control.move_pages(&request, None);
                }
            });
            thread::sleep(random.microseconds(300_000));
            drop(scene);
            is_over.store(true, Ordering::Release);
            mover.join().expect("the thread does not panic");
        });
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        no_tables_left(play.before)?;
    }
    Ok(())
}
