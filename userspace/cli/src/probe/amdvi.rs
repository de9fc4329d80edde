// SPDX-License-Identifier: GPL-2.0
//! AMD-Vi: features, and the tables that Linux 7 chooses by them.
//!
//! A VFIO domain gets v1 tables unless the command line asks for v2, or the IOMMU
//! has no v1; K drivers/iommu/amd/init.c, iommu.c. Linux never flushes these tables
//! from CPU caches: walks of all of them snoop.
//!
//! No engine moves pages there as things are. `rtm` knows v1 tables, but no AMD CPU has RTM. `adbit` needs A
//! and D: in v1 tables they are set for domains alone that iommufd has made for dirty tracking, in v2 tables
//! nobody here knows (facts.md F54).

use pagemove_uapi::Format;

use super::fact::{Fact, Known};
use super::iommu::{Details, Tables};
use super::kernel::CommandLine;
use super::registers::{self as reg, decode};
use super::tree::{self, Tree};

/// HATS of an IOMMU without host (v1) tables.
const NO_HOST_TABLES: u64 = 3;

pub fn read(tree: &Tree, command_line: &Fact<CommandLine>, directory: &str) -> Details {
    let name = format!("{directory}/amd-iommu/features");
    let efr = tree.must(&name).and_then(|text| {
        // Newer kernels let a second register follow, after a colon.
        let first = text.split(':').next().unwrap_or_default();
        tree::number(&name, first, 16)
    });
    let (format, why) = choose(&efr, command_line);
    let (format_fix, notes) = outlook(&format, &efr);
    Details {
        version: Known(None),
        fields: efr.map(|efr| decode("EFR", efr, reg::EFR)),
        format,
        format_why: why,
        format_fix: format_fix.to_string(),
        coherent: Known(true),
        caching_mode: Known(false),
        notes,
    }
}

/// Tells what it would take for the engine `adbit`, and what the other one makes of these tables.
fn outlook(format: &Fact<Tables>, efr: &Fact<u64>) -> (&'static str, Vec<String>) {
    const OTHER: &str =
        "no setting helps: the engine adbit needs an Intel VT-d IOMMU in scalable mode";
    let dirty = match efr {
        Known(efr) if reg::HD_SUP.is_set(*efr) => {
            "EFR.HDSup is 1: Linux has A and D set in v1 tables that iommufd has made for dirty tracking, \
             while it tracks, but not in those of VFIO type 1, with which pagemove works"
        }
        Known(_) => "EFR.HDSup is 0: this IOMMU can not set A and D in v1 tables",
        Fact::Unknown(_) => return (OTHER, Vec::new()),
    };
    let notes: &[&str] = match format {
        Known(Tables(Format::AmdV1)) => &[
            dirty,
            "the engine rtm moves pages of v1 tables, but no AMD CPU has RTM: it was tried by emulation alone",
        ],
        Known(Tables(Format::X86_64)) => &[
            "v2 tables have A and D where VT-d's first stage has them, but whether this IOMMU sets them for \
             requests without PASID was never tried: pagemove does not use them",
            "nothing in v2 tables has DMA look into the CPUs' caches: a device that may ask for no-snoop DMA \
             would be refused",
        ],
        _ => &[],
    };
    let notes = notes.iter().map(|note| note.to_string()).collect();
    (OTHER, notes)
}

fn choose(efr: &Fact<u64>, command_line: &Fact<CommandLine>) -> (Fact<Tables>, String) {
    let (efr, line) = match (efr, command_line) {
        (Known(efr), Known(line)) => (*efr, line),
        (Fact::Unknown(unknown), _) | (_, Fact::Unknown(unknown)) => {
            return (
                Fact::Unknown(unknown.clone()),
                "features and command line decide it".to_string(),
            )
        }
    };
    let has_v2 = reg::GT_SUP.is_set(efr) && reg::GIO_SUP.is_set(efr);
    let asked = |part: &str| {
        let v1 = part.starts_with("pgtbl_v1").then_some(false);
        v1.or_else(|| part.starts_with("pgtbl_v2").then_some(true))
    };
    let asks_for_v2 = line.parts("amd_iommu").filter_map(asked).last() == Some(true);
    let (format, why) = match (reg::HATS.of(efr) == NO_HOST_TABLES, asks_for_v2, has_v2) {
        (true, _, true) => (
            Known(Tables(Format::X86_64)),
            "EFR.HATS is 3: there are no v1 tables",
        ),
        (true, _, false) => {
            let why = "EFR.HATS is 3, and there are no v2 tables: it does not translate";
            (Fact::unknown(why), why)
        }
        (false, true, true) => (Known(Tables(Format::X86_64)), "amd_iommu=pgtbl_v2"),
        (false, true, false) => (
            Known(Tables(Format::AmdV1)),
            "amd_iommu=pgtbl_v2, but EFR.GTSup or EFR.GIoSup is 0",
        ),
        (false, false, _) => (Known(Tables(Format::AmdV1)), "v1 tables are the default"),
    };
    (format, why.to_string())
}
