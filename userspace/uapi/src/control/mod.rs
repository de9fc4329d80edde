// SPDX-License-Identifier: GPL-2.0
//! Calls to `/dev/pagemove`: one method for each ioctl.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use crate::abi::*;
use crate::{Call, Error};

mod apertures;
mod events;
mod experiments;
mod maps;
mod moves;
mod offers;
mod used;
mod windows;

pub use events::Heard;
pub use experiments::{ExperimentReport, ExperimentRequest};
pub use moves::{MoveReport, MoveRequest};
pub use offers::{OfferReport, Wants};

/// An open `/dev/pagemove`. Opening alone makes no region: that takes
/// [`Control::region_setup`] or an mmap of [`Control::file`].
#[derive(Debug)]
pub struct Control {
    file: File,
}

/// Makes an ioctl with a pointer argument.
///
/// # Safety
///
/// `argument` has to be what the kernel expects for `request`: memory that it
/// may write to, valid for the whole of the structure and of the buffers that
/// it points to. (Any value is fine for a call that the kernel refuses.)
pub unsafe fn raw_ioctl(
    fd: BorrowedFd<'_>,
    request: u32,
    argument: *mut libc::c_void,
) -> Result<(), i32> {
    // SAFETY: the caller vouches for the argument.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, argument) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO));
    }
    Ok(())
}

/// An open `/dev/pagemove`, by whomever it was opened.
impl From<File> for Control {
    fn from(file: File) -> Self {
        Self { file }
    }
}

impl Control {
    /// Opens `/dev/pagemove`.
    pub fn open() -> Result<Self, Error> {
        Self::open_at(DEVICE)
    }

    /// Opens a device file at another path.
    pub fn open_at(path: impl AsRef<Path>) -> Result<Self, Error> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Self { file }),
            Err(error) => Err(Error::new(
                Call::Open,
                error.raw_os_error().unwrap_or(libc::EINVAL),
            )),
        }
    }

    /// Returns the open file, to be mmapped for a region.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns what this module can do.
    pub fn info(&self) -> Result<Info, Error> {
        let mut info = Info {
            size: size_of::<Info>() as u32,
            ..Default::default()
        };
        // SAFETY: Info has no pointers.
        unsafe { self.call(Call::Info, IOC_INFO, &mut info) }?;
        Ok(info)
    }

    /// Gives this file a region of a fixed size, with pages of one node or, with
    /// none, of where the memory policy says. Returns the region's id.
    pub fn region_setup(&self, length: u64, node: Option<i32>) -> Result<u32, Error> {
        let mut setup = RegionSetup {
            size: size_of::<RegionSetup>() as u32,
            length,
            node: node.unwrap_or(-1),
            ..Default::default()
        };
        // SAFETY: RegionSetup has no pointers.
        unsafe { self.call(Call::RegionSetup, IOC_REGION_SETUP, &mut setup) }?;
        Ok(setup.id)
    }

    /// Returns every region there is.
    pub fn region_list(&self) -> Result<Vec<Region>, Error> {
        self.list(|entries: &mut [Region]| {
            let mut list = RegionList {
                size: size_of::<RegionList>() as u32,
                entries: entries.as_mut_ptr() as u64,
                capacity: entries.len() as u32,
                ..Default::default()
            };
            // SAFETY: entries has room for capacity elements and outlives the call.
            unsafe { self.call(Call::RegionList, IOC_REGION_LIST, &mut list) }?;
            Ok(list.count as usize)
        })
    }

    /// Returns every PCI function that is bound to pagemove's driver.
    pub fn device_list(&self) -> Result<Vec<Device>, Error> {
        self.list(|entries: &mut [Device]| {
            let mut list = DeviceList {
                size: size_of::<DeviceList>() as u32,
                entries: entries.as_mut_ptr() as u64,
                capacity: entries.len() as u32,
                ..Default::default()
            };
            // SAFETY: entries has room for capacity elements and outlives the call.
            unsafe { self.call(Call::DeviceList, IOC_DEVICE_LIST, &mut list) }?;
            Ok(list.count as usize)
        })
    }

    /// Returns where each page of a part of a region is. At most MAX_ENTRIES pages.
    pub fn region_query(&self, id: u32, offset: u64, length: u64) -> Result<Vec<Place>, Error> {
        let pages = length / PAGE_SIZE as u64;
        if length % PAGE_SIZE as u64 != 0 || pages > MAX_ENTRIES.into() {
            return Err(Error::new(Call::RegionQuery, libc::EINVAL));
        }
        let mut places = vec![Place::default(); pages as usize];
        let mut query = RegionQuery {
            size: size_of::<RegionQuery>() as u32,
            id,
            offset,
            length,
            entries: places.as_mut_ptr() as u64,
            ..Default::default()
        };
        // SAFETY: places has one element for each page and outlives the call.
        unsafe { self.call(Call::RegionQuery, IOC_REGION_QUERY, &mut query) }?;
        Ok(places)
    }

    /// Sums since the module was loaded.
    pub fn stats(&self) -> Result<Stats, Error> {
        // SAFETY: every bit pattern is a valid Stats.
        let mut stats: Stats = unsafe { std::mem::zeroed() };
        stats.size = size_of::<Stats>() as u32;
        // SAFETY: Stats has no pointers.
        unsafe { self.call(Call::Stats, IOC_STATS, &mut stats) }?;
        Ok(stats)
    }

    /// Returns every session: editor, helper and what they have learned.
    pub fn session_list(&self) -> Result<Vec<Session>, Error> {
        self.list(|entries: &mut [Session]| {
            let mut list = SessionList {
                size: size_of::<SessionList>() as u32,
                entries: entries.as_mut_ptr() as u64,
                capacity: entries.len() as u32,
                ..Default::default()
            };
            // SAFETY: entries has room for capacity elements and outlives the call.
            unsafe { self.call(Call::SessionList, IOC_SESSION_LIST, &mut list) }?;
            Ok(list.count as usize)
        })
    }

    /// Asks with room for more and more entries until all of them fit: there
    /// may be more of them from one call to the next.
    fn list<T: Copy + Default>(
        &self,
        mut ask: impl FnMut(&mut [T]) -> Result<usize, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut capacity = 64;
        loop {
            let mut entries = vec![T::default(); capacity];
            let count = ask(&mut entries)?;
            if count <= capacity || capacity == MAX_ENTRIES as usize {
                entries.truncate(count);
                return Ok(entries);
            }
            capacity = (count + count / 4).min(MAX_ENTRIES as usize);
        }
    }

    /// # Safety
    ///
    /// Buffers that `argument` points to have to be valid for what it says of
    /// their lengths.
    unsafe fn call<T: Argument>(
        &self,
        call: Call,
        request: u32,
        argument: &mut T,
    ) -> Result<(), Error> {
        // SAFETY: an Argument is as large as its size member says, and the
        // caller vouches for the buffers.
        unsafe { raw_ioctl(self.file.as_fd(), request, (&raw mut *argument).cast()) }
            .map_err(|errno| Error::new(call, errno))
    }
}
