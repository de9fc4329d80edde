// SPDX-License-Identifier: GPL-2.0
//! What the engine's own work costs: the loops that the benches and the limits time.

pub mod batch;
pub mod poll;

use std::time::{Duration, Instant};

/// The shortest of `rounds` runs of `body`: what else runs on the machine makes a run
/// longer, never shorter.
pub fn shortest(rounds: usize, mut body: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| body()).min().unwrap_or_default()
}

/// How long `body` takes.
pub fn timed<R>(body: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = body();
    (start.elapsed(), result)
}
