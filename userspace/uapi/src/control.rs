// SPDX-License-Identifier: GPL-2.0
//! Calls to `/dev/pagemove`: one method for each ioctl.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use crate::abi::*;
use crate::{Call, Error, PciAddress};

/// An open `/dev/pagemove`. Opening alone makes no region: that takes
/// [`Control::region_setup`] or an mmap of [`Control::file`].
#[derive(Debug)]
pub struct Control {
    file: File,
}

/// What [`Control::move_pages`] is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveRequest {
    pub device: PciAddress,
    pub iova: u64,
    /// Bytes.
    pub length: u64,
    /// Destination NUMA node.
    pub node: i32,
    pub engine: u32,
    pub flags: u32,
    /// Further attempts at an aborted page.
    pub retries: u32,
    /// From the start of the call; 0: none.
    pub deadline_ns: u64,
}

/// What a move did. Exact whether or not the call failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveReport {
    pub pages_moved: u64,
    /// Pages with a result, from the first.
    pub pages_done: u64,
    /// Pages that were at the node before.
    pub pages_there: u64,
    pub engine_used: u32,
    pub aborts: [u64; ABORT_SLOTS],
    /// What ended the call early, if anything did.
    pub error: Option<Error>,
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

/// The structures of the ABI that are ioctl arguments.
///
/// # Safety
///
/// Implement only for `repr(C)` structures that begin with their size in bytes
/// and whose every bit pattern is valid: the kernel writes into them.
unsafe trait Argument: Sized {}
// SAFETY: plain integers and arrays of them, size first (checked against the
// header by tests/header.rs).
unsafe impl Argument for Info {}
// SAFETY: as above.
unsafe impl Argument for RegionSetup {}
// SAFETY: as above.
unsafe impl Argument for RegionList {}
// SAFETY: as above.
unsafe impl Argument for RegionQuery {}
// SAFETY: as above.
unsafe impl Argument for DeviceList {}
// SAFETY: as above.
unsafe impl Argument for Move {}
// SAFETY: as above.
unsafe impl Argument for Stats {}

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

    /// The open file, to be mmapped for a region.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What this module can do.
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

    /// Every region there is.
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

    /// Every PCI function that is bound to pagemove's driver.
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

    /// Where each page of a part of a region is. At most MAX_ENTRIES pages.
    pub fn region_query(&self, id: u32, offset: u64, length: u64) -> Result<Vec<Place>, Error> {
        let pages = length / PAGE_SIZE as u64;
        if !length.is_multiple_of(PAGE_SIZE as u64) || pages > MAX_ENTRIES.into() {
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

    /// Moves pages. With `results`, that vector is replaced by one result for
    /// each page of the request.
    pub fn move_pages(
        &self,
        request: &MoveRequest,
        results: Option<&mut Vec<PageResult>>,
    ) -> MoveReport {
        let pages = (request.length / PAGE_SIZE as u64).min(MAX_MOVE_PAGES as u64 + 1) as usize;
        let buffer = results.map_or(0, |results| {
            results.clear();
            results.resize(
                pages,
                PageResult {
                    abort: ABORT_NONE,
                    ..Default::default()
                },
            );
            results.as_mut_ptr() as u64
        });
        let mut call = move_argument(request, buffer);
        // SAFETY: the results have one element for each page of the request, or
        // more than the kernel accepts in one call, and outlive it.
        let result = unsafe { self.call(Call::Move, IOC_MOVE, &mut call) };
        MoveReport {
            pages_moved: call.pages_moved,
            pages_done: call.pages_done,
            pages_there: call.pages_there,
            engine_used: call.engine_used,
            aborts: call.aborts,
            error: result.err().map(|error| Error {
                reason: call.reason,
                ..error
            }),
        }
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

fn move_argument(request: &MoveRequest, results: u64) -> Move {
    Move {
        size: size_of::<Move>() as u32,
        flags: request.flags,
        segment: request.device.segment,
        bus: request.device.bus,
        devfn: request.device.devfn,
        engine: request.engine,
        iova: request.iova,
        length: request.length,
        node: request.node,
        retries: request.retries,
        deadline_ns: request.deadline_ns,
        results,
        ..Default::default()
    }
}
