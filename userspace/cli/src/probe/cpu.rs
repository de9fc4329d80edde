// SPDX-License-Identifier: GPL-2.0
//! The CPU: does it have hardware transactions, and do they commit?

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::cpuid::{Cpuid, Trial};
use super::fact::{Fact, Known};
use super::finding::{Finding, RUN_AS_ROOT};
use super::kernel::CommandLine;
use super::tree::Tree;

#[derive(Debug, Serialize, Deserialize)]
pub struct Cpu {
    pub vendor: Fact<String>,
    pub name: Fact<String>,
    pub family: Fact<u32>,
    pub model: Fact<u32>,
    pub stepping: Fact<u32>,
    pub microcode: Fact<Option<String>>,
    /// The flag that the kernel lists: cleared where it turned RTM off.
    pub rtm: Fact<bool>,
    /// CPUID.7.0:EBX[11].
    pub cpuid_rtm: Fact<bool>,
    /// CPUID.7.0:EDX[11].
    pub rtm_always_abort: Fact<bool>,
    /// Null if CPUID has no RTM.
    pub trial: Fact<Option<Trial>>,
    pub hypervisor: Fact<bool>,
    /// `tsx=` on the kernel's command line.
    pub tsx_option: Fact<Option<String>>,
    pub tsx_async_abort: Fact<Option<String>>,
    pub mds: Fact<Option<String>>,
    /// Flags that [`super::tsc`] asks for.
    #[serde(skip)]
    pub flags: Fact<Flags>,
}

#[derive(Clone, Debug, Default)]
pub struct Flags(BTreeSet<String>);

impl Flags {
    pub fn has(&self, flag: &str) -> bool {
        self.0.contains(flag)
    }
}

impl Default for Fact<Flags> {
    fn default() -> Self {
        Fact::unknown("not part of the report")
    }
}

/// What CPUID says, and what a trial gave; none for files of another machine.
pub type Measured = Option<(Cpuid, Option<Trial>)>;

pub fn read(tree: &Tree, command_line: &Fact<CommandLine>, measured: Measured) -> Cpu {
    let info = Info::read(tree);
    let flags = info.value("flags").map(|text| {
        let words = text.split_whitespace().map(String::from);
        Flags(words.collect())
    });
    let has = |flag| flags.as_ref().map(|flags: &Flags| flags.has(flag));
    let weakness = |name| tree.text(&format!("sys/devices/system/cpu/vulnerabilities/{name}"));
    let cpuid = match &measured {
        Some((cpuid, _)) => Known(*cpuid),
        None => Fact::unknown("CPUID is that of another machine"),
    };
    Cpu {
        vendor: info.value("vendor_id"),
        name: info.value("model name"),
        family: info.number("cpu family"),
        model: info.number("model"),
        stepping: info.number("stepping"),
        microcode: info.0.as_ref().map(|text| find(text, "microcode")),
        rtm: has("rtm"),
        cpuid_rtm: cpuid.as_ref().map(|cpuid| cpuid.rtm),
        rtm_always_abort: cpuid.as_ref().map(|cpuid| cpuid.rtm_always_abort),
        trial: match measured {
            Some((_, trial)) => Known(trial),
            None => Fact::unknown("a trial would be that of another machine"),
        },
        hypervisor: has("hypervisor"),
        tsx_option: command_line
            .as_ref()
            .map(|line| line.last("tsx").map(String::from)),
        tsx_async_abort: weakness("tsx_async_abort"),
        mds: weakness("mds"),
        flags,
    }
}

const CPUINFO: &str = "proc/cpuinfo";

/// The first CPU in cpuinfo: those of one machine are alike in what matters here.
struct Info(Fact<String>);

impl Info {
    fn read(tree: &Tree) -> Self {
        Self(tree.must(CPUINFO).map(|text| {
            let first = text.split("\n\n").next();
            first.unwrap_or_default().to_string()
        }))
    }

    fn value(&self, key: &str) -> Fact<String> {
        self.0.as_ref().and_then(|text| match find(text, key) {
            Some(value) => Known(value),
            None => Fact::unknown(format!("/{CPUINFO} has no {key}")),
        })
    }

    fn number(&self, key: &str) -> Fact<u32> {
        self.value(key).and_then(|text| match text.parse() {
            Ok(number) => Known(number),
            Err(_) => Fact::unknown(format!("/{CPUINFO} has a {key} that is no number")),
        })
    }
}

fn find(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(name, _)| name.trim() == key);
    Some(values.next()?.1.trim().to_string())
}

/// CPUs that are sold with RTM.
const WITH_RTM: &str = "an Intel server CPU with RTM (Sapphire, Emerald and Granite Rapids have \
                        it, some older ones too), or the engine adbit";

/// Returns what stands in the way of transactions.
pub fn findings(cpu: &Cpu) -> Vec<Finding> {
    if cpu.rtm_always_abort.is(&true) {
        return vec![Finding::blocker(
            "rtm-always-aborts",
            "microcode has turned RTM off: every transaction aborts (CPUID.7.0:EDX[11])",
            format!("no setting brings it back on this CPU; {WITH_RTM}"),
        )];
    }
    match (cpu.rtm.known(), &cpu.trial) {
        (None, _) => {
            let why = cpu.rtm.why().unwrap_or_default();
            let what = format!("whether the CPU has RTM is unknown: {why}");
            vec![Finding::unknown("rtm-unknown", what, RUN_AS_ROOT)]
        }
        (Some(false), _) => vec![absent(cpu)],
        (Some(true), Known(Some(trial))) if trial.committed == 0 => vec![Finding::blocker(
            "rtm-never-commits",
            format!(
                "CPUID has RTM, but none of {} transactions committed (last status {:#x})",
                trial.begun, trial.last_status
            ),
            format!("in a guest: a hypervisor that lets transactions through; else {WITH_RTM}"),
        )],
        (Some(true), Known(Some(_))) => Vec::new(),
        (Some(true), Known(None)) => vec![Finding::blocker(
            "rtm-hidden",
            "the kernel lists RTM, but CPUID shows none, so no transaction was tried",
            "a kernel and hypervisor that agree; boot without clearcpuid= and setcpuid=",
        )],
        (Some(true), Fact::Unknown(unknown)) => vec![Finding::unknown(
            "rtm-untried",
            format!(
                "RTM is listed, but no transaction was tried: {}",
                unknown.unknown
            ),
            "run this program on the machine itself",
        )],
    }
}

fn absent(cpu: &Cpu) -> Finding {
    let name = cpu.name.known().map_or("this CPU", String::as_str);
    if !cpu.vendor.is(&"GenuineIntel".to_string()) {
        let what = format!("{name} has no RTM: only Intel makes CPUs that do");
        return Finding::blocker("no-rtm", what, WITH_RTM);
    }
    if turned_off(cpu) {
        return Finding::blocker(
            "tsx-off",
            "the kernel has turned RTM off, by tsx= or because the CPU is vulnerable to TAA",
            "boot with tsx=on; on a CPU that tsx_async_abort lists as affected this lets code on \
             one thread read data of others (TAA), so only where everything that runs is trusted",
        );
    }
    let what = format!("{name} has no RTM, or microcode or firmware has turned it off");
    Finding::blocker("no-rtm", what, WITH_RTM)
}

/// Returns whether the kernel says that it turned RTM off.
fn turned_off(cpu: &Cpu) -> bool {
    let option = cpu.tsx_option.known().and_then(|option| option.as_deref());
    let weakness = cpu.tsx_async_abort.known().and_then(|text| text.as_deref());
    let affected = weakness.is_some_and(|text| text.contains("TSX disabled"));
    match option {
        Some("on") => false,
        Some("auto") | None => affected,
        // The kernel takes every other value for off.
        Some(_) => true,
    }
}

/// Returns what should be known about RTM that works.
pub fn notes(cpu: &Cpu) -> Vec<String> {
    let weakness = cpu.tsx_async_abort.known().and_then(|text| text.as_deref());
    match weakness {
        Some(text) if cpu.rtm.is(&true) && !text.starts_with("Not affected") => vec![format!(
            "RTM is on and tsx_async_abort says '{text}': code on one thread may read data of others"
        )],
        _ => Vec::new(),
    }
}
