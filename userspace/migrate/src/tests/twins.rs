// SPDX-License-Identifier: GPL-2.0
//! Agents that leave something out, or do it too early: the same checks that the sweep makes
//! have to find each of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::{Outcome, Rig, PAGES};
use super::sweep::{faults, run_faulty_with, Fault};
use crate::events::{Event, Events};
use crate::failure::Failure;
use crate::host::{
    HostError, Moves, Outcome as Moved, PageState, Place, SourceHost, TargetHost, Wants,
};
use crate::message::Mode;
use crate::sim::{KernelA, KernelB, Side, World};
use crate::span::Run;

/// A source that tells of pages as moved, and moves them in the next call.
struct Late<'a> {
    kernel: KernelA<'a>,
    owed: RefCell<Vec<(Run, Vec<u64>)>>,
}

impl Late<'_> {
    fn pay(&self) {
        for (run, targets) in self.owed.take() {
            let mut left: Vec<u32> = run.pages().collect();
            while !left.is_empty() {
                left.retain(|page| {
                    let target = targets[(page - run.first) as usize];
                    let moves = self
                        .kernel
                        .move_out(Run::new(*page, 1), &[target], Duration::ZERO);
                    moves.error.is_none() && moves.outcomes != [Moved::There]
                });
            }
        }
    }
}

impl SourceHost for Late<'_> {
    fn places(&self, run: Run) -> Result<Vec<Place>, HostError> {
        self.pay();
        self.kernel.places(run)
    }

    fn is_gone(&self) -> Result<bool, HostError> {
        self.kernel.is_gone()
    }

    fn aperture_length(&self) -> Result<u64, HostError> {
        self.kernel.aperture_length()
    }

    fn used(&self, run: Run) -> Result<Vec<bool>, HostError> {
        self.kernel.used(run)
    }

    fn move_out(&self, run: Run, targets: &[u64], _most: Duration) -> Moves {
        self.pay();
        self.owed.borrow_mut().push((run, targets.to_vec()));
        Moves {
            outcomes: vec![Moved::There; run.count as usize],
            ..Moves::default()
        }
    }

    fn move_home(&self, run: Run, most: Duration) -> Moves {
        self.kernel.move_home(run, most)
    }
}

/// A source that does not look again what has stayed out.
struct Trusting<'a> {
    kernel: KernelA<'a>,
    gone: RefCell<BTreeMap<u32, u64>>,
}

impl SourceHost for Trusting<'_> {
    fn places(&self, run: Run) -> Result<Vec<Place>, HostError> {
        let gone = self.gone.borrow();
        let places = run.pages().zip(self.kernel.places(run)?);
        let place = |(page, place)| gone.get(&page).map_or(place, |target| Place::Out(*target));
        Ok(places.map(place).collect())
    }

    fn is_gone(&self) -> Result<bool, HostError> {
        self.kernel.is_gone()
    }

    fn aperture_length(&self) -> Result<u64, HostError> {
        self.kernel.aperture_length()
    }

    fn used(&self, run: Run) -> Result<Vec<bool>, HostError> {
        self.kernel.used(run)
    }

    fn move_out(&self, run: Run, targets: &[u64], most: Duration) -> Moves {
        let moves = self.kernel.move_out(run, targets, most);
        let outcomes = run.pages().zip(targets).zip(&moves.outcomes);
        let there = outcomes.filter(|(_, outcome)| **outcome == Moved::There);
        self.gone
            .borrow_mut()
            .extend(there.map(|((page, target), _)| (page, *target)));
        moves
    }

    fn move_home(&self, run: Run, most: Duration) -> Moves {
        self.kernel.move_home(run, most)
    }
}

#[test]
fn a_source_that_does_not_look_again_is_found() {
    let world = World::new(PAGES, 7);
    let source = Trusting {
        kernel: world.a(),
        gone: RefCell::default(),
    };
    let outcome = Rig::new(Mode::Out, false).run_with(&world, &source, &world.b());
    assert!(outcome.is_done(), "{}", outcome.a_says());
    let wrong = world.check_out();
    let is_found = |text: &String| text.contains("is at home") || text.contains("had come");
    assert!(wrong.iter().any(is_found), "{wrong:?}");
}

#[derive(Clone, Copy, PartialEq)]
enum Haste {
    None,
    /// Lets CPUs go on as soon as pages are offered.
    ArriveAll,
    /// Ends offers before pages are home.
    Retract,
    /// Reports every page as awaited or come.
    Blind,
    /// Lets no CPU go on.
    NeverArrive,
}

struct Hasty<'a> {
    kernel: KernelB<'a>,
    haste: Haste,
}

impl TargetHost for Hasty<'_> {
    fn region_pages(&self) -> Result<u32, HostError> {
        self.kernel.region_pages()
    }

    fn states(&self, run: Run) -> Result<Vec<PageState>, HostError> {
        let mut states = self.kernel.states(run)?;
        match self.haste {
            Haste::Retract if states.iter().all(|state| state.offered) => {
                self.kernel.retract(run)?;
            }
            Haste::Blind | Haste::ArriveAll => {
                states.iter_mut().for_each(|state| state.awaited = true);
            }
            _ => {}
        }
        Ok(states)
    }

    fn offer(&self, run: Run, awaited: bool) -> Result<Vec<u64>, HostError> {
        let targets = self
            .kernel
            .offer(run, awaited && self.haste != Haste::Blind)?;
        if self.haste == Haste::ArriveAll {
            self.kernel.arrive(run)?;
        }
        Ok(targets)
    }

    fn arrive(&self, run: Run) -> Result<(), HostError> {
        match self.haste {
            Haste::NeverArrive => Ok(()),
            _ => self.kernel.arrive(run),
        }
    }

    fn retract(&self, run: Run) -> Result<(), HostError> {
        self.kernel.retract(run)
    }

    fn wanted(&self, seen: u64, timeout: Duration) -> Result<Wants, HostError> {
        self.kernel.wanted(seen, timeout)
    }

    fn now_ns(&self) -> u64 {
        self.kernel.now_ns()
    }
}

fn world() -> World {
    World::new(PAGES, 11)
}

fn a(world: &World) -> Late<'_> {
    Late {
        kernel: world.a(),
        owed: RefCell::default(),
    }
}

fn b(world: &World, haste: Haste) -> Hasty<'_> {
    Hasty {
        kernel: world.b(),
        haste,
    }
}

/// Returns what the checks of a whole run find.
fn found(world: &World, outcome: &Outcome) -> String {
    let mut wrong = world.check_always();
    if outcome.is_done() {
        wrong.extend(world.check_out());
    }
    wrong.join("\n")
}

#[test]
fn moved_before_the_move() {
    let world = world();
    let outcome = Rig::new(Mode::Out, true).run_with(&world, &a(&world), &b(&world, Haste::None));
    let found = found(&world, &outcome);
    assert!(found.contains("arrived before it had moved"), "{found}");
}

/// A page that is told of too early, where nobody looks before the end: only a death in between
/// shows it.
#[test]
fn moved_before_the_move_is_found_by_deaths() {
    let rig = Rig::new(Mode::Out, false);
    let mut found = 0;
    for fault in faults(&world, rig) {
        let world = world();
        let late = a(&world);
        run_faulty_with(&world, rig, fault, &late, &world.b());
        found += usize::from(!world.check_always().is_empty());
    }
    assert!(found > 10, "{found}");
}

#[test]
fn all_arrive_at_once() {
    let world = world();
    let outcome =
        Rig::new(Mode::Out, true).run_with(&world, &world.a(), &b(&world, Haste::ArriveAll));
    let found = found(&world, &outcome);
    assert!(found.contains("arrived before it had moved"), "{found}");
}

#[test]
fn nobody_waits() {
    let world = world();
    let outcome = Rig::new(Mode::Out, true).run_with(&world, &world.a(), &b(&world, Haste::Blind));
    let found = found(&world, &outcome);
    assert!(found.contains("before it had come"), "{found}");
}

#[test]
fn nobody_goes_on() {
    let world = world();
    let outcome =
        Rig::new(Mode::Out, true).run_with(&world, &world.a(), &b(&world, Haste::NeverArrive));
    let found = found(&world, &outcome);
    assert!(found.contains("is awaited"), "{found}");
}

#[test]
fn offers_end_before_pages_are_home() {
    let world = world();
    assert!(Rig::new(Mode::Out, false).run(&world).is_done());
    let outcome =
        Rig::new(Mode::Back, false).run_with(&world, &world.a(), &b(&world, Haste::Retract));
    let found = found(&world, &outcome);
    assert!(found.contains("retracted under A's device"), "{found}");
}

/// An agent that takes the guest back when it can not know whether the other host has it.
#[test]
fn the_guest_returns_without_an_answer() {
    let rig = Rig::new(Mode::Out, false);
    let mut twice = 0;
    for fault in faults(&world, rig) {
        let Fault::Cut { late: 0, .. } = fault else {
            continue;
        };
        let world = world();
        let outcome = run_faulty_with(&world, rig, fault, &world.a(), &world.b());
        assert_eq!(world.check_always(), [""; 0]);
        let hooks = world.state().hooks.clone();
        let left = hooks.contains(&(Side::A, "leave")) && !hooks.contains(&(Side::A, "complete"));
        if left && matches!(outcome.a, Some(Err(Failure::Connection(_)))) {
            world.operator(Side::A).hook(Event::Return).unwrap();
            twice += usize::from(world.check_always().join("").contains("run on both hosts"));
        }
    }
    assert!(twice > 0);
}
