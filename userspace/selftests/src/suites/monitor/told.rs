// SPDX-License-Identifier: GPL-2.0
//! What events say.

use anyhow::{ensure, Result};
use pagemove_testkit::tap::{Outcome, Pass};
use pagemove_testkit::vfio::READ_WRITE;
use pagemove_uapi::{
    Control, Event, PciAddress, EVENT_DEVICE_CLOSED, EVENT_DEVICE_OPENED, EVENT_MOVE_BEGUN,
    EVENT_MOVE_ENDED, EVENT_REGION_CLOSED, EVENT_REGION_MADE, MAX_EVENTS, PAGE_SIZE,
    REASON_NOT_MAPPED,
};

use crate::bench::{self, Bench, IOVA};

const PAGES: usize = 8;
/// Where a page is mapped a second time, so that it is in use.
pub const AGAIN: u64 = IOVA + (1 << 20);

/// Events since a file has passed over those before, its own end of the list.
struct Listener {
    control: Control,
    next: u64,
    since_ns: u64,
}

impl Listener {
    fn begin() -> Result<Self> {
        let control = Control::open()?;
        let next = control.events_from_now()?;
        Ok(Self {
            control,
            next,
            since_ns: monotonic_ns(),
        })
    }

    /// Returns what has come since; checks numbers and times.
    fn hear(&mut self) -> Result<Vec<Event>> {
        let heard = self.control.events(self.next, MAX_EVENTS)?;
        ensure!(heard.lost == 0 && heard.next == heard.end, "{heard:?}");
        for event in &heard.events {
            ensure!(
                event.number == self.next,
                "{} is missing: {heard:?}",
                self.next
            );
            ensure!(
                event.time_ns >= self.since_ns && event.time_ns <= monotonic_ns(),
                "from {} to now: {event:?}",
                self.since_ns
            );
            (self.next, self.since_ns) = (event.number + 1, event.time_ns);
        }
        Ok(heard.events)
    }
}

fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place for one.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What is compared of an event: not number, time and values.
fn about(kind: u32, id: u32, device: Option<PciAddress>, pid: i32) -> Event {
    let mut event = Event {
        kind,
        id,
        pid,
        ..Event::NONE
    };
    if let Some(device) = device {
        (event.segment, event.bus, event.devfn) = (device.segment, device.bus, device.devfn);
    }
    event
}

fn expect(found: &[Event], expected: &[(Event, [u64; 2])]) -> Result<()> {
    ensure!(found.len() == expected.len(), "{found:#?}");
    for (found, (event, values)) in found.iter().zip(expected) {
        let expected = Event {
            number: found.number,
            time_ns: found.time_ns,
            values: *values,
            ..*event
        };
        ensure!(*found == expected, "{found:?} instead of {expected:?}");
    }
    Ok(())
}

pub fn in_order() -> Outcome {
    let mut listener = Listener::begin()?;
    let bench = Bench::open(PAGES)?;
    let (id, device) = (bench.region.id, Some(bench.device));
    let pid = std::process::id() as i32;
    let bytes = (PAGES * PAGE_SIZE) as u64;
    expect(
        &listener.hear()?,
        &[
            (about(EVENT_REGION_MADE, id, None, pid), [bytes, 0]),
            (about(EVENT_DEVICE_OPENED, 0, device, 0), [0; 2]),
        ],
    )?;
    for (first, pages) in [(0, PAGES), (2, 3)] {
        let node = [bench.nodes.there, bench.nodes.here][usize::from(first != 0)];
        let (report, _) = bench.move_pages(&bench.request(first, pages, node));
        ensure!(report.error.is_none(), "{}", bench::describe(&report));
        let heard = listener.hear()?;
        let call = heard.first().map_or(0, |event| event.id);
        let iova = IOVA + (first * PAGE_SIZE) as u64;
        let aborts = report.aborts.iter().sum();
        ensure!(call != 0, "{heard:?}");
        expect(
            &heard,
            &[
                (
                    about(EVENT_MOVE_BEGUN, call, device, pid),
                    [pages as u64, iova],
                ),
                (
                    about(EVENT_MOVE_ENDED, call, device, pid),
                    [report.pages_moved, aborts],
                ),
            ],
        )?;
    }
    let Bench {
        assigned, region, ..
    } = bench;
    drop(assigned);
    expect(
        &listener.hear()?,
        &[(about(EVENT_DEVICE_CLOSED, 0, device, 0), [0; 2])],
    )?;
    drop(region);
    expect(
        &listener.hear()?,
        &[(
            about(EVENT_REGION_CLOSED, id, None, pid),
            [bytes, PAGES as u64],
        )],
    )?;
    Ok(Pass)
}

pub fn of_failures() -> Outcome {
    let bench = Bench::open(PAGES)?;
    let mut listener = Listener::begin()?;
    // Without a node that there is nothing begins.
    bench.move_pages(&bench.request(0, 1, 99));
    ensure!(
        listener.hear()?.is_empty(),
        "a call that names no node is told"
    );
    let unmapped = bench::request(bench.device, 0x8000, 1, bench.nodes.there);
    bench.move_pages(&unmapped);
    let heard = listener.hear()?;
    let ended = heard.last().copied().unwrap_or(Event::NONE);
    ensure!(
        heard.len() == 2
            && (ended.kind, ended.error, ended.reason)
                == (EVENT_MOVE_ENDED, libc::ENOENT as u32, REASON_NOT_MAPPED),
        "{heard:#?}"
    );
    let mapped =
        bench
            .assigned
            .container
            .map(AGAIN, bench.region.map.address(), PAGE_SIZE, READ_WRITE);
    mapped.map_err(std::io::Error::from_raw_os_error)?;
    let (report, _) = bench.move_pages(&bench.request(0, 1, bench.nodes.there));
    let aborts: u64 = report.aborts.iter().sum();
    let heard = listener.hear()?;
    let ended = heard.last().copied().unwrap_or(Event::NONE);
    ensure!(
        aborts > 0 && ended.kind == EVENT_MOVE_ENDED && ended.values == [0, aborts],
        "{aborts} aborts: {heard:#?}"
    );
    Ok(Pass)
}
