// SPDX-License-Identifier: GPL-2.0
//! What every ioctl has in common: sizes, tails, flags and pointers.

use anyhow::Result;
use pagemove_uapi::{
    self as uapi, Control, DeviceList, Info, RegionList, RegionQuery, RegionSetup, Verdict,
    VerdictSet, PAGE_SIZE,
};

use super::{argument, State};
use crate::bench::{expect_errno, Bench};
use crate::call::Call;
use pagemove_testkit::tap::{Case, Pass};

/// Where the kernel maps all memory.
const KERNEL: usize = 0xffff_8880_0000_0000;

/// Each ioctl, with a structure that works. The bench's region lives as long as
/// the cases that use it.
fn templates(bench: &Bench, verdict: Verdict) -> Vec<Call> {
    // A page that is at its destination: it works and moves nothing.
    let mut moving = argument(bench);
    moving.node = bench.nodes.here;
    let setup = RegionSetup {
        length: PAGE_SIZE as u64,
        node: -1,
        ..Default::default()
    };
    let place = Box::leak(Box::new(uapi::Place::default()));
    let query = RegionQuery {
        id: bench.region.id,
        length: PAGE_SIZE as u64,
        entries: std::ptr::from_mut(place) as u64,
        ..Default::default()
    };
    let verdict_set = VerdictSet {
        verdict,
        ..Default::default()
    };
    let mut templates = of_offers(bench.region.id);
    let answer = Box::leak(Box::new(0u8));
    let used = uapi::Used {
        segment: moving.segment,
        bus: moving.bus,
        devfn: moving.devfn,
        iova: moving.iova,
        length: PAGE_SIZE as u64,
        entries: std::ptr::from_mut(answer) as u64,
        ..Default::default()
    };
    templates.push(Call::new("used", uapi::IOC_USED, used, uapi::USED_SIZE_V0));
    let run = Box::leak(Box::new(uapi::Mapping::default()));
    let maps = uapi::Maps {
        segment: moving.segment,
        bus: moving.bus,
        devfn: moving.devfn,
        entries: std::ptr::from_mut(run) as u64,
        capacity: 1,
        ..Default::default()
    };
    templates.push(Call::new("maps", uapi::IOC_MAPS, maps, uapi::MAPS_SIZE_V0));
    let lift = uapi::Lift {
        segment: moving.segment,
        bus: moving.bus,
        devfn: moving.devfn,
        ..Default::default()
    };
    templates.push(Call::new("lift", uapi::IOC_LIFT, lift, uapi::LIFT_SIZE_V0));
    let event = Box::leak(Box::new(uapi::Event::NONE));
    let events = uapi::Events {
        entries: std::ptr::from_mut(event) as u64,
        capacity: 1,
        ..Default::default()
    };
    templates.push(Call::new(
        "events",
        uapi::IOC_EVENTS,
        events,
        uapi::EVENTS_SIZE_V0,
    ));
    templates.extend([
        Call::new("info", uapi::IOC_INFO, Info::default(), uapi::INFO_SIZE_V0),
        Call::new(
            "region setup",
            uapi::IOC_REGION_SETUP,
            setup,
            uapi::REGION_SETUP_SIZE_V0,
        ),
        Call::new(
            "region list",
            uapi::IOC_REGION_LIST,
            RegionList::default(),
            uapi::REGION_LIST_SIZE_V0,
        ),
        Call::new(
            "region query",
            uapi::IOC_REGION_QUERY,
            query,
            uapi::REGION_QUERY_SIZE_V0,
        ),
        Call::new(
            "device list",
            uapi::IOC_DEVICE_LIST,
            DeviceList::default(),
            uapi::DEVICE_LIST_SIZE_V0,
        ),
        Call::zeroes(
            "session list",
            uapi::IOC_SESSION_LIST,
            uapi::SESSION_LIST_SIZE_V0,
        ),
        Call::zeroes(
            "verdict list",
            uapi::IOC_VERDICT_LIST,
            uapi::VERDICT_LIST_SIZE_V0,
        ),
        Call::zeroes(
            "aperture list",
            uapi::IOC_APERTURE_LIST,
            uapi::APERTURE_LIST_SIZE_V0,
        ),
        Call::zeroes(
            "window list",
            uapi::IOC_WINDOW_LIST,
            uapi::WINDOW_LIST_SIZE_V0,
        ),
        Call::new(
            "verdict set",
            uapi::IOC_VERDICT_SET,
            verdict_set,
            uapi::VERDICT_SET_SIZE_V0,
        ),
        Call::new("move", uapi::IOC_MOVE, moving, uapi::MOVE_SIZE_V0),
        Call {
            v0: uapi::STATS_SIZE_V0,
            ..Call::zeroes("stats", uapi::IOC_STATS, size_of::<uapi::Stats>())
        },
    ]);
    templates
}

fn first_unknown_flag(call: &str) -> u32 {
    match call {
        "move" => 7,
        "offer" | "used" | "lift" => 1,
        _ => 0,
    }
}

/// Calls about a page of the bench's region: in this order, so that it is not offered any more
/// when another moves it.
fn of_offers(region: u32) -> Vec<Call> {
    let page = PAGE_SIZE as u64;
    let target = Box::leak(Box::new(0u64));
    let offer = uapi::Offer {
        region,
        length: page,
        targets: std::ptr::from_mut(target) as u64,
        ..Default::default()
    };
    let offered = uapi::Offered {
        region,
        length: page,
        ..Default::default()
    };
    let wanted = uapi::Wanted {
        region,
        ..Default::default()
    };
    vec![
        Call::new("offer", uapi::IOC_OFFER, offer, uapi::OFFER_SIZE_V0),
        Call::new("arrive", uapi::IOC_ARRIVE, offered, uapi::OFFERED_SIZE_V0),
        Call::new("retract", uapi::IOC_RETRACT, offered, uapi::OFFERED_SIZE_V0),
        Call::new("wanted", uapi::IOC_WANTED, wanted, uapi::WANTED_SIZE_V0),
    ]
}

pub fn cases(bench: &Bench, verdict: Verdict) -> Vec<Case<State>> {
    let templates = templates(bench, verdict);
    let mut cases: Vec<Case<State>> = templates.into_iter().flat_map(of_call).collect();
    cases.push(case("an unknown number: ENOTTY", |_| {
        let call = Call::zeroes("unknown", uapi::IOC_TYPE << 8 | 0x3f, 64);
        expect_errno("0x3f", call.clone().issue(&Control::open()?), libc::ENOTTY)
    }));
    cases.push(case("a number of another driver: ENOTTY", |_| {
        let call = Call::zeroes("TCGETS", 0x5401, 64);
        expect_errno(
            "TCGETS",
            call.clone().issue(&Control::open()?),
            libc::ENOTTY,
        )
    }));
    cases
}

fn case(
    name: impl Into<String>,
    check: impl FnOnce(&mut State) -> Result<()> + 'static,
) -> Case<State> {
    Case::new(name, |state| {
        check(state)?;
        state.nothing_moved()?;
        Ok(Pass)
    })
}

/// Each try has a file of its own: a region setup that works does so once.
fn try_call(call: &Call, expected: i32) -> Result<()> {
    expect_errno(call.name, call.clone().issue(&Control::open()?), expected)
}

fn of_call(call: Call) -> Vec<Case<State>> {
    let mut cases = vec![
        sized(&call, "no bytes", 0, libc::EINVAL),
        sized(
            &call,
            "a byte less than V0",
            call.v0 as u32 - 1,
            libc::EINVAL,
        ),
        sized(&call, "four bytes", 4, libc::EINVAL),
        tailed(
            &call,
            "a newer structure whose tail is zero works",
            vec![0; 24],
            0,
        ),
        tailed(
            &call,
            "a newer structure of a whole page works",
            vec![0; PAGE_SIZE - call.bytes.len()],
            0,
        ),
        tailed(
            &call,
            "a newer structure whose tail is not zero",
            [vec![0; 23], vec![1]].concat(),
            libc::E2BIG,
        ),
        tailed(
            &call,
            "a newer structure whose long tail is not zero",
            [vec![0; 9000], vec![1]].concat(),
            libc::E2BIG,
        ),
        pointed(&call, "NULL", 0),
        pointed(&call, "a kernel address", KERNEL),
        pointed(&call, "an address that nothing has", 0x10_0000),
    ];
    if call.v0 < call.bytes.len() {
        cases.push(first_published(&call));
    }
    if call.has_flags {
        for bit in [first_unknown_flag(call.name), 31] {
            let flagged = call.clone().with_flag(1 << bit);
            let name = format!("{}: unknown flag {bit}: EOPNOTSUPP", call.name);
            cases.push(case(name, move |_| try_call(&flagged, libc::EOPNOTSUPP)));
        }
    }
    let name = format!("{}: a structure that can not be written: EFAULT", call.name);
    cases.push(case(name, move |_| {
        expect_errno(
            call.name,
            call.issue_read_only(&Control::open()?)?,
            libc::EFAULT,
        )
    }));
    cases
}

fn sized(call: &Call, what: &str, size: u32, expected: i32) -> Case<State> {
    let name = format!(
        "{}: a size of {what}: {}",
        call.name,
        uapi::errno::name(expected)
    );
    let call = call.clone().with_size(size);
    case(name, move |_| try_call(&call, expected))
}

/// Makes a case of a program that was compiled with the first version: it gets what it knows, and
/// `Call::issue` sees to it that no byte after that is written.
fn first_published(call: &Call) -> Case<State> {
    let name = format!("{}: a structure of the first version works", call.name);
    let mut call = call.clone().with_size(call.v0 as u32);
    call.bytes.truncate(call.v0);
    case(name, move |_| try_call(&call, 0))
}

fn tailed(call: &Call, what: &str, tail: Vec<u8>, expected: i32) -> Case<State> {
    let errno = if expected == 0 {
        String::new()
    } else {
        format!(": {}", uapi::errno::name(expected))
    };
    let name = format!("{}: {what}{errno}", call.name);
    let call = call.clone().with_tail(&tail);
    case(name, move |_| try_call(&call, expected))
}

fn pointed(call: &Call, what: &str, pointer: usize) -> Case<State> {
    let name = format!("{}: {what} as the structure: EFAULT", call.name);
    let call = call.clone();
    case(name, move |_| {
        expect_errno(
            call.name,
            call.issue_at(&Control::open()?, pointer),
            libc::EFAULT,
        )
    })
}
