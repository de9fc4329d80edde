// SPDX-License-Identifier: GPL-2.0
//! Life cycle: what happens to device, CPUs, memory, callers and machine in the middle of moves.

mod callers;
mod cpus;
mod device;
mod fork;
mod memory;
mod oom;
mod order;
mod play;
pub mod scene;
mod suspend;
mod threads;
mod unload;

use std::process::ExitCode;

use pagemove_testkit::tap;

pub fn main(args: &[String]) -> ExitCode {
    let Some((part, rest)) = args.split_first() else {
        return tap::fail_all(&anyhow::anyhow!("life PART"));
    };
    match part.as_str() {
        "cpus" => cpus::main(rest),
        "callers" => callers::main(rest),
        "device" => device::main(),
        "fork" => fork::main(),
        "memory" => memory::main(),
        "oom" => oom::main(),
        "oom-order" => order::main(rest),
        "unload" => unload::main(),
        "suspend" => suspend::main(rest),
        "threads" => threads::main(rest),
        _ => tap::fail_all(&anyhow::anyhow!("life has no part {part}")),
    }
}
