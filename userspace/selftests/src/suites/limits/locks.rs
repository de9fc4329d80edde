// SPDX-License-Identifier: GPL-2.0
//! A call whose memory takes its time: nobody else waits for it. Whoever holds a region's
//! file can have such memory (userfaultfd, FUSE), and so could stop everybody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{self as uapi, Control, MoveRequest, Plain, MOVE_EVEN_IF_THERE, PAGE_SIZE};

use crate::bench::Bench;
use crate::call::Call;
use crate::region::Region;
use crate::slow_page::SlowPage;
use pagemove_testkit::tap::{Case, Outcome, Pass};

/// For everything that others do meanwhile. What they do takes 20 ms under TCG.
const MOST: Duration = Duration::from_secs(40);

/// What of a call is in the slow page.
#[derive(Clone, Copy)]
enum Slow {
    Structure,
    /// The array whose address is at this byte of the structure.
    Array(usize),
}

type Make = fn(&Bench) -> Call;

macro_rules! list {
    ($name:literal, $request:ident, $type:ident, $v0:ident) => {
        (
            $name,
            Slow::Array(8),
            (|_| {
                call(
                    $name,
                    uapi::$request,
                    uapi::$type {
                        capacity: 64,
                        ..Default::default()
                    },
                    uapi::$v0,
                )
            }) as Make,
        )
    };
}

const CALLS: &[(&str, Slow, Make)] = &[
    ("info", Slow::Structure, |_| {
        call(
            "info",
            uapi::IOC_INFO,
            uapi::Info::default(),
            uapi::INFO_SIZE_V0,
        )
    }),
    ("move", Slow::Structure, |bench| move_call(bench, 0)),
    (
        "move",
        Slow::Array(std::mem::offset_of!(uapi::Move, results)),
        |bench| move_call(bench, 1),
    ),
    list!(
        "region list",
        IOC_REGION_LIST,
        RegionList,
        REGION_LIST_SIZE_V0
    ),
    list!(
        "device list",
        IOC_DEVICE_LIST,
        DeviceList,
        DEVICE_LIST_SIZE_V0
    ),
    (
        "region query",
        Slow::Array(std::mem::offset_of!(uapi::RegionQuery, entries)),
        region_query,
    ),
    (
        "used",
        Slow::Array(std::mem::offset_of!(uapi::Used, entries)),
        used,
    ),
    (
        "events",
        Slow::Array(std::mem::offset_of!(uapi::Events, entries)),
        events,
    ),
    (
        "maps",
        Slow::Array(std::mem::offset_of!(uapi::Maps, entries)),
        maps,
    ),
    (
        "offer",
        Slow::Array(std::mem::offset_of!(uapi::Offer, targets)),
        offer,
    ),
];

pub fn cases() -> Vec<Case<Option<Bench>>> {
    let case = |(name, slow, make): &'static (&str, Slow, Make)| {
        let what = match slow {
            Slow::Structure => "structure",
            Slow::Array(_) => "array",
        };
        Case::new(
            format!("nobody waits for a call of {name} whose {what} is slow memory"),
            |bench: &mut Option<Bench>| attempt(bench.as_ref().context("no bench")?, *slow, *make),
        )
    };
    CALLS.iter().map(case).collect()
}

fn call<T: Plain>(name: &'static str, request: u32, argument: T, v0: usize) -> Call {
    Call::new(name, request, argument, v0)
}

/// A move of eight pages to where they are.
fn move_call(bench: &Bench, results: u64) -> Call {
    let argument = uapi::Move {
        flags: MOVE_EVEN_IF_THERE,
        segment: bench.device.segment,
        bus: bench.device.bus,
        devfn: bench.device.devfn,
        iova: crate::bench::IOVA,
        length: (8 * PAGE_SIZE) as u64,
        node: bench.nodes.here,
        retries: 20,
        results,
        result_size: if results == 0 {
            0
        } else {
            size_of::<uapi::PageResult>() as u32
        },
        ..Default::default()
    };
    call("move", uapi::IOC_MOVE, argument, uapi::MOVE_SIZE_V0)
}

fn region_query(bench: &Bench) -> Call {
    let argument = uapi::RegionQuery {
        id: bench.region.id,
        length: (8 * PAGE_SIZE) as u64,
        ..Default::default()
    };
    call(
        "region query",
        uapi::IOC_REGION_QUERY,
        argument,
        uapi::REGION_QUERY_SIZE_V0,
    )
}

fn maps(bench: &Bench) -> Call {
    let argument = uapi::Maps {
        segment: bench.device.segment,
        bus: bench.device.bus,
        devfn: bench.device.devfn,
        capacity: 8,
        ..Default::default()
    };
    call("maps", uapi::IOC_MAPS, argument, uapi::MAPS_SIZE_V0)
}

/// There are some: the bench has a region.
fn events(_: &Bench) -> Call {
    let argument = uapi::Events {
        capacity: 8,
        ..Default::default()
    };
    call("events", uapi::IOC_EVENTS, argument, uapi::EVENTS_SIZE_V0)
}

fn used(bench: &Bench) -> Call {
    let argument = uapi::Used {
        segment: bench.device.segment,
        bus: bench.device.bus,
        devfn: bench.device.devfn,
        iova: crate::bench::IOVA,
        length: (8 * PAGE_SIZE) as u64,
        ..Default::default()
    };
    call("used", uapi::IOC_USED, argument, uapi::USED_SIZE_V0)
}

/// Pages 200 and on: the offer is taken back below.
fn offer(bench: &Bench) -> Call {
    let argument = uapi::Offer {
        region: bench.region.id,
        offset: (200 * PAGE_SIZE) as u64,
        length: (8 * PAGE_SIZE) as u64,
        ..Default::default()
    };
    call("offer", uapi::IOC_OFFER, argument, uapi::OFFER_SIZE_V0)
}

fn retract(bench: &Bench) -> Result<()> {
    let argument = uapi::Offered {
        region: bench.region.id,
        offset: (200 * PAGE_SIZE) as u64,
        length: (8 * PAGE_SIZE) as u64,
        ..Default::default()
    };
    let mut end = call(
        "retract",
        uapi::IOC_RETRACT,
        argument,
        uapi::OFFERED_SIZE_V0,
    );
    end.issue(&bench.control)
        .map_err(std::io::Error::from_raw_os_error)
        .context("RETRACT")
}

fn attempt(bench: &Bench, slow: Slow, make: Make) -> Outcome {
    let page = SlowPage::new()?;
    let mut call = make(bench);
    if let Slow::Array(at) = slow {
        call.bytes[at..at + 8].copy_from_slice(&(page.address() as u64).to_ne_bytes());
    }
    let content = match slow {
        Slow::Structure => SlowPage::content(&call.bytes)?,
        Slow::Array(_) => SlowPage::content(&[])?,
    };
    let own = Control::open()?;
    let ended = AtomicBool::new(false);
    let (others, result) = thread::scope(|scope| {
        let slow_call = scope.spawn(|| {
            let result = match slow {
                Slow::Structure => call.issue_at(&own, page.address()),
                Slow::Array(_) => call.issue(&own),
            };
            ended.store(true, Ordering::SeqCst);
            result
        });
        let others = page
            .wait_for_access(MOST)
            .and_then(|()| beside(scope, bench, &ended));
        let let_go = page.let_go(&content);
        (
            others.and(let_go),
            slow_call.join().expect("the slow call panicked"),
        )
    });
    others?;
    result
        .map_err(std::io::Error::from_raw_os_error)
        .context("the slow call itself")?;
    if call.name == "offer" {
        retract(bench)?;
    }
    bench.region.map.check(0)?;
    Ok(Pass)
}

/// Others do what they want to, and are done in time, while the slow call waits.
fn beside<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    bench: &'scope Bench,
    ended: &AtomicBool,
) -> Result<()> {
    let start = Instant::now();
    let others = scope.spawn(|| everything(bench));
    while !others.is_finished() {
        ensure!(start.elapsed() < MOST, "others have waited {MOST:?}");
        thread::sleep(Duration::from_millis(5));
    }
    ensure!(!ended.load(Ordering::SeqCst), "the slow call did not wait");
    others.join().expect("the others panicked")
}

fn everything(bench: &Bench) -> Result<()> {
    let control = Control::open()?;
    control.info()?;
    control.stats()?;
    control.region_list()?;
    control.device_list()?;
    let region = Region::on_node(4, bench.nodes.here)?;
    region.map.fill(3);
    region.places()?;
    drop(region);
    // The very pages of the slow call: CPUs reach them, and they can be moved.
    bench.region.map.check_page(0, 0)?;
    bench.region.map.write(0, 0, bench.region.map.read(0, 0));
    let request = MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        ..bench.request(0, 8, bench.nodes.here)
    };
    let report = control.move_pages(&request, None);
    ensure!(
        report.error.is_none(),
        "a move: {}",
        crate::bench::describe(&report)
    );
    Ok(())
}
