// SPDX-License-Identifier: GPL-2.0
//! `rtm-native`: the transaction's assembly on a CPU that has RTM. TAP on standard
//! output; `1..0 # SKIP` and exit status 4 where transactions can not be run.
//!
//! `rtm-native --emulate` is for CPUs without RTM: it tries those of these tests
//! themselves that need one thread and no cache, on emulated instructions.
//!
//! A transaction may be aborted at any time for no reason that anybody can see, so
//! whatever has to happen once is tried many times.

mod attempt;
mod contention;
mod limits;
mod simple;

use attempt::Bench;
use engine::rtm::trial;
use pagemove_rtm::cpu::{rtm, Rtm};
use pagemove_rtm::emulator::Emulator;
use pagemove_testkit::tap::{self, Tap};
use std::process::ExitCode;

/// Seconds after which the program is in a loop, and ends itself.
const LIMIT: u32 = 300;
/// Empty transactions of which one has to commit.
const TRIALS: usize = 10_000;

/// What became of a test that did not fail.
pub enum Verdict {
    Pass,
    /// It can not run here; why.
    Skip(String),
}

pub type Outcome = Result<Verdict, String>;
pub type Test = (&'static str, fn(&mut Bench) -> Outcome);

/// Why transactions can not be run.
fn obstacle() -> Option<&'static str> {
    match rtm() {
        Rtm::Absent => return Some("this CPU has no RTM (CPUID leaf 7, EBX bit 11)"),
        Rtm::AlwaysAborts => return Some("this CPU aborts every transaction (RTM_ALWAYS_ABORT)"),
        Rtm::Present => {}
    }
    // SAFETY: CPUID says that there is RTM.
    let commits = (0..TRIALS).any(|_| unsafe { trial() }.is_ok());
    (!commits).then_some("this CPU has RTM, but commits no empty transaction")
}

fn main() -> ExitCode {
    let emulate = std::env::args()
        .skip(1)
        .any(|argument| argument == "--emulate");
    let emulator = match (emulate, rtm(), obstacle()) {
        (true, Rtm::Absent, _) => Some(Emulator::new()),
        (true, _, _) => return tap::skip_all("XBEGIN is known to this CPU"),
        (false, _, Some(why)) => return tap::skip_all(why),
        (false, _, None) => None,
    };
    // SAFETY: ends this process if it takes too long.
    unsafe { libc::alarm(LIMIT) };
    let mut tests = simple::TESTS.to_vec();
    if emulator.is_none() {
        tests.extend(contention::TESTS);
        tests.extend(limits::TESTS);
    }
    let mut bench = Bench::new(emulator);
    let mut tap = Tap::plan(tests.len());
    for (name, test) in tests {
        match test(&mut bench) {
            Ok(Verdict::Pass) => tap.test(true, name),
            Ok(Verdict::Skip(why)) => tap.skip(name, &why),
            Err(why) => {
                tap.test(false, name);
                tap::note(&why);
            }
        }
    }
    tap.exit_code()
}
