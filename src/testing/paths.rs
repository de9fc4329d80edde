// SPDX-License-Identifier: GPL-2.0
//! Tells which way the translated requests of a function go (builds for tests).

use crate::host::pci::Function;
use kernel::prelude::*;

/// An ioctl whose argument is two addresses (segment << 16 | bus << 8 | devfn): from the one in the lower half to the other.
pub(super) const COMMAND: u32 = (crate::abi::IOC_TYPE << 8) | 0x3f;

fn at(address: usize) -> Result<Function> {
    Function::at((address >> 16) as u16, (address >> 8) as u8, address as u8).ok_or(ENODEV)
}

/// EXDEV: past the root complex.
#[inline(never)]
pub(super) fn command(argument: usize) -> Result {
    match at(argument)?.goes_direct(&at(argument >> 32)?) {
        true => Err(EXDEV),
        false => Ok(()),
    }
}
