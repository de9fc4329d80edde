// SPDX-License-Identifier: GPL-2.0
//! Lines of the kernel's console that fail a test.

use super::kcsan;

/// What the kernel prints when something is wrong with it or was done to it, and
/// what to call that.
const BAD: [(&str, &str); 29] = [
    ("WARNING:", "warning"),
    ("BUG:", "bug"),
    ("kernel BUG at", "bug"),
    ("Oops", "oops"),
    ("KASAN", "memory error"),
    ("UBSAN", "undefined behaviour"),
    ("unable to handle", "bad access"),
    ("general protection fault", "bad access"),
    ("possible recursive locking", "lockdep"),
    ("circular locking", "lockdep"),
    ("inconsistent lock state", "lockdep"),
    ("suspicious RCU usage", "lockdep"),
    ("possible irq lock inversion", "lockdep"),
    ("Invalid wait context", "lockdep"),
    ("bad unlock balance", "lockdep"),
    ("still held", "lockdep"),
    ("locks held when returning", "lockdep"),
    ("non-static key", "lockdep"),
    ("unreferenced object", "memory leak"),
    ("new suspected memory leaks", "memory leak"),
    ("ODEBUG", "object debugging"),
    ("blocked for more than", "hung task"),
    ("detected stall", "RCU stall"),
    ("self-detected stall", "RCU stall"),
    ("Bad page", "bad page"),
    ("bad page state", "bad page"),
    ("Call Trace", "call trace"),
    // KUnit, which speaks KTAP there.
    ("not ok ", "unit test"),
    ("Kernel panic", "panic"),
];

/// An access of a device that its IOMMU refused: of VT-d and of AMD.
const FAULTS: [&str; 3] = ["DMAR: [DMA", "DMAR: DRHD: handling fault", "IO_PAGE_FAULT"];

/// Returns the lines that are wrong, each with what it is called; `allowed` texts excuse a line.
pub fn complaints(dmesg: &str, allowed: &[String]) -> Vec<String> {
    let lines: Vec<&str> = dmesg.lines().collect();
    let excused = |line: &str| allowed.iter().any(|text| line.contains(text.as_str()));
    let wrong = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| !excused(line) && !kcsan::is_of_others(&lines, *at));
    wrong
        .filter_map(|(_, line)| Some(format!("dmesg: {}: {}", name(line)?, line.trim())))
        .collect()
}

fn name(line: &str) -> Option<&'static str> {
    if FAULTS.iter().any(|text| line.contains(text)) {
        return Some("DMA fault");
    }
    BAD.iter()
        .find(|(text, _)| line.contains(text))
        .map(|(_, name)| *name)
}

#[cfg(test)]
#[path = "dmesg_tests.rs"]
mod tests;
