// SPDX-License-Identifier: GPL-2.0
//! What each kind of IOMMU gets: moves, or the reason why not. The argument is
//! what the VM is meant to have, so that a wrong VM fails.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, nodes, pci};
use pagemove_uapi::{self as uapi, Control, Device, PciAddress, PAGE_SIZE};

use crate::bench::{self, Bench};
use crate::rig::Rig;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};

const USAGE: &str = "formats wants one of: x86_64 vtdss amdv1 none";

pub fn main(args: &[String]) -> ExitCode {
    let cases: Vec<Case<()>> = match args.first().map(String::as_str) {
        Some("x86_64") => vec![
            Case::new("x86_64: the list says that adbit works", |_| can_move()),
            Case::new(
                "x86_64: USED names exactly the pages that a device has used since",
                |_| used(),
            ),
            Case::new(
                "x86_64: without allow_incoherent=1 it is refused, reason incoherent",
                |_| incoherent(),
            ),
            Case::new("x86_64: with it, moves work again", |_| can_move()),
        ],
        Some("vtdss") => refusing(uapi::FORMAT_VTDSS, "vtdss"),
        Some("amdv1") => refusing(uapi::FORMAT_AMDV1, "amdv1"),
        Some("none") => vec![Case::new(
            "no IOMMU: the device can not be bound, and a move gives ENXIO",
            |_| none(),
        )],
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(1);
        }
    };
    tap::run(&mut (), cases)
}

fn refusing(format: u32, name: &str) -> Vec<Case<()>> {
    let refuses = Case::new(
        format!("{name}: a move is refused, reason format"),
        move |_: &mut ()| {
            let bench = Bench::open(16)?;
            check_list(&bench, format, 0, uapi::REASON_FORMAT)?;
            let used = bench
                .control
                .used(bench.device, bench::IOVA, PAGE_SIZE as u64, false);
            let found = used.err().map(|error| (error.errno, error.reason));
            ensure!(
                found == Some((libc::EOPNOTSUPP, uapi::REASON_FORMAT)),
                "USED: {found:?}"
            );
            is_refused(&bench, uapi::REASON_FORMAT)
        },
    );
    let unloads = Case::new(
        format!("{name}: afterwards nothing is left and the module unloads"),
        |_: &mut ()| {
            bench::wait_for_no_pages(Duration::from_secs(20))?;
            module::unload_pagemove(Duration::from_secs(10))?;
            module::load_pagemove()?;
            Ok(Pass)
        },
    );
    vec![refuses, unloads]
}

fn listed(address: PciAddress) -> Result<Device> {
    let devices = Control::open()?.device_list()?;
    let is = |device: &Device| {
        (device.segment, device.bus, device.devfn) == (address.segment, address.bus, address.devfn)
    };
    devices
        .into_iter()
        .find(is)
        .with_context(|| format!("{address} is not listed"))
}

fn check_list(bench: &Bench, format: u32, engines: u32, reason: u32) -> Result<()> {
    let device = listed(bench.device)?;
    ensure!(
        device.flags & uapi::DEVICE_OPEN != 0,
        "it is not listed as open"
    );
    ensure!(
        device.format == format,
        "its format is listed as {}",
        device.format
    );
    ensure!(
        (device.engines, device.reason) == (engines, reason),
        "engines {}, reason {}",
        device.engines,
        device.reason
    );
    ensure!(device.iommu[0] != 0, "its IOMMU has no name");
    Ok(())
}

fn is_refused(bench: &Bench, reason: u32) -> Outcome {
    let (report, results) = bench.move_pages(&bench.request(0, 16, bench.nodes.there));
    let found = report.error.map(|error| (error.errno, error.reason));
    ensure!(
        found == Some((libc::EOPNOTSUPP, reason)),
        "{}",
        bench::describe(&report)
    );
    ensure!(
        report.pages_moved == 0,
        "{} pages were moved",
        report.pages_moved
    );
    ensure!(
        results
            .iter()
            .all(|result| result.outcome != uapi::PAGE_MOVED),
        "a page is said to be moved"
    );
    ensure!(
        bench.region.pages_on(bench.nodes.here)? == 16,
        "a page is elsewhere"
    );
    bench.region.map.check(0)?;
    Ok(Pass)
}

fn can_move() -> Outcome {
    let bench = Bench::open(16)?;
    check_list(
        &bench,
        uapi::FORMAT_X86_64,
        1 << uapi::ENGINE_ADBIT,
        uapi::REASON_NONE,
    )?;
    let (report, _) = bench.move_pages(&bench.request(0, 16, bench.nodes.there));
    ensure!(
        report.error.is_none() && report.pages_moved == 16,
        "{}",
        bench::describe(&report)
    );
    ensure!(
        report.engine_used == uapi::ENGINE_ADBIT,
        "engine {}",
        report.engine_used
    );
    bench.region.map.check(0)?;
    Ok(Pass)
}

fn used() -> Outcome {
    const PAGES: usize = 80;
    let mut rig = Rig::open(PAGES)?;
    let length = (PAGES * PAGE_SIZE) as u64;
    let ask = |rig: &Rig, clear| rig.control.used(rig.device, bench::IOVA, length, clear);
    let first = ask(&rig, true)?;
    let quiet = ask(&rig, true)?;
    let accessed = |byte: &u8| u64::from(*byte) & uapi::USED_ACCESSED != 0;
    ensure!(
        !quiet.iter().any(accessed),
        "nobody has used them: {quiet:?}"
    );
    // 70 is behind the first pages that are looked at in one go. The device reads it: QEMU's
    // VT-d does not set A for a write where D is set already.
    rig.check(70, 0)?;
    let found = ask(&rig, false)?;
    ensure!(found == ask(&rig, true)?, "a look changed something");
    let pages: Vec<usize> = (0..PAGES).filter(|page| accessed(&found[*page])).collect();
    ensure!(pages == [70], "the device has used pages {pages:?}");
    let again = ask(&rig, false)?;
    ensure!(!again.iter().any(accessed), "A was not cleared: {again:?}");
    let dirty = |byte: &u8| u64::from(*byte) & uapi::USED_DIRTY != 0;
    ensure!(
        again
            .iter()
            .zip(&first)
            .all(|(now, then)| dirty(now) == dirty(then)),
        "D was changed"
    );
    rig.check(70, 0)?;
    ensure!(
        accessed(&ask(&rig, false)?[70]),
        "a use after the clear is not seen"
    );
    let missing = rig.control.used(rig.device, 0x4000_0000, length, false);
    let found = missing.err().map(|error| (error.errno, error.reason));
    ensure!(
        found == Some((libc::ENOENT, uapi::REASON_NOT_MAPPED)),
        "not mapped: {found:?}"
    );
    Ok(Pass)
}

/// QEMU's IOMMU says that it does not snoop, which this case relies on.
fn incoherent() -> Outcome {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove_with("")?;
    let outcome = refused_as_incoherent();
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    module::unload_pagemove(Duration::from_secs(10))?;
    module::load_pagemove()?;
    outcome
}

fn refused_as_incoherent() -> Outcome {
    let bench = Bench::open(16)?;
    check_list(&bench, uapi::FORMAT_X86_64, 0, uapi::REASON_INCOHERENT)?;
    ensure!(
        listed(bench.device)?.flags & uapi::DEVICE_INCOHERENT != 0,
        "it is not listed as incoherent"
    );
    is_refused(&bench, uapi::REASON_INCOHERENT)
}

fn none() -> Outcome {
    let device = *bench::devices()?
        .first()
        .context("the VM has no device for tests")?;
    ensure!(pci::group(device).is_none(), "the VM has an IOMMU");
    let bound = pci::bind(device, pci::PAGEMOVE);
    ensure!(bound.is_err(), "a device without an IOMMU was bound");
    let node = nodes::with_memory()?[0];
    let report = Control::open()?.move_pages(&bench::request(device, bench::IOVA, 1, node), None);
    ensure!(
        bench::errno_of(&report) == libc::ENXIO,
        "{}",
        bench::describe(&report)
    );
    Ok(Pass)
}
