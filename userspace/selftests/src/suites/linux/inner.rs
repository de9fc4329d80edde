// SPDX-License-Identifier: GPL-2.0
//! A guest of the guest: a few instructions that look after 64 KiB of memory. It runs inside the
//! guest, by the guest's KVM, and prints a line each so many passes.

use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};
use pagemove_uapi::PAGE_SIZE;

use crate::region::Mapping;

const CODE_AT: u64 = 0x1000;
const DATA_AT: u64 = 0x1_0000;
const MEMORY: usize = 2 << 16;

/// A pass is over; a word is not what the pass before has written.
const PASS: u16 = 0x10;
const LOST: u16 = 0x11;
/// Passes for which there is a line.
const A_LINE: u64 = 16;

/// Real mode; DS is where the data is, whose words begin as their offsets.
const CODE: [u8; 28] = [
    0x31, 0xdb, //       xor bx, bx
    0x31, 0xf6, // pass: xor si, si
    0x89, 0xd8, // word: mov ax, bx
    0x01, 0xf0, //       add ax, si
    0x39, 0x04, //       cmp [si], ax
    0x75, 0x0d, //       jne lost
    0x40, //             inc ax
    0x89, 0x04, //       mov [si], ax
    0x83, 0xc6, 0x02, // add si, 2
    0x75, 0xf0, //       jnz word
    0x43, //             inc bx
    0xe6, 0x10, //       out 0x10, al
    0xeb, 0xe9, //       jmp pass
    0xe6, 0x11, // lost: out 0x11, al
    0xf4, //             hlt
];

pub fn main(_: &[String]) -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("LOST: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a word of its memory.
fn put(memory: &Mapping, at: u64, word: [u8; 8]) {
    let (page, byte) = (at as usize / PAGE_SIZE, at as usize % PAGE_SIZE);
    memory.write(page, byte / 8, u64::from_le_bytes(word));
}

fn run() -> Result<()> {
    let kvm = Kvm::new().context("/dev/kvm")?;
    let vm = kvm.create_vm().context("KVM_CREATE_VM")?;
    let memory = Mapping::anonymous(MEMORY)?;
    for (n, bytes) in CODE.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        put(&memory, CODE_AT + n as u64 * 8, word);
    }
    for offset in (0..1u64 << 16).step_by(8) {
        let mut word = [0; 8];
        for (n, half) in word.chunks_exact_mut(2).enumerate() {
            half.copy_from_slice(&(offset as u16 + n as u16 * 2).to_le_bytes());
        }
        put(&memory, DATA_AT + offset, word);
    }
    let slot = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY as u64,
        userspace_addr: memory.address() as u64,
    };
    // SAFETY: the memory is mapped, and nobody unmaps it before the VM has ended.
    unsafe { vm.set_user_memory_region(slot) }.context("KVM_SET_USER_MEMORY_REGION")?;
    let mut vcpu = vm.create_vcpu(0).context("KVM_CREATE_VCPU")?;
    let mut special = vcpu.get_sregs()?;
    (special.cs.base, special.cs.selector) = (0, 0);
    (special.ds.base, special.ds.selector) = (DATA_AT, (DATA_AT >> 4) as u16);
    vcpu.set_sregs(&special)?;
    let mut registers = vcpu.get_regs()?;
    (registers.rip, registers.rflags) = (CODE_AT, 2);
    vcpu.set_regs(&registers)?;
    let mut passes = 0u64;
    loop {
        match vcpu.run()? {
            VcpuExit::IoOut(PASS, _) => passes += 1,
            VcpuExit::IoOut(LOST, _) => bail!("a word of pass {passes} is wrong"),
            other => bail!("it has ended: {other:?}"),
        }
        if passes % A_LINE == 0 {
            println!("pass {passes}");
        }
    }
}
