// SPDX-License-Identifier: GPL-2.0
//! The module's parameter limit_mib: pages of all regions together.

use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::module;
use pagemove_uapi::{text, Control, PAGE_SIZE, REASON_NO_MEMORY};

use crate::bench::{self, Bench};
use crate::region::Region;
use pagemove_testkit::tap::{self, Outcome, Pass};

const LIMIT_MIB: usize = 4;
const LIMIT: usize = (LIMIT_MIB << 20) / PAGE_SIZE;

/// Loads the module anew.
fn reload(bench: &mut Option<Bench>, parameters: &str) -> Result<()> {
    *bench = None;
    module::unload_pagemove(Duration::from_secs(20))?;
    let base = std::env::var("PAGEMOVE_PARAMS").unwrap_or_default();
    module::load_pagemove_with(&format!("{base} {parameters}"))
}

pub fn of_faults(bench: &mut Option<Bench>) -> Outcome {
    reload(bench, &format!("limit_mib={LIMIT_MIB}"))?;
    for node in [None, Some("0")] {
        let mut child = Command::new(std::env::current_exe()?);
        child
            .arg(super::charges::EATER)
            .arg((LIMIT + 1).to_string())
            .args(node);
        let status = child
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()?;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        ensure!(
            signal == Some(libc::SIGBUS),
            "one page more than the limit: {status}"
        );
        bench::wait_for_no_pages(Duration::from_secs(20))?;
    }
    // All of them are free again. (For one that would continue its neighbour a second one is
    // taken before the first is given back.)
    let region = Region::on_node(LIMIT - 1, 0)?;
    region.map.fill(1);
    region.map.check(1)?;
    let owned = Control::open()?.stats()?.owned_pages;
    ensure!(owned == LIMIT as u64 - 1, "{owned} pages are allocated");
    Ok(Pass)
}

pub fn of_moves(bench: &mut Option<Bench>) -> Outcome {
    bench::wait_for_no_pages(Duration::from_secs(20))?;
    *bench = Some(Bench::open(LIMIT - 1)?);
    let opened = bench.as_ref().context("no bench")?;
    // With one page left a move goes on page by page, until one would continue its neighbour.
    let last = Region::on_node(1, opened.nodes.here)?;
    last.map.fill(1);
    let (report, _) = opened.move_pages(&opened.request(0, LIMIT - 1, opened.nodes.there));
    let reason = report.error.map(|error| error.reason);
    ensure!(
        bench::errno_of(&report) == libc::ENOMEM && reason == Some(REASON_NO_MEMORY),
        "{} instead of {}",
        bench::describe(&report),
        text::name_or_number(text::REASONS, REASON_NO_MEMORY)
    );
    opened.region.map.check(0)?;
    tap::note(&format!("{} pages of {LIMIT} moved", report.pages_moved));
    drop(last);
    reload(bench, "")?;
    Ok(Pass)
}
