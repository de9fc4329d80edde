// SPDX-License-Identifier: GPL-2.0
//! Intel VT-d: registers, and the tables that Linux 7 chooses by them.
//!
//! A VFIO domain gets first-stage tables where scalable mode is on and the IOMMU
//! has them, else second-stage ones; K drivers/iommu/intel/iommu.c.

use pagemove_uapi::Format;

use super::fact::{Fact, Known};
use super::iommu::{Details, Tables};
use super::kernel::{self, CommandLine};
use super::registers::{self as reg, decode};
use super::tree::{self, Tree};

pub fn read(tree: &Tree, command_line: &Fact<CommandLine>, directory: &str) -> Details {
    let register = |file: &str| {
        let name = format!("{directory}/intel-iommu/{file}");
        tree.must(&name)
            .and_then(|text| tree::number(&name, &text, 16))
    };
    let (cap, ecap) = (register("cap"), register("ecap"));
    let choice = choose(&ecap, || Scalable::read(tree, command_line));
    let fields = cap.clone().and_then(|cap| {
        let cap = decode("CAP", cap, reg::CAP);
        ecap.clone()
            .map(|ecap| [cap, decode("ECAP", ecap, reg::ECAP)].concat())
    });
    Details {
        version: tree.text(&format!("{directory}/intel-iommu/version")),
        fields,
        format: choice.format,
        format_why: choice.why,
        format_fix: choice.fix.to_string(),
        coherent: choice.coherent,
        notes: [
            cap.known().and_then(|cap| drains_not(*cap)),
            ecap.known().and_then(|ecap| snoops_not(*ecap)),
        ]
        .into_iter()
        .flatten()
        .collect(),
        caching_mode: cap.map(|cap| reg::CM.is_set(cap)),
    }
}

fn drains_not(cap: u64) -> Option<String> {
    let does = reg::DWD.is_set(cap) && reg::DRD.is_set(cap);
    let what =
        "CAP.DWD or CAP.DRD is 0: it does not say that an invalidation drains DMA that is under \
                way, which every engine relies on; look at VT-d 11.4.2 for this version";
    (!does).then(|| what.to_string())
}

fn snoops_not(ecap: u64) -> Option<String> {
    let what = "ECAP.SC is 0: DMA can pass by the CPUs' caches where a device asks for it; pagemove qualify \
                allows no engine here, and the module moves nothing while a device of the domain may ask \
                (DEVCTL, Enable No Snoop)";
    (!reg::SC.is_set(ecap)).then(|| what.to_string())
}

/// Whether the kernel uses scalable mode where there is one.
#[derive(Clone, Debug)]
struct Scalable {
    on: Fact<bool>,
    why: &'static str,
}

impl Scalable {
    fn read(tree: &Tree, command_line: &Fact<CommandLine>) -> Self {
        const DEFAULT: &str = "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON";
        let line = match command_line {
            Known(line) => line,
            Fact::Unknown(unknown) => {
                let on = Fact::Unknown(unknown.clone());
                return Self {
                    on,
                    why: "the kernel's command line is not known",
                };
            }
        };
        // The kernel compares beginnings, and takes the last.
        let said = |part: &str| {
            let on = part.starts_with("sm_on").then_some(true);
            on.or_else(|| part.starts_with("sm_off").then_some(false))
        };
        match line.parts("intel_iommu").filter_map(said).last() {
            Some(true) => Self {
                on: Known(true),
                why: "intel_iommu=sm_on",
            },
            Some(false) => Self {
                on: Known(false),
                why: "intel_iommu=sm_off",
            },
            None => Self {
                on: kernel::configured(tree, DEFAULT),
                why: "the kernel's default (CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON)",
            },
        }
    }
}

struct Choice {
    format: Fact<Tables>,
    coherent: Fact<bool>,
    why: String,
    fix: &'static str,
}

const OTHER_IOMMU: &str = "a machine whose VT-d has scalable mode with first-stage tables \
                           (ECAP.SMTS, ECAP.FSTS), or the engine rtm";
const SM_ON: &str = "boot with intel_iommu=on,sm_on";

fn choose(ecap: &Fact<u64>, scalable: impl FnOnce() -> Scalable) -> Choice {
    let ecap = match ecap {
        Known(ecap) => *ecap,
        Fact::Unknown(unknown) => {
            return Choice {
                format: Fact::Unknown(unknown.clone()),
                coherent: Fact::Unknown(unknown.clone()),
                why: unknown.unknown.clone(),
                fix: "read the reason: sysfs of this kernel is not as expected",
            }
        }
    };
    let legacy = |why: String, fix| Choice {
        format: Known(Tables(Format::VtdSs)),
        coherent: Known(reg::C.is_set(ecap)),
        why,
        fix,
    };
    if !reg::SMTS.is_set(ecap) {
        let why = "ECAP.SMTS is 0: no scalable mode, so second-stage tables";
        return legacy(why.to_string(), OTHER_IOMMU);
    }
    let scalable = scalable();
    match scalable.on {
        Known(true) => in_scalable_mode(ecap, scalable.why),
        Known(false) => {
            let fix = if reg::FSTS.is_set(ecap) {
                SM_ON
            } else {
                OTHER_IOMMU
            };
            let why = format!("scalable mode is off by {}", scalable.why);
            legacy(why, fix)
        }
        Fact::Unknown(unknown) => Choice {
            why: format!("scalable mode depends on {}", scalable.why),
            format: Fact::Unknown(unknown.clone()),
            coherent: Fact::Unknown(unknown),
            fix: SM_ON,
        },
    }
}

fn in_scalable_mode(ecap: u64, on_by: &str) -> Choice {
    let coherent = Known(reg::SMPWC.is_set(ecap));
    if reg::FSTS.is_set(ecap) {
        return Choice {
            format: Known(Tables(Format::X86_64)),
            coherent,
            why: format!("scalable mode is on by {on_by}, and ECAP.FSTS is 1"),
            fix: "nothing has to be changed",
        };
    }
    let none = || Fact::unknown("scalable mode without first-stage and second-stage tables");
    Choice {
        format: if reg::SSTS.is_set(ecap) {
            Known(Tables(Format::VtdSs))
        } else {
            none()
        },
        coherent,
        why: format!("scalable mode is on by {on_by}, but ECAP.FSTS is 0"),
        fix: OTHER_IOMMU,
    }
}
