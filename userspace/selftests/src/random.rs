// SPDX-License-Identifier: GPL-2.0
//! Random numbers that a seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::tap;

/// xorshift64*: small, and good enough to choose moments and slots.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        // The state must not be zero.
        Self(seed ^ 0x9E37_79B9_7F4A_7C15 | 1)
    }

    /// From the environment's SEED, or a new one, which is printed.
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
        tap::diagnostic(&format!("SEED={seed} repeats the choices of this run"));
        Self::seeded(seed)
    }

    /// Another one, for another thread.
    pub fn split(&mut self) -> Self {
        Self::seeded(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// One of 0..end.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats() {
        let mut one = Random::seeded(7);
        let mut two = Random::seeded(7);
        assert!((0..100).all(|_| one.next() == two.next()));
        assert_ne!(Random::seeded(7).next(), Random::seeded(9).next());
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::seeded(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
