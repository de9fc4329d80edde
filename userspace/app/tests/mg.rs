// SPDX-License-Identifier: GPL-2.0
//! Multigrid over ranks has the same numbers on one rank, on two and on four, whoever moves meanwhile.

mod common;

use common::mg::{compile, run, Size};
use std::time::Duration;

const SIZE: Size = Size { n: 32, cycles: 30 };
const SHORT: Size = Size { n: 16, cycles: 2 };

#[test]
fn the_numbers_are_those_of_one_rank() {
    let wasm = compile();
    let alone = run(&wasm, SIZE, 1, &[], None).expect("it ends");
    assert_eq!(alone.messages, 0);
    let two = run(&wasm, SIZE, 2, &[], None).expect("it ends");
    assert_eq!(two.digest, alone.digest);
    // Each rank once, the first again: soon, since it has to run still.
    let soon = Duration::from_millis(20);
    let moves = [0, 1, 2, 3, 0].map(|rank| (soon, rank));
    let four = run(&wasm, SIZE, 4, &moves, None).expect("it ends");
    assert_eq!(four.digest, alone.digest);
    println!(
        "# 2 ranks {} messages, 4 ranks {} messages and {} bytes, {} moves in {:.1?}",
        two.messages,
        four.messages,
        four.bytes,
        four.moves.len(),
        four.total
    );
}

/// The twin: messages with other bytes make other numbers. What moves may do wrongly is in `ranks.rs`.
#[test]
fn other_messages_make_other_numbers() {
    let wasm = compile();
    let right = run(&wasm, SHORT, 2, &[], None).expect("it ends");
    let wrong = run(&wasm, SHORT, 2, &[], Some("Place")).expect("it ends");
    assert_ne!(wrong.digest, right.digest);
}
