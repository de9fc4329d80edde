// SPDX-License-Identifier: GPL-2.0
//! `pagemove-rtm-emulation [WORD]`: the emulation of hardware transactions, tested from
//! user space in the VM. TAP on standard output; WORD: only tests with it in the name.

mod cases;
mod cpus;

use pagemove_rtm_emulation::Control;
use pagemove_testkit::tap::{self, Tap};
use std::process::ExitCode;

type Test = (&'static str, fn(Control) -> Result<(), String>);

/// Seconds after which the program hangs, and ends itself.
const LIMIT: u32 = 400;

fn main() -> ExitCode {
    let control = match Control::find() {
        Ok(control) => control,
        Err(why) => return tap::skip_all(&why.to_string()),
    };
    // SAFETY: ends this process if it takes too long.
    unsafe { libc::alarm(LIMIT) };
    let word = std::env::args().nth(1).unwrap_or_default();
    let tests: Vec<&Test> = cases::ALL
        .iter()
        .copied()
        .flatten()
        .filter(|(name, _)| name.contains(&word))
        .collect();
    let mut results = Tap::plan(tests.len());
    for (name, test) in tests {
        control.clear();
        let result = test(control);
        results.test(result.is_ok(), name);
        if let Err(why) = result {
            tap::note(&why);
        }
    }
    results.exit_code()
}
