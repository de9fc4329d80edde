// SPDX-License-Identifier: GPL-2.0
//! Random numbers that a seed repeats.

use crate::ledger::payload::mix;

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

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let take = |seed| {
            (0..4)
                .map(|_| 0)
                .scan(Random::new(seed), |r, _: i32| Some(r.draw()))
                .collect::<Vec<_>>()
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
}
