// SPDX-License-Identifier: GPL-2.0
//! The command line of `pagemove move`.

use std::time::Duration;

use clap::ValueEnum;

use pagemove_uapi::{
    MAX_MOVE_PAGES, MAX_RETRIES, MOVE_CLEAR_ACCESSED, MOVE_EVEN_IF_THERE, MOVE_KEEP_LEAVES,
    MOVE_NO_VERIFY, MOVE_PIECES, MOVE_WATCH,
};

use crate::args::{Engine, EXIT_CODES};
use crate::quantity;
use crate::scope::ScopeArgs;

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct MoveArgs {
    #[command(flatten)]
    pub scope: ScopeArgs,

    /// NUMA node to move to.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(i32).range(0..),
          required_unless_present = "to_aperture", conflicts_with = "to_aperture")]
    pub to_node: Option<i32>,

    /// Aperture to move to: its number in `pagemove list`.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(..u32::MAX as i64))]
    pub to_aperture: Option<u32>,

    /// Offset in the aperture for the first page, the others behind it: a multiple of 4096.
    #[arg(long, value_name = "OFFSET", value_parser = quantity::parse_page_offset,
          conflicts_with = "to_node", default_value = "0")]
    pub at: u64,

    /// How a move is made atomic.
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub engine: Engine,

    /// CPU that changes the page table (rtm); without it, the module chooses.
    ///
    /// Interrupts are off on it while a transaction runs.
    #[arg(long, value_name = "CPU", value_parser = clap::value_parser!(u32).range(..u32::MAX as i64))]
    pub editor_cpu: Option<u32>,

    /// CPU that invalidates and copies (rtm), another one; without it, the module chooses.
    #[arg(long, value_name = "CPU", value_parser = clap::value_parser!(u32).range(..u32::MAX as i64))]
    pub helper_cpu: Option<u32>,

    /// Abort at once when a device writes the page (rtm).
    ///
    /// The transaction reads the whole page first, so that it is larger. Of use only
    /// where the CPU notices such writes; the move is as safe without.
    #[arg(long)]
    pub watch: bool,

    /// Clear the accessed bit before the move (rtm).
    ///
    /// For machines where a transaction notices a walk of the page table only if the
    /// walk sets that bit.
    #[arg(long)]
    pub clear_accessed: bool,

    /// What is moved at once where the IOMMU maps memory by leaves of 2 MiB.
    #[arg(long, value_enum, default_value_t = Granularity::Auto)]
    pub granularity: Granularity,

    /// Further attempts at a page that devices keep using.
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(0..=MAX_RETRIES as i64))]
    pub retries: u32,

    /// Move no more than this in a second: 100M.
    #[arg(long, value_name = "RATE", value_parser = quantity::parse_rate)]
    pub limit: Option<u64>,

    /// Only say what would be moved, how long it would take at least, and what is in the way.
    #[arg(long)]
    pub dry_run: bool,

    /// Stop when this time has passed; nothing is moved later than that.
    #[arg(long, value_name = "TIME", value_parser = quantity::parse_time)]
    pub deadline: Option<Duration>,

    /// Leave out the verification after the commit.
    #[arg(long)]
    pub no_verify: bool,

    /// Move pages that are at the destination node, too.
    #[arg(long)]
    pub even_if_there: bool,

    /// Pages in one call to the kernel; by itself, a 64th of the move and 512 or more.
    ///
    /// Each call looks at all memory of the guest once, so that many small ones
    /// are slow on a large guest.
    #[arg(long, value_name = "PAGES",
          value_parser = clap::value_parser!(u32).range(1..=MAX_MOVE_PAGES as i64))]
    pub chunk: Option<u32>,

    /// Print what became of every page that was not moved (JSON: of every page).
    #[arg(long)]
    pub pages: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Granularity {
    /// 2 MiB of a region that devices leave alone move whole; other leaves are split, if that is allowed.
    Auto,
    /// Leaves are split, and their pages move one by one.
    #[value(name = "4k")]
    Page,
    /// Leaves move whole or not at all: none is split, so that the guest keeps its speed.
    #[value(name = "2m")]
    Leaf,
}

impl Granularity {
    fn flag(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Page => MOVE_PIECES,
            Self::Leaf => MOVE_KEEP_LEAVES,
        }
    }
}

/// Calls that a long move is made of, for its bar.
const CALLS: u64 = 64;
const LEAST_CHUNK: u64 = 512;

impl MoveArgs {
    /// Returns how many pages of a move go into one call to the kernel.
    pub fn chunk(&self, pages: u64) -> u32 {
        let chosen = pages
            .div_ceil(CALLS)
            .clamp(LEAST_CHUNK, MAX_MOVE_PAGES.into());
        self.chunk.unwrap_or(chosen as u32)
    }

    /// Returns the words for where it goes.
    pub fn destination(&self) -> String {
        match (self.to_aperture, self.to_node) {
            (Some(id), _) => format!("aperture {id}"),
            (None, node) => format!("node {}", node.unwrap_or(-1)),
        }
    }

    /// Returns the MOVE_* of all calls.
    pub fn flags(&self) -> u32 {
        let mut flags = 0;
        if self.no_verify {
            flags |= MOVE_NO_VERIFY;
        }
        if self.even_if_there {
            flags |= MOVE_EVEN_IF_THERE;
        }
        if self.watch {
            flags |= MOVE_WATCH;
        }
        if self.clear_accessed {
            flags |= MOVE_CLEAR_ACCESSED;
        }
        flags | self.granularity.flag()
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
