// SPDX-License-Identifier: GPL-2.0
//! The IOMMUs, and which page tables Linux gives a VFIO domain behind each.

use pagemove_uapi::{text, Format};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fact::{Fact, Known};
use super::kernel::CommandLine;
use super::registers::Field;
use super::tree::{self, Tree};
use super::{amdvi, vtd};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    VtD,
    AmdVi,
    Other,
}

/// The format of tables, in JSON by the name that the module has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables(pub Format);

impl Tables {
    pub fn name(self) -> &'static str {
        text::of_format(self.0).name
    }
}

impl Serialize for Tables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let mut all = Format::ALL.iter().map(|format| Tables(*format));
        let named = all.find(|tables| tables.name() == name);
        named.ok_or_else(|| D::Error::custom(format!("no table format {name}")))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Iommu {
    pub name: String,
    pub vendor: Vendor,
    /// Major and minor version of VT-d.
    pub version: Fact<Option<String>>,
    pub fields: Fact<Vec<Field>>,
    /// The tables that a VFIO domain would have.
    pub format: Fact<Tables>,
    /// What decides it.
    pub format_why: String,
    /// What would make it x86_64 tables with A/D bits.
    pub format_fix: String,
    /// Whether walks of these tables snoop CPU caches.
    pub coherent: Fact<bool>,
    /// Whether an emulator has made it: it says so itself, or this is a guest.
    pub emulated: Fact<bool>,
    pub domains_supported: Fact<Option<u64>>,
    pub domains_used: Fact<Option<u64>>,
    /// Devices behind it.
    pub devices: Fact<usize>,
    pub notes: Vec<String>,
}

/// What the code for one vendor finds out.
pub struct Details {
    pub version: Fact<Option<String>>,
    pub fields: Fact<Vec<Field>>,
    pub format: Fact<Tables>,
    pub format_why: String,
    pub format_fix: String,
    pub coherent: Fact<bool>,
    /// Whether it has what only emulated ones have.
    pub caching_mode: Fact<bool>,
    pub notes: Vec<String>,
}

const CLASS: &str = "sys/class/iommu";

/// Returns every IOMMU that is in use; none if there are none or they are off.
pub fn read(
    tree: &Tree,
    command_line: &Fact<CommandLine>,
    is_guest: &Fact<bool>,
) -> Fact<Vec<Iommu>> {
    let names = tree.names(CLASS).map(Option::unwrap_or_default);
    names.map(|names| {
        let one = |name: String| read_one(tree, command_line, is_guest, name);
        names.into_iter().map(one).collect()
    })
}

fn read_one(
    tree: &Tree,
    command_line: &Fact<CommandLine>,
    is_guest: &Fact<bool>,
    name: String,
) -> Iommu {
    let directory = format!("{CLASS}/{name}");
    let (vendor, details) = if tree.exists(&format!("{directory}/intel-iommu")) {
        (Vendor::VtD, vtd::read(tree, command_line, &directory))
    } else if tree.exists(&format!("{directory}/amd-iommu")) {
        (Vendor::AmdVi, amdvi::read(tree, command_line, &directory))
    } else {
        (Vendor::Other, other(&name))
    };
    let count = |file: &str| {
        let file = format!("{directory}/intel-iommu/{file}");
        tree.text(&file).and_then(|text| match text {
            Some(text) => tree::number(&file, &text, 10).map(Some),
            None => Known(None),
        })
    };
    let devices = tree.names(&format!("{directory}/devices"));
    Iommu {
        vendor,
        version: details.version,
        fields: details.fields,
        format: details.format,
        format_why: details.format_why,
        format_fix: details.format_fix,
        coherent: details.coherent,
        emulated: if details.caching_mode.is(&true) {
            Known(true)
        } else {
            is_guest.clone()
        },
        domains_supported: count("domains_supported"),
        domains_used: count("domains_used"),
        devices: devices.map(|names| names.map_or(0, |names| names.len())),
        notes: details.notes,
        name,
    }
}

/// Describes another IOMMU (virtio-iommu, SMMU): nothing that pagemove can walk.
fn other(name: &str) -> Details {
    let why = || format!("pagemove does not know what kind of IOMMU {name} is");
    Details {
        version: Known(None),
        fields: Known(Vec::new()),
        format: Fact::unknown(why()),
        format_why: why(),
        format_fix: "an Intel VT-d or AMD-Vi IOMMU".to_string(),
        coherent: Fact::unknown(why()),
        caching_mode: Fact::unknown(why()),
        notes: Vec::new(),
    }
}
