// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
//! Prints the version of the module, and a line for each region.
//!
//!     cargo run --package pagemove-abi --example regions

use std::fs::OpenOptions;
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use pagemove_abi::{Info, Region, RegionList, DEVICE, IOC_INFO, IOC_REGION_LIST};

/// Regions that there is room for.
const MOST: usize = 64;

fn main() -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(DEVICE)?;
    let mut info = Info {
        size: size_of::<Info>() as u32,
        ..Info::default()
    };
    call(&file, IOC_INFO, &mut info)?;
    println!("ABI version {}", info.abi_version);

    let mut regions = [Region::default(); MOST];
    let mut list = RegionList {
        size: size_of::<RegionList>() as u32,
        entries: regions.as_mut_ptr() as u64,
        capacity: MOST as u32,
        ..RegionList::default()
    };
    call(&file, IOC_REGION_LIST, &mut list)?;
    for region in &regions[..MOST.min(list.count as usize)] {
        println!(
            "region {}: {} KiB, {} pages, process {}",
            region.id,
            region.length >> 10,
            region.pages,
            region.pid
        );
    }
    Ok(())
}

/// One of the calls, with its structure.
fn call<T>(file: &impl AsRawFd, number: u32, argument: &mut T) -> io::Result<()> {
    // SAFETY: the structure is the call's, and says its size; arrays that it points to have the room
    // that it says, and outlive the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), number.into(), &raw mut *argument) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
