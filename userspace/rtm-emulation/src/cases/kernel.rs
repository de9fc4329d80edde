// SPDX-License-Identifier: GPL-2.0
//! What the kernel sees.

use super::check;
use crate::Test;
use pagemove_rtm_emulation::Control;
use std::fs;

pub const TESTS: &[Test] = &[
    (
        "machine: the kernel lists rtm and a TSC that is constant and never stops",
        flags,
    ),
    ("machine: the kernel trusts the TSC", tsc),
];

fn flags(_: Control) -> Result<(), String> {
    let text = fs::read_to_string("/proc/cpuinfo").map_err(|error| error.to_string())?;
    let cpus: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("flags"))
        .collect();
    check(!cpus.is_empty(), || "no flags in /proc/cpuinfo".into())?;
    for flags in cpus {
        for wanted in ["rtm", "constant_tsc", "nonstop_tsc"] {
            check(flags.split_whitespace().any(|flag| flag == wanted), || {
                format!("no {wanted} in: {flags}")
            })?;
        }
    }
    Ok(())
}

fn tsc(_: Control) -> Result<(), String> {
    const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let clock = fs::read_to_string(CURRENT).map_err(|error| error.to_string())?;
    check(clock.trim() == "tsc", || {
        format!("the clock source is {clock}")
    })
}
