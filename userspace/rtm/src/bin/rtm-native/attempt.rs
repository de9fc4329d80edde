// SPDX-License-Identifier: GPL-2.0
//! One transaction on a scene, and many until one ends as it should.

use engine::rtm::{ticks, transact, Committed, Edit, Schedule, Status, Times};
use engine::Steps;
use pagemove_rtm::emulator::{Conditions, Emulator};
use pagemove_rtm::scene::Scene;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub type End = Result<Committed, Status>;

/// The entry of a page that is not moved, and of one that is.
pub const BEFORE: u64 = 0x1067;
pub const AFTER: u64 = 0x2067;

/// How often to try what has to happen at least once, and for how long at least: a neighbour on the same core
/// may evict what a transaction has read for as long as it runs.
pub const TRIES: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// How many times slower the emulation is, with a margin.
const SLOW: u64 = 1000;

/// What a helper has to know of the attempt that is being made.
#[derive(Debug, Default)]
pub struct Posted {
    /// The time of slot 0, in ticks; written before the generation.
    pub start: AtomicU64,
    pub generation: AtomicU64,
}

pub struct Bench {
    pub scene: Scene,
    pub posted: Arc<Posted>,
    generation: u64,
    /// For a CPU without RTM.
    emulator: Option<Emulator>,
}

/// What one transaction is given.
#[derive(Clone, Debug)]
pub struct Setup {
    pub edits: Vec<Edit>,
    pub times: Times,
    /// Slots from this one on are set before it begins.
    pub set_from: usize,
    /// From the beginning to the first slot, in ticks.
    pub wait: u64,
    /// From the beginning to the deadline, in ticks.
    pub deadline: Option<u64>,
    /// Phase 1 is late whatever it does.
    pub late: bool,
}

impl Setup {
    /// One entry, and all slots are set. Phase 1 is never late, and slots are due at
    /// once: the transaction is no longer than it has to be.
    pub fn new(bench: &Bench) -> Self {
        Self {
            edits: vec![bench.edit(0)],
            times: Times {
                lead: bench.scaled(10_000_000),
                first_slot: 0,
                interval: bench.scaled(2_000),
                slots: 8,
            },
            set_from: 0,
            wait: 0,
            deadline: None,
            late: false,
        }
    }
}

impl Bench {
    pub fn new(emulator: Option<Emulator>) -> Self {
        Self {
            scene: Scene::new(),
            posted: Arc::default(),
            generation: 0,
            emulator,
        }
    }

    /// Ticks, or more of them where everything takes longer.
    pub fn scaled(&self, ticks: u64) -> u64 {
        ticks * if self.emulator.is_some() { SLOW } else { 1 }
    }

    /// A change of entry `n`.
    pub fn edit(&self, n: usize) -> Edit {
        Edit {
            entry: self.scene.entries.address(n),
            expected: BEFORE,
            new: AFTER,
            watch: 0,
        }
    }

    /// Runs one transaction; every page that it needs has been touched.
    pub fn once(&mut self, setup: &Setup) -> End {
        self.generation += 1;
        for n in 0..Scene::ENTRIES {
            self.scene.entries.store(n, BEFORE);
        }
        for n in 0..64 {
            let set = n >= setup.set_from;
            self.scene.put_slot(n, self.generation - u64::from(!set));
        }
        self.scene.put_edits(&setup.edits);
        let now = ticks();
        let mut schedule =
            Schedule::plan(now, setup.times, 0, u64::MAX).expect("the times are small");
        // Slots are due whenever the test wants, not after signal 1.
        schedule.start = now + setup.wait;
        schedule.deadline = setup.deadline.map_or(u64::MAX, |after| now + after);
        if setup.late {
            schedule.late = now;
        }
        let scene = &self.scene;
        let plan = scene.plan(
            setup.edits.len(),
            &schedule,
            self.generation,
            Steps::empty(),
        );
        let block = scene.block(&plan);
        self.posted.start.store(schedule.start, Ordering::Relaxed);
        self.posted
            .generation
            .store(self.generation, Ordering::Release);
        // SAFETY: This CPU has RTM, or the emulator does as if. The scene has all that
        // the plan names, and other threads access it by whole words only.
        let run = || unsafe { transact(&block) };
        match &mut self.emulator {
            None => run(),
            Some(emulator) => {
                let (end, trace) = emulator.run(scene, &Conditions::default(), run);
                assert!(trace.faults.is_empty(), "{:x?}", trace.faults);
                end
            }
        }
    }

    fn changed_entries(&self) -> usize {
        (0..Scene::ENTRIES)
            .filter(|n| self.scene.entries.load(*n) != BEFORE)
            .count()
    }

    /// Tries until one ends as `wanted`. Whatever the end, all entries have been
    /// changed, or none.
    fn until(&mut self, setup: &Setup, wanted: impl Fn(&End) -> bool) -> Result<End, String> {
        let mut ends = BTreeMap::new();
        let begun = Instant::now();
        let mut tries = 0;
        while tries < TRIES || begun.elapsed() < PATIENCE {
            tries += 1;
            let end = self.once(setup);
            let expected = if end.is_ok() { setup.edits.len() } else { 0 };
            let changed = self.changed_entries();
            if changed != expected {
                return Err(format!("{changed} entries are changed after {end:x?}"));
            }
            if wanted(&end) {
                return Ok(end);
            }
            *ends
                .entry(end.map(|_| 0).map_err(|status| status.0))
                .or_insert(0) += 1;
        }
        Err(format!("{tries} tries: {ends:x?}"))
    }

    /// Tries until one commits.
    pub fn commit(&mut self, setup: &Setup) -> Result<Committed, String> {
        self.until(setup, Result::is_ok)?
            .map_err(|status| format!("{status:x?}"))
    }

    /// Tries until one aborts with a status as `wanted`; none may commit if none
    /// `may_commit`.
    pub fn abort(
        &mut self,
        setup: &Setup,
        may_commit: bool,
        wanted: impl Fn(Status) -> bool,
    ) -> Result<Status, String> {
        let end = self.until(setup, |end| match end {
            Ok(_) => !may_commit,
            Err(status) => wanted(*status),
        })?;
        match end {
            Ok(_) => Err("it committed".into()),
            Err(status) => Ok(status),
        }
    }
}
