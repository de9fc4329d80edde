// SPDX-License-Identifier: GPL-2.0
//! `xtask vm`: boot a VM by hand.

use super::accel::Accel;
use super::job::{Job, Terminal};
use super::profile::Profiles;
use super::rtm::{self, Rtm};
use super::run::{self, End, Vm};
use crate::check::guest_qemu;
use crate::module::plugin;
use crate::place::Place;
use crate::root::image::{Flavour, Image};
use crate::root::BuildRoot;
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args)]
pub struct VmArguments {
    /// Profile of tests/profiles.toml
    #[arg(long, default_value = "vtd")]
    profile: String,
    /// List the profiles
    #[arg(long)]
    profiles: bool,
    /// The kernel
    #[arg(long, value_enum, default_value = "stock")]
    kernel_flavour: Flavour,
    /// Load this pagemove.ko first; it has to be built for that kernel
    #[arg(long)]
    module: Option<PathBuf>,
    /// A parameter for pagemove.ko, beside the profile's
    #[arg(long = "param")]
    params: Vec<String>,
    /// A static program to put into /bin
    #[arg(long = "bin")]
    programs: Vec<PathBuf>,
    /// A file for the guest: HOST=GUEST
    #[arg(long = "file", value_parser = parse_file)]
    files: Vec<(PathBuf, String)>,
    /// A further -device for QEMU
    #[arg(long = "device")]
    devices: Vec<String>,
    /// A further word for the kernel's command line
    #[arg(long = "kernel")]
    kernel: Vec<String>,
    /// Events for QEMU to trace into trace.log; `*` stands for anything
    #[arg(long = "trace")]
    trace: Vec<String>,
    /// Stop the VM after so many seconds
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    /// Do not unload pagemove at the end
    #[arg(long)]
    keep_loaded: bool,
    /// Where to leave the logs [default: build/logs/vm-PID]
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Put QEMU itself into the guest, as /bin/qemu-system-x86_64
    #[arg(long)]
    qemu: bool,
    /// Emulate hardware transactions
    #[arg(long)]
    rtm: bool,
    /// An option of that emulation (tests/rtm-emulation/README.md); implies --rtm
    #[arg(long = "rtm-option")]
    rtm_options: Vec<String>,
    /// Count instructions, where the program asks for it
    #[arg(long)]
    counter: bool,
    /// A shell command to run
    #[arg(long, conflicts_with = "argv")]
    cmd: Option<String>,
    /// A program to run, with its arguments
    #[arg(last = true)]
    argv: Vec<String>,
}

fn parse_file(text: &str) -> Result<(PathBuf, String), String> {
    let (host, guest) = text.split_once('=').ok_or("expected HOST=GUEST")?;
    Ok((PathBuf::from(host), guest.to_string()))
}

pub fn run(place: &Place, arguments: VmArguments) -> Result<ExitCode> {
    let profiles = Profiles::read(&place.tests().join("profiles.toml"))?;
    if arguments.profiles {
        for (name, profile) in profiles.iter() {
            println!("{name:<12} {}", profile.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let place = &crate::check::command::with_kernel(place, Some(arguments.kernel_flavour));
    let root = BuildRoot::open(place)?;
    let mut profile = profiles.get(&arguments.profile)?.clone();
    profile.devices.extend(arguments.devices);
    profile.kernel.extend(arguments.kernel);
    let argv = match arguments.cmd {
        Some(command) => vec!["sh".into(), "-c".into(), command],
        None if arguments.argv.is_empty() => vec!["dmesg".into()],
        None => arguments.argv,
    };
    let mut job = Job::new(argv, Duration::from_secs(arguments.timeout));
    job.module = arguments.module;
    job.params = arguments.params;
    job.programs = arguments.programs;
    job.files = arguments.files;
    job.trace = arguments.trace;
    job.unload = !arguments.keep_loaded;
    job.live = true;
    job.terminal = Terminal::of_stdout();
    if arguments.qemu {
        job.archives.push(guest_qemu::pack(&root, &place.build())?);
    }
    let mut accel = Accel::probe(&root, place)?;
    if arguments.rtm || !arguments.rtm_options.is_empty() {
        accel = Accel::Tcg;
        profile.kernel.extend(rtm::KERNEL.map(String::from));
        job.rtm = Some(Rtm {
            plugin: plugin::build(place, &root, plugin::RTM)?,
            options: arguments.rtm_options,
        });
    }
    if arguments.counter {
        accel = Accel::Tcg;
        job.counter = Some(plugin::build(place, &root, plugin::COUNTER)?);
    }
    let logs = arguments.logs.unwrap_or_else(|| {
        place
            .build()
            .join(format!("logs/vm-{}", std::process::id()))
    });
    let unpacked = &place.build().join("kmod");
    let image = Image::ensure(place, &root, arguments.kernel_flavour)?;
    let vm = Vm {
        root: &root,
        image: &image,
        profile: &profile,
        accel,
        job: &job,
        unpacked,
    };
    let outcome = run::run(&vm, &logs)?;
    let (seconds, dmesg) = (outcome.wall.as_secs_f64(), logs.join("dmesg.log"));
    eprintln!(
        "# {:?} after {seconds:.1} s; dmesg: {}",
        outcome.end,
        dmesg.display()
    );
    if let Some(why) = &outcome.stuck {
        eprintln!("# pagemove could not be unloaded: {why}");
    }
    let wrong = outcome
        .rtm
        .iter()
        .flat_map(|report| report.complaints())
        .collect::<Vec<_>>();
    wrong.iter().for_each(|text| eprintln!("# {text}"));
    let code = match outcome.end {
        End::Status(0) if !wrong.is_empty() => 1,
        End::Status(status) => u8::try_from(status).context("an exit status above 255")?,
        End::Died | End::TimedOut | End::Stopped(_) => 124,
    };
    Ok(ExitCode::from(code))
}
