// SPDX-License-Identifier: GPL-2.0
//! The device is reset, or taken from its driver, in the middle of moves.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, pci, wait};
use pagemove_uapi::{
    MoveRequest, PciAddress, ENGINE_AUTO, MOVE_EVEN_IF_THERE, REASON_NONE, REASON_UNMAPPING,
};

use super::play::Watch;
use super::scene::{gauges_are_zero, Callers, Moves, Scene};
use crate::bench;
use crate::rig::Rig;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{self, Case, Pass, Skip, Verdict};

const PAGES: usize = 32;
const RESETS: usize = 12;
const SOME: u64 = 32;
/// And that they go on during the three seconds that a VMM takes to close a device late.
const FEW: u64 = 8;

pub fn main() -> ExitCode {
    let mut watch = match Watch::begin() {
        Ok(watch) => watch,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |name: &str, check: fn(&mut Random) -> Result<Verdict>| {
        Case::new(name, move |watch: &mut Watch| {
            let verdict = check(&mut watch.random)?;
            bench::wait_for_no_pages(Duration::from_secs(20))?;
            gauges_are_zero(&pagemove_uapi::Control::open()?)?;
            watch.log.check()?;
            Ok(verdict)
        })
    };
    let cases = vec![
        case(
            "reset through VFIO in the middle of moves, with a DMA under way",
            |random| resets(random, by_vfio),
        ),
        case(
            "reset through sysfs in the middle of moves, with a DMA under way",
            |random| resets(random, by_sysfs),
        ),
        case(
            "unbound in the middle of moves: it waits for the VMM, calls end as documented",
            unbound,
        ),
        case(
            "given to vfio-pci and back: refused (ENXIO) there, moves again here",
            given_away,
        ),
    ];
    tap::run(&mut watch, cases)
}

fn sysfs(device: PciAddress, file: &str) -> PathBuf {
    PathBuf::from(format!("/sys/bus/pci/devices/{device}/{file}"))
}

fn by_vfio(rig: &Rig) -> Result<()> {
    rig.reset();
    Ok(())
}

fn by_sysfs(rig: &Rig) -> Result<()> {
    let path = sysfs(rig.device, "reset");
    fs::write(&path, "1").with_context(|| format!("writing to {}", path.display()))
}

fn resets(random: &mut Random, reset: fn(&Rig) -> Result<()>) -> Result<Verdict> {
    let mut rig = Rig::open(PAGES)?;
    if !sysfs(rig.device, "reset").exists() {
        return Ok(Skip(
            "the kernel knows no way to reset this device".to_string(),
        ));
    }
    let requests = [rig.nodes.there, rig.nodes.here].map(|node| MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        retries: 50,
        ..rig.request(0, PAGES, ENGINE_AUTO, node)
    });
    Moves::during(&Callers::one(ENGINE_AUTO), &requests, |moves| {
        (1..=RESETS as u64).try_for_each(|round| one_reset(&mut rig, moves, random, reset, round))
    })?;
    ensure!(rig.control.stats()?.lost_writes == 0, "lost writes");
    Ok(Pass)
}

/// One of them: before and after it device and CPU agree on each page; a page that the device
/// was writing holds what it held or what was written, each word of it.
fn one_reset(
    rig: &mut Rig,
    moves: &Moves,
    random: &mut Random,
    reset: fn(&Rig) -> Result<()>,
    round: u64,
) -> Result<()> {
    moves.go_on(SOME, "before a reset")?;
    let (written, under_way) = (random.below(PAGES), random.below(PAGES));
    rig.write_by_device(written, round)?;
    // The device's store holds the content of that page now.
    rig.begin_write(under_way)?;
    thread::sleep(random.microseconds(3000));
    reset(rig).context("the reset")?;
    let before = moves.moved();
    rig.restart().context("after the reset")?;
    rig.either(under_way, (under_way, 0), (written, round))?;
    rig.fill(under_way, 0);
    moves.go_on(SOME, "after a reset")?;
    if written != under_way {
        rig.check(written, round)?;
        rig.fill(written, 0);
    }
    for page in 0..PAGES {
        rig.check(page, 0)?;
    }
    ensure!(moves.moved() > before, "no page was moved after the reset");
    Ok(())
}

const ENDS: [(i32, u32); 3] = [
    (libc::EAGAIN, REASON_UNMAPPING),
    (libc::ENOTCONN, REASON_NONE),
    (libc::ENXIO, REASON_NONE),
];

const GUEST: [&str; 6] = ["--pages", "64", "--cpu-pages", "4", "--queue-depth", "4"];

fn guest(reaction: &str) -> Result<Scene> {
    let mut arguments = GUEST.to_vec();
    arguments.extend(["--on-request", reaction]);
    Scene::open(&arguments)
}

/// Its driver is taken away by sysfs, as an administrator does: VFIO asks the VMM for the
/// device, and the write ends when that has closed it.
fn unbound(random: &mut Random) -> Result<Verdict> {
    for reaction in ["close", "late", "close", "close"] {
        let mut scene = guest(reaction)?;
        let device = scene.device;
        let late = reaction == "late";
        scene.during(
            &Callers::one(ENGINE_AUTO).allowing(&ENDS),
            |guest, moves| {
                moves.go_on(SOME, "before it is unbound")?;
                thread::sleep(random.microseconds(20_000));
                let unbinding = thread::spawn(move || pci::unbind(device));
                if late {
                    // The VMM closes it seconds later; until then moves go on.
                    wait::until("VFIO asks for the device", Duration::from_secs(60), || {
                        Ok(guest.status()?.asked)
                    })?;
                    moves.go_on(FEW, "while VFIO waits for the VMM")?;
                }
                unbinding.join().expect("writing does not panic")?;
                let status = guest.status()?;
                ensure!(
                    status.asked && status.closed,
                    "VFIO did not ask for the device"
                );
                let report = pagemove_uapi::Control::open()?
                    .move_pages(&bench::request(device, 0x0100_0000, 1, 0), None);
                ensure!(
                    bench::errno_of(&report) == libc::ENXIO,
                    "unbound: {}",
                    bench::describe(&report)
                );
                Ok(())
            },
        )?;
        ensure!(scene.moved()? > 0, "no page was moved");
        scene.end()?;
        pci::bind(device, pci::PAGEMOVE)?;
    }
    Ok(Pass)
}

fn given_away(_: &mut Random) -> Result<Verdict> {
    module::load_stock("vfio_pci")?;
    for _ in 0..3 {
        let mut scene = guest("close")?;
        let device = scene.device;
        let request = scene.request(ENGINE_AUTO, scene.nodes.there);
        scene.during(&Callers::one(ENGINE_AUTO).allowing(&ENDS), |_, moves| {
            moves.go_on(SOME, "before it is given away")?;
            pci::bind(device, pci::VFIO_PCI)?;
            let report = pagemove_uapi::Control::open()?.move_pages(&request, None);
            ensure!(
                bench::errno_of(&report) == libc::ENXIO,
                "under vfio-pci: {}",
                bench::describe(&report)
            );
            Ok(())
        })?;
        scene.end()?;
        pci::bind(device, pci::PAGEMOVE)?;
    }
    Ok(Pass)
}
