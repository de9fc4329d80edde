// SPDX-License-Identifier: GPL-2.0
//! What is made of made-up machines.

mod configs;
mod cpus;
mod devices;
mod fake;
mod hosts;
mod iommus;
mod reports;

use super::cpu::Measured;
use super::cpuid::{Cpuid, Trial};
use super::finding::{Finding, Verdict};
use super::report::Report;
use super::tree::Tree;
use super::verdict::Engine;
use fake::Fake;
use pagemove_uapi::PciAddress;

/// Returns a machine whose CPU was looked at, and had no RTM.
fn report(fake: &Fake) -> Report {
    report_of(fake, Some((Cpuid::default(), None)), None)
}

fn report_of(fake: &Fake, measured: Measured, selected: Option<PciAddress>) -> Report {
    let tree = Tree::new(fake.root());
    let control = tree.path("dev/pagemove");
    Report::gather(&tree, measured, &control, selected).expect("a report")
}

/// Returns a CPUID with RTM, and what came of the trial.
fn with_rtm(committed: u32) -> Measured {
    let cpuid = Cpuid {
        rtm: true,
        rtm_always_abort: false,
    };
    let trial = Trial {
        begun: 9,
        committed,
        last_status: 8,
    };
    Some((cpuid, Some(trial)))
}

fn engine<'a>(report: &'a Report, name: &str) -> &'a Engine {
    let mut engines = report.engines.iter();
    engines
        .find(|engine| engine.engine == name)
        .expect("each engine is judged")
}

/// Returns the finding with this code about this engine and the first device.
fn finding(report: &Report, name: &str, code: &str) -> Option<Finding> {
    let host = engine(report, name).findings.iter();
    let devices = report.devices.iter().flat_map(|device| &device.engines);
    let devices = devices
        .filter(|possible| possible.engine == name)
        .flat_map(|possible| &possible.findings);
    host.chain(devices)
        .find(|finding| finding.code == code)
        .cloned()
}

#[track_caller]
fn has(report: &Report, name: &str, code: &str) -> Finding {
    match finding(report, name, code) {
        Some(finding) => finding,
        None => panic!("no {code} for {name}: {:#?}", report.engines),
    }
}

#[track_caller]
fn has_not(report: &Report, name: &str, code: &str) {
    let finding = finding(report, name, code);
    assert!(finding.is_none(), "{finding:?}");
}

fn verdict(report: &Report, name: &str) -> Verdict {
    engine(report, name).verdict
}
