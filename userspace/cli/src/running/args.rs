// SPDX-License-Identifier: GPL-2.0
//! Arguments of `cancel` and `wait`.

use std::time::Duration;

use crate::args::EXIT_CODES;
use crate::quantity;

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct CancelArgs {
    /// Process of the command, as `pagemove status` shows it.
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i32::MAX as i64))]
    pub pid: u32,

    /// Wait for its end, and end with its exit code, as `wait` does.
    #[arg(long)]
    pub wait: bool,

    /// Wait no longer than this; it may end later.
    #[arg(long, value_name = "TIME", value_parser = quantity::parse_time, requires = "wait")]
    pub timeout: Option<Duration>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct WaitArgs {
    /// Process of the command, as `pagemove status` shows it.
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=i32::MAX as i64))]
    pub pid: u32,

    /// Wait no longer than this.
    #[arg(long, value_name = "TIME", value_parser = quantity::parse_time)]
    pub timeout: Option<Duration>,
}
