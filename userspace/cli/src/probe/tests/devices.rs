// SPDX-License-Identifier: GPL-2.0
//! Devices: groups, paths to the root, drivers.

use super::fake::{port, Space, NVME, PORT};
use super::*;
use crate::probe::device::Device;
use crate::probe::fact::Known;
use crate::probe::finding::Kind;

const ADBIT: &str = "adbit";
const UPSTREAM: &str = "0000:02:00.0";
const LEFT: &str = "0000:03:00.0";
const RIGHT: &str = "0000:03:01.0";
const DRIVES: [&str; 2] = ["0000:04:00.0", "0000:05:00.0"];

/// Adds a switch with two drives below, whose downstream ports have the ACS bits, or no
/// ACS at all. Groups are as Linux 7.2 makes them.
fn switch(acs: Option<u16>) -> Fake {
    let fake = Fake::new("GenuineIntel", "", "intel_iommu=sm_on");
    fake.vtd(&format!("{:x}", fake::CAP), &format!("{:x}", fake::ECAP));
    fake.function(PORT, &[], "0x060400", &port(0x1f, 0x1d));
    fake.function(UPSTREAM, &[PORT], "0x060400", &Space::express(5).bytes);
    let downstream = match acs {
        Some(enabled) => Space::express(6).with(0x0d, 0x1f, enabled).bytes,
        None => Space::express(6).bytes,
    };
    for (group, (port, drive)) in [LEFT, RIGHT].into_iter().zip(DRIVES).enumerate() {
        let group = group as u32 * 2;
        fake.function(port, &[PORT, UPSTREAM], "0x060400", &downstream);
        let path = [PORT, UPSTREAM, port];
        fake.function(drive, &path, "0x010802", &Space::express(0).bytes);
        fake.group(port, group, "dmar0");
        let own = acs.is_some_and(|enabled| enabled & 0x1d == 0x1d);
        fake.group(drive, group + u32::from(own), "dmar0");
    }
    fake
}

fn device<'a>(report: &'a Report, address: &str) -> &'a Device {
    let mut devices = report.devices.iter();
    devices
        .find(|device| device.address == address)
        .unwrap_or_else(|| panic!("{address} is not listed"))
}

fn named(device: &Device, code: &str) -> Option<Finding> {
    let findings = device.engines.iter().flat_map(|engine| &engine.findings);
    findings
        .clone()
        .find(|finding| finding.code == code)
        .cloned()
}

#[test]
fn probe_a_good_device() {
    let fake = Fake::intel();
    fake.driver(NVME, "nvme");
    let report = report(&fake);
    let device = device(&report, NVME);
    assert_eq!(report.devices.len(), 1, "the port is none for a guest");
    assert_eq!(engine(&report, ADBIT).devices, [NVME]);
    assert_eq!(device.driver.as_deref(), Some("nvme"));
    assert_eq!(device.iommu.as_deref(), Some("dmar0"));
    assert_eq!(device.group.as_deref(), Some("1"));
    assert_eq!(device.group_type, Known(Some("DMA-FQ".to_string())));
    assert_eq!(device.id, Known("8086:0953".to_string()));
    assert_eq!(device.node, Known(None));
    assert_eq!(device.driver_override, None);
    assert_eq!(device.bind.len(), 3);
    assert!(
        device.bind[1].ends_with("driver/unbind"),
        "{:?}",
        device.bind
    );
    assert_eq!(named(device, "not-bound").unwrap().kind, Kind::Step);
}

#[test]
fn probe_a_bound_device() {
    let fake = Fake::intel();
    let without = report(&fake);
    assert_eq!(device(&without, NVME).bind.len(), 2);
    fake.driver(NVME, "pagemove_vfio");
    let with = report(&fake);
    assert!(device(&with, NVME).bind.is_empty());
    assert_eq!(named(device(&with, NVME), "not-bound"), None);
}

#[test]
fn probe_an_ats_device() {
    let fake = Fake::intel();
    let config = Space::express(0).with(0x0f, 0x20, 1 << 15).bytes;
    fake.bytes(&format!("sys/bus/pci/devices/{NVME}/config"), &config);
    let report = report(&fake);
    assert!(device(&report, NVME).ats.known().unwrap().unwrap().enabled);
    assert_eq!(device(&report, NVME).pri, Known(None));
    assert_eq!(report.verdict, Verdict::Possible);
}

#[test]
fn probe_a_switch_with_acs() {
    let report = report(&switch(Some(0x1d)));
    for drive in DRIVES {
        assert_eq!(device(&report, drive).peer_to_peer.redirected, Known(true));
        assert_eq!(named(device(&report, drive), "peer-to-peer"), None);
    }
    assert_eq!(report.verdict, Verdict::Possible);
}

/// Linux gives both drives groups of their own; the switch lets them talk.
#[test]
fn probe_a_switch_without_acs() {
    for acs in [None, Some(0), Some(0x19), Some(0x15)] {
        let report = report(&switch(acs));
        for drive in DRIVES {
            let finding = named(device(&report, drive), "peer-to-peer").expect("a finding");
            assert_eq!(finding.kind, Kind::Blocker);
            assert!(finding.what.contains("0000:03:0"), "{}", finding.what);
        }
        assert_eq!(report.verdict, Verdict::NotPossible, "{acs:?}");
        let path = &device(&report, DRIVES[0]).peer_to_peer.path;
        let path: Vec<&str> = path.iter().map(|hop| hop.address.as_str()).collect();
        assert_eq!(path, [LEFT, UPSTREAM, PORT]);
    }
}

#[test]
fn probe_a_path_that_only_root_can_read() {
    let fake = switch(None);
    for address in [PORT, UPSTREAM, LEFT, RIGHT, DRIVES[0], DRIVES[1]] {
        let name = format!("sys/bus/pci/devices/{address}/config");
        fake.bytes(&name, &Space::express(6).bytes[..64]);
    }
    let report = report(&fake);
    let finding = named(device(&report, DRIVES[0]), "peer-to-peer-unknown").expect("a finding");
    assert!(finding.what.contains("needs root"), "{}", finding.what);
    assert_eq!(report.verdict, Verdict::Unknown);
    // A group of one is Linux's word for the whole path.
    let alone = Fake::intel();
    for address in [PORT, NVME] {
        let name = format!("sys/bus/pci/devices/{address}/config");
        alone.bytes(&name, &Space::express(0).bytes[..64]);
    }
    assert_eq!(super::report(&alone).verdict, Verdict::Possible);
}

#[test]
fn probe_a_group_of_one_that_was_forced() {
    for (line, expected) in [
        ("intel_iommu=sm_on", Verdict::Possible),
        (
            "intel_iommu=sm_on pcie_acs_override=downstream",
            Verdict::NotPossible,
        ),
    ] {
        let fake = Fake::intel_with(fake::CAP, fake::ECAP, line);
        let name = format!("sys/bus/pci/devices/{PORT}/config");
        fake.bytes(&name, &Space::express(4).bytes);
        assert_eq!(report(&fake).verdict, expected, "{line}");
    }
}

#[test]
fn probe_functions_of_one_device() {
    let fake = Fake::intel();
    let second = "0000:01:00.1";
    let mut config = Space::express(0).bytes;
    config[0x0e] = 0x80;
    fake.function(second, &[PORT], "0x020000", &config);
    fake.bytes(&format!("sys/bus/pci/devices/{NVME}/config"), &config);
    fake.group(second, 1, "dmar0");
    let together = report(&fake);
    assert!(named(device(&together, NVME), "peer-to-peer").is_some());
    // With ACS in the functions only the group remains.
    let mut config = Space::express(0).with(0x0d, 0x0c, 0x0c).bytes;
    config[0x0e] = 0x80;
    for address in [NVME, second] {
        fake.bytes(&format!("sys/bus/pci/devices/{address}/config"), &config);
    }
    assert_eq!(named(device(&report(&fake), NVME), "shared-group"), None);
    fake.driver(second, "e1000e");
    let shared = report(&fake);
    let finding = named(device(&shared, NVME), "shared-group").expect("a finding");
    assert_eq!(finding.kind, Kind::Step);
    assert!(finding.what.contains(second), "{}", finding.what);
    assert_eq!(shared.verdict, Verdict::Possible);
}

#[test]
fn probe_conventional_pci_below_a_bridge() {
    let fake = Fake::intel();
    let bridge = "0000:00:1e.0";
    let card = "0000:06:01.0";
    fake.function(bridge, &[], "0x060401", &[0; 256]);
    fake.function(card, &[bridge], "0x020000", &[0; 256]);
    fake.group(bridge, 9, "dmar0");
    fake.group(card, 9, "dmar0");
    let report = report(&fake);
    let finding = named(device(&report, card), "peer-to-peer").expect("a finding");
    assert!(finding.what.contains(bridge), "{}", finding.what);
}

#[test]
fn probe_one_device() {
    let fake = Fake::intel();
    let of = |address: PciAddress| report_of(&fake, Some((Cpuid::default(), None)), Some(address));
    let nvme = of(NVME.parse().unwrap());
    assert_eq!(nvme.verdict, Verdict::Possible);
    let port = of(PORT.parse().unwrap());
    assert_eq!(port.devices.len(), 1);
    assert!(named(&port.devices[0], "bridge").is_some());
    assert_eq!(port.verdict, Verdict::NotPossible);
}

#[test]
fn probe_a_device_behind_no_iommu() {
    let fake = Fake::intel();
    let other = "0000:00:05.0";
    fake.function(other, &[], "0x020000", &Space::express(9).bytes);
    assert_eq!(report(&fake).devices.len(), 1, "it is not listed");
    let selected = Some(other.parse().unwrap());
    let report = report_of(&fake, Some((Cpuid::default(), None)), selected);
    assert!(named(&report.devices[0], "no-group").is_some());
    assert_eq!(named(&report.devices[0], "peer-to-peer"), None);
}

#[test]
fn probe_nonsense_about_a_device() {
    let fake = Fake::intel();
    let directory = format!("sys/bus/pci/devices/{NVME}");
    fake.file(&format!("{directory}/numa_node"), "banana");
    fake.file(&format!("{directory}/class"), "\u{1}\u{2}");
    fake.bytes(&format!("{directory}/config"), &[]);
    fake.remove("sys/kernel/iommu_groups/1");
    let report = report(&fake);
    let device = device(&report, NVME);
    assert!(device.node.why().unwrap().contains("numa_node"));
    assert!(device.ats.why().unwrap().contains("ends at byte 0"));
    assert!(named(device, "group-unknown").is_some());
    assert_eq!(report.verdict, Verdict::Unknown);
}

#[test]
fn probe_addresses_that_can_not_be_named() {
    let fake = Fake::intel();
    fake.function("10000:e1:00.0", &[], "0x010802", &Space::express(0).bytes);
    fake.directory("sys/bus/pci/devices/frob");
    assert_eq!(report(&fake).devices.len(), 1);
}
