// SPDX-License-Identifier: GPL-2.0
//! Versions of the protocol: each side says which it speaks, the highest common one is used.

use std::fmt;

/// The first version: no post-copy.
pub const FIRST: u16 = 1;
/// From here on pages can be wanted by the side that has not got them yet.
pub const WANTS: u16 = 2;
/// From here on pages of the span may be left out.
pub const HOLES: u16 = 3;

/// From `lowest` to `highest`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub lowest: u16,
    pub highest: u16,
}

/// What this program speaks: the newest version and those before.
pub const SPOKEN: Versions = Versions {
    lowest: FIRST,
    highest: HOLES,
};

impl Versions {
    /// Returns the highest version that is in both ranges.
    pub fn common(self, other: Versions) -> Option<u16> {
        let highest = self.highest.min(other.highest);
        let lowest = self.lowest.max(other.lowest);
        (lowest <= highest && lowest > 0).then_some(highest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            write!(f, "version {}", self.lowest)
        } else {
            write!(f, "versions {} to {}", self.lowest, self.highest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(lowest: u16, highest: u16) -> Versions {
        Versions { lowest, highest }
    }

    #[test]
    fn the_highest_common_one() {
        for (ours, theirs, common) in [
            ((1, 2), (1, 2), Some(2)),
            ((1, 2), (1, 1), Some(1)),
            ((1, 1), (1, 2), Some(1)),
            ((1, 2), (2, 9), Some(2)),
            ((1, 2), (3, 4), None),
            ((3, 4), (1, 2), None),
            ((1, 2), (2, 1), None),
            ((0, 0), (0, 0), None),
        ] {
            let (ours, theirs) = (versions(ours.0, ours.1), versions(theirs.0, theirs.1));
            assert_eq!(ours.common(theirs), common, "{ours} {theirs}");
            assert_eq!(theirs.common(ours), common, "{theirs} {ours}");
        }
    }
}
