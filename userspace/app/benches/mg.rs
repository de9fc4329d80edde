// SPDX-License-Identifier: GPL-2.0
//! What messages cost a program, and what it costs that a rank is moved by a file: multigrid on 2 to 8 ranks,
//! with a move of the first one in the middle and without, in turns. Times are medians; the numbers that the
//! program tells have to be the same each time.

#[path = "../tests/common/mod.rs"]
mod common;

use common::mg::{compile, run, Seen, Size};
use std::time::Duration;

const SIZE: Size = Size { n: 64, cycles: 10 };
const TURNS: usize = 5;

fn main() {
    let wasm = compile();
    let alone = run(&wasm, SIZE, 1, &[], None).expect("it ends");
    println!(
        "multigrid, {0}^3 cells, {1} V-cycles; one rank alone: {2:.2} s",
        SIZE.n,
        SIZE.cycles,
        alone.total.as_secs_f64()
    );
    println!("ranks  messages      bytes  moves   total  in calls: longest, all     by the move");
    for count in [2, 4, 8] {
        let (mut still, mut moved) = (Vec::new(), Vec::new());
        let mut half = alone.total / 2;
        for _ in 0..TURNS {
            let seen = run(&wasm, SIZE, count, &[], None).expect("it ends");
            half = seen.total / 2;
            still.push(seen);
            moved.push(run(&wasm, SIZE, count, &[(half, 0)], None).expect("it ends"));
        }
        assert!(half > Duration::ZERO);
        for seen in still.iter().chain(&moved) {
            assert_eq!(seen.digest, alone.digest, "other numbers on {count} ranks");
        }
        line(count, 0, &still);
        line(count, 1, &moved);
        print_moves(&moved);
    }
}

fn middle<T: Ord + Copy>(seen: &[Seen], of: impl Fn(&Seen) -> T) -> T {
    let mut values: Vec<T> = seen.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn line(count: u16, moves: usize, seen: &[Seen]) {
    println!(
        "{count:>5} {:>9} {:>10} {moves:>6} {:>6.2} s {:>12.3} s {:>8.3} s",
        middle(seen, |it| it.messages),
        middle(seen, |it| it.bytes),
        middle(seen, |it| it.total).as_secs_f64(),
        middle(seen, |it| it.longest).as_secs_f64(),
        middle(seen, |it| it.sum).as_secs_f64(),
    );
}

/// Prints what the moves were, each number the middle one.
fn print_moves(seen: &[Seen]) {
    let number = |name: &str| {
        middle(seen, |it| {
            it.moves.first().and_then(|(said, _)| said[name].as_u64())
        })
        .unwrap_or_default()
    };
    let (stopped, drained, written) = (
        number("stopped_us"),
        number("drained_us"),
        number("written_us"),
    );
    let away = middle(seen, |it| {
        it.moves.first().map_or(Duration::ZERO, |(_, away)| *away)
    });
    println!(
        "{:>64} stopped {:.1} ms, drained {:.1}, in the file {:.1} ({} bytes of memory, {} messages), taken up {:.1}",
        "",
        stopped as f64 / 1e3,
        (drained - stopped) as f64 / 1e3,
        (written - drained) as f64 / 1e3,
        number("memory_bytes"),
        number("messages"),
        away.as_secs_f64() * 1e3 - written as f64 / 1e3,
    );
}
