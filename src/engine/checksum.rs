// SPDX-License-Identifier: GPL-2.0
//! A checksum of a page, taken while it is copied.

/// 64-bit sum that depends on every word and its position. It guards against a
/// write that went astray, not against an adversary: a device that can choose
/// its bytes owns the page anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checksum(u64);

impl Checksum {
    /// Returns the sum of nothing.
    pub const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Adds one word. The multiplier is odd, so that each step is a bijection
    /// of the sum: two pages that differ in one word never have one sum.
    #[inline]
    #[must_use]
    pub const fn add(self, word: u64) -> Self {
        Self(
            (self.0 ^ word)
                .wrapping_mul(0xff51_afd7_ed55_8ccd)
                .rotate_left(31),
        )
    }

    /// Adds the words of a part of a page that were summed up in lanes.
    #[must_use]
    pub fn add_lanes(self, lanes: &Lanes) -> Self {
        lanes.0.iter().fold(self, |sum, lane| sum.add(*lane))
    }
}

/// Sums of every fourth word each, which a CPU can work on at the same time. As with one sum, two
/// pages that differ in one word never have the same lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(pub [u64; Self::COUNT]);

impl Lanes {
    /// How many they are.
    pub const COUNT: usize = 4;

    /// Returns the lanes of nothing. Each begins as another number, so that words that change their places
    /// change the sum.
    pub const fn new() -> Self {
        Self([
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
        ])
    }

    /// Adds the word with this place in the page.
    pub fn add(&mut self, place: usize, word: u64) {
        if let Some(lane) = self.0.get_mut(place % Self::COUNT) {
            *lane = Checksum(*lane).add(word).0;
        }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}
