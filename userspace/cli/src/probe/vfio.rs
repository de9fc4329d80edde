// SPDX-License-Identifier: GPL-2.0
//! VFIO: the part of the kernel that maps a guest's memory for its devices.

use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::finding::Finding;
use super::tree::Tree;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The kernel has it as a module that is loaded, or as a part of itself.
    Loaded,
    NotLoaded,
    /// This kernel has no such module.
    Missing,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Vfio {
    /// vfio_iommu_type1
    pub type1: Fact<State>,
    pub vfio_pci_core: Fact<State>,
    pub vfio_pci: Fact<State>,
    /// Parameter of vfio_iommu_type1; null if it is not loaded.
    pub disable_hugepages: Fact<Option<bool>>,
    pub iommufd: Fact<State>,
}

pub fn read(tree: &Tree, release: &Fact<String>) -> Vfio {
    let state = |name: &str| state(tree, release, name);
    const PARAMETER: &str = "sys/module/vfio_iommu_type1/parameters/disable_hugepages";
    let disabled = |text: String| match text.as_str() {
        "Y" | "1" => Known(Some(true)),
        "N" | "0" => Known(Some(false)),
        _ => Fact::unknown(format!("/{PARAMETER} holds neither Y nor N")),
    };
    Vfio {
        type1: state("vfio_iommu_type1"),
        vfio_pci_core: state("vfio_pci_core"),
        vfio_pci: state("vfio_pci"),
        disable_hugepages: tree
            .text(PARAMETER)
            .and_then(|text| text.map_or(Known(None), disabled)),
        iommufd: state("iommufd"),
    }
}

/// Returns a module's state; `name` is written with underscores, as in /sys/module.
fn state(tree: &Tree, release: &Fact<String>, name: &str) -> Fact<State> {
    if tree.exists(&format!("sys/module/{name}")) {
        return Known(State::Loaded);
    }
    let release = match release {
        Known(release) => release,
        Fact::Unknown(unknown) => return Fact::Unknown(unknown.clone()),
    };
    let holds = |file: &str| {
        let text = tree.must(&format!("lib/modules/{release}/{file}"));
        text.map(|text| text.lines().any(|line| names(line, name)))
    };
    let (built_in, module) = (holds("modules.builtin"), holds("modules.dep"));
    match (built_in, module) {
        (Known(true), _) => Known(State::Loaded),
        (_, Known(true)) => Known(State::NotLoaded),
        (Known(false), Known(false)) => Known(State::Missing),
        (Fact::Unknown(unknown), _) | (_, Fact::Unknown(unknown)) => Fact::Unknown(unknown),
    }
}

/// Returns whether a line of modules.dep or modules.builtin begins with this module.
fn names(line: &str, name: &str) -> bool {
    let file = line.split(':').next().unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or_default();
    let stem = file.split(".ko").next().unwrap_or_default();
    stem.replace('-', "_") == name
}

/// Returns what stands in the way.
pub fn findings(vfio: &Vfio) -> Vec<Finding> {
    let need = |state: &Fact<State>, name: &str, symbol: &str| match state {
        Known(State::Loaded) => None,
        Known(State::Missing) => Some(Finding::blocker(
            "vfio-missing",
            format!("this kernel has no {name}"),
            format!("a kernel with {symbol}=m; iommufd can not stand in for it"),
        )),
        Known(State::NotLoaded) => Some(Finding::step(
            "vfio-not-loaded",
            format!("{name} is not loaded"),
            format!("modprobe {name}"),
        )),
        Fact::Unknown(unknown) => Some(Finding::unknown(
            "vfio-unknown",
            format!(
                "{name} is not loaded, and whether it can be is unknown: {}",
                unknown.unknown
            ),
            format!("modprobe {name}, and run this again"),
        )),
    };
    let type1 = need(&vfio.type1, "vfio_iommu_type1", "CONFIG_VFIO_IOMMU_TYPE1");
    let core = need(&vfio.vfio_pci_core, "vfio_pci_core", "CONFIG_VFIO_PCI");
    type1.into_iter().chain(core).collect()
}

pub fn notes(vfio: &Vfio) -> Vec<String> {
    let mut notes = Vec::new();
    if vfio.disable_hugepages.is(&Some(false)) {
        notes.push(
            "vfio_iommu_type1 may map large pages (disable_hugepages=N): regions of pagemove \
             never give it a chance to; of other memory those of 2 MiB are split as pages move, where \
             pagemove qualify has seen split-live"
                .to_string(),
        );
    }
    if vfio.iommufd.is(&State::Loaded) {
        notes.push(
            "iommufd is there: a VMM has to use VFIO's type 1 containers all the same, because \
             iommufd does not map regions"
                .to_string(),
        );
    }
    notes
}
