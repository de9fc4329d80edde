// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::os::unix::fs::symlink;

fn bus_with(functions: &[(&str, &str, &str)]) -> (tempfile::TempDir, PciBus) {
    let root = tempfile::tempdir().unwrap();
    for (address, vendor, device) in functions {
        let directory = root.path().join("devices").join(address);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("vendor"), format!("{vendor}\n")).unwrap();
        fs::write(directory.join("device"), format!("{device}\n")).unwrap();
    }
    let bus = PciBus::at(root.path());
    (root, bus)
}

#[test]
fn finds_by_vendor_and_device_in_order() {
    let (_root, bus) = bus_with(&[
        ("0000:00:05.0", "0x1b36", "0x0010"),
        ("0000:00:04.0", "0x1234", "0x11e8"),
        ("0000:00:03.0", "0x1b36", "0x0010"),
    ]);
    let found = bus
        .find(PciId {
            vendor: 0x1b36,
            device: 0x10,
        })
        .unwrap();
    assert_eq!(
        found,
        [
            "0000:00:03.0".parse().unwrap(),
            "0000:00:05.0".parse().unwrap()
        ]
    );
}

#[test]
fn ats_is_found_behind_other_capabilities() {
    let address: PciAddress = "0000:01:00.0".parse().unwrap();
    let (root, bus) = bus_with(&[("0000:01:00.0", "0x1af4", "0x1041")]);
    let path = root.path().join("devices/0000:01:00.0/config");
    let mut config = vec![0; 4096];
    // Another capability at 0x100, ATS at 0x140.
    config[0x100..0x104].copy_from_slice(&(0x140u32 << 20 | 1 << 16 | 1).to_le_bytes());
    config[0x140..0x144].copy_from_slice(&(1u32 << 16 | 0xf).to_le_bytes());
    for (control, expected) in [(0u32, false), (0x8000_0020, true)] {
        config[0x144..0x148].copy_from_slice(&control.to_le_bytes());
        fs::write(&path, &config).unwrap();
        assert_eq!(bus.ats_enabled(address).unwrap(), expected);
    }
    fs::write(&path, [0; 64]).unwrap();
    assert!(!bus.ats_enabled(address).unwrap());
}

#[test]
fn a_function_that_stays_unbound_is_an_error() {
    let (root, bus) = bus_with(&[("0000:00:04.0", "0x1234", "0x11e8")]);
    fs::write(root.path().join("drivers_probe"), "").unwrap();
    let error = bus
        .bind("0000:00:04.0".parse().unwrap(), "vfio-pci")
        .unwrap_err();
    assert!(
        error.to_string().contains("was not bound to vfio-pci"),
        "{error}"
    );
}

#[test]
fn a_function_that_gets_another_driver_is_an_error() {
    let (root, bus) = bus_with(&[("0000:00:04.0", "0x1234", "0x11e8")]);
    fs::write(root.path().join("drivers_probe"), "").unwrap();
    let other = root.path().join("drivers/other");
    fs::create_dir_all(&other).unwrap();
    symlink(&other, root.path().join("devices/0000:00:04.0/driver")).unwrap();
    let error = bus
        .bind("0000:00:04.0".parse().unwrap(), "vfio-pci")
        .unwrap_err();
    assert!(error.to_string().contains("bound to other"), "{error}");
}
