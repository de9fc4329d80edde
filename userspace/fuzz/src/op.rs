// SPDX-License-Identifier: GPL-2.0
//! Every call that programs are made of: its arguments, how often it is chosen, and how it is
//! made. An ioctl is a table of members; the rest are functions.

use std::mem::offset_of;

use pagemove_uapi as uapi;

use crate::calls::{devices, files, maps};
use crate::errno;
use crate::value::{Kind, Value, PLACES, SIZES};
use crate::world::{Outcome, World};

pub struct Op {
    pub name: &'static str,
    /// How often it is chosen, in relation to the others.
    pub weight: u32,
    pub args: &'static [Arg],
    pub what: What,
}

pub struct Arg {
    pub name: &'static str,
    pub kind: Kind,
    /// Where it is in the structure of an ioctl, and how many bytes it has.
    pub at: usize,
    pub width: usize,
}

pub enum What {
    Ioctl(Ioctl),
    Other(fn(&mut World, &[Value]) -> Outcome),
}

/// The first three arguments are the file, what the structure says of its size, and where it is.
pub struct Ioctl {
    pub request: u32,
    pub size: usize,
    pub v0: usize,
    /// Where it says a reason, if it does.
    pub reason: Option<usize>,
    /// What the header says that it can end with, besides what every ioctl can.
    pub errnos: &'static [i32],
}

const fn plain(name: &'static str, kind: Kind) -> Arg {
    Arg {
        name,
        kind,
        at: 0,
        width: 0,
    }
}

const fn width<S, T>(_: fn(&S) -> &T) -> usize {
    size_of::<T>()
}

macro_rules! ioctl {
    ($name:literal, $weight:literal, $request:ident, $type:ident, $v0:ident, $reason:expr, $errnos:expr,
     $($($member:ident).+ $(as $alias:literal)? $([$bytes:literal])? : $kind:expr),* $(,)?) => {
        Op {
            name: $name,
            weight: $weight,
            args: &[
                plain("file", Kind::File),
                plain("size", Kind::Names(SIZES)),
                plain("place", Kind::Names(PLACES)),
                $(Arg {
                    name: member_name!($($member).+ $(, $alias)?),
                    kind: $kind,
                    at: offset_of!(uapi::$type, $($member).+),
                    width: member_width!($type, $($member).+ $(, $bytes)?),
                },)*
            ],
            what: What::Ioctl(Ioctl {
                request: uapi::$request,
                size: size_of::<uapi::$type>(),
                v0: uapi::$v0,
                reason: $reason,
                errnos: $errnos,
            }),
        }
    };
}

macro_rules! member_name {
    ($($member:ident).+, $alias:literal) => { $alias };
    ($($member:ident).+) => { last!(stringify!($($member).+)) };
}

macro_rules! last {
    ($text:expr) => {
        last($text)
    };
}

macro_rules! member_width {
    ($type:ident, $($member:ident).+, $bytes:literal) => { $bytes };
    ($type:ident, $($member:ident).+) => { width(|s: &uapi::$type| &s.$($member).+) };
}

/// Returns of `verdict.format` the part after the point.
const fn last(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut from = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'.' || bytes[at] == b' ' {
            from = at + 1;
        }
        at += 1;
    }
    match std::str::from_utf8(bytes.split_at(from).1) {
        Ok(part) => part,
        Err(_) => path,
    }
}

macro_rules! list {
    ($name:literal, $request:ident, $type:ident, $v0:ident, $element:ident) => {
        ioctl!($name, 3, $request, $type, $v0, None, errno::FLAGS,
            flags: NONE, entries: Kind::Array(size_of::<uapi::$element>(), "capacity"), capacity: CAPACITY)
    };
}

const NONE: Kind = Kind::Pick(&[0], &[1, 1 << 31]);
const CAPACITY: Kind = Kind::Pick(&[0, 1, 4, 16, 64], &[4096, 262_144, 262_145, 0xffff_ffff]);
const CPU: Kind = Kind::Pick(&[0, 0, 0, 1, 2], &[3, 64, 0xffff_ffff]);
const MOVE_FLAGS: u64 = 0x7f;

pub static OPS: &[Op] = &[
    Op {
        name: "open",
        weight: 6,
        args: &[plain("file", Kind::OwnFile)],
        what: What::Other(files::open),
    },
    Op {
        name: "close",
        weight: 4,
        args: &[plain("file", Kind::OwnFile)],
        what: What::Other(files::close),
    },
    Op {
        name: "seek",
        weight: 1,
        args: &[
            plain("file", Kind::File),
            plain("offset", Kind::Offset),
            plain("whence", Kind::Pick(&[0, 1, 2], &[3, 4, 9])),
        ],
        what: What::Other(files::seek),
    },
    Op {
        name: "poll",
        weight: 1,
        args: &[
            plain("file", Kind::File),
            plain("ms", Kind::Pick(&[0, 1], &[20])),
        ],
        what: What::Other(files::poll),
    },
    Op {
        name: "read_counters",
        weight: 1,
        args: &[],
        what: What::Other(files::read_counters),
    },
    Op {
        name: "strange_ioctl",
        weight: 1,
        args: &[
            plain("file", Kind::File),
            plain(
                "request",
                Kind::Pick(&[0xbb3e, 0xbb3f, 0xbbff], &[0, 0x5401, 0xbc00, 0xc018_bb05]),
            ),
        ],
        what: What::Other(files::strange_ioctl),
    },
    Op {
        name: "test_window",
        weight: 1,
        args: &[
            plain("file", Kind::File),
            plain("action", Kind::Pick(&[1, 2, 3], &[0, 4, 255])),
            plain("window", Kind::Window(0)),
        ],
        what: What::Other(files::test_window),
    },
    ioctl!("info", 1, IOC_INFO, Info, INFO_SIZE_V0, None, &[],),
    ioctl!("region_setup", 5, IOC_REGION_SETUP, RegionSetup, REGION_SETUP_SIZE_V0, None, errno::SETUP,
        flags: NONE, length: Kind::Bytes, node: Kind::Node),
    list!(
        "region_list",
        IOC_REGION_LIST,
        RegionList,
        REGION_LIST_SIZE_V0,
        Region
    ),
    list!(
        "device_list",
        IOC_DEVICE_LIST,
        DeviceList,
        DEVICE_LIST_SIZE_V0,
        Device
    ),
    list!(
        "session_list",
        IOC_SESSION_LIST,
        SessionList,
        SESSION_LIST_SIZE_V0,
        Session
    ),
    list!(
        "verdict_list",
        IOC_VERDICT_LIST,
        VerdictList,
        VERDICT_LIST_SIZE_V0,
        Verdict
    ),
    list!(
        "aperture_list",
        IOC_APERTURE_LIST,
        ApertureList,
        APERTURE_LIST_SIZE_V0,
        Aperture
    ),
    list!(
        "window_list",
        IOC_WINDOW_LIST,
        WindowList,
        WINDOW_LIST_SIZE_V0,
        Window
    ),
    ioctl!("region_query", 14, IOC_REGION_QUERY, RegionQuery, REGION_QUERY_SIZE_V0, None, errno::QUERY,
        flags: NONE, id: Kind::Region(0), reserved: NONE, offset: Kind::Offset, length: Kind::Bytes,
        entries: Kind::Array(size_of::<uapi::Place>(), "length"),
        details: Kind::Array(size_of::<uapi::PageDetail>(), "length")),
    ioctl!("move", 60, IOC_MOVE, Move, MOVE_SIZE_V0, Some(offset_of!(uapi::Move, reason)), errno::MOVE,
        flags: Kind::Mask(MOVE_FLAGS), segment as "device" [4]: Kind::Device,
        engine: Kind::Pick(&[0, 0, 1, 1, 2], &[3, 0xffff_ffff]), iova: Kind::Iova, length: Kind::Bytes, node: Kind::Node,
        retries: Kind::Pick(&[0, 1, 3, 20], &[10_000, 10_001, 0xffff_ffff]),
        deadline_ns: Kind::Pick(&[0, 0, 1_000_000, 100_000_000], &[1, 1000, u64::MAX]),
        results: Kind::Array(size_of::<uapi::PageResult>(), "length"),
        result_size: Kind::Pick(&[0, 8, 16], &[1, 15, 17, 0xffff_ffff]), editor_cpu: CPU, helper_cpu: CPU,
        aperture: Kind::Aperture, targets: Kind::Targets, region: Kind::Region(1), reserved: NONE, offset: Kind::Offset),
    ioctl!("stats", 3, IOC_STATS, Stats, STATS_SIZE_V0, None, errno::FLAGS, flags: NONE),
    ioctl!("experiment", 12, IOC_EXPERIMENT, Experiment, EXPERIMENT_SIZE_V0,
        Some(offset_of!(uapi::Experiment, reason)), errno::EXPERIMENT,
        kind: Kind::Pick(&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[0, 10, 0xffff_ffff]), segment as "device" [4]: Kind::Device,
        iova: Kind::Iova, ns: Kind::Pick(&[0, 1, 10_000, 100_000], &[1_000_000, 1_000_001, 100_000_001, u64::MAX])),
    ioctl!("verdict_set", 2, IOC_VERDICT_SET, VerdictSet, VERDICT_SET_SIZE_V0, None, errno::VERDICT,
        flags: NONE, verdict.iommu: Kind::Iommu, verdict.format: Kind::Pick(&[1, 2, 3], &[0, 4, 0xffff_ffff]),
        verdict.cpu: Kind::Pick(&[u64::MAX], &[0, 1]), verdict.microcode: Kind::Pick(&[u64::MAX], &[0, 1]),
        verdict.engines: Kind::Mask(6), verdict.findings: Kind::Mask(0x1ff_017f), verdict.flags as "about": Kind::Mask(1),
        verdict.registers: Kind::Pick(&[0, 0xfed9_0000], &[1, u64::MAX])),
    ioctl!("offer", 14, IOC_OFFER, Offer, OFFER_SIZE_V0, Some(offset_of!(uapi::Offer, reason)), errno::OFFER,
        flags: Kind::Mask(1), region: Kind::Region(0), window: Kind::Window(1), offset: Kind::Offset, length: Kind::Bytes,
        targets: Kind::Array(8, "length"), reserved: NONE),
    ioctl!("arrive", 8, IOC_ARRIVE, Offered, OFFERED_SIZE_V0, None, errno::OFFERED,
        flags: NONE, region: Kind::Region(0), reserved: NONE, offset: Kind::Offset, length: Kind::Bytes),
    ioctl!("retract", 14, IOC_RETRACT, Offered, OFFERED_SIZE_V0, None, errno::OFFERED,
        flags: NONE, region: Kind::Region(0), reserved: NONE, offset: Kind::Offset, length: Kind::Bytes),
    ioctl!("wanted", 6, IOC_WANTED, Wanted, WANTED_SIZE_V0, None, errno::WANTED,
        flags: NONE, region: Kind::Region(0), capacity: CAPACITY,
        entries: Kind::Array(size_of::<uapi::Want>(), "capacity"),
        timeout_ns: Kind::Pick(&[0, 0, 1_000_000], &[20_000_000, u64::MAX]),
        seen: Kind::Pick(&[0, 0, 1], &[100, u64::MAX]), reserved: NONE),
    ioctl!("used", 16, IOC_USED, Used, USED_SIZE_V0, Some(offset_of!(uapi::Used, reason)), errno::USED,
        flags: Kind::Mask(1), segment as "device" [4]: Kind::Device, iova: Kind::Iova, length: Kind::Bytes,
        entries: Kind::Array(1, "length")),
    ioctl!("maps", 8, IOC_MAPS, Maps, MAPS_SIZE_V0, Some(offset_of!(uapi::Maps, reason)), errno::MAPS,
        flags: NONE, segment as "device" [4]: Kind::Device, iova: Kind::Iova,
        entries: Kind::Array(size_of::<uapi::Mapping>(), "capacity"), capacity: CAPACITY),
    ioctl!("lift", 2, IOC_LIFT, Lift, LIFT_SIZE_V0, None, errno::LIFT,
        flags: Kind::Mask(1), segment as "device" [4]: Kind::Device),
    ioctl!("events", 4, IOC_EVENTS, Events, EVENTS_SIZE_V0, None, errno::EVENTS,
        flags: NONE, entries: Kind::Array(size_of::<uapi::Event>(), "capacity"), capacity: CAPACITY,
        next: Kind::Pick(&[0, 0, 1, 2], &[1000, u64::MAX])),
    ioctl!("window_set", 2, IOC_WINDOW_SET, WindowSet, WINDOW_SET_SIZE_V0, None, errno::WINDOW_SET,
        flags: NONE, id: Kind::Window(0), node: Kind::Pick(&[0, 0, 1], &[2, 0xffff_ffff]),
        length: Kind::Pick(&[0, 1 << 20, 4 << 20, 4 << 20], &[1, 4096, 3 << 20, 1 << 30, 1 << 63, u64::MAX])),
    Op {
        name: "mmap",
        weight: 10,
        args: &[
            plain("map", Kind::Map),
            plain("file", Kind::File),
            plain(
                "offset",
                Kind::Pick(&[0, 0, 0, 4096], &[1, 64 << 30, 1 << 46]),
            ),
            plain("pages", Kind::Pick(&[1, 4, 16], &[64, 1 << 16])),
            plain("protection", Kind::Pick(&[0, 0, 0, 1], &[2, 3])),
            plain("private", Kind::Pick(&[0], &[1])),
        ],
        what: What::Other(maps::mmap),
    },
    Op {
        name: "munmap",
        weight: 5,
        args: &[
            plain("map", Kind::Map),
            plain("first", Kind::Pick(&[0, 0, 1], &[3])),
            plain("pages", Kind::Pick(&[64], &[1, 2])),
        ],
        what: What::Other(maps::munmap),
    },
    Op {
        name: "mremap",
        weight: 2,
        args: &[
            plain("map", Kind::Map),
            plain("pages", Kind::Pick(&[1, 4], &[16, 64])),
            plain("to", Kind::Pick(&[0, 1], &[2, 3])),
        ],
        what: What::Other(maps::mremap),
    },
    Op {
        name: "madvise",
        weight: 3,
        args: &[
            plain("map", Kind::Map),
            plain("pages", Kind::Pick(&[1, 16], &[64])),
            plain(
                "advice",
                Kind::Pick(&[4, 9, 10, 11, 22, 23], &[0, 8, 12, 14, 18, 21, 25]),
            ),
        ],
        what: What::Other(maps::madvise),
    },
    Op {
        name: "mprotect",
        weight: 2,
        args: &[
            plain("map", Kind::Map),
            plain("pages", Kind::Pick(&[1, 16], &[64])),
            plain("protection", Kind::Pick(&[0, 1, 2, 3], &[])),
        ],
        what: What::Other(maps::mprotect),
    },
    Op {
        name: "touch",
        weight: 16,
        args: &[
            plain("map", Kind::Map),
            plain("first", Kind::Pick(&[0, 0, 1, 5], &[15, 63])),
            plain("pages", Kind::Pick(&[1, 2, 16], &[64])),
            plain("write", Kind::Pick(&[0, 1], &[])),
        ],
        what: What::Other(maps::touch),
    },
    Op {
        name: "fork",
        weight: 1,
        args: &[plain("calls", Kind::Pick(&[1, 4], &[12]))],
        what: What::Other(files::fork),
    },
    Op {
        name: "privilege",
        weight: 2,
        args: &[plain("on", Kind::Pick(&[1, 1, 0], &[]))],
        what: What::Other(files::privilege),
    },
    Op {
        name: "attach",
        weight: 6,
        args: &[
            plain("box", Kind::Box),
            plain("device", Kind::Pick(&[0, 0, 0, 1], &[2, 3, 4])),
        ],
        what: What::Other(devices::attach),
    },
    // Closing and opening a device resets it, which takes long.
    Op {
        name: "detach",
        weight: 1,
        args: &[
            plain("box", Kind::Box),
            plain("order", Kind::Pick(&[0, 1], &[])),
        ],
        what: What::Other(devices::detach),
    },
    Op {
        name: "dma_map",
        weight: 12,
        args: &[
            plain("box", Kind::Box),
            plain("map", Kind::Map),
            plain("first", Kind::Pick(&[0, 0, 1], &[15])),
            plain("iova", Kind::Iova),
            plain("pages", Kind::Pick(&[1, 4, 16], &[64])),
            plain("flags", Kind::Pick(&[3, 3, 1], &[0, 2, 4])),
        ],
        what: What::Other(devices::dma_map),
    },
    Op {
        name: "dma_unmap",
        weight: 8,
        args: &[
            plain("box", Kind::Box),
            plain("iova", Kind::Iova),
            plain("pages", Kind::Pick(&[1, 16, 64], &[0])),
        ],
        what: What::Other(devices::dma_unmap),
    },
    Op {
        name: "dma",
        weight: 4,
        args: &[
            plain("box", Kind::Box),
            plain("iova", Kind::Iova),
            plain("write", Kind::Pick(&[0, 1], &[])),
        ],
        what: What::Other(devices::dma),
    },
    Op {
        name: "bus_master",
        weight: 2,
        args: &[
            plain("box", Kind::Box),
            plain("on", Kind::Pick(&[1, 1, 0], &[])),
        ],
        what: What::Other(devices::bus_master),
    },
];

/// How rarely programs of a campaign bind a device to another driver: that waits for all
/// who have it open. It is no call of the table, since no other process may be in its way.
pub const CALLS_PER_REBIND: u64 = 20_000;

#[cfg(test)]
#[path = "op_tests.rs"]
mod tests;
