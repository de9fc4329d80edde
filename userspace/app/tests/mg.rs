// SPDX-License-Identifier: GPL-2.0
//! Multigrid over ranks has the same numbers on one rank, on two and on four, whoever moves meanwhile.

mod common;

use common::mg::{compile, run, Size, OVER};
use std::time::Duration;

/// Numbers of V-cycles, of which the next is tried where a program is over before each rank was moved.
const CYCLES: [u32; 3] = [30, 120, 480];
const SHORT: Size = Size { n: 16, cycles: 2 };

#[test]
fn the_numbers_are_those_of_one_rank() {
    let wasm = compile();
    let enough = CYCLES.iter().any(|&cycles| are_those(&wasm, cycles));
    assert!(enough, "{OVER}");
}

/// Returns whether all could be moved.
fn are_those(wasm: &[u8], cycles: u32) -> bool {
    let size = Size { n: 32, cycles };
    let alone = run(wasm, size, 1, &[], None).expect("it ends");
    assert_eq!(alone.messages, 0);
    let two = run(wasm, size, 2, &[], None).expect("it ends");
    assert_eq!(two.digest, alone.digest);
    // Each rank once, the first again: soon, since it has to run still.
    let soon = Duration::from_millis(20);
    let moves = [0, 1, 2, 3, 0].map(|rank| (soon, rank));
    let four = match run(wasm, size, 4, &moves, None) {
        Err(why) if why == OVER => return false,
        four => four.expect("it ends"),
    };
    assert_eq!(four.digest, alone.digest);
    println!(
        "# 2 ranks {} messages, 4 ranks {} messages and {} bytes, {} moves in {:.1?}",
        two.messages,
        four.messages,
        four.bytes,
        four.moves.len(),
        four.total
    );
    true
}

/// The twin: messages with other bytes make other numbers. What moves may do wrongly is in `ranks.rs`.
#[test]
fn other_messages_make_other_numbers() {
    let wasm = compile();
    let right = run(&wasm, SHORT, 2, &[], None).expect("it ends");
    let wrong = run(&wasm, SHORT, 2, &[], Some("Place")).expect("it ends");
    assert_ne!(wrong.digest, right.digest);
}
