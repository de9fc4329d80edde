// SPDX-License-Identifier: GPL-2.0
//! `pagemove-selftest`: TAP programs that run as root inside the test VM.

mod bench;
mod call;
mod cgroup;
mod complaints;
mod eater;
mod loan;
mod memory;
mod patience;
mod qmp;
mod region;
mod rig;
mod sigbus;
mod signals;
mod slow_page;
mod stuck_file;
mod suites;
mod tiny;
mod victim;

use std::process::ExitCode;

/// A suite: its name, what it shows, and the program.
type Suite = (&'static str, &'static str, fn(&[String]) -> ExitCode);

const SUITES: &[Suite] = &[
    (
        "bad-input",
        "every wrong call gets its documented errno, and changes nothing",
        suites::bad_input::main,
    ),
    (
        "regions",
        "/dev/pagemove is a file that a VMM can use as guest memory",
        suites::regions::main,
    ),
    (
        "memfd",
        "pages of a memfd move, unless somebody else uses them (argument: which part)",
        suites::memfd::main,
    ),
    (
        "asleep",
        "memory of devices that sleep moves, or the reason says so (argument: which part)",
        suites::asleep::main,
    ),
    (
        "snoop",
        "memory of devices that may pass by the CPUs' caches moves, or the reason says so (argument: which)",
        suites::snoop::main,
    ),
    (
        "paths",
        "which way translated requests go, as a build for tests reads it from the ports",
        suites::paths::main,
    ),
    (
        "steps",
        "what the steps of an engine see to: A and D, calls that end, pages that stay (arguments: adbit or rtm, parameters)",
        suites::steps::main,
    ),
    (
        "turn",
        "a call that waits until VFIO may be called ends at its deadline",
        suites::turn::main,
    ),
    (
        "sizes",
        "a leaf of 2 MiB is split and merged while a device uses the memory (argument: its format)",
        suites::sizes::main,
    ),
    (
        "blame",
        "a lost write is held against whom it may be the doing of",
        suites::blame::main,
    ),
    (
        "limits",
        "what a caller can make the kernel allocate, and who waits for a caller",
        suites::limits::main,
    ),
    (
        "handed",
        "a process without any right uses the region and device that it was handed, and nothing else",
        suites::handed::main,
    ),
    (
        "rtm",
        "the engine rtm on emulated transactions (argument: which part)",
        suites::rtm::main,
    ),
    (
        "aperture",
        "pages go through a window to other memory and come home",
        suites::aperture::main,
    ),
    (
        "offers",
        "a host offers pages to its peer, and CPUs wait for what comes",
        suites::offers::main,
    ),
    (
        "migrate",
        "the agents of both hosts move a guest's memory there and back (argument: which part)",
        suites::migrate::main,
    ),
    (
        "ntb",
        "pages go through memory windows of an NTB, whose link may fail (argument: which part)",
        suites::ntb::main,
    ),
    (
        "fail-nth",
        "every call into the kernel that can fail does, once at a time (arguments: --kernel: in the kernel itself, below them; parts of the names of ways)",
        suites::fail_nth::main,
    ),
    (
        "formats",
        "an IOMMU that can not do it is refused with the reason (argument: its format)",
        suites::formats::main,
    ),
    (
        "cli",
        "the program pagemove: exit codes, JSON, exact numbers when interrupted",
        suites::cli::main,
    ),
    (
        "maps",
        "what a device maps is told run by run, and all of it is moved",
        suites::maps::main,
    ),
    (
        "monitor",
        "what happens is told to who waits for it, and to nobody else",
        suites::monitor::main,
    ),
    (
        "probe",
        "pagemove probe expects what the module sees (argument: the format)",
        suites::probe::main,
    ),
    (
        "lifecycle",
        "the module can not go while it is in use, and can when it is not",
        suites::lifecycle::main,
    ),
    (
        "life",
        "what happens to device, CPUs, memory, callers and machine in the middle of moves (argument: which part)",
        suites::life::main,
    ),
    (
        "races",
        "map, unmap, close and move at once: no hang, no wrong byte",
        suites::races::main,
    ),
    (
        "kill9",
        "a guest that is killed in any state leaves nothing behind",
        suites::kill9::main,
    ),
    (
        "qemu",
        "an unmodified QEMU reaches its BIOS while its RAM is moved",
        suites::qemu::main,
    ),
    (
        "linux",
        "a KVM guest with a memfd (or region), an O_DIRECT disk and an NVMe lives while its memory moves (arguments: what else it has)",
        suites::linux::main,
    ),
    (
        "inner",
        "what runs in the guest of linux nested: a guest of its own",
        suites::linux::inner::main,
    ),
    (
        "libvirt",
        "a guest of Debian's libvirt, as in examples/libvirt.xml, moves (argument: ways)",
        suites::libvirt::main,
    ),
    (
        "lockdown",
        "on a kernel that is locked down nothing moves, and the rest goes on",
        suites::lockdown::main,
    ),
    (
        "hook",
        "examples/hook-qmp.py stops QEMU's guest for a migration, and lets it go on",
        suites::hook::main,
    ),
    (
        "readme",
        "README's section on one's own machine, typed as it stands",
        suites::readme::main,
    ),
    (
        "packages",
        "installed, used, upgraded and removed in Debian's user space (argument: deb or make)",
        suites::packages::main,
    ),
    (
        "qualify",
        "what was tried on the machine decides what the module allows (argument: the format)",
        suites::qualify::main,
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        return usage();
    };
    if name == suites::limits::EATER {
        return suites::limits::eat(rest);
    }
    if name == suites::handed::NAME {
        return suites::handed::process();
    }
    if name == victim::NAME {
        return victim::main(rest);
    }
    match SUITES.iter().find(|suite| suite.0 == name) {
        Some(suite) => suite.2(rest),
        None => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: pagemove-selftest SUITE [ARGUMENT]");
    for (name, about, _) in SUITES {
        eprintln!("  {name:<10} {about}");
    }
    ExitCode::from(1)
}
