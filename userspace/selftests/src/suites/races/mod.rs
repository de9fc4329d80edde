// SPDX-License-Identifier: GPL-2.0
//! Everything at once: VFIO maps and unmaps, the VMM maps and unmaps, pages move,
//! and at the end all is closed in any order.

mod closing;
mod others;
mod storm;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::bench;
use crate::complaints::COMPLAINTS;
use pagemove_testkit::kernel_log::KernelLog;
use pagemove_testkit::module;
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{self, Case, Pass};

pub struct State {
    random: Random,
    log: KernelLog,
}

pub fn main(_: &[String]) -> ExitCode {
    let mut state = match set_up() {
        Ok(state) => state,
        Err(error) => return tap::fail_all(&error),
    };
    let mut cases = storm::cases();
    cases.extend(others::cases());
    cases.extend(closing::cases());
    cases.push(Case::new(
        "afterwards no page is left and the module unloads",
        |state: &mut State| {
            bench::wait_for_no_pages(Duration::from_secs(20))?;
            module::unload_pagemove(Duration::from_secs(20))?;
            module::load_pagemove()?;
            state.log.check()?;
            Ok(Pass)
        },
    ));
    tap::run(&mut state, cases)
}

fn set_up() -> Result<State> {
    Ok(State {
        random: Random::announced(),
        log: KernelLog::from_now(COMPLAINTS)?,
    })
}
