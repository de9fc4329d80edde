// SPDX-License-Identifier: GPL-2.0
//! Wrong arguments of region setup, list and query, and of device list.

use anyhow::{ensure, Result};
use pagemove_uapi::{
    self as uapi, Control, DeviceList, Place, RegionList, RegionQuery, RegionSetup, MAX_ENTRIES,
    MAX_REGION_BYTES, PAGE_SIZE,
};

use super::State;
use crate::bench::expect_errno;
use crate::call::Call;
use crate::region::Mapping;
use pagemove_testkit::tap::{Case, Pass};

const PAGE: u64 = PAGE_SIZE as u64;
const KERNEL: u64 = 0xffff_8880_0000_0000;

const SETUPS: &[(&str, u64, i32)] = &[
    ("no length", 0, -1),
    ("a length of a page and a byte", PAGE + 1, -1),
    ("a length of a byte", 1, -1),
    (
        "a page more than the largest region",
        MAX_REGION_BYTES + PAGE,
        -1,
    ),
    ("the greatest number of bytes", u64::MAX, -1),
    ("the greatest number of pages", PAGE.wrapping_neg(), -1),
    ("node -2", PAGE, -2),
    ("node 999", PAGE, 999),
    ("the greatest node number", PAGE, i32::MAX),
];

/// What to ask of the bench's region: offset, length.
const QUERIES: &[(&str, u64, u64)] = &[
    ("an offset that begins no page", 1, PAGE),
    ("a length of a page and a byte", 0, PAGE + 1),
    ("no length", 0, 0),
    (
        "a range past the end",
        (super::PAGES as u64 - 1) * PAGE,
        2 * PAGE,
    ),
    ("an offset past the end", super::PAGES as u64 * PAGE, PAGE),
    ("a range that wraps", PAGE.wrapping_neg(), 2 * PAGE),
    ("one entry too many", 0, (MAX_ENTRIES as u64 + 1) * PAGE),
];

fn case(name: String, check: impl FnOnce(&State) -> Result<()> + 'static) -> Case<State> {
    Case::new(name, |state: &mut State| {
        check(state)?;
        Ok(Pass)
    })
}

pub fn cases() -> Vec<Case<State>> {
    let mut cases = Vec::new();
    for (what, length, node) in SETUPS {
        cases.push(case(format!("region setup: {what}: EINVAL"), move |_| {
            let setup = RegionSetup {
                length: *length,
                node: *node,
                ..Default::default()
            };
            issue("region setup", uapi::IOC_REGION_SETUP, setup, libc::EINVAL)
        }));
    }
    cases.push(case("region setup: twice: EBUSY".into(), |_| {
        let control = Control::open()?;
        control.region_setup(PAGE, None)?;
        expect_errno(
            "the second",
            control
                .region_setup(PAGE, None)
                .map(drop)
                .map_err(|e| e.errno),
            libc::EBUSY,
        )
    }));
    cases.push(case("region setup: after an mmap: EBUSY".into(), |_| {
        let control = Control::open()?;
        let map = Mapping::shared(control.file(), 0, PAGE_SIZE)
            .map_err(std::io::Error::from_raw_os_error)?;
        map.write(0, 0, 1);
        expect_errno(
            "setup",
            control
                .region_setup(PAGE, None)
                .map(drop)
                .map_err(|e| e.errno),
            libc::EBUSY,
        )
    }));
    cases.push(case(
        "region setup: a refused one leaves the file as it was".into(),
        |_| {
            let control = Control::open()?;
            expect_errno(
                "setup",
                control.region_setup(1, None).map(drop).map_err(|e| e.errno),
                libc::EINVAL,
            )?;
            control.region_setup(PAGE, None)?;
            Ok(())
        },
    ));
    for (what, offset, length) in QUERIES {
        cases.push(case(
            format!("region query: {what}: EINVAL"),
            move |state| {
                let query = RegionQuery {
                    offset: *offset,
                    length: *length,
                    ..query(state)?
                };
                issue("region query", uapi::IOC_REGION_QUERY, query, libc::EINVAL)
            },
        ));
    }
    cases.extend(more_queries());
    cases.extend(lists());
    cases
}

/// A query of one page that works.
fn query(state: &State) -> Result<RegionQuery> {
    let place = Box::leak(Box::new(Place::default()));
    let entries = std::ptr::from_mut(place) as u64;
    Ok(RegionQuery {
        id: state.bench()?.region.id,
        length: PAGE,
        entries,
        ..Default::default()
    })
}

fn more_queries() -> Vec<Case<State>> {
    let mut cases = Vec::new();
    for id in [0, 0x7fff_ffff, u32::MAX] {
        cases.push(case(
            format!("region query: region {id}: ENOENT"),
            move |state| {
                let query = RegionQuery {
                    id,
                    ..query(state)?
                };
                issue("region query", uapi::IOC_REGION_QUERY, query, libc::ENOENT)
            },
        ));
    }
    cases.push(case(
        "region query: a reserved member that is not zero: EINVAL".into(),
        |state| {
            let query = RegionQuery {
                reserved: 1,
                ..query(state)?
            };
            issue("region query", uapi::IOC_REGION_QUERY, query, libc::EINVAL)
        },
    ));
    for (what, entries) in [("NULL", 0), ("a kernel address", KERNEL)] {
        cases.push(case(
            format!("region query: {what} for the entries: EFAULT"),
            move |state| {
                let query = RegionQuery {
                    entries,
                    ..query(state)?
                };
                issue("region query", uapi::IOC_REGION_QUERY, query, libc::EFAULT)
            },
        ));
    }
    cases.push(case(
        "region query: entries that can not be written: EFAULT".into(),
        |state| {
            let page = Mapping::anonymous(PAGE_SIZE)?;
            page.write(0, 0, 0);
            page.protect(libc::PROT_READ)?;
            let query = RegionQuery {
                entries: page.address() as u64,
                ..query(state)?
            };
            issue("region query", uapi::IOC_REGION_QUERY, query, libc::EFAULT)
        },
    ));
    cases
}

fn lists() -> Vec<Case<State>> {
    let mut cases = Vec::new();
    for (capacity, entries, expected) in [
        (MAX_ENTRIES + 1, 0x1000, libc::EINVAL),
        (4, 0, libc::EFAULT),
        (4, KERNEL, libc::EFAULT),
    ] {
        let errno = uapi::errno::name(expected);
        let what = format!("room for {capacity} at {entries:#x}: {errno}");
        cases.push(case(format!("region list: {what}"), move |_| {
            let list = RegionList {
                capacity,
                entries,
                ..Default::default()
            };
            issue("region list", uapi::IOC_REGION_LIST, list, expected)
        }));
        cases.push(case(format!("device list: {what}"), move |_| {
            let list = DeviceList {
                capacity,
                entries,
                ..Default::default()
            };
            issue("device list", uapi::IOC_DEVICE_LIST, list, expected)
        }));
    }
    cases.push(case(
        "lists: without room they tell how many there are".into(),
        |state| {
            let control = Control::open()?;
            let mut call = Call::new(
                "region list",
                uapi::IOC_REGION_LIST,
                RegionList::default(),
                uapi::REGION_LIST_SIZE_V0,
            );
            expect_errno("region list", call.issue(&control), 0)?;
            let count = u32::from_ne_bytes(call.bytes[20..24].try_into().expect("four bytes"));
            ensure!(
                count as usize == control.region_list()?.len(),
                "{count} regions are said to be there"
            );
            let id = state.bench()?.region.id;
            ensure!(
                control.region_list()?.iter().any(|region| region.id == id),
                "region {id} is not listed"
            );
            Ok(())
        },
    ));
    cases
}

fn issue<T: uapi::Plain>(
    name: &'static str,
    request: u32,
    argument: T,
    expected: i32,
) -> Result<()> {
    let mut call = Call::new(name, request, argument, size_of::<T>());
    expect_errno(name, call.issue(&Control::open()?), expected)
}
