// SPDX-License-Identifier: GPL-2.0
//! `pagemove-harness`: test programs that run inside a virtual machine.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pagemove_harness::programs::hosts::{self, crashes, far, post_copy, scene};
use pagemove_harness::programs::{ats, demo, sabotage, soak, storm, vanish};
use pagemove_harness::{campaign, guest};

#[derive(Parser)]
#[command(
    name = "pagemove-harness",
    version,
    args_override_self = true,
    about = "Live DMA, accounted for, while its pages are moved"
)]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// A process like a VMM: memory, an assigned device, DMA all the time.
    Guest(guest::Options),
    /// Thousands of page moves under continuous DMA (TAP).
    Soak(soak::Options),
    /// Page moves under the DMA of the slow device edu, fewer than `soak` (TAP).
    Edu(campaign::Options),
    /// Devices with deep queues work on blocks that each have a version, while all pages
    /// are moved the whole time (TAP).
    Storm(storm::Options),
    /// Memory goes to another node and back, to be looked at.
    Demo(demo::Options),
    /// Pages of a device with ATS are moved; the runner compares QEMU's trace (TAP).
    Ats(ats::Options),
    /// The device goes away while its pages are moved (TAP).
    Vanish(vanish::Options),
    /// Host A of two: a guest's memory goes to the other host and comes back (TAP).
    Hosts(scene::Options),
    /// Host A of two: `hosts`, to be looked at.
    DemoHosts(scene::Options),
    /// Host A of two: agents and connections end at random points (TAP).
    Crashes(crashes::Options),
    /// Host A of two: the guest goes on on B before all its pages are there (TAP).
    PostCopy(scene::Options),
    /// Host B of two (TAP).
    Far(far::Options),
    /// A step of the engine was left out: somebody has to notice (TAP).
    Sabotage(sabotage::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().program {
        Program::Guest(options) => guest::run(&options),
        Program::Soak(options) => soak::run(&options),
        Program::Edu(options) => soak::run(&soak::Options::for_edu(options)),
        Program::Storm(options) => storm::run(&options),
        Program::Demo(options) => demo::run(&options),
        Program::Ats(options) => ats::run(&options),
        Program::Vanish(options) => vanish::run(&options),
        Program::Hosts(options) => hosts::run(&options),
        Program::DemoHosts(options) => hosts::demo::run(&options),
        Program::Crashes(options) => crashes::run(&options),
        Program::PostCopy(options) => post_copy::run(&options),
        Program::Far(options) => far::run(&options),
        Program::Sabotage(options) => sabotage::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("pagemove-harness: {error:#}");
        ExitCode::from(2)
    })
}
