// SPDX-License-Identifier: GPL-2.0
//! A guest that is one sector of a disk: it writes to 512 KiB of its memory, again and again, looks first at what it has
//! written the time before, and says a dot for each round at its serial port. If something is not right it says L, and
//! no more.

use std::fs;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::wait;

// The BIOS begins it at 0x7c00, in real mode. %bp: the round, %bx: the segment of a page.
std::arch::global_asm!(
    ".pushsection .rodata.tiny, \"a\"",
    ".globl pagemove_tiny_guest",
    "pagemove_tiny_guest:",
    ".code16",
    "xorw %ax, %ax",
    "movw %ax, %ss",
    "movw $0x7c00, %sp",
    "cld",
    "xorw %bp, %bp",
    "1: movw $0x1000, %bx",
    "2: movw %bx, %es",
    "movw %bp, %ax",
    "testw %ax, %ax",
    "jz 3f",
    // What was written in the round before.
    "xorw %bx, %ax",
    "xorw %di, %di",
    "movw $2048, %cx",
    "repe scasw",
    "jne 4f",
    "3: movw %bp, %ax",
    "incw %ax",
    "xorw %bx, %ax",
    "xorw %di, %di",
    "movw $2048, %cx",
    "rep stosw",
    "addw $0x100, %bx",
    "cmpw $0x9000, %bx",
    "jb 2b",
    "incw %bp",
    "movw $0x3f8, %dx",
    "movb $0x2e, %al",
    "outb %al, %dx",
    "jmp 1b",
    "4: movw $0x3f8, %dx",
    "movb $0x4c, %al",
    "outb %al, %dx",
    "5: hlt",
    "jmp 5b",
    ".code64",
    ".org pagemove_tiny_guest + 510",
    ".byte 0x55, 0xaa",
    ".popsection",
    options(att_syntax)
);

extern "C" {
    #[link_name = "pagemove_tiny_guest"]
    static SECTOR: [u8; 512];
}

/// How long the guest may take for anything.
const MOST: Duration = Duration::from_secs(120);

/// Makes its disk.
pub fn make_disk(path: &str) -> Result<()> {
    // SAFETY: the bytes that are assembled above.
    let mut disk = unsafe { SECTOR }.to_vec();
    disk.resize(1 << 20, 0);
    fs::write(path, disk).with_context(|| path.to_string())
}

/// What the guest has said at its serial port, which is a file.
pub struct Console(pub &'static str);

impl Console {
    /// Returns how many rounds it has ended; fails where it has lost something.
    pub fn rounds(&self) -> Result<usize> {
        let said = fs::read(self.0).unwrap_or_default();
        ensure!(!said.contains(&b'L'), "the guest has lost what it wrote");
        Ok(said.iter().filter(|byte| **byte == b'.').count())
    }

    /// Waits until the guest has looked at all of its memory once more, and returns its rounds.
    pub fn go_on(&self) -> Result<usize> {
        let before = self.rounds()?;
        let mut rounds = before;
        // The round that is under way may have begun before.
        wait::until("the guest goes on", MOST, || {
            rounds = self.rounds()?;
            Ok(rounds >= before + 2)
        })?;
        Ok(rounds)
    }

    /// Fails where the guest does anything for a while.
    pub fn stands_still(&self) -> Result<()> {
        let before = self.rounds()?;
        std::thread::sleep(Duration::from_secs(3));
        let rounds = self.rounds()?;
        ensure!(rounds == before, "the guest goes on: {before}, {rounds}");
        Ok(())
    }
}
