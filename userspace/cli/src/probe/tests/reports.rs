// SPDX-License-Identifier: GPL-2.0
//! The report itself: JSON that stays as it is, and text.

use super::*;
use crate::probe::human;
use serde_json::Value;

fn machines() -> Vec<Fake> {
    let nothing = Fake::new("GenuineIntel", "", "");
    for directory in ["sys", "proc"] {
        nothing.remove(directory);
        nothing.directory(directory);
    }
    vec![
        Fake::intel(),
        Fake::amd_with("10:0", ""),
        Fake::new("AuthenticAMD", "", ""),
        nothing,
    ]
}

/// The members that Documentation/probe.md promises.
#[test]
fn probe_json_has_every_member() {
    let json = serde_json::to_value(report(&Fake::intel())).unwrap();
    for path in [
        "/verdict",
        "/engines/0/engine",
        "/engines/0/verdict",
        "/engines/0/devices/0",
        "/engines/0/findings/0/code",
        "/engines/0/findings/0/kind",
        "/engines/0/findings/0/what",
        "/engines/0/findings/0/fix",
        "/engines/1/engine",
        "/kernel/release",
        "/kernel/options/0",
        "/kernel/lockdown",
        "/cpu/vendor",
        "/cpu/name",
        "/cpu/family",
        "/cpu/model",
        "/cpu/stepping",
        "/cpu/microcode",
        "/cpu/rtm",
        "/cpu/cpuid_rtm",
        "/cpu/rtm_always_abort",
        "/cpu/trial",
        "/cpu/hypervisor",
        "/cpu/tsx_option",
        "/cpu/tsx_async_abort",
        "/cpu/mds",
        "/tsc/constant",
        "/tsc/nonstop",
        "/tsc/current_clocksource",
        "/tsc/available_clocksources/0",
        "/tsc/option",
        "/tsc/log",
        "/sockets/0/package",
        "/sockets/0/cores",
        "/sockets/0/threads",
        "/iommus/0/name",
        "/iommus/0/vendor",
        "/iommus/0/version",
        "/iommus/0/fields/0/register",
        "/iommus/0/fields/0/name",
        "/iommus/0/fields/0/value",
        "/iommus/0/fields/0/meaning",
        "/iommus/0/format",
        "/iommus/0/format_why",
        "/iommus/0/format_fix",
        "/iommus/0/coherent",
        "/iommus/0/emulated",
        "/iommus/0/domains_supported",
        "/iommus/0/domains_used",
        "/iommus/0/devices",
        "/iommus/0/notes",
        "/devices/0/address",
        "/devices/0/class",
        "/devices/0/id",
        "/devices/0/driver",
        "/devices/0/driver_override",
        "/devices/0/group",
        "/devices/0/group_type",
        "/devices/0/group_members",
        "/devices/0/iommu",
        "/devices/0/node",
        "/devices/0/bus_master",
        "/devices/0/ats",
        "/devices/0/pri",
        "/devices/0/pasid",
        "/devices/0/peer_to_peer/redirected",
        "/devices/0/peer_to_peer/why",
        "/devices/0/peer_to_peer/path/0/address",
        "/devices/0/peer_to_peer/path/0/kind",
        "/devices/0/peer_to_peer/path/0/acs/supported",
        "/devices/0/peer_to_peer/path/0/acs/enabled",
        "/devices/0/peer_to_peer/path/0/redirects",
        "/devices/0/bind/0",
        "/devices/0/module",
        "/devices/0/engines/0/engine",
        "/devices/0/engines/0/verdict",
        "/devices/0/engines/0/findings/0/code",
        "/vfio/type1",
        "/vfio/vfio_pci_core",
        "/vfio/vfio_pci",
        "/vfio/disable_hugepages",
        "/vfio/iommufd",
        "/module/loaded",
        "/module/parameters",
        "/module/info",
        "/apertures/ntb_bus",
        "/apertures/functions",
        "/nodes/0/number",
        "/nodes/0/bytes",
        "/nodes/0/free_bytes",
        "/notes",
    ] {
        assert!(json.pointer(path).is_some(), "no {path} in {json:#}");
    }
    assert_eq!(json["verdict"], "possible");
    assert_eq!(json["iommus"][0]["format"], "x86_64");
    assert_eq!(json["iommus"][0]["vendor"], "vt-d");
    assert_eq!(json["vfio"]["type1"], "loaded");
}

#[test]
fn probe_json_reads_back() {
    for fake in machines() {
        for measured in [None, with_rtm(1)] {
            let json = serde_json::to_value(report_of(&fake, measured, None)).unwrap();
            let read: Report = serde_json::from_value(json.clone()).expect("the schema");
            assert_eq!(serde_json::to_value(read).unwrap(), json);
        }
    }
}

#[test]
fn probe_json_tells_unknown_from_no() {
    let fake = Fake::intel();
    fake.remove("proc/cpuinfo");
    let json = serde_json::to_value(report(&fake)).unwrap();
    let why = json["cpu"]["rtm"]["unknown"].as_str();
    assert_eq!(why, Some("there is no /proc/cpuinfo"));
    assert_eq!(json["cpu"]["cpuid_rtm"], Value::Bool(false));
}

#[test]
fn probe_every_no_has_its_fix() {
    for fake in machines() {
        let report = report(&fake);
        for engine in &report.engines {
            let devices = report.devices.iter().flat_map(|device| &device.engines);
            let findings = devices.flat_map(|possible| &possible.findings);
            let findings: Vec<_> = engine.findings.iter().chain(findings).collect();
            for finding in &findings {
                assert!(
                    finding.what.len() > 10 && finding.fix.len() > 10,
                    "{finding:?}"
                );
            }
            let is_no = engine.verdict != Verdict::Possible;
            assert!(!is_no || !findings.is_empty(), "{engine:?}");
        }
    }
}

#[test]
fn probe_text_says_all_of_it() {
    for fake in machines() {
        let report = report(&fake);
        let text = human::text(&report);
        for title in [
            "Engines",
            "CPU",
            "IOMMUs",
            "Devices",
            "Kernel",
            "Destinations",
        ] {
            assert!(text.lines().any(|line| line == title), "{title}:\n{text}");
        }
        for engine in &report.engines {
            for finding in &engine.findings {
                assert!(text.contains(&finding.what), "{}\n{text}", finding.what);
                assert!(text.contains(&finding.fix), "{}\n{text}", finding.fix);
            }
        }
    }
}

#[test]
fn probe_text_of_a_refused_device_explains_the_engine() {
    let fake = Fake::intel_with(fake::CAP, fake::ECAP, "intel_iommu=sm_off");
    let text = human::text(&report(&fake));
    let engines = text.split("\n\n").next().unwrap();
    assert!(engines.contains("intel_iommu=on,sm_on"), "{engines}");
}
