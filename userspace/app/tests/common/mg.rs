// SPDX-License-Identifier: GPL-2.0
//! Multigrid over ranks (`tests/apps/mg-ranks.c`).

use super::exchange::{Host, Ranks, LIMIT};
use super::place::Place;
use super::programs::Program;
use pagemove_peers::Rank;
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

/// A grid of so many cells on a side, and so many V-cycles.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub n: u32,
    pub cycles: u32,
}

/// What [`run`] says where a program had ended before it could be moved.
pub const OVER: &str = "it was over before it was moved";

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub digest: u64,
    /// From the first process to the end of the last.
    pub total: Duration,
    /// In calls that send and receive: of the rank that was in them longest, and of all.
    pub longest: Duration,
    pub sum: Duration,
    pub messages: u64,
    pub bytes: u64,
    /// What the tool said of each move, and how long the rank was nowhere.
    pub moves: Vec<(Value, Duration)>,
}

/// Compiles it, by the build root's clang.
pub fn compile() -> Vec<u8> {
    let program = Program {
        name: "mg-ranks",
        size: 0,
    };
    program.wasm()
}

/// Runs it on so many ranks, and moves a rank after each of these times, counted from the last move.
pub fn run(
    wasm: &[u8],
    size: Size,
    count: Rank,
    moves: &[(Duration, Rank)],
    mistake: Option<&'static str>,
) -> Result<Seen, String> {
    let place = Place::new();
    let module = place.path("mg.wasm");
    std::fs::write(&module, wasm).expect("written");
    let (n, cycles) = (size.n.to_string(), size.cycles.to_string());
    let begun = Instant::now();
    let here = vec![Host::this()];
    let arguments = [n.as_str(), &cycles];
    let mut ranks = Ranks::of(place, &module, &arguments, count..count, here, mistake);
    let mut seen = Seen::default();
    for &(after, rank) in moves {
        thread::sleep(after);
        let left = Instant::now();
        let written = match ranks.stop(rank) {
            Ok(written) => written,
            Err(why) => {
                let (status, _) = ranks.wait(rank, LIMIT)?;
                if status.success() {
                    return Err(OVER.into());
                }
                return Err(format!("{why}{status}: {}", ranks.said(rank)));
            }
        };
        ranks.come_back(rank)?;
        seen.moves.push((written, left.elapsed()));
    }
    for rank in 0..count {
        let (status, told) = ranks.wait(rank, LIMIT * 10)?;
        let numbers: Vec<u64> = told.lines().filter_map(|line| line.parse().ok()).collect();
        let &[spent, messages, bytes, digest] = &numbers[..] else {
            return Err(format!("rank {rank}: {status}: {}", ranks.said(rank)));
        };
        let spent = Duration::from_nanos(spent);
        seen.longest = seen.longest.max(spent);
        seen.sum += spent;
        seen.messages += messages;
        seen.bytes += bytes;
        if rank == 0 {
            seen.digest = digest;
        }
    }
    seen.total = begun.elapsed();
    Ok(seen)
}
