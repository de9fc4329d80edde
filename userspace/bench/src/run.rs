// SPDX-License-Identifier: GPL-2.0
//! All cells, round after round, so that what disturbs the machine for a while disturbs all of them; then
//! their instructions, and where these are.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use pagemove_testkit::tap::{self, note, Tap};

use crate::cell::{self, Bench, Cell, Method, Samples};
use crate::counter::Counter;
use crate::figure::{tell, Figure, Rig, Spread};
use crate::profile;
use crate::scene::{Engine, Memories, Way, KINDS};
use crate::symbols::Symbols;
use crate::watch::Watch;
use crate::CPUS;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Pages of a call.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,512,8192")]
    lengths: Vec<usize>,
    /// Measurements of each.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Measurements of each with the counter of instructions.
    #[arg(long, default_value_t = 3)]
    counts: usize,
    /// Leave out what takes long: busy devices, and profiles.
    #[arg(long)]
    quick: bool,
    /// Instructions of the longest call of adbit that there may be for each page.
    #[arg(long)]
    most: Option<f64>,
    /// The same for memory of a region, if that is less.
    #[arg(long)]
    most_of_region: Option<f64>,
    /// Move by this engine alone.
    #[arg(long, value_enum)]
    engine: Option<Engine>,
}

/// Additions of one measurement of the noise: a millisecond or some.
const ADDITIONS: u64 = 1_000_000;

/// A page has 512 words, and an instruction copies a few at most: what counts less does not count.
const LEAST: f64 = 64.0;

const TESTS: usize = 5;

pub fn run(options: &Options) -> Result<ExitCode> {
    let mut tap = Tap::plan(TESTS);
    if let Err(error) = measure(options, &mut tap) {
        tap.fail_the_rest(&format!("{error:#}"));
    }
    Ok(tap.exit_code())
}

fn measure(options: &Options, tap: &mut Tap) -> Result<()> {
    let mut cells = cell::all(&options.lengths);
    cells.retain(|cell| !options.quick || !cell.busy);
    cells.retain(|cell| match (cell.method, options.engine) {
        (Method::Pagemove { way, .. }, Some(engine)) => way.engine == engine,
        _ => true,
    });
    let mut bench = Bench::open(&options.lengths).context("set up")?;
    let mut all: Vec<(Cell, Samples)> = cells
        .into_iter()
        .map(|cell| (cell, Samples::default()))
        .collect();
    let mut noise = Vec::new();
    // In the first round everything is done for the first time: it does not count.
    for round in 0..=options.rounds {
        let began = Instant::now();
        noise.push(spin());
        for (cell, samples) in &mut all {
            let done = bench.measure(cell, &Watch::default(), samples);
            done.with_context(|| format!("{cell:?}"))?;
            if round == 0 && options.rounds > 1 {
                *samples = Samples::default();
            }
        }
        note(&format!(
            "round {round}: {:.1} s",
            began.elapsed().as_secs_f64()
        ));
        if options.rounds == 1 {
            break;
        }
    }
    let counted = count(options, &mut bench, &mut all)?;
    tell(
        "rig",
        &Rig {
            kernel: kernel()?,
            cpus: CPUS,
            rounds: options.rounds,
            noise: Spread::of(noise),
            counter: counted,
        },
    );
    let figures: Vec<Figure> = all
        .iter()
        .map(|(cell, samples)| samples.figure(cell))
        .collect();
    figures.iter().for_each(|figure| tell("figure", figure));
    judge(options, &figures, tap);
    let kept = bench.check();
    let words = "every word of all memory is as it was written";
    tap.test(
        kept.is_ok(),
        &kept.map_or_else(|error| format!("{words}: {error:#}"), |()| words.into()),
    );
    Ok(())
}

/// Counts the instructions of each cell whose device is quiet, and takes profiles of pagemove. Returns
/// whether there is a counter.
fn count(options: &Options, bench: &mut Bench, all: &mut [(Cell, Samples)]) -> Result<bool> {
    let Some(counter) = Counter::begin(CPUS)? else {
        return Ok(false);
    };
    let began = Instant::now();
    let watch = Watch::counting(&counter);
    for _ in 0..options.counts {
        for (cell, samples) in all.iter_mut().filter(|(cell, _)| !cell.busy) {
            let done = bench.measure(cell, &watch, samples);
            done.with_context(|| format!("{cell:?}, counted"))?;
        }
    }
    note(&format!("counted: {:.1} s", began.elapsed().as_secs_f64()));
    if options.quick {
        return Ok(true);
    }
    let symbols = Symbols::read()?;
    for (cell, _) in all.iter().filter(|(cell, _)| !cell.busy) {
        let Method::Pagemove { field, way } = cell.method else {
            continue;
        };
        // By function only what is short, and the same in each run.
        if way.engine == Engine::Adbit && cell.pages <= 512 && way.verify {
            let at = (field, cell.span, cell.pages);
            let taken = profile::take(&mut bench.scene, &counter, &symbols, at, way)?;
            tell("profile", &taken);
        }
    }
    note(&format!("profiles: {:.1} s", began.elapsed().as_secs_f64()));
    Ok(true)
}

/// What must not vary: that everything was measured and moved, and how many instructions that took.
fn judge(options: &Options, figures: &[Figure], tap: &mut Tap) {
    let timed = figures
        .iter()
        .filter(|figure| figure.method == "still" || figure.ns.is_some())
        .count();
    tap.test(
        timed == figures.len(),
        &format!(
            "{timed} of {} figures, {} rounds",
            figures.len(),
            options.rounds
        ),
    );
    let of_adbit = |figure: &&Figure| figure.method == Engine::Adbit.name() && !figure.busy;
    let quiet: Vec<&Figure> = figures.iter().filter(of_adbit).collect();
    let whole = quiet.iter().filter(|figure| figure.moved == 1.0).count();
    tap.test(
        whole == quiet.len() && whole > 0,
        &format!(
            "{whole} of {} kinds of calls to adbit moved each page at once",
            quiet.len()
        ),
    );
    let counted = figures
        .iter()
        .filter(|figure| figure.busy || figure.instructions.is_some())
        .count();
    let name = format!(
        "{counted} of {} figures have instructions, if their device is quiet",
        figures.len()
    );
    tap.test(counted == figures.len(), &name);
    bound(options, &quiet, tap);
}

/// Compares the cheapest of the longest calls with what is allowed.
fn bound(options: &Options, quiet: &[&Figure], tap: &mut Tap) {
    let longest = options.lengths.iter().max().copied().unwrap_or_default();
    let costs: Vec<f64> = quiet
        .iter()
        .filter(|figure| figure.pages == longest)
        .filter_map(|figure| figure.instructions.map(|spread| spread.least))
        .collect();
    let most = costs.iter().copied().fold(0.0, f64::max);
    let counted = costs.iter().all(|cost| *cost >= LEAST);
    let region = Memories::Region.name();
    let of_region = |figure: &&&Figure| figure.pages == longest && figure.memory == Some(region);
    let of_region = quiet.iter().filter(of_region);
    let of_region = of_region.filter_map(|figure| figure.instructions.map(|spread| spread.least));
    let of_region = of_region.fold(0.0, f64::max);
    let name = format!(
        "{} kinds of calls to adbit of {longest} pages: {most:.0} instructions a page at most, of a region {of_region:.0}",
        costs.len()
    );
    let is_cheap = options.most_of_region.is_none_or(|most| of_region <= most);
    match options.most {
        None => tap.skip(&name, "no bound was asked for"),
        Some(bound) => tap.test(
            costs.len() == 2 * KINDS.len() && counted && is_cheap && most <= bound,
            &format!("{name}, {bound} allowed"),
        ),
    }
}

/// The same work each time.
fn spin() -> f64 {
    let began = Instant::now();
    let mut sum = 0u64;
    for n in 0..ADDITIONS {
        sum = black_box(sum.wrapping_add(n));
    }
    black_box(sum);
    began.elapsed().as_nanos() as f64
}

fn kernel() -> Result<String> {
    let text =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
    Ok(text.trim().to_string())
}

/// Prints profiles alone, as tables.
pub fn profiles() -> Result<ExitCode> {
    const LENGTHS: [usize; 4] = [1, 8, 64, 512];
    let mut scene = crate::scene::Scene::open(&LENGTHS)?;
    let symbols = Symbols::read()?;
    let counter = Counter::begin(CPUS)?.context("this emulator has no counter")?;
    for (field, (kind, _)) in KINDS.into_iter().enumerate() {
        for (engine, verify) in [
            (Engine::Adbit, true),
            (Engine::Adbit, false),
            (Engine::Rtm, true),
        ] {
            for (span, pages) in LENGTHS.into_iter().enumerate() {
                let way = Way { engine, verify };
                let taken =
                    profile::take(&mut scene, &counter, &symbols, (field, span, pages), way);
                match taken {
                    Ok(profile) => println!("{}", profile.table()),
                    Err(error) => {
                        tap::note(&format!("{} {engine:?} {pages}: {error:#}", kind.name()))
                    }
                }
            }
        }
    }
    drop(counter);
    scene
        .fields
        .iter()
        .try_for_each(crate::scene::Field::check)?;
    Ok(ExitCode::SUCCESS)
}
