// SPDX-License-Identifier: GPL-2.0
//! Entries that a seed repeats.

use engine::Format;
use pagemove_formats::Leaf;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A counter, mixed (SplitMix64's construction).
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }

    /// A level of a table, and an entry there: any; one with few bits; or one whose
    /// address ends with ones, as a size of AMD v1 does, mostly present.
    pub fn entry(&mut self, format: Format) -> (u32, u64) {
        let level = self.below(u64::from(format.top_level()) + 1) as u32;
        let any = self.draw();
        let entry = match self.below(4) {
            0 => any,
            1 => any & self.draw() & self.draw() & self.draw(),
            _ => {
                let ones = ((1 << self.below(41)) - 1) << 12 & ADDRESS;
                // In half of them at least.
                let next_level_7 = [0, 7 << 9][self.below(2) as usize];
                any | 1 | ones | next_level_7
            }
        };
        (level, entry)
    }

    /// A leaf of a size that Linux makes.
    pub fn leaf(&mut self, format: Format) -> Leaf {
        let lg2 = match format {
            Format::X86_64 | Format::VtdSs => 12 + 9 * self.below(3) as u32,
            // 512 GiB excepted.
            Format::AmdV1 => {
                [12 + self.below(27) as u32, 40 + self.below(12) as u32][self.below(2) as usize]
            }
        };
        let allowed = 1 + self.below(3);
        Leaf {
            level: (lg2 - 12) / 9,
            address: self.draw() & ADDRESS & !((1 << lg2) - 1),
            lg2,
            readable: allowed & 1 != 0,
            writable: allowed & 2 != 0,
        }
    }

    pub fn page(&mut self) -> u64 {
        self.draw() & ADDRESS
    }
}
