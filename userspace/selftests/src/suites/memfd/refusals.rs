// SPDX-License-Identifier: GPL-2.0
//! Memory that can not be moved, each kind with its own reason.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{self as uapi, PAGE_REFUSED, PAGE_SIZE};

use super::{case, map, Desk, Memfd, IOVA};
use crate::bench::{self, describe, errno_of};
use crate::region::Mapping;
use pagemove_testkit::tap::Case;
use pagemove_testkit::vfio::{Container, Group, READ_ONLY, READ_WRITE};

const HUGE: usize = 2 << 20;

pub fn cases() -> Vec<Case<Desk>> {
    vec![
        case("anonymous memory: reason anonymous", anonymous),
        case(
            "a private copy of a page of a memfd: reason anonymous",
            private,
        ),
        case("a file of ramfs: reason not-shmem", ramfs),
        case(
            "a page of a huge one of tmpfs, in leaves of 4 KiB: reason large-folio",
            huge,
        ),
        case(
            "memory that a userfaultfd watches: reason userfaultfd, until it does not",
            watched,
        ),
        case(
            "a page that was punched out since: reason other-frame",
            punched,
        ),
        case(
            "a page of a memfd to an aperture, of a region, as an experiment: refused",
            elsewhere,
        ),
        case(
            "a container of VFIO's first version, where nothing can be pinned: reason type1-v1",
            first_version,
        ),
    ]
}

pub fn refuses(desk: &Desk, page: usize, expected: (i32, u32)) -> Result<()> {
    let (report, results) = desk.move_later(page, 1, desk.nodes.there);
    let reason = report.error.map_or(0, |error| error.reason);
    ensure!(
        (errno_of(&report), reason) == expected,
        "{} instead of {expected:?}",
        describe(&report)
    );
    ensure!(results[0].outcome == PAGE_REFUSED, "{:?}", results[0]);
    Ok(())
}

fn anonymous(desk: &Desk) -> Result<()> {
    let memory = Mapping::anonymous(4 * PAGE_SIZE)?;
    memory.fill(1);
    desk.with(&memory, || {
        refuses(desk, 1, (libc::EADDRNOTAVAIL, uapi::REASON_ANONYMOUS))?;
        memory.check(1)
    })
}

fn private(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(4, desk.nodes.here)?;
    let copy = Mapping::private(&memfd.file, 0, 4 * PAGE_SIZE)
        .map_err(std::io::Error::from_raw_os_error)?;
    copy.fill(2);
    desk.with(&copy, || {
        refuses(desk, 1, (libc::EADDRNOTAVAIL, uapi::REASON_ANONYMOUS))?;
        copy.check(2)
    })?;
    memfd.map.check(0)
}

fn ramfs(desk: &Desk) -> Result<()> {
    let mounted = Mounted::new("ramfs", "/ramfs-of-selftest", "")?;
    let memory = Memfd::of(mounted.file()?, 4)?;
    memory.map.fill(1);
    // Devices may not write it for long.
    desk.with_as(IOVA, &memory.map, READ_ONLY, || {
        refuses(desk, 1, (libc::EADDRNOTAVAIL, uapi::REASON_NOT_SHMEM))?;
        memory.map.check(1)
    })?;
    drop(memory);
    mounted.end()
}

fn huge(desk: &Desk) -> Result<()> {
    let mounted = Mounted::new("tmpfs", "/tmpfs-of-selftest", "huge=always")?;
    let file = mounted.file()?;
    file.set_len(2 * HUGE as u64)?;
    let map = Mapping::shared_aligned(&file, 2 * HUGE, HUGE)?;
    map.fill(1);
    // Where the IOMMU can't use a large leaf for it.
    let iova = IOVA + PAGE_SIZE as u64;
    desk.with_at(iova, &map, || {
        refuses(desk, 3, (libc::EOPNOTSUPP, uapi::REASON_LARGE_FOLIO))?;
        map.check_page(1, 2)
    })?;
    drop((map, file));
    mounted.end()
}

/// A userfaultfd on a mapping, for pages that are missing.
fn watch(map: &Mapping) -> Result<OwnedFd> {
    const API: libc::c_ulong = 0xc018_aa3f;
    const REGISTER: libc::c_ulong = 0xc020_aa00;
    const MISSING: u64 = 1;
    // SAFETY: the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
    ensure!(fd >= 0, "userfaultfd: {}", std::io::Error::last_os_error());
    // SAFETY: a descriptor that was just made for us.
    let watcher = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut api = [0xaau64, 0, 0];
    let mut register = [map.address() as u64, map.length() as u64, MISSING, 0];
    // SAFETY: the structures that these calls want.
    let done = unsafe {
        [
            libc::ioctl(fd as i32, API, api.as_mut_ptr()),
            libc::ioctl(fd as i32, REGISTER, register.as_mut_ptr()),
        ]
    };
    ensure!(
        done == [0, 0],
        "UFFDIO_REGISTER: {}",
        std::io::Error::last_os_error()
    );
    Ok(watcher)
}

fn watched(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(4, desk.nodes.here)?;
    desk.with(&memfd.map, || {
        let watcher = watch(&memfd.map)?;
        refuses(desk, 1, (libc::EOPNOTSUPP, uapi::REASON_USERFAULTFD))?;
        drop(watcher);
        desk.moves(0, 4, desk.nodes.there)
    })
}

fn punched(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(4, desk.nodes.here)?;
    desk.with(&memfd.map, || {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&memfd.file);
        // SAFETY: numbers only.
        let done = unsafe { libc::fallocate(fd, mode, PAGE_SIZE as i64, PAGE_SIZE as i64) };
        ensure!(done == 0, "fallocate: {}", std::io::Error::last_os_error());
        refuses(desk, 1, (libc::EADDRNOTAVAIL, uapi::REASON_OTHER_FRAME))?;
        desk.moves(0, 1, desk.nodes.there)?;
        desk.moves(2, 2, desk.nodes.there)
    })
}

fn elsewhere(desk: &Desk) -> Result<()> {
    let memfd = Memfd::new(4, desk.nodes.here)?;
    desk.with(&memfd.map, || {
        let mut request = crate::bench::request(desk.device, IOVA, 1, desk.nodes.there);
        request.flags = uapi::MOVE_SCRATCH;
        let report = desk.control.move_pages(&request, None);
        let reason = report.error.map_or(0, |error| error.reason);
        ensure!(reason == uapi::REASON_NOT_SCRATCH, "{}", describe(&report));
        memfd.map.check(0)
    })
}

/// A file system that is mounted while this lives.
pub struct Mounted {
    path: CString,
}

impl Mounted {
    pub fn new(kind: &str, path: &str, options: &str) -> Result<Self> {
        let _ = std::fs::create_dir(path);
        let (kind, path) = (CString::new(kind)?, CString::new(path)?);
        let options = CString::new(options)?;
        // SAFETY: C strings.
        let done = unsafe {
            libc::mount(
                kind.as_ptr(),
                path.as_ptr(),
                kind.as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        ensure!(done == 0, "mount: {}", std::io::Error::last_os_error());
        Ok(Self { path })
    }

    /// Makes a file there.
    fn file(&self) -> Result<File> {
        let path = format!("{}/memory", self.path.to_str()?);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        options.open(&path).context(path)
    }

    /// Unmounts it. What fails keeps it.
    pub fn end(self) -> Result<()> {
        // SAFETY: a C string.
        let done = unsafe { libc::umount(self.path.as_ptr()) };
        ensure!(done == 0, "umount: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

fn first_version(desk: &Desk) -> Result<()> {
    let device = desk.other()?;
    let container = Container::open()?;
    let group = Group::open(device)?;
    group.join(&container)?;
    container.set_iommu_v1()?;
    let _open = group.device(device)?;
    let memory = desk.memory(4)?;
    map(&container, IOVA, &memory, READ_WRITE)?;
    let request = bench::request(device, IOVA, 1, desk.nodes.there);
    let report = desk.control.move_pages(&request, None);
    let reason = report.error.map_or(0, |error| error.reason);
    ensure!(
        (errno_of(&report), reason) == (libc::EOPNOTSUPP, uapi::REASON_TYPE1_V1),
        "{}",
        describe(&report)
    );
    memory.check(0)
}
