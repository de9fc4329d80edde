// SPDX-License-Identifier: GPL-2.0
//! Pages whose pins are being given up.

use engine::PAGE_SIZE;

/// Pages one after another, with as many pins each, that are being given up.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) pages: i32,
    pub(super) pins: u32,
}

impl Run {
    /// Returns the address after it.
    pub(super) fn next(&self) -> u64 {
        let bytes = (self.pages as u64).saturating_mul(PAGE_SIZE);
        self.first.saturating_add(bytes)
    }
}
