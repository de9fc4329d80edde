// SPDX-License-Identifier: GPL-2.0
//! The monitor with a kernel that is made up.

use std::cell::{Cell, RefCell};

use pagemove_uapi::{Call, Event, Heard, EVENT_LINK_DOWN, EVENT_LINK_UP, MAX_EVENTS};

use super::*;

/// A kernel in which something happens whenever somebody waits.
#[derive(Default)]
struct Fake {
    /// Events so far; the kinds alternate.
    count: Cell<u64>,
    /// Events that come in each wait; none where it has to be the last one.
    comes: RefCell<Vec<u64>>,
    waits: RefCell<Vec<Option<Duration>>>,
    asked: RefCell<Vec<(u64, usize)>>,
    aborts: Cell<u64>,
    has_read: Cell<bool>,
}

impl Fake {
    fn with(count: u64, comes: &[u64]) -> Self {
        let mut comes = comes.to_vec();
        comes.reverse();
        Self {
            count: Cell::new(count),
            comes: RefCell::new(comes),
            ..Self::default()
        }
    }
}

impl Source for Fake {
    fn end(&self) -> Result<u64, Error> {
        self.has_read.set(true);
        Ok(self.count.get() + 1)
    }

    fn events(&self, next: u64, most: usize) -> Result<Heard, Error> {
        self.has_read.set(true);
        self.asked.borrow_mut().push((next, most));
        let end = self.count.get() + 1;
        let oldest = end.saturating_sub(MAX_EVENTS as u64).max(1);
        let first = next.max(oldest);
        let last = end.min(first + most as u64);
        let event = |number| Event {
            number,
            kind: [EVENT_LINK_UP, EVENT_LINK_DOWN][(number % 2) as usize],
            ..Event::NONE
        };
        Ok(Heard {
            events: (first..last).map(event).collect(),
            next: last,
            lost: first - next.max(1).min(first),
            end,
        })
    }

    fn stats(&self) -> Result<Stats, Error> {
        // SAFETY: every bit pattern is a valid Stats.
        let mut stats: Stats = unsafe { std::mem::zeroed() };
        stats.aborts[0] = self.aborts.get();
        Ok(stats)
    }

    fn wait(&self, most: Option<Duration>) -> Result<Awaited, Error> {
        self.waits.borrow_mut().push(most);
        match self.comes.borrow_mut().pop() {
            _ if !self.has_read.get() => Ok(Awaited::NotRead),
            Some(0) => {
                std::thread::sleep(most.unwrap_or_default());
                Ok(Awaited::Nothing)
            }
            Some(events) => {
                self.count.set(self.count.get() + events);
                Ok(Awaited::Events)
            }
            None => Err(Error::new(Call::Events, libc::ENXIO)),
        }
    }
}

/// Runs a monitor until the kernel has nothing more to say. Returns what it has printed, as numbers of
/// events and words of its own.
fn run(fake: &Fake, args: &MonitorArgs) -> (Vec<String>, Result<(), Error>) {
    let lines = RefCell::new(Vec::new());
    let print = |line: &Line| {
        let json = serde_json::to_value(line).unwrap();
        let own = match json["lost"].as_u64() {
            Some(lost) => format!("lost {lost}"),
            None => json["kind"].as_str().unwrap().to_string(),
        };
        let number = json["number"].as_u64();
        lines
            .borrow_mut()
            .push(number.map_or(own, |number| number.to_string()));
    };
    let done = Monitor::new(fake, args).and_then(|monitor| monitor.run(print, || false));
    (lines.into_inner(), done)
}

#[test]
fn it_waits_for_what_is_new() {
    let fake = Fake::with(5, &[1, 2]);
    let (lines, done) = run(&fake, &MonitorArgs::default());
    assert_eq!(lines, ["6", "7", "8"]);
    assert_eq!(done.unwrap_err().errno, libc::ENXIO);
    // Not once without having found nothing, and for as long as it takes.
    assert_eq!(*fake.waits.borrow(), [None; 3]);
    assert_eq!(
        fake.asked
            .borrow()
            .iter()
            .map(|(next, _)| *next)
            .collect::<Vec<_>>(),
        [6, 6, 7]
    );
}

#[test]
fn it_begins_with_the_past_if_asked_to() {
    let args = MonitorArgs {
        past: true,
        ..Default::default()
    };
    let (lines, _) = run(&Fake::with(3, &[]), &args);
    assert_eq!(lines, ["1", "2", "3"]);
}

#[test]
fn it_says_what_it_has_missed() {
    let all = MAX_EVENTS as u64;
    let fake = Fake::with(0, &[all + 12]);
    let (lines, _) = run(&fake, &MonitorArgs::default());
    assert_eq!(lines.len() as u64, all + 1);
    assert_eq!(&lines[..2], ["lost 12", "13"]);
    assert_eq!(lines.last(), Some(&(all + 12).to_string()));
}

#[test]
fn it_ends_after_so_many_events() {
    let args = MonitorArgs {
        events: Some(3),
        ..Default::default()
    };
    let fake = Fake::with(0, &[2, 70]);
    let (lines, done) = run(&fake, &args);
    assert!(done.is_ok());
    // What is lost is no event.
    assert_eq!(lines, ["1", "2", "3"]);
    let args = MonitorArgs {
        events: Some(1),
        past: true,
        ..Default::default()
    };
    let (lines, _) = run(&Fake::with(2000, &[]), &args);
    assert_eq!(lines, ["lost 976", "977"]);
}

#[test]
fn it_ends_after_a_time() {
    let args = MonitorArgs {
        time: Some(Duration::from_millis(30)),
        ..Default::default()
    };
    let fake = Fake::with(0, &[1, 0, 0, 0]);
    let (lines, done) = run(&fake, &args);
    assert!(done.is_ok());
    assert_eq!(lines, ["1"]);
    assert!(fake
        .waits
        .borrow()
        .iter()
        .all(|wait| wait.unwrap() <= Duration::from_millis(30)));
}

#[test]
fn it_ends_when_told_to() {
    let fake = Fake::with(0, &[1, 1, 1]);
    let printed = Cell::new(0);
    let monitor = Monitor::new(&fake, &MonitorArgs::default()).unwrap();
    let done = monitor.run(|_| printed.set(printed.get() + 1), || printed.get() == 2);
    assert!(done.is_ok() && printed.get() == 2);
}

#[test]
fn it_looks_at_the_counters_only_where_a_rate_is_watched() {
    let fake = Fake::with(0, &[1]);
    let mut monitor = Monitor::new(
        &fake,
        &MonitorArgs {
            aborts_above: Some(10),
            ..Default::default()
        },
    )
    .unwrap();
    let lines = RefCell::new(Vec::new());
    let print = |line: &Line| lines.borrow_mut().push(line.human());
    for aborts in [5, 100, 200, 201] {
        fake.aborts.set(aborts);
        monitor.look(&fake.stats().unwrap(), Duration::from_secs(1), &print);
    }
    let lines = lines.into_inner();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("aborts-above 10 a second: 95 (accessed 95)"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("aborts-below 10 a second: 1 (accessed 1)"),
        "{lines:?}"
    );
    // It wakes for that once a second, and otherwise not at all.
    let args = MonitorArgs {
        aborts_above: Some(10),
        ..Default::default()
    };
    run(&fake, &args).1.unwrap_err();
    assert!(fake.waits.borrow().iter().all(|wait| wait.unwrap() <= LOOK));
}
