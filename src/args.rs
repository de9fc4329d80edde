// SPDX-License-Identifier: GPL-2.0
//! Extensible structures: the rules at the head of the UAPI header.

use crate::abi::{self, Argument, Plain};
use crate::refusal::eopnotsupp;
use crate::testing::sabotage;
use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice, UserSliceReader};

/// Longer structures than this are nonsense.
const LONGEST: usize = abi::PAGE_SIZE;

fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `Plain` has no padding.
    unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_of_mut<T: Plain>(value: &mut T) -> &mut [u8] {
    // SAFETY: `Plain` has no padding and takes any bytes.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::from_mut(value).cast(), size_of::<T>()) }
}

/// Reads a structure, and tells how many bytes the caller's has.
pub(crate) fn read<T: Argument>(address: usize) -> Result<(T, usize)> {
    let size = size_at(address, T::V0)?;
    // SAFETY: `Plain` takes any bytes.
    let mut value: T = unsafe { core::mem::zeroed() };
    let mut reader = UserSlice::new(UserPtr::from_addr(address), size).reader();
    let known = size.min(size_of::<T>());
    let bytes = bytes_of_mut(&mut value).get_mut(..known).ok_or(EINVAL)?;
    sabotage::may_copy()?;
    reader.read_slice(bytes)?;
    is_nothing(&mut reader)?;
    Ok((value, size))
}

/// Calls `f` with the structure at `argument`, and writes it back when that went well.
#[inline(never)]
pub(crate) fn with<T: Argument>(argument: usize, f: impl FnOnce(&mut T) -> Result) -> Result {
    let (mut value, size) = read::<T>(argument)?;
    f(&mut value)?;
    write(argument, &value, size)
}

/// Calls `change` with the structure at `argument` after it was written back with what `tell`
/// puts in, so that EFAULT says that nothing was done: for a change of which nothing is told
/// but what is known before.
pub(crate) fn with_told<T: Argument>(
    argument: usize,
    tell: impl FnOnce(&mut T),
    change: impl FnOnce(&T) -> Result,
) -> Result {
    let (mut value, size) = read::<T>(argument)?;
    let asked = value;
    tell(&mut value);
    write(argument, &value, size)?;
    change(&asked)
}

/// Refuses any flag, for calls that have none yet.
pub(crate) fn no_flags(flags: u32) -> Result {
    if flags == 0 {
        Ok(())
    } else {
        Err(eopnotsupp())
    }
}

/// Refuses arrays with more entries than the ABI allows.
pub(crate) fn check_entries(n: u64) -> Result {
    if n > u64::from(abi::MAX_ENTRIES) {
        return Err(EINVAL);
    }
    Ok(())
}

// These two do not depend on the structure, and are not repeated for each.

/// Reads the first member, its size, of a structure whose first version has `least` bytes.
#[inline(never)]
fn size_at(address: usize, least: usize) -> Result<usize> {
    let size = UserSlice::new(UserPtr::from_addr(address), 4)
        .reader()
        .read::<u32>()? as usize;
    match size {
        _ if size < least => Err(EINVAL),
        _ if size > LONGEST => Err(E2BIG),
        _ => Ok(size),
    }
}

/// Refuses members that this module does not know unless they are zero.
#[inline(never)]
fn is_nothing(reader: &mut UserSliceReader) -> Result {
    while !reader.is_empty() {
        if reader.read::<u8>()? != 0 {
            return Err(E2BIG);
        }
    }
    Ok(())
}

/// Writes a structure back, as much of it as the caller knows.
pub(crate) fn write<T: Argument>(address: usize, value: &T, size: usize) -> Result {
    let known = size.min(size_of::<T>());
    write_bytes(
        address,
        bytes_of(core::slice::from_ref(value))
            .get(..known)
            .ok_or(EINVAL)?,
    )?;
    sabotage::overrun(address.wrapping_add(size));
    Ok(())
}

/// An array in user memory, checked for overflow.
#[derive(Clone, Copy)]
pub(crate) struct UserArray {
    address: usize,
}

impl UserArray {
    pub(crate) fn new(address: u64) -> Result<Self> {
        Ok(Self {
            address: usize::try_from(address).map_err(|_| EFAULT)?,
        })
    }

    /// Reads the first `count` words.
    pub(crate) fn read(self, count: usize) -> Result<KVVec<u64>> {
        let mut words = KVVec::from_elem(0, count, GFP_KERNEL)?;
        let bytes = count.checked_mul(size_of::<u64>()).ok_or(EINVAL)?;
        let mut reader = UserSlice::new(UserPtr::from_addr(self.address), bytes).reader();
        for word in words.iter_mut() {
            *word = reader.read::<u64>()?;
        }
        Ok(words)
    }

    /// Writes `values` from element `first` on.
    pub(crate) fn write<T: Plain>(self, first: u64, values: &[T]) -> Result {
        self.write_as(first, values, size_of::<T>())
    }

    /// Writes `values` from element `first` on where elements have `size` bytes: those of a
    /// caller who knows only the first members.
    pub(crate) fn write_as<T: Plain>(self, first: u64, values: &[T], size: usize) -> Result {
        let mut offset = usize::try_from(first)
            .ok()
            .and_then(|n| n.checked_mul(size))
            .and_then(|offset| self.address.checked_add(offset))
            .ok_or(EFAULT)?;
        if size == size_of::<T>() {
            return write_bytes(offset, bytes_of(values));
        }
        for value in values {
            let bytes = bytes_of(core::slice::from_ref(value));
            write_bytes(offset, bytes.get(..size).ok_or(EFAULT)?)?;
            offset = offset.checked_add(size).ok_or(EFAULT)?;
        }
        Ok(())
    }
}

fn write_bytes(address: usize, bytes: &[u8]) -> Result {
    sabotage::copy_out(|| {
        UserSlice::new(UserPtr::from_addr(address), bytes.len())
            .writer()
            .write_slice(bytes)
    })
}
