// SPDX-License-Identifier: GPL-2.0
//! The command line: what it accepts, and its help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use pagemove_uapi::{engine_number, Method, PciAddress, DEVICE, ENGINE_AUTO};

use crate::migrate::args::{MigrateArgs, ReceiveArgs, ResumeArgs};
use crate::monitor::args::MonitorArgs;
use crate::qualify::args::QualifyArgs;
use crate::quantity;
use crate::relocate::args::MoveArgs;
use crate::running;
use crate::running::args::{CancelArgs, WaitArgs};

pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; for move and migrate: every page is at the destination
  1  wrong usage; for qualify: no engine is allowed
  2  the kernel refused or failed (the message says why)
  3  aborted: no page was moved, the source is intact; it may be tried again
  4  not supported here, or the module is not loaded
  5  partial: some pages were moved, others are where they were
  6  standard output could not be written: what belongs there is on standard error
  7  wait, cancel --wait: it still runs, or has left no exit code; else they end with its own
`probe` has its own: 0 yes, 1 no, 2 wrong usage.

Sizes and addresses are bytes: 4096, 64K, 2M, 1.5G, 0x10000000.
Times have a unit: 500us, 10ms, 1.5s, 5m.
DEVICE is a PCI address: 0000:65:00.0, or 65:00.0 in segment 0.";

/// Move pinned memory of a running guest while its devices keep doing DMA.
///
/// Talks to the kernel module pagemove through /dev/pagemove. Needs root.
#[derive(Parser, Debug)]
#[command(name = "pagemove", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    /// Print JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,

    /// The device file, for tests.
    #[arg(long, global = true, hide = true, default_value = DEVICE)]
    pub device_file: PathBuf,

    /// Where commands tell of themselves while they run.
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = running::DIRECTORY)]
    pub run_dir: PathBuf,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// What the loaded module can do.
    Info,
    /// Devices bound to pagemove_vfio, and regions of guest memory.
    List,
    /// Where the pages of a region are.
    Query(QueryArgs),
    /// What a device maps: addresses, lengths, which memory, where it is.
    Maps(MapsArgs),
    /// A picture of what a device maps, by NUMA node and aperture.
    Map(MapArgs),
    /// Move the pages that a device maps to another NUMA node.
    Move(MoveArgs),
    /// Move the pages of a region to another host, which runs `receive`, or home.
    Migrate(MigrateArgs),
    /// What migrate would do with the same arguments; changes nothing.
    Plan(MigrateArgs),
    /// Go on with a migration that ended early.
    Resume(ResumeArgs),
    /// Take pages of another host, which runs `migrate`, into a region here.
    Receive(ReceiveArgs),
    /// Try what no document answers about this machine, and set the verdict on its engines.
    Qualify(QualifyArgs),
    /// What runs on this host: moves, migrations, receivers and qualifications, and how far they are.
    Status,
    /// Ask a command that runs to end: what it has done stays done.
    ///
    /// It gets the signal of Ctrl-C (SIGINT). A move ends between two pages, with exit code 5, or 3
    /// if it has moved none; `resume` goes on with a migration. A second one ends it at once.
    /// `qualify` ends at once in any case, without a verdict.
    Cancel(CancelArgs),
    /// Wait for the end of a command that runs, and end with its exit code.
    Wait(WaitArgs),
    /// Move pages again where verification found a lost write.
    ///
    /// After a lost write no page is moved in the domain of the device, and none behind its IOMMU
    /// when it has happened in three domains: `list` says disabled, the kernel's log which device it was.
    Lift(LiftArgs),
    /// What was moved since the module was loaded, and how long it took.
    Stats(StatsArgs),
    /// What happens, a line for each event, until interrupted.
    ///
    /// Regions that are made and closed, devices that are opened and closed, moves that begin and
    /// end, apertures and links that come and go, lost writes. Sleeps until there is something.
    Monitor(MonitorArgs),
    /// Editors and helpers of the engine rtm, and the schedule that each pair has learned.
    Sessions,
    /// What the other host sees of this one's memory through an NTB, and what it shall see.
    Windows(WindowsArgs),
    /// What this host can do, and why not what it can not; needs no module.
    ///
    /// Finds out what pagemove needs of CPU, IOMMUs, devices and kernel, and says of
    /// each engine whether it can work here; of every no, why, and what would help.
    /// Changes nothing. Works without the module and without root, but then says less.
    Probe(ProbeArgs),
    /// Write man pages and shell completion, as `make install` does.
    #[command(hide = true)]
    Manual(ManualArgs),
}

#[derive(clap::Args, Debug)]
pub struct ManualArgs {
    /// Where to write them: man8 and completion in it.
    #[arg(value_name = "DIRECTORY")]
    pub folder: PathBuf,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct QueryArgs {
    /// Id of the region, as `pagemove list` shows it.
    pub region: u32,

    /// Where to begin.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = quantity::parse_page_offset)]
    pub offset: u64,

    /// How much; up to the end of the region without it.
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_page_length)]
    pub length: Option<u64>,

    /// Print every run of pages rather than the first ones (JSON always has all).
    #[arg(long, alias = "all")]
    pub all_runs: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct WindowsArgs {
    /// Let this window show new memory, and nothing else.
    #[arg(long, value_name = "ID", requires = "length")]
    pub set: Option<u32>,

    /// How much: a power of two; 0 for nothing.
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_page_offset, requires = "set")]
    pub length: Option<u64>,

    /// NUMA node to take it from.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(i32).range(0..),
          requires = "set", default_value = "0")]
    pub node: i32,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct LiftArgs {
    /// PCI address of a device that was in the domain; it has to be bound to pagemove_vfio.
    #[arg(value_name = "DEVICE")]
    pub device: PciAddress,

    /// Whatever was held against its IOMMU, by way of any device.
    #[arg(long)]
    pub iommu: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct MapsArgs {
    /// PCI address of the device; without it, all devices that are open.
    #[arg(value_name = "DEVICE")]
    pub device: Option<PciAddress>,

    /// The devices of this process: a guest, by the process of its VMM.
    #[arg(long, value_name = "PID", conflicts_with = "device")]
    pub pid: Option<u32>,

    /// What is mapped of this region alone: its id in `pagemove list`.
    #[arg(long, value_name = "ID")]
    pub region: Option<u32>,

    /// Print every run of pages rather than the first ones (JSON always has all).
    #[arg(long)]
    pub all_runs: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct MapArgs {
    /// PCI address of the device; without it, all devices that are open.
    #[arg(value_name = "DEVICE")]
    pub device: Option<PciAddress>,

    /// The devices of this process: a guest, by the process of its VMM.
    #[arg(long, value_name = "PID", conflicts_with = "device")]
    pub pid: Option<u32>,

    /// Write it as SVG to this file; `-` is standard output.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The best that works here.
    Auto,
    /// Accessed/dirty bits and compare-and-swap.
    Adbit,
    /// A hardware transaction, with an editor and a helper on two CPUs.
    Rtm,
}

impl Engine {
    pub fn number(self) -> u32 {
        match self {
            Engine::Auto => ENGINE_AUTO,
            Engine::Adbit => engine_number(Method::AdBit),
            Engine::Rtm => engine_number(Method::Rtm),
        }
    }
}

impl From<Method> for Engine {
    fn from(method: Method) -> Self {
        match method {
            Method::AdBit => Engine::Adbit,
            Method::Rtm => Engine::Rtm,
        }
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct StatsArgs {
    /// Print what was added in each interval, until interrupted.
    #[arg(long, value_name = "TIME", value_parser = quantity::parse_time)]
    pub watch: Option<Duration>,

    /// Print OpenMetrics 1.0.0, for what collects measurements.
    #[arg(long, conflicts_with = "watch")]
    pub openmetrics: bool,
}

const PROBE_EXIT_CODES: &str = "\
Exit codes of this command:
  0  at least one engine can work with at least one device
  1  none can, or that could not be found out (the report says why)
  2  wrong usage, or no such device
  6  standard output could not be written: what belongs there is on standard error";

#[derive(clap::Args, Debug)]
#[command(after_help = PROBE_EXIT_CODES)]
pub struct ProbeArgs {
    /// PCI address of the one device to look at; without it, all that a guest could have.
    #[arg(value_name = "DEVICE")]
    pub device: Option<PciAddress>,

    /// Where sys, proc and dev are, for tests.
    #[arg(long, hide = true, default_value = "/")]
    pub root: PathBuf,
}

impl Args {
    /// Reads the program's command line.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse()?.checked()
    }

    /// Refuses two forms at once. (clap compares no global option with one of a verb.)
    fn checked(self) -> Result<Self, clap::Error> {
        match self.command.form().filter(|_| self.json) {
            None => Ok(self),
            Some(form) => Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                format!("'{form}' can not be used with '--json': each is a form of its own"),
            )),
        }
    }
}

impl Command {
    /// Returns the option that asks for a form which is neither text nor JSON, if there is one.
    fn form(&self) -> Option<&'static str> {
        match self {
            Command::Stats(stats) if stats.openmetrics => Some("--openmetrics"),
            Command::Map(map) if map.svg.is_some() => Some("--svg"),
            _ => None,
        }
    }

    /// Returns whether it changes anything, so that what it did has to be told at any rate.
    pub fn changes(&self) -> bool {
        matches!(
            self,
            Command::Move(_)
                | Command::Migrate(_)
                | Command::Resume(_)
                | Command::Receive(_)
                | Command::Qualify(_)
                | Command::Windows(_)
                | Command::Lift(_)
                | Command::Cancel(_)
        )
    }
}

/// Returns whether a command line, right or wrong, is one of `probe`.
pub fn is_probe(words: impl IntoIterator<Item = OsString>) -> bool {
    let command = Args::command().ignore_errors(true);
    let matches = command.try_get_matches_from(words);
    matches.is_ok_and(|matches| matches.subcommand_name() == Some("probe"))
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
