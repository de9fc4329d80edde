// SPDX-License-Identifier: GPL-2.0
//! A copy of pages by SSE. The C library's is one instruction from some length on (`rep movsb`), which an
//! emulator does byte by byte: it would be slower by far than the module's, and flatter that.

use std::arch::asm;

use pagemove_devices::memory::Slice;

const CHUNK: usize = 64;

/// Copies all of `from`, which is as long as `to`.
pub fn pages(from: &Slice, to: &Slice) {
    assert_eq!(from.length(), to.length());
    assert!(from.length() > 0 && from.length() % CHUNK == 0);
    // SAFETY: both are whole pages that are mapped, as a slice promises, so aligned; assembly makes no
    // assumption on who else accesses them.
    unsafe {
        asm!(
            "2:",
            "movdqa xmm0, [{from}]",
            "movdqa xmm1, [{from} + 16]",
            "movdqa xmm2, [{from} + 32]",
            "movdqa xmm3, [{from} + 48]",
            "movdqa [{to}], xmm0",
            "movdqa [{to} + 16], xmm1",
            "movdqa [{to} + 32], xmm2",
            "movdqa [{to} + 48], xmm3",
            "add {from}, 64",
            "add {to}, 64",
            "sub {left}, 64",
            "jnz 2b",
            from = inout(reg) from.address() => _,
            to = inout(reg) to.address() => _,
            left = inout(reg) from.length() => _,
            out("xmm0") _,
            out("xmm1") _,
            out("xmm2") _,
            out("xmm3") _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_devices::memory::{Memory, Source};
    use pagemove_uapi::PAGE_SIZE;

    #[test]
    fn every_word_is_copied_and_none_behind_them() {
        let memory = Memory::new(Source::Memfd, 6 * PAGE_SIZE, 0, None).unwrap();
        let whole = Slice::whole(&memory);
        for offset in (0..2 * PAGE_SIZE).step_by(8) {
            whole.write_word(offset, offset as u64 + 1);
        }
        let to = whole.part(3 * PAGE_SIZE, 2 * PAGE_SIZE);
        pages(&whole.part(0, 2 * PAGE_SIZE), &to);
        for offset in (0..2 * PAGE_SIZE).step_by(8) {
            assert_eq!(to.read_word(offset), offset as u64 + 1);
        }
        assert_eq!(whole.read_word(5 * PAGE_SIZE), 0);
    }
}
