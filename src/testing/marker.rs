// SPDX-License-Identifier: GPL-2.0
//! Marks in the emulator's trace. A build for tests says there when the copy of a page
//! begins and when it ends, among the IOMMU's own events, so that a test can compare
//! their order.
//!
//! A mark is the selection of an item of QEMU's firmware configuration that does not
//! exist (QEMU, docs/specs/fw_cfg): it changes nothing, and is traced with its number.

use core::arch::asm;

/// The port that selects an item, on a PC.
const SELECTOR: u16 = 0x510;

/// No item has a number from here on.
const MARK: u16 = 1 << 13;
/// QEMU leaves this bit out of account.
const END: u16 = 1 << 15;

/// The copy of a page, while it goes on: its end is marked when this is dropped.
pub(crate) struct Mark(Option<u16>);

impl Mark {
    /// Marks the begin. The low bits are those of START's place in its region; none: no mark.
    pub(super) fn copy_of(index: Option<u64>) -> Self {
        let mark = Self(index.map(|index| MARK | (index as u16 & (MARK - 1))));
        mark.write(0);
        mark
    }

    fn write(&self, kind: u16) {
        let Some(key) = self.0 else { return };
        // SAFETY: whoever asks for marks runs in QEMU, where this only selects. That it
        // may touch memory keeps the compiler from moving the copy across it.
        unsafe {
            asm!(
                "out dx, ax",
                in("dx") SELECTOR,
                in("ax") key | kind,
                options(nostack, preserves_flags)
            )
        };
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.write(END);
    }
}
