// SPDX-License-Identifier: GPL-2.0
//! The assembly and the single steps on the same random plans.

use crate::{Bench, Outcome, Test};
use engine::rtm::{transact, Committed, Status};
use engine::Steps;
use pagemove_rtm::case::Case;
use pagemove_rtm::emulator::{Conditions, Trace};
use pagemove_rtm::event::Event;
use pagemove_rtm::reference;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap;
use std::fmt::Write;

pub type End = Result<Committed, Status>;

/// All that both have to agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub end: End,
    pub events: Vec<Event>,
    pub entries: Vec<u64>,
}

pub fn tests() -> Vec<Test> {
    vec![(
        "random plans: the assembly does what the single steps do, access by access".into(),
        Box::new(|bench: &mut Bench| {
            let mut counts = Counts::default();
            for number in 0..bench.cases {
                let case = draw(bench, number);
                let expected = stepped(bench, &case, Steps::empty());
                counts.add(&case, &expected);
                same(bench, &case, &expected).map_err(|why| repeat(bench, number, &why))?;
            }
            tap::note(&format!("{counts:?}"));
            counts.check(bench.cases)
        }),
    )]
}

/// How to run a case again.
pub fn repeat(bench: &Bench, number: u64, why: &str) -> String {
    format!("SEED={} case {number}: {why}", bench.seed)
}

pub fn draw(bench: &Bench, number: u64) -> Case {
    let mut random = Random::new(bench.seed.wrapping_mul(1_000_003).wrapping_add(number));
    Case::random(&bench.scene, &mut random)
}

/// In single steps.
pub fn stepped(bench: &mut Bench, case: &Case, without: Steps) -> Seen {
    case.lay_out(&mut bench.scene);
    let plan = bench
        .scene
        .plan(case.edits.len(), &case.schedule, case.generation, without);
    let (end, events) = reference::run(&bench.scene, &plan, &case.clock);
    Seen {
        end,
        events,
        entries: bench.scene.entries_now(),
    }
}

/// The assembly, emulated.
pub fn emulated(bench: &mut Bench, case: &Case, conditions: &Conditions) -> (Seen, Trace) {
    case.lay_out(&mut bench.scene);
    let scene = &bench.scene;
    let plan = scene.plan(
        case.edits.len(),
        &case.schedule,
        case.generation,
        Steps::empty(),
    );
    let block = scene.block(&plan);
    let (end, trace) = bench.emulator.run(scene, conditions, || {
        // SAFETY: The emulator does what RTM would. The scene has all that the plan
        // names, and no reference into it but to the plan.
        unsafe { transact(&block) }
    });
    let seen = Seen {
        end,
        events: trace.events.clone(),
        entries: scene.entries_now(),
    };
    (seen, trace)
}

/// Whether the assembly does as `expected`.
pub fn same(bench: &mut Bench, case: &Case, expected: &Seen) -> Outcome {
    let conditions = Conditions {
        clock: Some(case.clock.clone()),
        ..Conditions::default()
    };
    let (seen, trace) = emulated(bench, case, &conditions);
    if !trace.faults.is_empty() {
        return Err(format!("faults: {:x?}", trace.faults));
    }
    differ(expected, &seen).map_or(Ok(()), |text| Err(format!("{text}\n{:?}", case.schedule)))
}

fn differ(expected: &Seen, seen: &Seen) -> Option<String> {
    let mut text = String::new();
    let pairs = expected.events.iter().zip(&seen.events);
    let at = pairs.take_while(|(one, other)| one == other).count();
    let (one, other) = (expected.events.get(at), seen.events.get(at));
    if (one, other) != (None, None) {
        let _ = writeln!(text, "event {at}: steps {one:x?}, assembly {other:x?}");
    }
    if expected.end != seen.end {
        let _ = writeln!(
            text,
            "end: steps {:x?}, assembly {:x?}",
            expected.end, seen.end
        );
    }
    if expected.entries != seen.entries {
        let _ = writeln!(text, "the entries are different afterwards");
    }
    (!text.is_empty()).then_some(text)
}

/// What the plans came to, so that none of the ways was missed.
#[derive(Clone, Debug, Default)]
struct Counts {
    committed: u64,
    /// By the argument of XABORT, from 1.
    aborted: [u64; 4],
    many_edits: u64,
    watched: u64,
    slots_read: u64,
    events: u64,
}

impl Counts {
    fn add(&mut self, case: &Case, seen: &Seen) {
        match seen.end {
            Ok(_) => self.committed += 1,
            Err(status) => {
                let code = usize::from(status.argument().unwrap_or_default());
                self.aborted[code - 1] += 1;
            }
        }
        self.many_edits += u64::from(case.edits.len() > 64);
        let any =
            |wanted: fn(&Event) -> bool| seen.events.iter().filter(|e| wanted(e)).count() as u64;
        self.watched += u64::from(any(|event| matches!(event, Event::Watch(_))) > 0);
        self.slots_read += any(|event| matches!(event, Event::Slot(..)));
        self.events += seen.events.len() as u64;
    }

    fn check(&self, cases: u64) -> Outcome {
        let least = cases / 100;
        let seldom = self.aborted.iter().any(|n| *n < least);
        if seldom || self.committed < cases / 20 || self.watched < least || self.slots_read < cases
        {
            return Err(format!("some ways are too seldom: {self:?}"));
        }
        Ok(())
    }
}
