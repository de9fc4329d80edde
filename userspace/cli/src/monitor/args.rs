// SPDX-License-Identifier: GPL-2.0
//! What `monitor` accepts.

use std::time::Duration;

use crate::args::EXIT_CODES;
use crate::quantity;

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXIT_CODES)]
pub struct MonitorArgs {
    /// Say when more attempts than this are aborted in a second, and when no more are.
    #[arg(long, value_name = "PER-SECOND")]
    pub aborts_above: Option<u64>,

    /// End after this time.
    #[arg(long = "for", value_name = "TIME", value_parser = quantity::parse_time)]
    pub time: Option<Duration>,

    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,

    /// Begin with those that the module remembers: the last 1024.
    #[arg(long)]
    pub past: bool,
}
