// SPDX-License-Identifier: GPL-2.0
//! `rtm-emulated`: the transaction's assembly on a CPU without RTM, stepped through
//! and compared, access by access, with the engine's transaction in single steps.
//! TAP on standard output. SEED and CASES choose the plans.

mod aborts;
mod compare;
mod simple;
#[cfg(feature = "mutants")]
mod twins;

use pagemove_rtm::cpu::{rtm, Rtm};
use pagemove_rtm::emulator::Emulator;
use pagemove_rtm::scene::Scene;
use pagemove_testkit::tap::{self, Tap};
use std::process::ExitCode;

/// Seconds after which the program is in a loop, and ends itself.
const LIMIT: u32 = 900;
/// Random plans that are compared.
const CASES: u64 = 800;

/// One result: what it shows, and what is wrong.
pub type Outcome = Result<(), String>;

/// What every test needs.
pub struct Bench {
    pub emulator: Emulator,
    pub scene: Scene,
    pub seed: u64,
    pub cases: u64,
}

type Test = (String, Box<dyn Fn(&mut Bench) -> Outcome>);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn main() -> ExitCode {
    match rtm() {
        Rtm::Absent => {}
        Rtm::Present => {
            return tap::skip_all("this CPU has RTM: rtm-native runs the transaction as it is")
        }
        Rtm::AlwaysAborts => {
            return tap::skip_all("XBEGIN is known to this CPU (RTM_ALWAYS_ABORT)")
        }
    }
    // SAFETY: ends this process if it takes too long.
    unsafe { libc::alarm(LIMIT) };
    let mut tests: Vec<Test> = simple::tests();
    tests.extend(compare::tests());
    tests.extend(aborts::tests());
    #[cfg(feature = "mutants")]
    tests.extend(twins::tests());
    let mut bench = Bench {
        emulator: Emulator::new(),
        scene: Scene::new(),
        seed: number("SEED").unwrap_or(20_261_121),
        cases: number("CASES").unwrap_or(CASES),
    };
    let mut tap = Tap::plan(tests.len());
    for (name, test) in &tests {
        let outcome = test(&mut bench);
        tap.test(outcome.is_ok(), name);
        if let Err(reason) = outcome {
            tap::note(&reason);
        }
    }
    tap.exit_code()
}
