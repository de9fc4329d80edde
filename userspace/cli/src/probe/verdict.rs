// SPDX-License-Identifier: GPL-2.0
//! Which engine can work with which device: everything that was found out, put
//! together.

use pagemove_uapi::{text, Format, Method};
use serde::{Deserialize, Serialize};

use super::device::{self, Device, Possible};
use super::fact::{Fact, Known};
use super::finding::{Finding, Verdict, RUN_AS_ROOT};
use super::iommu::{Iommu, Tables, Vendor};
use super::report::Report;
use super::{cores, cpu, module, tsc, vfio};

#[derive(Debug, Serialize, Deserialize)]
pub struct Engine {
    pub engine: String,
    pub verdict: Verdict,
    /// Devices that it can work with.
    pub devices: Vec<String>,
    /// What concerns every device; the rest is at each of them.
    pub findings: Vec<Finding>,
}

/// Fills in the verdicts of a report.
pub fn judge(report: &mut Report) {
    let all = Method::ALL.iter();
    report.engines = all.map(|method| engine(report, *method)).collect();
    let verdicts = report.engines.iter().map(|engine| engine.verdict);
    report.verdict = verdicts.max().unwrap_or(Verdict::NotPossible);
}

fn engine(report: &mut Report, method: Method) -> Engine {
    let name = text::of_engine(method).name;
    let mut findings = of_host(report, method);
    let of_host = Verdict::of(&findings);
    let possible = |device: &Device| {
        let mut findings = of_iommu(report, device, method);
        findings.extend(device::findings(device));
        findings.sort_by_key(|finding| finding.kind);
        Possible {
            engine: name.to_string(),
            verdict: Verdict::of(&findings).min(of_host),
            findings,
        }
    };
    let each: Vec<Possible> = report.devices.iter().map(possible).collect();
    let best = each.iter().map(|possible| possible.verdict).max();
    let mut devices = Vec::new();
    for (device, possible) in report.devices.iter_mut().zip(each) {
        if possible.verdict == Verdict::Possible {
            devices.push(device.address.clone());
        }
        device.engines.push(possible);
    }
    let has_iommu = !report.iommus.known().is_some_and(Vec::is_empty);
    if best.is_none() && has_iommu {
        findings.push(Finding::blocker(
            "no-device",
            "no PCI device that a guest could have is behind an IOMMU",
            "a device in a slot that the IOMMU serves",
        ));
    }
    findings.sort_by_key(|finding| finding.kind);
    Engine {
        engine: name.to_string(),
        verdict: best.unwrap_or(Verdict::NotPossible),
        devices,
        findings,
    }
}

fn of_host(report: &Report, method: Method) -> Vec<Finding> {
    let mut findings = module::findings(&report.module, text::of_engine(method).name);
    match method {
        Method::AdBit => {}
        Method::Rtm => {
            findings.extend(cpu::findings(&report.cpu));
            findings.extend(tsc::findings(&report.tsc));
            findings.extend(cores::findings(&report.sockets));
        }
    }
    findings.extend(no_iommu(report));
    findings.extend(lockdown(&report.kernel.lockdown));
    findings.extend(vfio::findings(&report.vfio));
    findings
}

fn no_iommu(report: &Report) -> Option<Finding> {
    match &report.iommus {
        Known(iommus) if !iommus.is_empty() => return None,
        Known(_) => {}
        Fact::Unknown(unknown) => {
            let what = format!("which IOMMUs there are is unknown: {}", unknown.unknown);
            return Some(Finding::unknown("iommu-unknown", what, RUN_AS_ROOT));
        }
    }
    let options = report.kernel.options.known().cloned().unwrap_or_default();
    let off = options.iter().find(|word| {
        let value = word
            .split_once('=')
            .filter(|(key, _)| matches!(*key, "iommu" | "intel_iommu" | "amd_iommu"));
        value.is_some_and(|(_, value)| value.split(',').any(|part| part == "off"))
    });
    let fix = match (off, report.cpu.vendor.known().map(String::as_str)) {
        (Some(word), _) => format!("boot without {word}"),
        (None, Some("GenuineIntel")) => {
            "turn VT-d on in the firmware and boot with intel_iommu=on,sm_on (iommu=pt may stay)"
                .to_string()
        }
        (None, Some("AuthenticAMD")) => {
            "turn AMD-Vi (IOMMU) on in the firmware (iommu=pt may stay); in a guest: give it an \
             emulated IOMMU"
                .to_string()
        }
        _ => "a machine with an IOMMU that is turned on in firmware and kernel".to_string(),
    };
    Some(Finding::blocker("no-iommu", "no IOMMU is in use", fix))
}

/// Finds a lockdown: MOVE is refused from integrity on, as every way to change memory is.
fn lockdown(state: &Fact<String>) -> Option<Finding> {
    match state {
        Known(state) if state == "none" || state == "absent" => None,
        Known(state) => Some(Finding::blocker(
            "lockdown",
            format!("the kernel is locked down ({state}): moves are refused"),
            "boot without lockdown= and, where it comes from Secure Boot, without that",
        )),
        Fact::Unknown(unknown) => Some(Finding::unknown(
            "lockdown-unknown",
            format!(
                "whether the kernel is locked down is unknown: {}",
                unknown.unknown
            ),
            "mount -t securityfs securityfs /sys/kernel/security, or run this program as root",
        )),
    }
}

/// Returns what the IOMMU of a device makes of an engine: what the module says where it
/// has seen the tables, else what is to be expected.
fn of_iommu(report: &Report, device: &Device, method: Method) -> Vec<Finding> {
    let engine = text::of_engine(method).name;
    let opened = device.module.as_ref().filter(|listed| listed.open);
    if let Some(listed) = opened {
        if listed.engines.iter().any(|name| name == engine) {
            return Vec::new();
        }
        if let Some(reason) = &listed.reason {
            let message = listed.message.as_deref().unwrap_or(reason);
            let (what, fix) = message.split_once(": ").unwrap_or((message, message));
            return vec![Finding::blocker(
                reason,
                format!("the module says: {what}"),
                fix,
            )];
        }
    }
    let iommus = report.iommus.known().map_or(&[][..], Vec::as_slice);
    let behind = |iommu: &&Iommu| Some(&iommu.name) == device.iommu.as_ref();
    match iommus.iter().find(behind) {
        Some(iommu) => expected(report, iommu, method),
        // Said already, for the host or the device.
        None if iommus.is_empty() || device.group.is_none() => Vec::new(),
        None => vec![Finding::unknown(
            "iommu-unknown",
            "which IOMMU it is behind is unknown: sysfs has no link to one",
            "a kernel whose IOMMU driver links its devices",
        )],
    }
}

/// Returns whether an engine lives by accessed and dirty bits that the IOMMU sets.
fn needs_ad_bits(method: Method) -> bool {
    match method {
        Method::AdBit => true,
        Method::Rtm => false,
    }
}

fn expected(report: &Report, iommu: &Iommu, method: Method) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = &iommu.name;
    match (&iommu.format, iommu.vendor) {
        (Fact::Unknown(unknown), _) => findings.push(Finding::unknown(
            "format-unknown",
            format!(
                "which tables {name} would have is unknown: {} ({})",
                iommu.format_why, unknown.unknown
            ),
            &iommu.format_fix,
        )),
        (Known(_), _) if !needs_ad_bits(method) => {}
        (Known(Tables(Format::X86_64)), Vendor::VtD) => {}
        (Known(Tables(Format::X86_64)), _) => findings.push(Finding::blocker(
            "iommu",
            format!(
                "{name} has x86_64 tables, but pagemove does not know if it sets A and D there"
            ),
            &iommu.format_fix,
        )),
        (Known(format), _) => findings.push(Finding::blocker(
            "format",
            format!(
                "{name} would have {} tables, where no accessed and dirty bits are set ({})",
                format.name(),
                iommu.format_why
            ),
            &iommu.format_fix,
        )),
    }
    if iommu.coherent.is(&false) {
        findings.extend(incoherent(report, iommu));
    }
    findings
}

/// Finds an incoherent IOMMU: fatal on hardware; an emulator says so without meaning it.
fn incoherent(report: &Report, iommu: &Iommu) -> Option<Finding> {
    const CODE: &str = "incoherent";
    const FIX: &str = "on hardware: another machine; an emulator (QEMU) may have the module \
                       loaded with allow_incoherent=1";
    let name = &iommu.name;
    let emulated = if iommu.emulated.is(&true) {
        " (an emulated IOMMU, it seems)"
    } else {
        ""
    };
    let what = format!("{name}{emulated} walks its tables past the CPU caches");
    let allowed = report.module.parameters.get("allow_incoherent");
    match allowed.map(String::as_str) {
        Some("1") => None,
        None if report.module.loaded => Some(Finding::unknown(
            CODE,
            format!(
                "{what}; whether the module was loaded with allow_incoherent=1 shows only when a \
                 device is open"
            ),
            FIX,
        )),
        _ => Some(Finding::blocker(CODE, what, FIX)),
    }
}

/// Finds where the module has seen other tables than were expected.
pub fn surprises(report: &Report) -> Vec<String> {
    let iommus = report.iommus.known().map_or(&[][..], Vec::as_slice);
    let surprise = |device: &Device| {
        let seen = device.module.as_ref()?.format.as_deref()?;
        let iommu = iommus
            .iter()
            .find(|iommu| Some(&iommu.name) == device.iommu.as_ref())?;
        let expected = iommu.format.known()?.name();
        (seen != expected).then(|| {
            format!(
                "{} has {seen} tables, not the expected {expected}: what this says of {} is wrong",
                device.address, iommu.name
            )
        })
    };
    report.devices.iter().filter_map(surprise).collect()
}
