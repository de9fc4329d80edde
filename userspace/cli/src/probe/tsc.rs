// SPDX-License-Identifier: GPL-2.0
//! The clock that both CPUs of the engine `rtm` read.

use serde::{Deserialize, Serialize};

use super::cpu::Flags;
use super::fact::{Fact, Known};
use super::finding::{Finding, RUN_AS_ROOT};
use super::kernel::{self, CommandLine};
use super::tree::Tree;

#[derive(Debug, Serialize, Deserialize)]
pub struct Tsc {
    pub constant: Fact<bool>,
    pub nonstop: Fact<bool>,
    pub current_clocksource: Fact<String>,
    pub available_clocksources: Fact<Vec<String>>,
    /// `tsc=` or `notsc` on the kernel's command line.
    pub option: Fact<Option<String>>,
    /// Lines of the kernel's log about an unstable TSC.
    pub log: Fact<Vec<String>>,
}

const CLOCKS: &str = "sys/devices/system/clocksource/clocksource0";

pub fn read(tree: &Tree, command_line: &Fact<CommandLine>, flags: &Fact<Flags>) -> Tsc {
    let has = |flag| flags.as_ref().map(|flags| flags.has(flag));
    let option = |line: &CommandLine| match line.last("tsc") {
        Some(value) => Some(format!("tsc={value}")),
        None => line.has("notsc").then(|| "notsc".to_string()),
    };
    let words = |text: String| text.split_whitespace().map(String::from).collect();
    Tsc {
        constant: has("constant_tsc"),
        nonstop: has("nonstop_tsc"),
        current_clocksource: tree.must(&format!("{CLOCKS}/current_clocksource")),
        available_clocksources: tree
            .must(&format!("{CLOCKS}/available_clocksource"))
            .map(words),
        option: command_line.as_ref().map(option),
        log: kernel::log(tree, |line| {
            line.contains("TSC") && line.to_lowercase().contains("unstable")
        }),
    }
}

pub fn findings(tsc: &Tsc) -> Vec<Finding> {
    let mut findings = Vec::new();
    let invariant = |fact: &Fact<bool>, flag: &str| match fact {
        Known(true) => None,
        Known(false) => Some(Finding::blocker(
            "tsc-not-invariant",
            format!("the CPU has no {flag}: its TSC changes speed or stops"),
            "a CPU with an invariant TSC; in a guest: pass it through (QEMU: -cpu host,+invtsc)",
        )),
        Fact::Unknown(unknown) => Some(Finding::unknown(
            "tsc-unknown",
            format!(
                "whether the TSC is invariant is unknown: {}",
                unknown.unknown
            ),
            RUN_AS_ROOT,
        )),
    };
    findings.extend(invariant(&tsc.constant, "constant_tsc"));
    findings.extend(invariant(&tsc.nonstop, "nonstop_tsc"));
    findings.extend(stable(tsc));
    findings
}

/// Returns whether the TSC is stable: the kernel takes an unstable one from its list of clocks.
fn stable(tsc: &Tsc) -> Option<Finding> {
    let clocks = match &tsc.available_clocksources {
        Known(clocks) => clocks,
        Fact::Unknown(unknown) => {
            let what = format!("whether the TSC is stable is unknown: {}", unknown.unknown);
            return Some(Finding::unknown("tsc-unknown", what, RUN_AS_ROOT));
        }
    };
    if clocks.iter().any(|clock| clock == "tsc") {
        return None;
    }
    let said = tsc.log.known().and_then(|lines| lines.last());
    let said = said.map_or(String::new(), |line| format!(" (the kernel's log: {line})"));
    Some(Finding::blocker(
        "tsc-unstable",
        format!("the kernel does not trust the TSC: it is no clock source{said}"),
        "firmware that starts the TSCs of all sockets together, and no tsc=unstable or notsc on \
         the kernel's command line; tsc=reliable only if the vendor promises it",
    ))
}
