// SPDX-License-Identifier: GPL-2.0
//! RTM, the clock and the cores, in every state that they may be in.

use super::*;
use crate::probe::finding::Kind;

const RTM: &str = "rtm";
const INTEL: &str = "GenuineIntel";
const TAA: &str = "sys/devices/system/cpu/vulnerabilities/tsx_async_abort";

fn machine(flags: &str, command_line: &str) -> Fake {
    Fake::new(
        INTEL,
        &format!("{flags} constant_tsc nonstop_tsc"),
        command_line,
    )
}

#[test]
fn probe_rtm_that_commits_is_fine() {
    let report = report_of(&Fake::intel(), with_rtm(1), None);
    for code in [
        "no-rtm",
        "tsx-off",
        "rtm-never-commits",
        "rtm-untried",
        "tsc-unstable",
    ] {
        has_not(&report, RTM, code);
    }
    assert_eq!(report.cpu.trial.known().unwrap().unwrap().committed, 1);
}

#[test]
fn probe_rtm_that_never_commits_is_not() {
    let report = report_of(&Fake::intel(), with_rtm(0), None);
    let finding = has(&report, RTM, "rtm-never-commits");
    assert!(finding.what.contains("none of 9"), "{}", finding.what);
    assert_eq!(verdict(&report, RTM), Verdict::NotPossible);
}

#[test]
fn probe_microcode_that_always_aborts() {
    let cpuid = Cpuid {
        rtm: false,
        rtm_always_abort: true,
    };
    let report = report_of(&machine("", "tsx=on"), Some((cpuid, None)), None);
    assert!(has(&report, RTM, "rtm-always-aborts")
        .what
        .contains("microcode"));
}

#[test]
fn probe_tsx_off_tells_of_the_option_and_its_risk() {
    for command_line in ["tsx=off", "tsx=banana", "tsx=on tsx=off"] {
        let report = report(&machine("", command_line));
        let finding = has(&report, RTM, "tsx-off");
        assert!(finding.fix.contains("tsx=on") && finding.fix.contains("TAA"));
    }
    for command_line in ["", "tsx=auto"] {
        let fake = machine("", command_line);
        has(&report(&fake), RTM, "no-rtm");
        fake.file(TAA, "Mitigation: TSX disabled\n");
        has(&report(&fake), RTM, "tsx-off");
    }
    has(&report(&machine("", "tsx=on")), RTM, "no-rtm");
}

#[test]
fn probe_a_vulnerable_cpu_with_rtm_is_noted() {
    let fake = machine("rtm", "tsx=on");
    fake.file(TAA, "Mitigation: Clear CPU buffers; SMT vulnerable\n");
    let noted = |fake: &Fake| {
        let notes = report_of(fake, with_rtm(1), None).notes;
        notes.iter().any(|note| note.contains("SMT vulnerable"))
    };
    assert!(noted(&fake));
    fake.file(TAA, "Not affected\n");
    assert!(!noted(&fake));
}

#[test]
fn probe_other_vendors_have_no_rtm() {
    let report = report(&Fake::new("AuthenticAMD", "", ""));
    let finding = has(&report, RTM, "no-rtm");
    assert!(finding.fix.contains("engine adbit"), "{}", finding.fix);
}

#[test]
fn probe_rtm_is_not_guessed() {
    let fake = machine("rtm", "");
    let finding = has(&report_of(&fake, None, None), RTM, "rtm-untried");
    assert_eq!(finding.kind, Kind::Unknown);
    fake.remove("proc/cpuinfo");
    let report = report(&fake);
    assert_eq!(has(&report, RTM, "rtm-unknown").kind, Kind::Unknown);
    assert!(report.cpu.vendor.why().unwrap().contains("/proc/cpuinfo"));
}

#[test]
fn probe_cpuid_and_kernel_that_disagree() {
    let cpuid = Some((Cpuid::default(), None));
    has(
        &report_of(&machine("rtm", ""), cpuid, None),
        RTM,
        "rtm-hidden",
    );
}

#[test]
fn probe_cpu_facts() {
    let cpu = report(&machine("hypervisor", "")).cpu;
    assert!(cpu.vendor.is(&INTEL.to_string()) && cpu.name.is(&"Test CPU".to_string()));
    assert!(cpu.family.is(&6) && cpu.model.is(&143) && cpu.stepping.is(&8));
    assert!(cpu.microcode.is(&Some("0x2b0".to_string())) && cpu.hypervisor.is(&true));
}

#[test]
fn probe_nonsense_in_cpuinfo_is_named() {
    let fake = machine("", "");
    fake.bytes("proc/cpuinfo", b"model : x\nflags\n\xff\xfe\0 : \n:::\n");
    let report = report(&fake);
    assert!(report.cpu.model.why().unwrap().contains("no number"));
    assert!(report.cpu.rtm.why().unwrap().contains("has no flags"));
}

#[test]
fn probe_clocks() {
    let flags = |flags| Fake::new(INTEL, flags, "");
    for wrong in ["constant_tsc", "nonstop_tsc", ""] {
        has(&report(&flags(wrong)), RTM, "tsc-not-invariant");
    }
    let fake = machine("", "");
    has_not(&report(&fake), RTM, "tsc-not-invariant");
    has_not(&report(&fake), RTM, "tsc-unstable");
    // Another current clock does not matter.
    fake.clocks("kvm-clock", "kvm-clock tsc");
    has_not(&report(&fake), RTM, "tsc-unstable");
    fake.clocks("hpet", "hpet acpi_pm");
    fake.file(
        "dev/kmsg",
        "4,9,1,-;tsc: Marking TSC unstable due to test\n",
    );
    let finding = has(&report(&fake), RTM, "tsc-unstable");
    assert!(finding.what.contains("due to test"), "{}", finding.what);
    fake.remove("sys/devices/system/clocksource");
    assert_eq!(has(&report(&fake), RTM, "tsc-unknown").kind, Kind::Unknown);
}

/// Places, whether two CPUs are there, and whether they are good ones.
#[test]
fn probe_cpus_for_editor_and_helper() {
    let fake = machine("", "");
    for (cpus, two, near) in [
        (&[(0, "0"), (0, "1")][..], true, true),
        (
            &[(0, "0,2"), (0, "1,3"), (0, "0,2"), (0, "1,3")],
            true,
            true,
        ),
        (&[(0, "0-1"), (0, "0-1")], true, false),
        (&[(0, "0"), (1, "1")], true, false),
        (&[(0, "0")], false, true),
    ] {
        fake.cpus(cpus);
        let report = report(&fake);
        let found = finding(&report, RTM, "one-cpu");
        assert_eq!(found.is_none(), two, "{cpus:?}");
        let noted = |note: &String| note.contains("no socket has two cores");
        assert_eq!(!report.notes.iter().any(noted), near, "{cpus:?}");
    }
    fake.file("sys/devices/system/cpu/online", "0-zz");
    assert_eq!(has(&report(&fake), RTM, "cpus-unknown").kind, Kind::Unknown);
}
