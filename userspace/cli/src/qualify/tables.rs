// SPDX-License-Identifier: GPL-2.0
//! What the IOMMU does with A and D: single accesses, and updates that race swaps.

use std::time::{Duration, Instant};

use anyhow::Result;
use pagemove_uapi::{
    EXPERIMENT_CLEAR, EXPERIMENT_FRAMES, EXPERIMENT_LANDS, EXPERIMENT_RACE, EXPERIMENT_USED,
    FRAME_FIRST, FRAME_SECOND, MAX_EXPERIMENT_NS, USED_ACCESSED, USED_DIRTY,
};

use super::clock::Clock;
use super::decide::{ENOUGH, ENOUGH_MARKED, ENOUGH_UPDATES};
use super::evidence::{Clean, Landings, Marks, Race, Trial};
use super::subject::Subject;

/// Accesses of each kind: at least, and at most, if there is time.
const ROUNDS: u64 = 30;
const MOST_ROUNDS: u64 = 3000;
/// The part of the time that a question of single accesses takes.
const SHARE: u32 = 5;
const BOTH: u64 = USED_ACCESSED | USED_DIRTY;
const ACCESSED: u64 = USED_ACCESSED;
/// How long a frame is swapped or a write waited for at most, and when the device writes meanwhile.
const LONGEST_SWAPS_NS: u64 = 20_000_000;
const DELAYS: [Duration; 5] = [
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(9),
];
/// The page that all of it is tried with.
const PAGE: usize = 0;

/// The result of an experiment, or the end of the trial.
macro_rules! seen {
    ($trial:expr) => {
        match $trial? {
            Trial::Seen(report) => report,
            Trial::Refused(reason) => return Ok(Trial::Refused(reason)),
            Trial::Pointless(why) => return Ok(Trial::Pointless(why)),
        }
    };
}
pub(super) use seen;

/// How long single accesses go on.
struct Rounds {
    begin: Instant,
    time: Duration,
}

impl Rounds {
    fn start(time: Duration) -> Self {
        Self {
            begin: Instant::now(),
            time: time / SHARE,
        }
    }

    fn go_on(&self, done: u64) -> bool {
        done < ROUNDS || done < MOST_ROUNDS && self.begin.elapsed() < self.time
    }
}

/// Tries what A and D are after single accesses.
pub fn marks(subject: &mut Subject, time: Duration) -> Result<Trial<Marks>> {
    let mut marks = Marks::default();
    let rounds = Rounds::start(time);
    while rounds.go_on(marks.reads) {
        seen!(subject.scene().experiment(EXPERIMENT_CLEAR, PAGE, 0));
        subject.look(PAGE)?;
        let used = seen!(subject.scene().experiment(EXPERIMENT_CLEAR, PAGE, 0)).found;
        marks.reads += 1;
        marks.reads_set_a += u64::from(used & ACCESSED != 0);
        subject.fetch(PAGE)?;
        let used = seen!(subject.scene().experiment(EXPERIMENT_USED, PAGE, 0)).found;
        marks.writes += 1;
        marks.writes_set_d += u64::from(used == BOTH);
    }
    Ok(Trial::Seen(marks))
}

/// Looks at the entry in the moment at which a write lands.
pub fn landings(subject: &mut Subject, time: Duration) -> Result<Trial<Landings>> {
    let mut landings = Landings::default();
    let clock = Clock::start(time / SHARE);
    let mut after = DELAYS.iter().cycle();
    let is_enough = |it: &Landings| it.seen > it.marked || it.seen >= ENOUGH;
    while clock.goes_on(is_enough(&landings)) && landings.seen < MOST_ROUNDS {
        seen!(subject.scene().experiment(EXPERIMENT_CLEAR, PAGE, 0));
        subject.spoil(PAGE);
        let after = after.next().copied().unwrap_or_default();
        let report = seen!(subject.fetch_during(PAGE, after, |scene| {
            scene.experiment(EXPERIMENT_LANDS, PAGE, LONGEST_SWAPS_NS)
        }));
        landings.tried += 1;
        landings.seen += report.updates;
        landings.marked += u64::from(report.updates != 0 && report.found == BOTH);
    }
    Ok(Trial::Seen(landings))
}

/// Tries a write after a read, without anything in between.
pub fn clean(subject: &mut Subject, time: Duration) -> Result<Trial<Clean>> {
    let mut clean = Clean::default();
    let rounds = Rounds::start(time);
    let mut done = 0;
    while rounds.go_on(done) {
        done += 1;
        seen!(subject.scene().experiment(EXPERIMENT_CLEAR, PAGE, 0));
        subject.look(PAGE)?;
        let read = seen!(subject.scene().experiment(EXPERIMENT_USED, PAGE, 0)).found;
        subject.fetch(PAGE)?;
        let written = seen!(subject.scene().experiment(EXPERIMENT_USED, PAGE, 0)).found;
        if read == ACCESSED {
            clean.tried += 1;
            clean.writes_set_d += u64::from(written == BOTH);
        }
    }
    Ok(Trial::Seen(clean))
}

/// Swaps against the updates of the IOMMU: an ignored bit of the entry, then its frame.
pub fn race(subject: &mut Subject, time: Duration) -> Result<Trial<Race>> {
    let mut race = seen!(bits(subject, time));
    let clock = Clock::start(time);
    let mut after = DELAYS.iter().cycle();
    while clock.goes_on(race.undone + race.astray > 0 || race.marked >= ENOUGH_MARKED) {
        let after = after.next().copied().unwrap_or_default();
        match frames(subject, after, &mut race)? {
            Trial::Seen(()) => {}
            Trial::Refused(reason) => return Ok(Trial::Refused(reason)),
            Trial::Pointless(why) => return Ok(Trial::Pointless(why)),
        }
    }
    Ok(Trial::Seen(race))
}

/// One DMA to a page whose entry is swapped between its frame and that of the page behind it.
fn frames(subject: &mut Subject, after: Duration, race: &mut Race) -> Result<Trial<()>> {
    for page in [PAGE, PAGE + 1] {
        subject.spoil(page);
    }
    let report = seen!(subject.fetch_during(PAGE, after, |scene| {
        scene.experiment(EXPERIMENT_FRAMES, PAGE, LONGEST_SWAPS_NS)
    }));
    race.undone += report.lost;
    let (marked, other) = match report.found {
        FRAME_FIRST => (PAGE, PAGE + 1),
        FRAME_SECOND => (PAGE + 1, PAGE),
        // The device came before or after it.
        _ => return Ok(Trial::Seen(())),
    };
    race.marked += 1;
    let (written, lines) = subject.written(marked);
    let (beside, _) = subject.written(other);
    race.astray += u64::from(written != lines || beside != 0);
    Ok(Trial::Seen(()))
}

/// Swaps of an ignored bit while the device writes the page.
fn bits(subject: &mut Subject, time: Duration) -> Result<Trial<Race>> {
    let (load, scene) = subject.load_one();
    let (trial, counts) = load.during(|_| {
        let mut race = Race::default();
        let clock = Clock::start(time);
        while clock.goes_on(race.swaps_lost > 0 || race.updates >= ENOUGH_UPDATES) {
            let report = seen!(scene.experiment(EXPERIMENT_RACE, PAGE, MAX_EXPERIMENT_NS));
            race.swaps += report.found;
            race.swaps_lost += report.lost;
            race.updates += report.updates;
        }
        Ok(Trial::Seen(race))
    })?;
    Ok(match trial {
        Trial::Seen(race) => Trial::Seen(Race {
            dmas: counts.dmas(),
            ..race
        }),
        other => other,
    })
}
