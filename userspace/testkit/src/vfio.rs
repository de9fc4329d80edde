// SPDX-License-Identifier: GPL-2.0
//! VFIO type 1, call by call: the tests close, unmap and map in orders that a
//! library would not let them.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{PciAddress, PAGE_SIZE};
use vfio_bindings::bindings::vfio as sys;

use crate::pci;

const IOCTL: u32 = (sys::VFIO_TYPE as u32) << 8 | sys::VFIO_BASE;
const GET_API_VERSION: u32 = IOCTL;
const CHECK_EXTENSION: u32 = IOCTL + 1;
const SET_IOMMU: u32 = IOCTL + 2;
const GROUP_GET_STATUS: u32 = IOCTL + 3;
const GROUP_SET_CONTAINER: u32 = IOCTL + 4;
const GROUP_GET_DEVICE_FD: u32 = IOCTL + 6;
const DEVICE_GET_REGION_INFO: u32 = IOCTL + 8;
const DEVICE_FEATURE: u32 = IOCTL + 17;
const IOMMU_MAP_DMA: u32 = IOCTL + 13;
const IOMMU_UNMAP_DMA: u32 = IOCTL + 14;
const IOMMU_DIRTY_PAGES: u32 = IOCTL + 17;

/// Reads and writes, as guest memory is mapped.
pub const READ_WRITE: u32 = sys::VFIO_DMA_MAP_FLAG_READ | sys::VFIO_DMA_MAP_FLAG_WRITE;
pub const READ_ONLY: u32 = sys::VFIO_DMA_MAP_FLAG_READ;

/// `struct vfio_iommu_type1_dirty_bitmap` with what follows it.
#[repr(C)]
struct DirtyPages {
    argsz: u32,
    flags: u32,
    get: sys::vfio_iommu_type1_dirty_bitmap_get,
}

impl DirtyPages {
    fn new(flags: u32) -> Self {
        Self {
            argsz: size_of::<Self>() as u32,
            flags,
            get: Default::default(),
        }
    }
}

/// # Safety
///
/// `argument` is what VFIO wants for this request.
unsafe fn ioctl<T>(file: &File, request: u32, argument: *const T) -> Result<i32, i32> {
    // SAFETY: the caller vouches for the argument.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, argument) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO));
    }
    Ok(result)
}

fn checked<T>(what: &str, result: Result<T, i32>) -> Result<T> {
    result
        .map_err(std::io::Error::from_raw_os_error)
        .with_context(|| what.to_string())
}

fn open(path: &str) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {path}"))
}

/// Mappings for DMA, shared by the groups that join it.
pub struct Container {
    file: File,
}

/// The devices that an IOMMU can not tell apart; here one.
pub struct Group {
    file: File,
}

/// An open device. Its registers and its configuration space are parts of its file.
pub struct Device {
    file: File,
}

/// As it was handed over by who has opened it.
impl From<File> for Container {
    fn from(file: File) -> Self {
        Self { file }
    }
}

impl Container {
    pub fn open() -> Result<Self> {
        let file = open("/dev/vfio/vfio")?;
        // SAFETY: these two have no pointer argument.
        let (version, has_type1) = unsafe {
            (
                checked(
                    "VFIO_GET_API_VERSION",
                    ioctl(&file, GET_API_VERSION, std::ptr::null::<u8>()),
                )?,
                checked(
                    "VFIO_CHECK_EXTENSION",
                    ioctl(&file, CHECK_EXTENSION, sys::VFIO_TYPE1v2_IOMMU as *const u8),
                )?,
            )
        };
        ensure!(
            version == 0 && has_type1 == 1,
            "VFIO version {version}, type 1 v2: {has_type1}"
        );
        Ok(Self { file })
    }

    /// Turns translation on: after the first group has joined.
    pub fn set_iommu(&self) -> Result<()> {
        self.set_iommu_of(sys::VFIO_TYPE1v2_IOMMU)
    }

    /// The same of VFIO's first version.
    pub fn set_iommu_v1(&self) -> Result<()> {
        self.set_iommu_of(sys::VFIO_TYPE1_IOMMU)
    }

    fn set_iommu_of(&self, kind: u32) -> Result<()> {
        // SAFETY: the argument is a number.
        let result = unsafe { ioctl(&self.file, SET_IOMMU, kind as *const u8) };
        checked("VFIO_SET_IOMMU", result).map(drop)
    }

    /// Maps memory of this process for DMA. The error is VFIO's errno.
    pub fn map(&self, iova: u64, address: *mut u8, length: usize, flags: u32) -> Result<(), i32> {
        self.map_address(iova, address as u64, length as u64, flags)
    }

    /// Maps what is at an address now, whatever that is. The error is VFIO's errno.
    pub fn map_address(&self, iova: u64, address: u64, length: u64, flags: u32) -> Result<(), i32> {
        let map = sys::vfio_iommu_type1_dma_map {
            argsz: size_of::<sys::vfio_iommu_type1_dma_map>() as u32,
            flags,
            vaddr: address,
            iova,
            size: length,
        };
        // SAFETY: the structure VFIO wants; no device writes the memory unless it
        // is told to, and the memory is only accessed with volatile accesses.
        unsafe { ioctl(&self.file, IOMMU_MAP_DMA, &raw const map) }.map(drop)
    }

    /// Unmaps, and returns how many bytes were mapped.
    pub fn unmap(&self, iova: u64, length: usize) -> Result<u64, i32> {
        self.unmap_with(iova, length as u64, 0)
    }

    /// Unmaps with flags, and returns how many bytes were mapped.
    pub fn unmap_with(&self, iova: u64, length: u64, flags: u32) -> Result<u64, i32> {
        let mut unmap = sys::vfio_iommu_type1_dma_unmap {
            argsz: size_of::<sys::vfio_iommu_type1_dma_unmap>() as u32,
            flags,
            iova,
            size: length,
            ..Default::default()
        };
        // SAFETY: the structure VFIO wants, without a bitmap after it.
        unsafe { ioctl(&self.file, IOMMU_UNMAP_DMA, &raw mut unmap) }?;
        Ok(unmap.size)
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Begins or ends VFIO's tracking of pages that devices write to.
    pub fn track_dirty(&self, on: bool) -> Result<()> {
        let flags = match on {
            true => sys::VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
            false => sys::VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
        };
        let call = DirtyPages::new(flags);
        // SAFETY: the structure VFIO wants.
        let result = unsafe { ioctl(&self.file, IOMMU_DIRTY_PAGES, &raw const call) };
        checked("VFIO_IOMMU_DIRTY_PAGES", result).map(drop)
    }

    /// Returns which pages of a mapping are dirty for VFIO. There are 64 at most.
    pub fn dirty(&self, iova: u64, pages: usize) -> Result<Vec<usize>> {
        let mut bits = 0u64;
        let mut call = DirtyPages::new(sys::VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP);
        call.get.iova = iova;
        call.get.size = (pages * PAGE_SIZE) as u64;
        call.get.bitmap.pgsize = PAGE_SIZE as u64;
        call.get.bitmap.size = size_of_val(&bits) as u64;
        call.get.bitmap.data = (&raw mut bits).cast();
        // SAFETY: the structure VFIO wants, with room for so many pages.
        let result = unsafe { ioctl(&self.file, IOMMU_DIRTY_PAGES, &raw const call) };
        checked("VFIO_IOMMU_DIRTY_PAGES", result)?;
        Ok((0..pages).filter(|page| bits >> page & 1 != 0).collect())
    }
}

impl Group {
    /// Opens the group of a device that is bound to a VFIO driver.
    pub fn open(address: PciAddress) -> Result<Self> {
        let number =
            pci::group(address).with_context(|| format!("{address} has no IOMMU group"))?;
        let file = open(&format!("/dev/vfio/{number}"))?;
        let mut status = sys::vfio_group_status {
            argsz: size_of::<sys::vfio_group_status>() as u32,
            flags: 0,
        };
        // SAFETY: the structure VFIO wants.
        checked("VFIO_GROUP_GET_STATUS", unsafe {
            ioctl(&file, GROUP_GET_STATUS, &raw mut status)
        })?;
        ensure!(
            status.flags & sys::VFIO_GROUP_FLAGS_VIABLE != 0,
            "group {number} is not viable"
        );
        Ok(Self { file })
    }

    pub fn join(&self, container: &Container) -> Result<()> {
        let fd = container.file.as_raw_fd();
        // SAFETY: a pointer to a file descriptor, as VFIO wants.
        checked("VFIO_GROUP_SET_CONTAINER", unsafe {
            ioctl(&self.file, GROUP_SET_CONTAINER, &raw const fd)
        })
        .map(drop)
    }

    pub fn device(&self, address: PciAddress) -> Result<Device> {
        let name = std::ffi::CString::new(address.to_string())?;
        // SAFETY: a C string, as VFIO wants.
        let fd = checked("VFIO_GROUP_GET_DEVICE_FD", unsafe {
            ioctl(&self.file, GROUP_GET_DEVICE_FD, name.as_ptr())
        })?;
        Ok(Device {
            // SAFETY: a descriptor that VFIO just made for us.
            file: unsafe { File::from_raw_fd(fd) },
        })
    }
}

impl Device {
    /// Returns where a part of the device is in its file, and how long it is.
    pub fn region(&self, index: u32) -> Result<(u64, u64), i32> {
        let mut info = sys::vfio_region_info {
            argsz: size_of::<sys::vfio_region_info>() as u32,
            index,
            ..Default::default()
        };
        // SAFETY: the structure VFIO wants.
        unsafe { ioctl(&self.file, DEVICE_GET_REGION_INFO, &raw mut info) }?;
        Ok((info.offset, info.size))
    }

    /// Asks whether the device has a feature of VFIO's, to be got or to be set.
    pub fn has_feature(&self, number: u32, to: Feature) -> Result<(), i32> {
        let what = match to {
            Feature::Get => sys::VFIO_DEVICE_FEATURE_GET,
            Feature::Set => sys::VFIO_DEVICE_FEATURE_SET,
        };
        let argument = [
            2 * size_of::<u32>() as u32,
            number | what | sys::VFIO_DEVICE_FEATURE_PROBE,
        ];
        // SAFETY: size and flags are all that VFIO wants for a probe.
        unsafe { ioctl(&self.file, DEVICE_FEATURE, &raw const argument) }.map(drop)
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

/// What one does with a feature of a device.
#[derive(Clone, Copy, Debug)]
pub enum Feature {
    Get,
    Set,
}

/// A device in a container of its own. Fields are closed in this order.
pub struct Assigned {
    pub device: Device,
    pub group: Group,
    pub container: Container,
}

impl Assigned {
    pub fn open(address: PciAddress) -> Result<Self> {
        let container = Container::open()?;
        let group = Group::open(address)?;
        group.join(&container)?;
        container.set_iommu()?;
        let device = group.device(address)?;
        Ok(Self {
            device,
            group,
            container,
        })
    }
}
