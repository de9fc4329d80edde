// SPDX-License-Identifier: GPL-2.0
//! The engine `rtm` in the kernel, on a machine that emulates hardware transactions,
//! with a device that is quiet while pages are moved. What happens under live DMA is
//! the harness's part.

mod absent;
mod causes;
mod isolated;
mod mute;
mod quiet;
mod refused;
mod stall;
mod sweep;

use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{text, PageResult, Session, ENGINE_RTM, PAGE_MOVED};

use crate::bench;
use crate::rig::Rig;

const USAGE: &str = "rtm wants one of: quiet FORMAT, causes, sweep, stall, mute, absent, refused, isolated; behind causes, stall, \
     mute, absent: parameters of the module";

pub fn main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["quiet", format] => quiet::main(format),
        ["causes"] => causes::main(""),
        ["causes", parameters] => causes::main(parameters),
        ["sweep"] => sweep::main(),
        ["stall"] => stall::main(""),
        ["stall", parameters] => stall::main(parameters),
        ["mute"] => mute::main(""),
        ["mute", parameters] => mute::main(parameters),
        ["absent"] => absent::main(""),
        ["absent", parameters] => absent::main(parameters),
        ["refused"] => refused::main(),
        ["isolated"] => isolated::main(),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(1)
        }
    }
}

/// The session that the rig's moves use: the VM has two CPUs, so there is one.
fn session(rig: &Rig) -> Result<Session> {
    let sessions = rig.control.session_list()?;
    ensure!(sessions.len() == 1, "{} sessions", sessions.len());
    sessions.first().copied().context("no session")
}

fn cause(result: &PageResult) -> String {
    text::name_or_number(text::ABORTS, result.abort.into())
}

/// G3: the page is where it was, with what it held, for CPUs and for the device.
fn is_intact(rig: &mut Rig, page: usize, node: i32, seed: u64) -> Result<()> {
    ensure!(rig.node_of(page)? == node, "page {page} is elsewhere");
    rig.check(page, seed)
}

/// Moves a page to the other node, with retries, and checks it with this content.
fn move_over(rig: &mut Rig, page: usize, seed: u64) -> Result<()> {
    let node = rig.other(rig.node_of(page)?);
    let mut request = rig.request(page, 1, ENGINE_RTM, node);
    request.retries = 1000;
    let (report, results) = rig.move_patiently(&request);
    let result = results.first().context("no result")?;
    ensure!(
        result.outcome == PAGE_MOVED && result.engine == ENGINE_RTM && report.pages_moved == 1,
        "{}: {} after {} attempts",
        bench::describe(&report),
        cause(result),
        result.attempts
    );
    is_intact(rig, page, node, seed)
}
