// SPDX-License-Identifier: GPL-2.0
//! A lost write: whose doing it is held to be, and what is not used any more for it.
//!
//! A build for tests (`inject=28`) writes to START of two pages of each region after their commit. Nobody
//! else can have done it to the one; to the other a second user may have, which it has since.

mod at_once;
mod iommus;
mod joins;
mod keys;
mod pair;

use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::pci;
use pagemove_testkit::tap::{self, Case, Pass};
use pagemove_testkit::vfio::Assigned;
use pagemove_uapi::{
    Control, MoveReport, PageResult, PciAddress, ENGINE_ADBIT, EVENT_LIFTED, EVENT_LOST_WRITE,
    MAX_EVENTS, MOVE_EVEN_IF_THERE, PAGE_LOST_WRITE, PAGE_MOVED, PAGE_SIZE, REASON_DISABLED,
    REASON_LOST_WRITE, REASON_NONE, REASON_SHARED_DOMAIN,
};

use crate::bench::{self, Nodes, IOVA};
use crate::region::Region;

const PAGES: usize = 16;
/// Nobody else can have written to this one.
const LOST: usize = 5;
/// To this one somebody may have.
const SHARED: usize = 6;
/// Two that nothing happens to.
const GOOD: [usize; 2] = [1, 2];

/// A VMM with one device. Fields are dropped in this order.
struct Guest {
    assigned: Assigned,
    region: Region,
    device: PciAddress,
}

impl Guest {
    fn new(device: PciAddress, nodes: Nodes) -> Result<Self> {
        let region = Region::on_node(PAGES, nodes.here)?;
        region.map.fill(0);
        let assigned = Assigned::open(device)?;
        bench::map(&assigned, IOVA, &region)?;
        Ok(Self {
            assigned,
            region,
            device,
        })
    }
}

struct Scene {
    guests: Vec<Guest>,
    control: Control,
    nodes: Nodes,
}

impl Scene {
    /// A guest for each device.
    fn open() -> Result<Self> {
        let nodes = Nodes::find()?.context("the VM has one NUMA node only")?;
        let devices = bench::devices()?;
        ensure!(devices.len() >= 4, "four devices are needed: {devices:?}");
        for device in &devices {
            pci::bind(*device, pci::PAGEMOVE)?;
        }
        let guests = devices.into_iter().map(|device| Guest::new(device, nodes));
        Ok(Self {
            guests: guests.collect::<Result<_>>()?,
            control: Control::open()?,
            nodes,
        })
    }

    /// Moves a page of a guest's region.
    fn move_page(&self, guest: usize, page: usize) -> (MoveReport, PageResult) {
        self.move_at(guest, IOVA + (page * PAGE_SIZE) as u64)
    }

    /// Moves the page that a guest's device knows by this address, wherever it is.
    fn move_at(&self, guest: usize, iova: u64) -> (MoveReport, PageResult) {
        let device = self.guests[guest].device;
        let mut request = bench::request(device, iova, 1, self.nodes.there);
        request.flags = MOVE_EVEN_IF_THERE;
        request.engine = ENGINE_ADBIT;
        let mut results = Vec::new();
        let report = self.control.move_pages(&request, Some(&mut results));
        let result = results.first().copied().unwrap_or_default();
        (report, result)
    }

    /// Checks errno and reason of a move.
    fn expect(&self, guest: usize, page: usize, expected: (i32, u32)) -> Result<PageResult> {
        let (report, result) = self.move_page(guest, page);
        let found = bench::answer_of(&report);
        ensure!(
            found == expected,
            "guest {guest}, page {page}: {}, {result:?}",
            bench::describe(&report)
        );
        Ok(result)
    }

    /// Pages of a guest move, and have their bytes.
    fn moves(&self, guest: usize) -> Result<()> {
        for page in GOOD {
            let result = self.expect(guest, page, (0, REASON_NONE))?;
            ensure!(result.outcome == PAGE_MOVED, "page {page}: {result:?}");
            self.guests[guest].region.map.check_page(0, page)?;
        }
        Ok(())
    }

    /// No page of a guest moves.
    fn is_off(&self, guest: usize) -> Result<()> {
        self.expect(guest, GOOD[0], (libc::EIO, REASON_DISABLED))
            .map(drop)
    }

    /// The events of this kind, from this number on, are about these guests, with these values.
    fn is_told(&self, from: u64, kind: u32, expected: &[(usize, u64)]) -> Result<()> {
        let heard = self.control.events(from, MAX_EVENTS)?.events;
        let of_kind = heard.iter().filter(|event| event.kind == kind);
        let found = of_kind.map(|event| (PciAddress::from(event), event.values[0]));
        let expected = expected
            .iter()
            .map(|(guest, value)| (self.guests[*guest].device, *value));
        ensure!(found.eq(expected), "{heard:#?}");
        Ok(())
    }

    /// A write that nobody else can have done is found.
    fn loses(&self, guest: usize) -> Result<()> {
        let result = self.expect(guest, LOST, (libc::EIO, REASON_LOST_WRITE))?;
        ensure!(result.outcome == PAGE_LOST_WRITE, "{result:?}");
        Ok(())
    }
}

type Check = fn(&mut Scene) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    (
        "a write that a second user may have done ends the call, and moves go on",
        second_user,
    ),
    (
        "one that nobody else can have done is held against the hardware",
        hardware,
    ),
    ("other domains of its IOMMU go on", others_go_on),
    ("a device that is opened anew stays off", opened_anew),
    ("a third domain turns the IOMMU off", third),
    ("lifting one domain lets the others go on", lift_one),
    ("lifting the IOMMU lets all go on", lift_all),
    ("the program says what it has lifted", by_program),
];

pub fn main(arguments: &[String]) -> ExitCode {
    match arguments.first().map(String::as_str) {
        None => of_all(),
        Some("at-once") => at_once::main(),
        Some("iommus") => iommus::main(&arguments[1..]),
        Some("keys") => keys::main(&arguments[1..]),
        Some("joins") => joins::main(&arguments[1..]),
        Some(other) => tap::fail_all(&anyhow::anyhow!("there is no part {other}")),
    }
}

fn of_all() -> ExitCode {
    let mut scene = match Scene::open() {
        Ok(scene) => scene,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |(name, check): &(&'static str, Check)| {
        let check = *check;
        Case::new(*name, move |scene: &mut Scene| check(scene).map(|()| Pass))
    };
    tap::run(&mut scene, CHECKS.iter().map(case).collect())
}

fn second_user(scene: &mut Scene) -> Result<()> {
    for guest in [0, 1] {
        let result = scene.expect(guest, SHARED, (libc::EXDEV, REASON_SHARED_DOMAIN))?;
        ensure!(result.outcome == PAGE_LOST_WRITE, "{result:?}");
        scene.moves(guest)?;
    }
    Ok(())
}

fn hardware(scene: &mut Scene) -> Result<()> {
    let from = scene.control.events_from_now()?;
    scene.loses(0)?;
    scene.is_told(from, EVENT_LOST_WRITE, &[(0, 0)])?;
    scene.is_off(0)
}

fn others_go_on(scene: &mut Scene) -> Result<()> {
    (1..scene.guests.len()).try_for_each(|guest| scene.moves(guest))
}

fn opened_anew(scene: &mut Scene) -> Result<()> {
    let gone = scene.guests.remove(0);
    let device = gone.device;
    drop(gone);
    scene.guests.insert(0, Guest::new(device, scene.nodes)?);
    scene.is_off(0)
}

/// Two more: the fourth has lost nothing.
fn third(scene: &mut Scene) -> Result<()> {
    let from = scene.control.events_from_now()?;
    scene.loses(1)?;
    scene.moves(3)?;
    scene.loses(2)?;
    scene.is_told(from, EVENT_LOST_WRITE, &[(1, 0), (2, 1)])?;
    (0..scene.guests.len()).try_for_each(|guest| scene.is_off(guest))
}

fn lift(scene: &Scene, guest: usize, iommu: bool, expected: u32) -> Result<()> {
    let lifted = scene.control.lift(scene.guests[guest].device, iommu)?;
    ensure!(lifted == expected, "{lifted} were lifted, not {expected}");
    Ok(())
}

fn lift_one(scene: &mut Scene) -> Result<()> {
    lift(scene, 3, false, 0)?;
    scene.is_off(3)?;
    lift(scene, 0, false, 1)?;
    scene.moves(0)?;
    scene.moves(3)?;
    scene.is_off(1)?;
    scene.is_off(2)
}

fn lift_all(scene: &mut Scene) -> Result<()> {
    let from = scene.control.events_from_now()?;
    lift(scene, 3, true, 2)?;
    scene.is_told(from, EVENT_LIFTED, &[(3, 2)])?;
    (0..scene.guests.len()).try_for_each(|guest| scene.moves(guest))
}

fn by_program(scene: &mut Scene) -> Result<()> {
    scene.loses(0)?;
    let device = scene.guests[0].device.to_string();
    for (line, said) in [
        (&["lift"][..], "One lost write of "),
        (
            &["lift", "--iommu"][..],
            "Nothing was held against the IOMMU of ",
        ),
    ] {
        let output = std::process::Command::new("pagemove")
            .args(line)
            .arg(&device)
            .output()
            .context("pagemove")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success() && text.starts_with(said) && text.contains(&device),
            "{line:?}: {output:?}"
        );
    }
    scene.moves(0)
}
