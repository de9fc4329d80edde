// SPDX-License-Identifier: GPL-2.0
//! Devices that can not be moved for: unknown, not bound, not open, or not alone.

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, pci};
use pagemove_uapi::{self as uapi, PciAddress, PAGE_SIZE};

use super::{skip, State};
use crate::bench::{self, Bench, IOVA};
use pagemove_testkit::tap::{Case, Pass};
use pagemove_testkit::vfio::{Assigned, Group, READ_WRITE};

const NO_DEVICE: (i32, u32) = (libc::ENODEV, uapi::REASON_NONE);
const NOT_BOUND: (i32, u32) = (libc::ENXIO, uapi::REASON_NONE);
const NOT_OPEN: (i32, u32) = (libc::ENOTCONN, uapi::REASON_NONE);
const SHARED: (i32, u32) = (libc::EXDEV, uapi::REASON_SHARED_DOMAIN);

/// A device beside the bench's.
type Check = fn(&State, &Bench, PciAddress) -> Result<()>;

const WITH_ANOTHER: &[(&str, Check)] = &[
    ("device: bound to no driver: ENXIO", |state, _, other| {
        pci::unbind(other)?;
        asks_for(state, other, NOT_BOUND)
    }),
    (
        "device: bound, but not open: ENOTCONN",
        |state, _, other| {
            pci::bind(other, pci::PAGEMOVE)?;
            asks_for(state, other, NOT_OPEN)
        },
    ),
    (
        "device: open once, but closed again: ENOTCONN",
        |state, _, other| {
            pci::bind(other, pci::PAGEMOVE)?;
            drop(Assigned::open(other)?);
            asks_for(state, other, NOT_OPEN)
        },
    ),
    (
        "device: open, but its container maps nothing: ENOENT",
        |state, _, other| {
            pci::bind(other, pci::PAGEMOVE)?;
            let _assigned = Assigned::open(other)?;
            asks_for(state, other, (libc::ENOENT, uapi::REASON_NOT_MAPPED))
        },
    ),
    ("device: under plain vfio-pci: ENXIO", |state, _, other| {
        to_vfio_pci(other)?;
        asks_for(state, other, NOT_BOUND)
    }),
    (
        "device: under plain vfio-pci and open: ENXIO",
        |state, _, other| {
            to_vfio_pci(other)?;
            let _assigned = Assigned::open(other)?;
            asks_for(state, other, NOT_BOUND)
        },
    ),
    (
        "device: shares its container with one under plain vfio-pci: EXDEV",
        shares_container,
    ),
    (
        "device: a page is mapped by one under plain vfio-pci elsewhere: refused or still whole",
        shares_page,
    ),
    (
        "device: shares its container with another of pagemove_vfio: moved",
        shares_with_own,
    ),
];

pub fn cases() -> Vec<Case<State>> {
    let mut cases = vec![
        Case::new(
            "device: an address that no function has: ENODEV",
            |state: &mut State| {
                asks_for(state, PciAddress::new(0, 0xff, 0x1f, 7), NO_DEVICE)?;
                Ok(Pass)
            },
        ),
        Case::new(
            "device: a segment that does not exist: ENODEV",
            |state: &mut State| {
                asks_for(
                    state,
                    PciAddress {
                        segment: 0xffff,
                        ..state.bench()?.device
                    },
                    NO_DEVICE,
                )?;
                Ok(Pass)
            },
        ),
        Case::new(
            "device: the host bridge, which VFIO never has: ENXIO",
            |state: &mut State| {
                asks_for(state, PciAddress::new(0, 0, 0, 0), NOT_BOUND)?;
                Ok(Pass)
            },
        ),
    ];
    cases.extend(WITH_ANOTHER.iter().map(|(name, check)| {
        Case::new(*name, move |state: &mut State| {
            let bench = state.bench()?;
            let Some(other) = bench::devices()?
                .into_iter()
                .find(|device| *device != bench.device)
            else {
                return skip("the VM has one device only");
            };
            check(state, bench, other)?;
            pci::unbind(other)?;
            state.nothing_moved()?;
            Ok(Pass)
        })
    }));
    cases
}

fn asks_for(state: &State, device: PciAddress, expected: (i32, u32)) -> Result<()> {
    let node = state.bench()?.nodes.there;
    state.refuses(&bench::request(device, IOVA, 1, node), expected)
}

fn to_vfio_pci(device: PciAddress) -> Result<()> {
    module::load_stock("vfio_pci")?;
    pci::bind(device, pci::VFIO_PCI)
}

fn shares_container(state: &State, bench: &Bench, other: PciAddress) -> Result<()> {
    to_vfio_pci(other)?;
    let group = Group::open(other)?;
    group.join(&bench.assigned.container)?;
    let device = group.device(other)?;
    let request = bench.request(0, 4, bench.nodes.there);
    state
        .refuses(&request, SHARED)
        .context("with the other device open")?;
    drop(device);
    state
        .refuses(&request, SHARED)
        .context("with the other device's group still in the container")?;
    drop(group);
    // Alone again, a page that is to stay where it is can be asked for.
    let (report, _) = bench.move_pages(&bench.request(0, 4, bench.nodes.here));
    ensure!(
        report.error.is_none() && report.pages_there == 4,
        "alone again: {}",
        bench::describe(&report)
    );
    Ok(())
}

/// The other device maps a page of the bench's region in a container of its own.
fn shares_page(state: &State, bench: &Bench, other: PciAddress) -> Result<()> {
    to_vfio_pci(other)?;
    let assigned = Assigned::open(other)?;
    let map = assigned
        .container
        .map(IOVA, bench.region.map.address(), PAGE_SIZE, READ_WRITE);
    map.map_err(std::io::Error::from_raw_os_error)
        .context("mapping it a second time")?;
    state.refuses(&bench.request(0, 1, bench.nodes.there), SHARED)
}

fn shares_with_own(_: &State, bench: &Bench, other: PciAddress) -> Result<()> {
    pci::bind(other, pci::PAGEMOVE)?;
    let group = Group::open(other)?;
    group.join(&bench.assigned.container)?;
    let _device = group.device(other)?;
    let region = crate::region::Region::on_node(4, bench.nodes.here)?;
    region.map.fill(5);
    let iova = 0x5000_0000;
    bench::map(&bench.assigned, iova, &region)?;
    let mut errors = Vec::new();
    for (device, node) in [(bench.device, bench.nodes.there), (other, bench.nodes.here)] {
        let (report, _) = bench.move_pages(&bench::request(device, iova, 4, node));
        if report.pages_moved != 4 {
            errors.push(format!(
                "{device} to node {node}: {}",
                bench::describe(&report)
            ));
        }
    }
    let unmapped = bench.assigned.container.unmap(iova, region.map.length());
    unmapped
        .map_err(std::io::Error::from_raw_os_error)
        .context("unmapping")?;
    ensure!(errors.is_empty(), "{}", errors.join(", "));
    region.map.check(5)
}
