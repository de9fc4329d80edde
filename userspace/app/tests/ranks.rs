// SPDX-License-Identifier: GPL-2.0
//! Programs that are ranks, each a process, exchange numbered messages while they are stopped into files and
//! taken up by other processes.

mod common;

use common::exchange::Host;
use common::moves::{run, Plan};
use pagemove_peers::driver::Prepared;
use std::time::Duration;

fn prepared() -> Prepared {
    Prepared::at("127.0.0.1:0").expect("a port")
}

fn plan(programs: u16, moves: u64, mistake: Option<&'static str>) -> Plan {
    let seconds = if mistake.is_some() { 4 } else { 60 };
    Plan {
        programs,
        moves,
        seed: 0x2545_f491_4f6c_dd1d,
        mistake,
        patience: Duration::from_secs(seconds),
    }
}

#[test]
fn two_ranks_are_moved() {
    let figures = run(&plan(2, 20, None), vec![Host::this()], prepared()).expect("all has come");
    figures.print("2 ranks");
    assert!(figures.moves >= 20 && figures.carried > 0, "{figures:?}");
}

#[test]
fn four_ranks_are_moved() {
    let figures = run(&plan(4, 20, None), vec![Host::this()], prepared()).expect("all has come");
    figures.print("4 ranks");
    assert!(figures.moves >= 20 && figures.pairs > 0, "{figures:?}");
}
