// SPDX-License-Identifier: GPL-2.0
//! Eight processes move the same page to different nodes at once, under DMA.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{
    Control, MoveRequest, ENGINE_ADBIT, ENGINE_AUTO, ENGINE_RTM, MOVE_EVEN_IF_THERE,
    MOVE_NO_VERIFY, PAGE_ABORTED, PAGE_ALREADY_THERE, PAGE_MOVED, PAGE_SIZE, PLACE_NODE,
    REASON_BUSY,
};

use super::play::Play;
use super::scene::Scene;
use crate::bench;
use crate::region::Mapping;
use pagemove_testkit::child::{self, End};
use pagemove_testkit::random::Random;
use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap::{self, Case, Pass, Verdict};

const CALLERS: usize = 8;
/// How long they call; longer until one has moved and another has met it.
const TIME: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(50);

/// Words of a caller's page of numbers.
const MOVED: usize = 0;
const BUSY: usize = 1;
const CALLS: usize = 2;
const GIVEN_UP: usize = 3;
const ABSENT: usize = 4;
/// The error that ended it: errno and reason.
const ERRNO: usize = 5;
const REASON: usize = 6;

/// `callers ENGINE`: with `rtm` half of them move by rtm, the others by adbit.
pub fn main(args: &[String]) -> ExitCode {
    let mut play = match Play::begin(
        args,
        &["--pages", "8", "--cpu-pages", "2", "--queue-depth", "2"],
    ) {
        Ok(play) => play,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = vec![
        Case::new(
            "eight callers move one page at once: each answer is right, the sums agree",
            |play: &mut Play| one_page(play, 1),
        ),
        Case::new(
            "eight callers move spans that overlap in one page: the same",
            |play: &mut Play| one_page(play, 3),
        ),
        Play::end(),
    ];
    tap::run(&mut play, cases)
}

fn one_page(play: &mut Play, span: usize) -> Result<Verdict> {
    let by = play.engine;
    let (scene, random) = play.parts()?;
    let layout = &scene.guest.layout;
    // A page that the device uses.
    let page = layout.control_pages + layout.cpu_pages + 4;
    let iova = layout.iova + (page * PAGE_SIZE) as u64;
    let (before, dmas) = (scene.control.stats()?, scene.guest.status()?.dmas());
    let numbers = Mapping::shared_anonymous(CALLERS * PAGE_SIZE)?;
    let mut children = Vec::new();
    for number in 0..CALLERS {
        let engine = match (by, number % 2) {
            (ENGINE_RTM, 0) => ENGINE_RTM,
            (ENGINE_RTM, _) => ENGINE_ADBIT,
            _ => ENGINE_AUTO,
        };
        // Each begins so many pages before the page that it includes it.
        let first = iova - (number % span * PAGE_SIZE) as u64;
        let request = MoveRequest {
            engine,
            retries: 3,
            ..bench::request(scene.device, first, span, 0)
        };
        let nodes = [scene.nodes.here, scene.nodes.there];
        let random = random.split();
        let numbers = &numbers;
        children.push(child::fork(move || {
            caller(request, nodes, random, numbers, number)
        })?);
    }
    let ends: Vec<End> = children
        .into_iter()
        .map(|pid| child::wait(pid).map(|(_, end)| end))
        .collect::<Result<_>>()?;
    let sum = |word: usize| (0..CALLERS).map(|n| numbers.read(n, word)).sum::<u64>();
    tap::note(&format!(
        "{} calls: {} pages moved, {} calls met another, {} had no helper, {} pages given up; {:?}",
        sum(CALLS),
        sum(MOVED),
        sum(BUSY),
        sum(ABSENT),
        sum(GIVEN_UP),
        (0..CALLERS)
            .map(|n| numbers.read(n, MOVED))
            .collect::<Vec<_>>()
    ));
    ensure!(
        ends.iter().all(|end| *end == End::Exit(0)),
        "the callers ended with {ends:?}, their errors (errno, reason) {:?}",
        (0..CALLERS)
            .map(|n| (numbers.read(n, ERRNO), numbers.read(n, REASON)))
            .collect::<Vec<_>>()
    );
    let counted = scene.control.stats()?.pages_moved - before.pages_moved;
    ensure!(
        counted == sum(MOVED),
        "the module counts {counted} pages moved, the callers {}",
        sum(MOVED)
    );
    ensure!(sum(MOVED) > 0 && sum(BUSY) > 0, "the callers never met");
    ensure!(scene.guest.status()?.dmas() > dmas, "no DMA meanwhile");
    settle(scene, iova, page)?;
    scene.is_clean(1)?;
    play.log.check()?;
    Ok(Pass)
}

/// Afterwards the page is where one more call says.
fn settle(scene: &mut Scene, iova: u64, page: usize) -> Result<()> {
    let region = scene
        .guest
        .layout
        .region
        .context("the memory is no region")?;
    for node in [scene.nodes.there, scene.nodes.here] {
        let request = MoveRequest {
            retries: 1000,
            ..bench::request(scene.device, iova, 1, node)
        };
        let report = scene.control.move_pages(&request, None);
        ensure!(
            report.error.is_none() && report.pages_moved + report.pages_there == 1,
            "{}",
            bench::describe(&report)
        );
        let places =
            scene
                .control
                .region_query(region, (page * PAGE_SIZE) as u64, PAGE_SIZE as u64)?;
        ensure!(
            places.len() == 1 && places[0].kind == PLACE_NODE && places[0].number == node,
            "the page is at {places:?}"
        );
    }
    Ok(())
}

/// Whether callers have met: what they are here for.
fn have_met(numbers: &Mapping) -> bool {
    let any = |word: usize| (0..CALLERS).any(|number| numbers.read(number, word) > 0);
    any(MOVED) && any(BUSY)
}

/// In a child: calls for some seconds. Ends with the number of the first thing that is wrong.
fn caller(
    mut request: MoveRequest,
    nodes: [i32; 2],
    mut random: Random,
    numbers: &Mapping,
    number: usize,
) -> i32 {
    let Ok(control) = Control::open() else {
        return 2;
    };
    let pages = request.length / PAGE_SIZE as u64;
    let mut results = Vec::new();
    let start = Instant::now();
    let add =
        |word: usize, count: u64| numbers.write(number, word, numbers.read(number, word) + count);
    let most = LONGEST * slowness();
    while start.elapsed() < TIME || !have_met(numbers) && start.elapsed() < most {
        request.node = nodes[random.below(2)];
        request.flags = [
            0,
            MOVE_EVEN_IF_THERE,
            MOVE_NO_VERIFY,
            MOVE_EVEN_IF_THERE | MOVE_NO_VERIFY,
        ][random.below(4)];
        let report = control.move_pages(&request, Some(&mut results));
        let count = |outcome: u8| {
            results
                .iter()
                .filter(|result| result.outcome == outcome)
                .count() as u64
        };
        add(CALLS, 1);
        add(MOVED, report.pages_moved);
        add(GIVEN_UP, count(PAGE_ABORTED));
        if count(PAGE_MOVED) != report.pages_moved
            || count(PAGE_ALREADY_THERE) != report.pages_there
        {
            return 3;
        }
        match report.error {
            None if report.pages_done != pages => return 4,
            None => {}
            Some(error) if (error.errno, error.reason) == (libc::EBUSY, REASON_BUSY) => {
                add(BUSY, 1)
            }
            Some(error) if error.is_absence() && request.engine == ENGINE_RTM => add(ABSENT, 1),
            Some(error) => {
                add(ERRNO, error.errno as u64);
                add(REASON, u64::from(error.reason));
                return 5;
            }
        }
        if request.flags & MOVE_EVEN_IF_THERE != 0 && report.pages_there != 0 {
            return 6;
        }
    }
    0
}
