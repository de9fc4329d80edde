// SPDX-License-Identifier: GPL-2.0
//! Which tables are expected behind which IOMMU, and what follows.

use super::fake::{CAP, ECAP, EFR, NVME};
use super::*;
use crate::probe::fact::Known;
use crate::probe::finding::Kind;
use crate::probe::iommu::{Iommu, Tables, Vendor};
use pagemove_uapi::Format;

const ADBIT: &str = "adbit";
const SMPWC: u64 = 1 << 48;
const FSTS: u64 = 1 << 47;
const SSTS: u64 = 1 << 46;
const SMTS: u64 = 1 << 43;

fn iommu(report: &Report) -> &Iommu {
    &report.iommus.known().expect("the list of IOMMUs")[0]
}

/// Registers and command line: expected format, and whether walks snoop.
#[test]
fn probe_intel_formats() {
    for (ecap, line, format, coherent) in [
        (ECAP, "intel_iommu=on,sm_on", Format::X86_64, true),
        (
            ECAP,
            "intel_iommu=sm_off intel_iommu=sm_on",
            Format::X86_64,
            true,
        ),
        (ECAP & !SMPWC, "intel_iommu=sm_on", Format::X86_64, false),
        (ECAP, "intel_iommu=on,sm_off", Format::VtdSs, true),
        (ECAP & !1, "intel_iommu=on,sm_off", Format::VtdSs, false),
        (ECAP & !SMTS, "intel_iommu=sm_on", Format::VtdSs, true),
        (ECAP & !FSTS, "intel_iommu=sm_on", Format::VtdSs, true),
        (
            ECAP & !FSTS & !SMPWC,
            "intel_iommu=sm_on",
            Format::VtdSs,
            false,
        ),
    ] {
        let report = report(&Fake::intel_with(CAP, ecap, line));
        let iommu = iommu(&report);
        assert_eq!(iommu.format, Known(Tables(format)), "{ecap:#x} {line}");
        assert_eq!(iommu.coherent, Known(coherent), "{ecap:#x} {line}");
        let good = format == Format::X86_64 && coherent;
        let expected = if good {
            Verdict::Possible
        } else {
            Verdict::NotPossible
        };
        assert_eq!(verdict(&report, ADBIT), expected, "{ecap:#x} {line}");
    }
}

#[test]
fn probe_intel_neither_stage() {
    let ecap = ECAP & !FSTS & !SSTS;
    let report = report(&Fake::intel_with(CAP, ecap, "intel_iommu=sm_on"));
    assert_eq!(has(&report, ADBIT, "format-unknown").kind, Kind::Unknown);
}

#[test]
fn probe_intel_default_of_scalable_mode() {
    let fake = Fake::intel_with(CAP, ECAP, "quiet");
    let finding = has(&report(&fake), ADBIT, "format-unknown");
    assert!(
        finding.what.contains("/boot/config-7.2.0"),
        "{}",
        finding.what
    );
    let option = "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON";
    fake.file("boot/config-7.2.0", &format!("CONFIG_A=y\n{option}=y\n"));
    assert_eq!(iommu(&report(&fake)).format, Known(Tables(Format::X86_64)));
    fake.file("boot/config-7.2.0", &format!("# {option} is not set\n"));
    let report = report(&fake);
    assert_eq!(iommu(&report).format, Known(Tables(Format::VtdSs)));
    let finding = has(&report, ADBIT, "format");
    assert!(
        finding.fix.contains("intel_iommu=on,sm_on"),
        "{}",
        finding.fix
    );
}

#[test]
fn probe_the_fix_fits_the_cause() {
    let report = report(&Fake::intel_with(CAP, ECAP & !SMTS, "intel_iommu=sm_on"));
    let finding = has(&report, ADBIT, "format");
    assert!(finding.what.contains("ECAP.SMTS is 0"), "{}", finding.what);
    assert!(!finding.fix.contains("sm_on"), "{}", finding.fix);
}

#[test]
fn probe_walks_past_the_caches() {
    let fake = Fake::intel_with(CAP, ECAP & !SMPWC, "intel_iommu=sm_on");
    for engine in [ADBIT, "rtm"] {
        let finding = has(&report(&fake), engine, "incoherent");
        assert_eq!(finding.kind, Kind::Blocker);
        assert!(
            finding.fix.contains("allow_incoherent=1"),
            "{}",
            finding.fix
        );
    }
    // Loaded, but sysfs does not say how, and nobody could ask the module.
    fake.directory("sys/module/pagemove");
    assert_eq!(has(&report(&fake), ADBIT, "incoherent").kind, Kind::Unknown);
    fake.file("sys/module/pagemove/parameters/allow_incoherent", "0\n");
    assert_eq!(has(&report(&fake), ADBIT, "incoherent").kind, Kind::Blocker);
    fake.file("sys/module/pagemove/parameters/allow_incoherent", "1\n");
    has_not(&report(&fake), ADBIT, "incoherent");
}

#[test]
fn probe_emulated_iommus() {
    let caching = 1 << 7;
    let of = |fake: &Fake| iommu(&report(fake)).emulated.clone();
    assert_eq!(of(&Fake::intel()), Known(false));
    let line = "intel_iommu=sm_on";
    assert_eq!(
        of(&Fake::intel_with(CAP | caching, ECAP, line)),
        Known(true)
    );
    let guest = Fake::new("GenuineIntel", "hypervisor", line);
    guest.vtd(&format!("{CAP:x}"), &format!("{ECAP:x}"));
    assert_eq!(of(&guest), Known(true));
}

#[test]
fn probe_an_iommu_that_does_not_drain() {
    let noted = |cap| {
        let report = report(&Fake::intel_with(cap, ECAP, "intel_iommu=sm_on"));
        !iommu(&report).notes.is_empty()
    };
    assert!(!noted(CAP));
    assert!(noted(CAP & !(1 << 54)) && noted(CAP & !(1 << 55)));
}

#[test]
fn probe_intel_registers() {
    let report = report(&Fake::intel());
    let iommu = iommu(&report);
    let value = |name: &str| {
        let fields = iommu.fields.known().unwrap();
        let field = fields.iter().find(|field| field.name == name);
        field.unwrap_or_else(|| panic!("no {name}")).value
    };
    assert_eq!((value("SMTS"), value("FSTS"), value("SMPWC")), (1, 1, 1));
    assert_eq!((value("DT"), value("PRS"), value("SSADS")), (1, 0, 0));
    assert_eq!((value("MGAW"), value("ND")), (47, 6));
    assert_eq!(iommu.vendor, Vendor::VtD);
    assert_eq!(iommu.version, Known(Some("6:0".to_string())));
    assert_eq!(iommu.domains_used, Known(Some(7)));
    assert_eq!(iommu.devices, Known(2));
}

#[test]
fn probe_amd_formats() {
    let v2 = format!("{EFR:x}:a2fa77\n");
    let old = format!("{EFR:x}\n");
    for (features, line, format) in [
        (&*v2, "", Format::AmdV1),
        (&old, "", Format::AmdV1),
        (&v2, "amd_iommu=pgtbl_v1", Format::AmdV1),
        (&v2, "amd_iommu=fullflush,pgtbl_v2", Format::X86_64),
        (&v2, "amd_iommu=pgtbl_v2 amd_iommu=pgtbl_v1", Format::AmdV1),
        ("0:0", "amd_iommu=pgtbl_v2", Format::AmdV1),
        ("1000000000c10:0", "", Format::X86_64),
    ] {
        let report = report(&Fake::amd_with(features, line));
        let iommu = iommu(&report);
        assert_eq!(iommu.format, Known(Tables(format)), "{features} {line}");
        assert_eq!(iommu.vendor, Vendor::AmdVi);
        assert_eq!(iommu.coherent, Known(true));
        let code = if format == Format::X86_64 {
            "iommu"
        } else {
            "format"
        };
        assert!(has(&report, ADBIT, code).fix.contains("VT-d"));
        assert_eq!(verdict(&report, ADBIT), Verdict::NotPossible);
        let notes = iommu.notes.join("; ");
        let (own, other) = match format {
            Format::X86_64 => ("v2 tables", "no AMD CPU has RTM"),
            _ => ("no AMD CPU has RTM", "v2 tables"),
        };
        assert!(notes.contains(own) && !notes.contains(other), "{notes}");
    }
}

#[test]
fn probe_amd_dirty_bits() {
    const HD_SUP: u64 = 1 << 52;
    for (efr, part) in [(EFR, "EFR.HDSup is 0"), (EFR | HD_SUP, "iommufd")] {
        let report = report(&Fake::amd_with(&format!("{efr:x}:0"), ""));
        let notes = &iommu(&report).notes;
        assert!(notes.iter().any(|note| note.contains(part)), "{notes:?}");
        assert_eq!(verdict(&report, ADBIT), Verdict::NotPossible);
    }
}

#[test]
fn probe_an_iommu_without_snoop_control() {
    let noted = |ecap| {
        let report = report(&Fake::intel_with(CAP, ecap, "intel_iommu=sm_on"));
        let notes = iommu(&report).notes.join("; ");
        notes.contains("ECAP.SC is 0")
    };
    assert!(!noted(ECAP | 1 << 7) && noted(ECAP & !(1 << 7)));
}

#[test]
fn probe_amd_without_tables() {
    let report = report(&Fake::amd_with("c00:0", ""));
    assert!(has(&report, ADBIT, "format-unknown").what.contains("HATS"));
}

#[test]
fn probe_nonsense_in_registers_is_named() {
    for (cap, ecap) in [
        ("zz", "7"),
        ("", "7"),
        ("12345678901234567", "-1"),
        ("\0", "\u{1}"),
    ] {
        let fake = Fake::intel();
        fake.vtd(cap, ecap);
        let report = report(&fake);
        let why = iommu(&report).fields.why().expect("no fields").to_string();
        assert!(why.contains("dmar0/intel-iommu/cap"), "{why}");
    }
    let fake = Fake::intel();
    fake.vtd("7", "frob");
    let finding = has(&report(&fake), ADBIT, "format-unknown");
    assert!(finding.what.contains("\"frob\""), "{}", finding.what);
    fake.remove("sys/class/iommu/dmar0/intel-iommu/ecap");
    let finding = has(&report(&fake), ADBIT, "format-unknown");
    assert!(
        finding.what.contains("there is no /sys"),
        "{}",
        finding.what
    );
    let report = report(&Fake::amd_with("hello", ""));
    has(&report, ADBIT, "format-unknown");
}

#[test]
fn probe_an_iommu_of_another_kind() {
    let fake = Fake::intel();
    fake.remove("sys/class/iommu/dmar0/intel-iommu");
    let report = report(&fake);
    assert_eq!(iommu(&report).vendor, Vendor::Other);
    assert_eq!(verdict(&report, ADBIT), Verdict::Unknown);
}

#[test]
fn probe_no_iommu_is_told_by_vendor_and_cause() {
    for (vendor, line, part) in [
        ("GenuineIntel", "quiet", "intel_iommu=on,sm_on"),
        ("AuthenticAMD", "iommu=pt", "AMD-Vi"),
        (
            "GenuineIntel",
            "intel_iommu=off",
            "boot without intel_iommu=off",
        ),
        ("AuthenticAMD", "iommu=off", "boot without iommu=off"),
        ("CyrixInstead", "", "with an IOMMU"),
    ] {
        let report = report(&Fake::new(vendor, "", line));
        let finding = has(&report, ADBIT, "no-iommu");
        assert!(
            finding.fix.contains(part),
            "{vendor} {line}: {}",
            finding.fix
        );
        assert_eq!(report.verdict, Verdict::NotPossible);
    }
}

#[test]
fn probe_a_device_without_a_link_to_its_iommu() {
    let fake = Fake::intel();
    fake.remove(&format!("sys/bus/pci/devices/{NVME}/iommu"));
    assert_eq!(verdict(&report(&fake), ADBIT), Verdict::Unknown);
}
