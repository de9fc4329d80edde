// SPDX-License-Identifier: GPL-2.0
//! `pagemove monitor`: what happens, a line for each event. It sleeps until the kernel has one.

pub mod args;
mod clock;
mod rate;
mod report;
mod source;

use std::time::{Duration, Instant};

use pagemove_uapi::{Control, Error, Stats};

use crate::exit::Exit;
use crate::{output, report as documents, signals};
use args::MonitorArgs;
use clock::Clock;
use rate::Rate;
use report::Line;
use source::{Awaited, Source};

/// Events that are asked for at once.
const AT_ONCE: usize = 64;
/// Between two looks at the counters, where a rate of aborts is watched.
const LOOK: Duration = Duration::from_secs(1);

pub fn run(control: &Control, args: &MonitorArgs, as_json: bool) -> Result<Exit, Error> {
    signals::catch_interrupts();
    let print = |line: &Line| match as_json {
        true => documents::json_line(line),
        false => output::result(&(line.human() + "\n")),
    };
    let is_over = || signals::stopped() || output::is_unwritten();
    Monitor::new(control, args)?.run(print, is_over)?;
    Ok(Exit::Done)
}

/// A monitor at work.
struct Monitor<'a, S> {
    source: &'a S,
    /// Of the event that is read next.
    next: u64,
    /// Events that may still be printed.
    left: Option<u64>,
    until: Option<Instant>,
    aborts: Option<Rate>,
}

impl<'a, S: Source> Monitor<'a, S> {
    fn new(source: &'a S, args: &MonitorArgs) -> Result<Self, Error> {
        let aborts = match args.aborts_above {
            Some(most) => Some(Rate::new(most, &source.stats()?)),
            None => None,
        };
        Ok(Self {
            source,
            next: match args.past {
                true => 0,
                false => source.end()?,
            },
            left: args.events,
            until: args.time.and_then(|time| Instant::now().checked_add(time)),
            aborts,
        })
    }

    /// Prints events until as many were printed as are wanted, the time is over or somebody wants it to end.
    fn run(mut self, print: impl Fn(&Line), is_over: impl Fn() -> bool) -> Result<(), Error> {
        let mut looked = Instant::now();
        while !is_over() && self.left != Some(0) {
            if self.read(&print)? {
                continue;
            }
            if self.aborts.is_some() && looked.elapsed() >= LOOK {
                self.look(&self.source.stats()?, looked.elapsed(), &print);
                looked = Instant::now();
            }
            let now = Instant::now();
            let left = self.until.map(|until| until.saturating_duration_since(now));
            if left == Some(Duration::ZERO) {
                break;
            }
            let look = LOOK.saturating_sub(looked.elapsed());
            let look = self.aborts.as_ref().map(|_| look);
            let most = [left, look].into_iter().flatten().min();
            if self.source.wait(most)? == Awaited::NotRead {
                // Each wait comes after a read; only another program could have brought that about.
                break;
            }
        }
        Ok(())
    }

    /// Prints the next few events. Returns whether there may be more.
    fn read(&mut self, print: &impl Fn(&Line)) -> Result<bool, Error> {
        let wanted = self
            .left
            .map_or(AT_ONCE, |left| left.min(AT_ONCE as u64) as usize);
        let heard = self.source.events(self.next, wanted)?;
        let clock = Clock::now();
        self.next = heard.next;
        if heard.lost != 0 {
            print(&Line::lost(heard.lost, clock));
        }
        for event in &heard.events {
            print(&Line::of(event, clock));
        }
        self.left = self
            .left
            .map(|left| left.saturating_sub(heard.events.len() as u64));
        Ok(heard.events.len() == wanted)
    }

    /// Looks at the rate of aborts, and says when it has crossed what is allowed.
    fn look(&mut self, stats: &Stats, time: Duration, print: &impl Fn(&Line)) {
        let crossed = self.aborts.as_mut().and_then(|rate| rate.look(stats, time));
        if let Some(crossed) = crossed {
            print(&Line::aborts(&crossed, Clock::now()));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
