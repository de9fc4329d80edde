// SPDX-License-Identifier: GPL-2.0
//! Capability registers of IOMMUs, field by field.
//!
//! CAP_REG and ECAP_REG: Intel VT-d specification, 11.4.2 and 11.4.3. EFR: AMD
//! I/O Virtualization Technology specification (48882), MMIO offset 0030h.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub register: String,
    /// The name that the specification gives it.
    pub name: String,
    pub value: u64,
    pub meaning: String,
}

/// Where a field is in its register.
#[derive(Clone, Copy)]
pub struct Place {
    name: &'static str,
    low: u32,
    width: u32,
    meaning: &'static str,
}

const fn bit(low: u32, name: &'static str, meaning: &'static str) -> Place {
    bits(low, 1, name, meaning)
}

const fn bits(low: u32, width: u32, name: &'static str, meaning: &'static str) -> Place {
    Place {
        name,
        low,
        width,
        meaning,
    }
}

impl Place {
    pub const fn of(self, register: u64) -> u64 {
        register >> self.low & ((1 << self.width) - 1)
    }

    pub const fn is_set(self, register: u64) -> bool {
        self.of(register) != 0
    }
}

pub const CM: Place = bit(7, "CM", "caching mode: an emulated IOMMU, as a rule");
pub const DWD: Place = bit(54, "DWD", "an invalidation drains writes");
pub const DRD: Place = bit(55, "DRD", "an invalidation drains reads");

pub const CAP: &[Place] = &[
    bits(0, 3, "ND", "domain ids: 16 for 0, four times more for each"),
    CM,
    bits(
        8,
        5,
        "SAGAW",
        "second-stage levels: bit 1 three, 2 four, 3 five",
    ),
    bits(16, 6, "MGAW", "widest address, less one"),
    bits(34, 4, "SSLPS", "second-stage large pages: bit 0 2M, 1 1G"),
    bit(39, "PSI", "invalidation of single pages"),
    DWD,
    DRD,
    bit(56, "FS1GP", "first-stage 1G pages"),
    bit(60, "FS5LP", "first-stage tables of five levels"),
];

pub const C: Place = bit(0, "C", "walks snoop CPU caches, legacy mode");
pub const SC: Place = bit(7, "SC", "snoop control");
pub const SMTS: Place = bit(43, "SMTS", "scalable mode");
pub const SSTS: Place = bit(46, "SSTS", "second-stage tables in scalable mode");
pub const FSTS: Place = bit(47, "FSTS", "first-stage tables in scalable mode");
pub const SMPWC: Place = bit(48, "SMPWC", "walks snoop CPU caches, scalable mode");

pub const ECAP: &[Place] = &[
    C,
    bit(1, "QI", "queued invalidation"),
    bit(2, "DT", "device TLBs (ATS)"),
    bit(3, "IR", "interrupt remapping"),
    bit(6, "PT", "pass-through"),
    SC,
    bit(26, "NEST", "nested translation"),
    bit(29, "PRS", "page requests"),
    bit(40, "PASID", "process address space ids"),
    SMTS,
    bit(
        45,
        "SSADS",
        "accessed and dirty bits in second-stage tables",
    ),
    SSTS,
    FSTS,
    SMPWC,
];

pub const GT_SUP: Place = bit(4, "GTSup", "guest (v2) tables");
pub const HATS: Place = bits(
    10,
    2,
    "HATS",
    "levels of host (v1) tables: four and more; 3 none",
);
pub const HD_SUP: Place = bit(52, "HDSup", "dirty bits in host tables");
pub const GIO_SUP: Place = bit(48, "GIoSup", "v2 tables for requests without PASID");

pub const EFR: &[Place] = &[
    bit(0, "PreFSup", "prefetch"),
    bit(1, "PPRSup", "page requests"),
    bit(3, "NXSup", "no-execute in guest tables"),
    GT_SUP,
    bit(6, "IASup", "invalidate all"),
    bit(7, "GASup", "guest virtual APIC"),
    HATS,
    bits(12, 2, "GATS", "levels of guest (v2) tables: 0 four, 1 five"),
    bits(32, 5, "PASmax", "PASID bits, less one"),
    GIO_SUP,
    bit(49, "HASup", "accessed bits in host tables"),
    HD_SUP,
    bit(63, "SNPSup", "secure nested paging"),
];

pub fn decode(name: &str, register: u64, places: &[Place]) -> Vec<Field> {
    let field = |place: &Place| Field {
        register: name.to_string(),
        name: place.name.to_string(),
        value: place.of(register),
        meaning: place.meaning.to_string(),
    };
    places.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_disjoint_and_in_order() {
        for places in [CAP, ECAP, EFR] {
            let mut end = 0;
            for place in places {
                assert!(place.low >= end, "{} overlaps", place.name);
                end = place.low + place.width;
            }
            assert!(end <= 64);
        }
    }

    #[test]
    fn values_are_cut_out() {
        assert_eq!(HATS.of(0b11 << 10 | 1 << 12), 3);
        assert!(SMPWC.is_set(1 << 48) && !SMPWC.is_set(!(1 << 48)));
        let fields = decode("ECAP", 1 << 43, ECAP);
        let set: Vec<&str> = fields
            .iter()
            .filter(|field| field.value != 0)
            .map(|field| field.name.as_str())
            .collect();
        assert_eq!(set, ["SMTS"]);
    }
}
