// SPDX-License-Identifier: GPL-2.0
//! `pagemove probe`: what this host can do, and why not what it can not.
//!
//! Needs neither the module nor root; without them it says what it could not
//! find out. Each file finds out one thing; [`verdict`] draws the conclusions.

mod amdvi;
mod aperture;
mod cores;
mod cpu;
mod cpuid;
mod device;
mod fact;
mod finding;
mod human;
mod iommu;
mod kernel;
mod module;
mod numa;
mod pci_config;
mod peer;
pub mod registers;
mod report;
#[cfg(test)]
mod tests;
mod tree;
mod tsc;
mod verdict;
mod vfio;
mod vtd;

use std::path::Path;

use crate::args::ProbeArgs;
use crate::output;
use crate::report::ErrorReport;
use cpuid::Cpuid;
use finding::Verdict;
use report::Report;
use tree::Tree;

/// The exit codes of this command, which answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At least one engine can work with at least one device.
    Yes = 0,
    /// None can, or it could not be found out.
    No = 1,
    /// Wrong usage, or a device that does not exist.
    Usage = 2,
}

/// Probes the machine. `device_file` is that of the machine itself; another root has its own.
pub fn run(args: &ProbeArgs, device_file: &Path, as_json: bool) -> Answer {
    let tree = Tree::new(&args.root);
    let report = if tree.is_this_machine() {
        let cpuid = Cpuid::read();
        let measured = Some((cpuid, cpuid::try_transactions(cpuid)));
        Report::gather(&tree, measured, device_file, args.device)
    } else {
        Report::gather(&tree, None, &tree.path("dev/pagemove"), args.device)
    };
    match report {
        Ok(report) => {
            if as_json {
                crate::report::json(&report);
            } else {
                output::result(&human::text(&report));
            }
            match report.verdict {
                Verdict::Possible => Answer::Yes,
                Verdict::Unknown | Verdict::NotPossible => Answer::No,
            }
        }
        Err(trouble) => {
            let words = format!("probe: {trouble}");
            let error = ErrorReport::new(trouble.kind(), trouble.to_string());
            crate::report::failure(error, &words, as_json);
            Answer::Usage
        }
    }
}
