// SPDX-License-Identifier: GPL-2.0
//! Moves at random, with a seed, of ranks that exchange messages.

use super::exchange::{conduct, Host, Ranks, LIMIT};
use pagemove_peers::driver::Prepared;
use pagemove_peers::{Rank, SchedulerFile};
use std::process::Child;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Random enough, and the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

pub struct Plan {
    pub programs: Rank,
    pub moves: u64,
    pub seed: u64,
    pub mistake: Option<&'static str>,
    /// Who says nothing for so long is stuck.
    pub patience: Duration,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Figures {
    pub moves: u64,
    /// Moves of a rank while another was in a file, too.
    pub pairs: u64,
    /// Moves to another host.
    pub between: u64,
    /// Messages that programs have received.
    pub messages: u64,
    /// Messages that were in files.
    pub carried: u64,
    /// From the question to the program's stop, to the last message, to the file; and until another process
    /// was the rank, in microseconds, of each move.
    pub stopped: Vec<u64>,
    pub drained: Vec<u64>,
    pub written: Vec<u64>,
    pub away: Vec<u64>,
}

impl Figures {
    pub fn print(&self, what: &str) {
        let times = |times: &[u64]| {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            let middle = sorted.get(sorted.len() / 2).unwrap_or(&0);
            format!(
                "{:.1}/{:.1} ms",
                *middle as f64 / 1e3,
                *sorted.last().unwrap_or(&0) as f64 / 1e3
            )
        };
        println!(
            "# {what}: {} messages, {} moves ({} to another host, {} while another rank was in a file), {} messages in files; p50/max: \
             stopped {}, drained {}, written {}, another is the rank {}; lost 0, doubled 0, out of order 0",
            self.messages,
            self.moves,
            self.between,
            self.pairs,
            self.carried,
            times(&self.stopped),
            times(&self.drained),
            times(&self.written),
            times(&self.away),
        );
    }
}

/// Moves ranks at random, and looks at the end whether all has come.
pub fn run(plan: &Plan, hosts: Vec<Host>, prepared: Prepared) -> Result<Figures, String> {
    let setup = Setup {
        programs: plan.programs,
        mistake: plan.mistake,
        patience: plan.patience,
        hosts,
        prepared,
    };
    exchange(setup, |ranks, is_over| moves(plan, ranks, is_over))
}

/// An exchange of messages.
pub struct Setup {
    pub programs: Rank,
    pub mistake: Option<&'static str>,
    pub patience: Duration,
    pub hosts: Vec<Host>,
    /// Where the conductor listens.
    pub prepared: Prepared,
}

/// Has ranks exchange messages while something is done with them, and looks at the end whether all has come.
pub fn exchange(
    setup: Setup,
    what: impl FnOnce(&mut Ranks, &dyn Fn() -> bool) -> Result<Figures, String>,
) -> Result<Figures, String> {
    let mut ranks = Ranks::start(setup.programs, setup.hosts, setup.mistake);
    let scheduler = SchedulerFile::existing(&ranks.scheduler).map_err(|error| error.to_string())?;
    let (of, signs) = (ranks.of, ranks.signs.clone());
    let (prepared, patience) = (setup.prepared, setup.patience);
    thread::scope(|scope| {
        let (signs, scheduler) = (&signs, &scheduler);
        let conductor = scope.spawn(move || conduct(prepared, scheduler, of, signs, patience));
        let moved = what(&mut ranks, &|| conductor.is_finished());
        signs.over.store(moved.is_err(), Ordering::Relaxed);
        signs.done.store(true, Ordering::Relaxed);
        let each = conductor.join().expect("it does not panic");
        // Who has made a mistake says more than who waits for it.
        let mut figures = moved?;
        let each = each?;
        for rank in 0..setup.programs {
            let (status, told) = ranks.wait(rank, LIMIT)?;
            if !status.success() || told.trim() != each.to_string() {
                let said = ranks.said(rank);
                return Err(format!("rank {rank}: {status}, {told:?}, {said}"));
            }
        }
        let table = scheduler.read().map_err(|error| error.to_string())?;
        if !table.all_ended() {
            return Err("somebody has not ended".into());
        }
        figures.messages = each * u64::from(setup.programs);
        Ok(figures)
    })
}

/// Rank 1 moves while a burst of messages from rank 0 is on its way to it. `moving`: what it does wrongly; it is
/// to be deaf at any rate, so that nothing of the burst is looked at before.
pub fn on_their_way(setup: Setup, moving: &'static str) -> Result<Figures, String> {
    exchange(setup, |ranks, is_over| {
        ranks.hold(is_over);
        ranks.stop(1)?;
        let usual = ranks.mistake.replace(moving);
        ranks.come_back(1)?;
        ranks.mistake = usual;
        ranks.part()?;
        let written = ranks.stop(1)?;
        ranks.come_back(1)?;
        ranks.meet();
        ranks.hold(is_over);
        ranks.go_on();
        Ok(Figures {
            carried: written["messages"].as_u64().unwrap_or(0),
            ..Figures::default()
        })
    })
}

fn moves(plan: &Plan, ranks: &mut Ranks, is_over: &dyn Fn() -> bool) -> Result<Figures, String> {
    let mut random = Random(plan.seed);
    let mut figures = Figures::default();
    while figures.moves < plan.moves {
        if is_over() {
            // The conductor says why.
            return Ok(figures);
        }
        thread::sleep(Duration::from_millis(random.below(40)));
        let first = random.below(plan.programs.into()) as Rank;
        let mut gone = vec![first];
        if random.below(4) == 0 {
            gone.push((first + 1) % plan.programs);
            figures.pairs += 1;
        }
        let begun = Instant::now();
        // Both at once, if there are two.
        let asked: Vec<Child> = gone.iter().map(|&rank| ranks.ask(rank)).collect();
        for (&rank, asked) in gone.iter().zip(asked) {
            let written = ranks.stopped(rank, asked)?;
            let number = |name: &str| written[name].as_u64().unwrap_or(u64::MAX);
            figures.stopped.push(number("stopped_us"));
            figures.drained.push(number("drained_us"));
            figures.written.push(number("written_us"));
            figures.carried += number("messages");
        }
        for &rank in &gone {
            let before = ranks.epoch(rank);
            let host = random.below(ranks.hosts() as u64) as usize;
            figures.between += u64::from(host != ranks.host(rank));
            ranks.restore(rank, host);
            ranks.taken_up(rank, before)?;
            figures.away.push(begun.elapsed().as_micros() as u64);
            figures.moves += 1;
        }
    }
    Ok(figures)
}
