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
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}
