// SPDX-License-Identifier: GPL-2.0
//! Loading and unloading: refused while anything is in use, possible when not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, pci};
use pagemove_uapi::{
    Control, PciAddress, DEVICE, PAGE_SIZE, PARAMETER_ALLOW_UNQUALIFIED, REASON_NO_RTM,
};

use crate::bench::{self, Bench};
use crate::complaints::COMPLAINTS;
use crate::region::Mapping;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::tap::{self, Case, Outcome, Pass};
use pagemove_testkit::vfio::{Assigned, Feature, READ_WRITE};

const SOON: Duration = Duration::from_secs(20);

type Check = fn(&mut KernelLog) -> Outcome;

const CHECKS: &[(&str, Check)] = &[
    ("unload and load, three times", three_times),
    (
        "loaded with a 2 where 0 or 1 is meant: refused, and the log says why",
        wrong_parameters,
    ),
    (
        "the log says in one line what was loaded, and so does INFO",
        told_at_load,
    ),
    (
        "the device file comes and goes with the module, mode 0600",
        device_file,
    ),
    (
        "rmmod is refused while the device file is open",
        while_file_open,
    ),
    (
        "rmmod is refused while a region is mapped, its file closed",
        while_mapped,
    ),
    ("rmmod is refused while a device is open", while_device_open),
    (
        "a closed region has no pages while VFIO maps them; rmmod is refused while the device is open",
        while_vfio_maps,
    ),
    (
        "a process that sleeps does not keep the pages that it has given up",
        while_asleep,
    ),
    (
        "a device has the features of VFIO's that it has under vfio-pci",
        same_features,
    ),
    (
        "a device that is bound but not open does not keep the module",
        while_bound,
    ),
];

pub fn main(_: &[String]) -> ExitCode {
    let mut log = match KernelLog::from_now(COMPLAINTS) {
        Ok(log) => log,
        Err(error) => return tap::fail_all(&error),
    };
    let case = |(name, check): &'static (&'static str, Check)| {
        Case::new(*name, move |log: &mut KernelLog| {
            let verdict = check(log)?;
            log.check()?;
            Ok(verdict)
        })
    };
    tap::run(&mut log, CHECKS.iter().map(case).collect())
}

fn unload() -> Result<()> {
    module::unload_pagemove(SOON).map(drop)
}

/// rmmod has to be refused now, and to leave the module as it was.
fn is_refused() -> Result<()> {
    match module::remove(module::PAGEMOVE) {
        Ok(()) => anyhow::bail!("the module was unloaded"),
        Err(libc::EWOULDBLOCK | libc::EBUSY) => {}
        Err(errno) => anyhow::bail!("rmmod: {}", std::io::Error::from_raw_os_error(errno)),
    }
    ensure!(module::is_loaded(module::PAGEMOVE), "the module is gone");
    Control::open()?.info()?;
    Ok(())
}

/// Nothing is in use any more: it unloads, and comes back for the next case.
fn now_unloads() -> Outcome {
    unload()?;
    module::load_pagemove()?;
    Ok(Pass)
}

fn wrong_parameters(log: &mut KernelLog) -> Outcome {
    unload()?;
    for wrong in ["allow_unqualified=2", "allow_incoherent=255"] {
        let refused = module::insert(&module::pagemove_file(), wrong)?;
        ensure!(refused == Err(libc::EINVAL), "{wrong}: {refused:?}");
        let said = format!("not loaded: {wrong}, give 0 or 1");
        ensure!(log.count(&said) == 1, "{wrong}: the log does not say why");
    }
    module::load_pagemove()?;
    Ok(Pass)
}

fn told_at_load(log: &mut KernelLog) -> Outcome {
    unload()?;
    log.lines();
    module::load_pagemove_with("allow_unqualified=1 longest_us=50 limit_mib=64")?;
    let line = "version 0.1.0, allow_incoherent=0 allow_unqualified=1 longest_us=50 limit_mib=64 \
                patience_ms=1000 region_chunks=0, engine rtm is off";
    ensure!(log.count(line) == 1, "the log has no such line");
    let info = Control::open()?.info()?;
    ensure!(
        info.parameters == PARAMETER_ALLOW_UNQUALIFIED
            && (info.longest_us, info.limit_mib, info.patience_ms) == (50, 64, 1000)
            && info.rtm_reason == REASON_NO_RTM
            && info.version.starts_with(b"0.1.0\0"),
        "{info:?}"
    );
    let version = fs::read_to_string("/sys/module/pagemove/version")?;
    ensure!(version == "0.1.0\n", "sysfs says {version:?}");
    unload()?;
    module::load_pagemove()?;
    Ok(Pass)
}

fn three_times(_: &mut KernelLog) -> Outcome {
    for _ in 0..3 {
        unload()?;
        ensure!(!module::is_loaded(module::PAGEMOVE), "it is still loaded");
        module::load_pagemove()?;
        let stats = Control::open()?.stats()?;
        ensure!(
            stats.calls == 0 && stats.regions == 0,
            "the sums do not begin at zero"
        );
    }
    Ok(Pass)
}

fn device_file(_: &mut KernelLog) -> Outcome {
    let mode = fs::metadata(DEVICE).context(DEVICE)?.permissions().mode();
    ensure!(mode & 0o7777 == 0o600, "its mode is {:o}", mode & 0o7777);
    unload()?;
    let gone = !Path::new(DEVICE).exists();
    module::load_pagemove()?;
    ensure!(gone, "{DEVICE} is still there without the module");
    Ok(Pass)
}

fn while_file_open(_: &mut KernelLog) -> Outcome {
    let control = Control::open()?;
    is_refused()?;
    control.info()?;
    drop(control);
    now_unloads()
}

fn while_mapped(_: &mut KernelLog) -> Outcome {
    let control = Control::open()?;
    let map = Mapping::shared(control.file(), 0, 64 * PAGE_SIZE)
        .map_err(std::io::Error::from_raw_os_error)?;
    map.fill(1);
    drop(control);
    is_refused()?;
    map.check(1)?;
    drop(map);
    now_unloads()
}

fn while_device_open(_: &mut KernelLog) -> Outcome {
    let bench = Bench::open(16)?;
    let Bench {
        assigned,
        region,
        control,
        ..
    } = bench;
    drop((region, control));
    is_refused()?;
    drop(assigned);
    now_unloads()
}

/// The device is closed; only the container, with its mappings, is left.
fn while_vfio_maps(_: &mut KernelLog) -> Outcome {
    let Bench {
        assigned,
        region,
        control,
        nodes,
        ..
    } = Bench::open(16)?;
    let second = crate::region::Region::on_node(16, nodes.there)?;
    second.map.fill(2);
    let mapped = assigned.container.map(
        0x2000_0000,
        second.map.address(),
        second.map.length(),
        READ_WRITE,
    );
    mapped.map_err(std::io::Error::from_raw_os_error)?;
    drop((region, second, control));
    is_refused()?;
    let stats = Control::open()?.stats()?;
    ensure!(
        (stats.regions, stats.closed_pages, stats.owned_pages) == (0, 0, 0),
        "{} regions and {} pages are there that VFIO alone maps",
        stats.regions,
        stats.owned_pages
    );
    drop(assigned.device);
    drop(assigned.container);
    drop(assigned.group);
    bench::wait_for_no_pages(SOON)?;
    now_unloads()
}

/// The CPU on which a process went to sleep idles with its address space. That must
/// not keep the pages that the process has given up.
fn while_asleep(_: &mut KernelLog) -> Outcome {
    for _ in 0..3 {
        drop(Bench::open(16)?);
        let mut pages = u64::MAX;
        // A busy host needs longer, a page that is kept by the sleep stays all the time.
        for _ in 0..4 {
            std::thread::sleep(Duration::from_secs(3));
            pages = Control::open()?.stats()?.region_pages;
            if pages == 0 {
                break;
            }
        }
        ensure!(
            pages == 0,
            "{pages} pages are kept while their process sleeps"
        );
    }
    now_unloads()
}

/// For each number, and a few that no kernel has yet.
fn features(device: PciAddress) -> Result<Vec<[Result<(), i32>; 2]>> {
    let assigned = Assigned::open(device)?;
    let has = |number, to| assigned.device.has_feature(number, to);
    Ok((0..24)
        .map(|number| [Feature::Get, Feature::Set].map(|to| has(number, to)))
        .collect())
}

fn same_features(_: &mut KernelLog) -> Outcome {
    let device = *bench::devices()?.first().context("no device")?;
    module::load_stock("vfio_pci")?;
    pci::bind(device, pci::VFIO_PCI)?;
    let expected = features(device)?;
    pci::bind(device, pci::PAGEMOVE)?;
    let found = features(device)?;
    let have =
        |all: &[[Result<(), i32>; 2]]| all.iter().flatten().filter(|has| has.is_ok()).count();
    tap::note(&format!("{} of them", have(&expected)));
    ensure!(have(&expected) > 0, "it has none");
    ensure!(
        found == expected,
        "to get and to set: {found:?} instead of {expected:?}"
    );
    Ok(Pass)
}

fn while_bound(_: &mut KernelLog) -> Outcome {
    let device = *bench::devices()?
        .first()
        .context("the VM has no device for tests")?;
    pci::bind(device, pci::PAGEMOVE)?;
    unload()?;
    let driver = pci::driver(device);
    module::load_pagemove()?;
    ensure!(driver.is_none(), "the device is still bound to {driver:?}");
    pci::bind(device, pci::PAGEMOVE)?;
    Ok(Pass)
}
