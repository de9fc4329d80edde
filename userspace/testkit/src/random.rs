// SPDX-License-Identifier: GPL-2.0
//! Random numbers that a seed repeats.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::tap;

/// Spreads the bits of a number over all 64 (the finalizer of MurmurHash 3).
pub fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}

/// A counter, mixed (SplitMix64's construction).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self {
            state: mix(seed ^ 0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Takes the environment's SEED, or a new one, and prints it.
    pub fn announced() -> Self {
        let given = std::env::var("SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let now = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |time| time.as_nanos() as u64)
        };
        let seed = given.unwrap_or_else(now);
        tap::note(&format!("SEED={seed} repeats the choices of this run"));
        Self::new(seed)
    }

    /// Makes another source, for another thread.
    pub fn split(&mut self) -> Self {
        Self::new(self.draw())
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Draws a number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    /// Draws a time below `most` microseconds.
    pub fn microseconds(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.draw() % most.max(1))
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let take = |seed| {
            let mut random = Random::new(seed);
            (0..4).map(|_| random.draw()).collect::<Vec<_>>()
        };
        assert_eq!(take(3), take(3));
        assert_ne!(take(3), take(4));
    }

    #[test]
    fn every_number_below_the_limit_comes() {
        let mut random = Random::new(5);
        let mut seen = [false; 10];
        (0..1000).for_each(|_| seen[random.below(10)] = true);
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
