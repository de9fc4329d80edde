// SPDX-License-Identifier: GPL-2.0
//! Configuration space: whole, cut short, and not to be believed.

use super::fake::{Fake, Space};
use crate::probe::fact::{Fact, Known};
use crate::probe::pci_config::{Ats, Config, Pasid, Pri};
use crate::probe::tree::Tree;

const ATS: u16 = 0x0f;
const PRI: u16 = 0x13;
const PASID: u16 = 0x1b;
const ACS: u16 = 0x0d;

fn read(bytes: &[u8]) -> Fact<Config> {
    let fake = Fake::empty();
    fake.bytes("sys/f/config", bytes);
    Config::read(&Tree::new(fake.root()), "sys/f")
}

fn config(bytes: &[u8]) -> Config {
    match read(bytes) {
        Known(config) => config,
        Fact::Unknown(unknown) => panic!("{unknown:?}"),
    }
}

#[track_caller]
fn unknown<T: std::fmt::Debug>(fact: Fact<T>, part: &str) {
    let why = fact.why().unwrap_or_else(|| panic!("{fact:?}"));
    assert!(why.contains(part), "{why}");
}

#[test]
fn probe_config_capabilities() {
    let space = Space::express(0)
        .with(ATS, 0x25, 1 << 15)
        .with(PRI, 1, 0)
        .with(PASID, 20 << 8, 0);
    let config = config(&space.bytes);
    let ats = Ats {
        enabled: true,
        queue_depth: 5,
    };
    assert_eq!(config.ats(), Known(Some(ats)));
    assert_eq!(config.pri(), Known(Some(Pri { enabled: true })));
    let pasid = Pasid {
        enabled: false,
        width: 20,
    };
    assert_eq!(config.pasid(), Known(Some(pasid)));
    assert_eq!(config.acs(), Known(None));
    assert_eq!(config.port_type(), Known(Some(0)));
}

#[test]
fn probe_config_depth_zero_means_32() {
    let config = config(&Space::express(0).with(ATS, 0, 0).bytes);
    let ats = Ats {
        enabled: false,
        queue_depth: 32,
    };
    assert_eq!(config.ats(), Known(Some(ats)));
}

#[test]
fn probe_config_header() {
    let mut space = Space::express(4);
    let of = |space: &Space| {
        let config = config(&space.bytes);
        (config.bus_master(), config.multifunction())
    };
    assert_eq!(of(&space), (Known(false), Known(false)));
    space.bytes[4] = 4;
    space.bytes[0x0e] = 0x81;
    assert_eq!(of(&space), (Known(true), Known(true)));
}

#[test]
fn probe_config_acs_bits() {
    for (supported, enabled, redirects) in [
        (0x1f, 0x1d, true),
        (0x1f, 0x1c, false),
        (0x1f, 0, false),
        // What a port does not have it does not need.
        (0x01, 0x01, true),
        (0x7f, 0x7f, true),
    ] {
        let config = config(&Space::express(6).with(ACS, supported, enabled).bytes);
        let acs = config.acs();
        let acs = acs.known().unwrap().as_ref().expect("ACS");
        assert_eq!(acs.redirects(), redirects, "{supported:#x} {enabled:#x}");
    }
    let config = config(&Space::express(6).with(ACS, 0x5f, 0x41).bytes);
    let acs = config.acs().known().unwrap().clone().unwrap();
    assert_eq!(acs.supported, ["SV", "TB", "RR", "CR", "UF", "DT"]);
    assert_eq!(acs.enabled, ["SV", "DT"]);
}

#[test]
fn probe_config_without_root() {
    let config = config(&Space::express(0).with(ATS, 0, 0).bytes[..64]);
    assert_eq!(config.bus_master(), Known(false));
    unknown(config.ats(), "needs root");
    unknown(config.port_type(), "needs root");
}

#[test]
fn probe_config_cut_short_at_every_length() {
    let whole = Space::express(0).with(ATS, 0, 0).with(ACS, 0, 0).bytes;
    for length in 0..0x120 {
        let Known(config) = read(&whole[..length]) else {
            panic!("{length} bytes are some");
        };
        // Whatever they say, they say it without a panic.
        let facts = (config.ats(), config.acs(), config.pri(), config.port_type());
        if length < 0x104 && length != 0x100 {
            assert!(facts.0.known().is_none(), "{length}: {:?}", facts.0);
        }
    }
}

#[test]
fn probe_config_of_conventional_pci() {
    let mut bytes = Space::express(0).bytes;
    bytes.truncate(256);
    bytes[0x06] = 0;
    let config = config(&bytes);
    assert_eq!(config.port_type(), Known(None));
    assert_eq!(config.ats(), Known(None));
}

#[test]
fn probe_config_lists_that_never_end() {
    let mut space = Space::express(0).with(ATS, 0, 0);
    // The capability of express is there, but something else is looked for.
    space.bytes[0x60..0x62].copy_from_slice(&[0x05, 0x40]);
    space.bytes[0x102..0x104].copy_from_slice(&(0x100u16 << 4 | 1).to_le_bytes());
    let circle = config(&space.bytes);
    unknown(circle.port_type(), "broken");
    unknown(circle.pri(), "broken");
    assert!(circle.ats().known().is_some());
}

#[test]
fn probe_config_links_to_nowhere() {
    let mut space = Space::express(0).with(ATS, 0, 0);
    space.bytes[0x34] = 0x10;
    space.bytes[0x102..0x104].copy_from_slice(&(0x40u16 << 4 | 1).to_le_bytes());
    let config = config(&space.bytes);
    unknown(config.port_type(), "broken");
    unknown(config.pri(), "broken");
}

#[test]
fn probe_config_of_a_device_that_is_gone() {
    unknown(read(&[0xff; 4096]).map(|_| ()), "does not answer");
    unknown(
        Config::read(&Tree::new("/nonexistent"), "sys/f").map(|_| ()),
        "there is no",
    );
}

#[test]
fn probe_config_of_noise() {
    let mut state = 1u32;
    for _ in 0..200 {
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                (state >> 24) as u8
            })
            .collect();
        if let Known(config) = read(&noise) {
            let _ = (config.ats(), config.acs(), config.port_type());
        }
    }
}
