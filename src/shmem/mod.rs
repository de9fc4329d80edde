// SPDX-License-Identifier: GPL-2.0
//! Pages of shmem that VFIO has pinned for a device: memfd, tmpfs, shared anonymous memory.
//!
//! Such a page is counted. While it moves it has exactly these references: the page cache's, ours,
//! the pin of VFIO's mapping, and the pin of the hold. Any other shows in the count: a second
//! mapping for devices in whatever container, a pin of RDMA or io_uring, a page in a pipe, I/O
//! under way. So nothing is looked for in tables, and START is freed by whoever puts the last one.
//! The only users that the count does not show are other domains of the same container and
//! emulated devices: `mover/others.rs`.
//!
//! | step | what | why |
//! | --- | --- | --- |
//! | take | a reference to page and inode | the file can't be evicted meanwhile |
//! | lock | its lock, tried only | faults, read(2), write(2), truncation and swap wait |
//! | unmap | out of every process's tables | no CPU writes it; GUP-fast finds nothing |
//! | freeze | the count becomes 0, if it is what it should be | `memfd_pin_folios()` (udmabuf) takes pages out of the cache without their lock: it, and everybody else who finds the page there, tries again and again |
//! | an attempt | as with any page | |
//! | swap | END, locked, takes START's place in the cache | START leaves it while it is frozen, so that there is no moment in which somebody gets the wrong one |
//! | unfreeze | the count is as before | |
//! | replace | charge, counters, LRU, the pin of VFIO's mapping | VFIO ends that pin by the frame that it finds in the IOMMU's table, which is END |
//! | unlock | those that waited go on | |
//!
//! Between freeze and unfreeze whoever finds the page spins, and some with preemption off: mincore(2) does
//! under a page-table lock, and threads of a VMM may be real-time ones. So the thread that has frozen
//! pages keeps its CPU and does not sleep, be it the caller's or a session's editor. The editor waits for its helper
//! at most 20 ms before an attempt and `patience_ms` within one. Devices with a TLB of their own (ATS)
//! may take long to answer, so pages of files do not move in their domains.

pub(crate) mod batch;
pub(crate) mod new;

use crate::host::{cpu, ffi, memory, task};
use crate::refusal::Refusal;
use crate::testing::sabotage::{self, Bug};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use engine::PhysAddr;

/// What is held of a page. Only the thread that has the batch changes it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Grip {
    /// Nothing but the references.
    Loose,
    /// Its lock.
    Locked,
    /// Its lock, and its count is frozen.
    Frozen,
    /// As [`Grip::Frozen`], in a build for tests that does not freeze.
    Pretended,
}

impl Grip {
    const ALL: [Self; 4] = [Self::Loose, Self::Locked, Self::Frozen, Self::Pretended];
}

/// A page of a file that one move owns, as long as the hold that has pinned it.
pub(crate) struct Folio {
    page: NonNull<ffi::page>,
    inode: *mut ffi::inode,
    /// Its place in the file, in pages.
    index: u64,
    grip: AtomicU8,
    /// Somebody uses it whom the count does not show.
    is_shared: AtomicBool,
}

// SAFETY: both pointers are counted references, usable from any thread; the rest are atomics.
unsafe impl Send for Folio {}
// SAFETY: as above; the functions of `shim/folio.c` are for any thread, too.
unsafe impl Sync for Folio {}

/// How often to try for a lock that somebody has for a moment, and how long to wait between, in ns.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE_NS: u64 = 100_000;

impl Folio {
    /// Takes the page at `phys`, which VFIO has pinned.
    pub(crate) fn take(phys: PhysAddr) -> Result<Self, Refusal> {
        let page = memory::frame(phys.0).ok_or(Refusal::NotShmem)?;
        for _ in 0..LOCK_TRIES {
            match Self::try_take(page) {
                Err(Refusal::InUse) => task::sleep(LOCK_PAUSE_NS),
                other => return other,
            }
        }
        Err(Refusal::InUse)
    }

    fn try_take(page: NonNull<ffi::page>) -> Result<Self, Refusal> {
        let mut inode = core::ptr::null_mut();
        let mut index = 0;
        // SAFETY: the hold has pinned the page, so that it is one of the allocator's and stays.
        let answer = unsafe { ffi::pagemove_folio_take(page.as_ptr(), &mut inode, &mut index) };
        refusal_of(answer)?;
        Ok(Self {
            page,
            inode,
            index: index as u64,
            grip: AtomicU8::new(Grip::Loose as u8),
            is_shared: AtomicBool::new(false),
        })
    }

    /// Returns its address.
    pub(crate) fn phys(&self) -> PhysAddr {
        // SAFETY: only translates; the page is ours to name.
        PhysAddr(unsafe { ffi::pagemove_page_phys(self.page.as_ptr()) })
    }

    /// Tells whether somebody has a reference to it that should not, perhaps for a moment only.
    pub(crate) fn has_more(&self) -> bool {
        // SAFETY: we have a reference.
        unsafe { ffi::pagemove_folio_has_more(self.page.as_ptr()) }
    }

    /// Notes that somebody uses it whom the count may not show: it is in use as long as this lives.
    pub(crate) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Lets go of everything but the page, which is never used again.
    pub(crate) fn keep_out(mut self) {
        self.put_inode();
        core::mem::forget(self);
    }

    fn put_inode(&mut self) {
        // SAFETY: the reference that `take` got, put once: here, by `keep_out` or by `drop`, which
        // `keep_out` prevents.
        unsafe { ffi::pagemove_folio_inode_put(self.inode) };
    }

    fn grip(&self) -> Grip {
        let raw = self.grip.load(Ordering::Relaxed);
        Grip::ALL
            .get(usize::from(raw))
            .copied()
            .unwrap_or(Grip::Loose)
    }

    fn set_grip(&self, grip: Grip) {
        self.grip.store(grip as u8, Ordering::Relaxed);
    }
}

impl Drop for Folio {
    fn drop(&mut self) {
        self.put_inode();
        // SAFETY: the reference that `take` got.
        unsafe { ffi::pagemove_folio_put(self.page.as_ptr()) };
    }
}

/// Returns the pins that the page at `phys` has at least, whoever has them; 0 where there is none.
pub(crate) fn pins_of(phys: PhysAddr) -> u32 {
    memory::frame(phys.0).map_or(0, |page| {
        // SAFETY: reads a number of a struct page, which stays whatever becomes of the page.
        unsafe { ffi::pagemove_folio_pins(page.as_ptr()) }
    })
}

/// Gives the page at `phys`, which the caller keeps, the pin of VFIO's mapping back that END has
/// since: VFIO will end that of START.
pub(crate) fn repin(phys: PhysAddr) {
    if let Some(page) = memory::frame(phys.0) {
        // SAFETY: the caller has a reference.
        unsafe { ffi::pagemove_folio_repin(page.as_ptr()) };
    }
}

/// Ends the references of CPUs' lists of pages on their way to the LRU: of all that anybody may use, and of
/// those that are `named`. That is a work item for each. Others have been set aside so that nobody disturbs
/// them.
pub(crate) fn drain(named: [Option<u32>; 2]) {
    let is_online = |cpu: &u32| cpu::is_online(*cpu);
    let named = named.into_iter().flatten().filter(is_online);
    for cpu in shared().chain(named) {
        // SAFETY: no lock is held; the CPU exists, and if it has gone since, another one has its work.
        unsafe { ffi::pagemove_folio_drain_on(cpu) };
    }
}

fn shared() -> impl Iterator<Item = u32> {
    let everywhere = sabotage::has_bug(Bug::DrainEverywhere);
    let all = everywhere.then(cpu::online).into_iter().flatten();
    all.chain(cpu::shared())
}

/// As `enum answer` of `shim/folio.c` has them.
fn refusal_of(answer: core::ffi::c_int) -> Result<(), Refusal> {
    Err(match answer {
        0 => return Ok(()),
        1 => Refusal::Anonymous,
        2 => Refusal::NotShmem,
        3 => Refusal::LargeFolio,
        4 => Refusal::SwapCache,
        5 => Refusal::Userfaultfd,
        6 => Refusal::InUse,
        7 => Refusal::Poisoned,
        _ => Refusal::OtherFrame,
    })
}
