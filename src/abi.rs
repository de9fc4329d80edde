// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
//! Rust mirror of `include/uapi/linux/pagemove.h`, the definition of the ABI.
//!
//! One file for both sides: the module includes it, and so does the crate
//! `pagemove-abi` for user space, under the terms of the header. Names are those of the header without the
//! prefix `PAGEMOVE_`; what a member means is written there. A test compiles
//! the header and compares every constant, size and offset with this file.

use memoffset::offset_of;
use static_assertions::const_assert_eq;

pub const DEVICE: &str = "/dev/pagemove";
pub const DRIVER: &str = "pagemove_vfio";

pub const ABI_VERSION: u32 = 1;
pub const IOC_TYPE: u32 = 0xBB;
pub const IOC_INFO: u32 = IOC_TYPE << 8;
pub const IOC_REGION_SETUP: u32 = (IOC_TYPE << 8) | 0x01;
pub const IOC_REGION_LIST: u32 = (IOC_TYPE << 8) | 0x02;
pub const IOC_REGION_QUERY: u32 = (IOC_TYPE << 8) | 0x03;
pub const IOC_DEVICE_LIST: u32 = (IOC_TYPE << 8) | 0x04;
pub const IOC_MOVE: u32 = (IOC_TYPE << 8) | 0x05;
pub const IOC_STATS: u32 = (IOC_TYPE << 8) | 0x06;
pub const IOC_SESSION_LIST: u32 = (IOC_TYPE << 8) | 0x07;
pub const IOC_EXPERIMENT: u32 = (IOC_TYPE << 8) | 0x08;
pub const IOC_VERDICT_SET: u32 = (IOC_TYPE << 8) | 0x09;
pub const IOC_VERDICT_LIST: u32 = (IOC_TYPE << 8) | 0x0a;
pub const IOC_APERTURE_LIST: u32 = (IOC_TYPE << 8) | 0x0b;
pub const IOC_OFFER: u32 = (IOC_TYPE << 8) | 0x0c;
pub const IOC_ARRIVE: u32 = (IOC_TYPE << 8) | 0x0d;
pub const IOC_RETRACT: u32 = (IOC_TYPE << 8) | 0x0e;
pub const IOC_WANTED: u32 = (IOC_TYPE << 8) | 0x0f;
pub const IOC_WINDOW_LIST: u32 = (IOC_TYPE << 8) | 0x10;
pub const IOC_WINDOW_SET: u32 = (IOC_TYPE << 8) | 0x11;
pub const IOC_USED: u32 = (IOC_TYPE << 8) | 0x12;
pub const IOC_MAPS: u32 = (IOC_TYPE << 8) | 0x13;
pub const IOC_LIFT: u32 = (IOC_TYPE << 8) | 0x14;
pub const IOC_EVENTS: u32 = (IOC_TYPE << 8) | 0x15;
pub const PAGE_SIZE: usize = 4096;
pub const MAX_REGION_BYTES: u64 = 64 << 30;
pub const MAX_MOVE_PAGES: u32 = 262144;
pub const MAX_ENTRIES: u32 = 262144;
pub const MAX_RETRIES: u32 = 10000;
/// the best that works here
pub const ENGINE_AUTO: u32 = 0;
/// accessed/dirty bits and compare-and-swap
pub const ENGINE_ADBIT: u32 = 1;
/// a hardware transaction
pub const ENGINE_RTM: u32 = 2;
pub const FORMAT_UNKNOWN: u32 = 0;
/// VT-d first stage, AMD v2
pub const FORMAT_X86_64: u32 = 1;
/// VT-d second stage
pub const FORMAT_VTDSS: u32 = 2;
/// AMD v1
pub const FORMAT_AMDV1: u32 = 3;
pub const REASON_NONE: u32 = 0;
/// the format has no A/D bits that the IOMMU sets here: VT-d needs scalable mode with first-stage tables
pub const REASON_FORMAT: u32 = 1;
/// an IOMMU whose A/D updates pagemove does not know
pub const REASON_IOMMU: u32 = 2;
/// the IOMMU's walker does not snoop CPU caches: an A/D update would be a non-recoverable fault (emulators only: load with allow_incoherent=1)
pub const REASON_INCOHERENT: u32 = 3;
/// a leaf larger than 4096 bytes: map it in smaller pieces, or load vfio_iommu_type1 with disable_hugepages=1
pub const REASON_LARGE_LEAF: u32 = 4;
/// a device that pagemove_vfio does not drive is in the same domain or maps the same page
pub const REASON_SHARED_DOMAIN: u32 = 5;
/// verification found a lost write in this domain before, or in three of this IOMMU: see PAGEMOVE_IOC_LIFT
pub const REASON_DISABLED: u32 = 6;
/// the IOVA is not mapped
pub const REASON_NOT_MAPPED: u32 = 7;
/// the IOVA maps memory that is not a page of a region, which an aperture, an offer and an experiment need
pub const REASON_NOT_REGION: u32 = 8;
/// the region of this page was closed
pub const REASON_CLOSED_REGION: u32 = 9;
/// another call is moving this page
pub const REASON_BUSY: u32 = 10;
/// the mapping or the device is going away
pub const REASON_UNMAPPING: u32 = 11;
/// the deadline passed
pub const REASON_DEADLINE: u32 = 12;
/// a signal arrived
pub const REASON_SIGNAL: u32 = 13;
/// no free page at the destination node
pub const REASON_NO_MEMORY: u32 = 14;
/// verification found a lost write in this call
pub const REASON_LOST_WRITE: u32 = 15;
/// the destination node is unknown, offline or has no memory
pub const REASON_NODE: u32 = 16;
/// the VMM's mapping of the page is gone, so VFIO can not hold it
pub const REASON_NO_VADDR: u32 = 17;
/// the device is not behind an IOMMU
pub const REASON_NO_DOMAIN: u32 = 18;
/// the domain maps the page at a second IOVA
pub const REASON_ALIASED: u32 = 19;
/// no verdict allows the engine on this machine and IOMMU, or one allows it only with verification: run pagemove qualify, or load with allow_unqualified=1
pub const REASON_UNQUALIFIED: u32 = 20;
/// the CPU has no RTM, or every transaction aborts: needs an Intel CPU with RTM and tsx=on
pub const REASON_NO_RTM: u32 = 21;
/// the TSC is not invariant, or the kernel found it unstable
pub const REASON_TSC: u32 = 22;
/// editor and helper need two different CPUs that are online
pub const REASON_CPUS: u32 = 23;
/// table addresses carry an encryption bit (SME) that pagemove does not handle: boot with mem_encrypt=off
pub const REASON_ENCRYPTED: u32 = 24;
/// a helper still waits for a device that did not answer an invalidation
pub const REASON_STUCK: u32 = 25;
/// the page is not one of the caller's own region, which an experiment needs
pub const REASON_NOT_SCRATCH: u32 = 26;
/// there is no aperture with this number, or it is being unbound: see PAGEMOVE_IOC_APERTURE_LIST
pub const REASON_NO_APERTURE: u32 = 27;
/// the offset is not that of a page in the aperture
pub const REASON_NO_SLOT: u32 = 28;
/// another page is at this offset of the aperture
pub const REASON_SLOT_TAKEN: u32 = 29;
/// VFIO mapped the page when it was in an aperture already, so nothing holds the mapping
pub const REASON_NO_PIN: u32 = 30;
/// the page is offered to a peer, which may write it: see PAGEMOVE_IOC_OFFER
pub const REASON_OFFERED: u32 = 31;
/// the page lives in an aperture, so that its memory is not this host's to offer
pub const REASON_ELSEWHERE: u32 = 32;
/// the IOVA maps another page than the call says
pub const REASON_OTHER_PAGE: u32 = 33;
/// there is no window with this number, or it shows nothing: see PAGEMOVE_IOC_WINDOW_SET
pub const REASON_NO_WINDOW: u32 = 34;
/// the page exists in memory that the window does not show: offer pages that nobody has touched
pub const REASON_NOT_IN_WINDOW: u32 = 35;
/// the memory is anonymous, or a private copy: it has no place from which it could be exchanged
pub const REASON_ANONYMOUS: u32 = 36;
/// memory of a file system or driver that pages can not be exchanged in: only memfd, tmpfs, shared anonymous memory and regions
pub const REASON_NOT_SHMEM: u32 = 37;
/// the page is part of a larger one (THP, hugetlb): only pages of 4096 bytes
pub const REASON_LARGE_FOLIO: u32 = 38;
/// the page is on its way to or from swap
pub const REASON_SWAP_CACHE: u32 = 39;
/// a userfaultfd watches a mapping of the page
pub const REASON_USERFAULTFD: u32 = 40;
/// something else uses the page: a second mapping for devices, a pin, a pipe, I/O under way
pub const REASON_IN_USE: u32 = 41;
/// the page has an uncorrectable memory error
pub const REASON_POISONED: u32 = 42;
/// the device maps another frame than the VMM's memory has there now: it was punched, truncated or mapped anew since
pub const REASON_OTHER_FRAME: u32 = 43;
/// a device of the domain has a TLB of its own (ATS), where only pages of regions move
pub const REASON_ATS: u32 = 44;
/// the container has VFIO_TYPE1_IOMMU set, by which nothing can be pinned: only VFIO_TYPE1v2_IOMMU
pub const REASON_TYPE1_V1: u32 = 45;
/// a device of the domain has a TLB of its own (ATS) and sleeps (D1 to D3cold), so that it can not be asked to forget a page: ask again when it is awake
pub const REASON_ASLEEP: u32 = 46;
/// no leaf of 2 MiB maps the address that could be split
pub const REASON_NOT_LARGE: u32 = 47;
/// a device with a TLB of its own (ATS) reaches the aperture through a switch, past the root complex, where no invalidation waits for its writes
pub const REASON_DIRECT: u32 = 48;
/// a device of the domain may ask for DMA that passes by the CPUs' caches (No Snoop), which the IOMMU does not prevent
pub const REASON_NO_SNOOP: u32 = 49;
/// a device read the page: A was set
pub const ABORT_ACCESSED: u8 = 0;
/// a device wrote the page: D was set
pub const ABORT_DIRTY: u8 = 1;
/// something else in the PTE changed
pub const ABORT_PTE_CHANGED: u8 = 2;
/// the new PTE was overwritten by a racing A/D update; START is intact
pub const ABORT_OVERWRITTEN: u8 = 3;
/// the deadline passed before the commit
pub const ABORT_DEADLINE: u8 = 4;
/// signal, unmap or close before the commit
pub const ABORT_CANCELLED: u8 = 5;
/// the invalidation did not complete
pub const ABORT_INVALIDATE: u8 = 6;
/// rtm: the entry was in the write set after signal 1
pub const ABORT_LATE: u8 = 7;
/// rtm: the helper was not done in time for any slot
pub const ABORT_TIMEOUT: u8 = 8;
/// rtm: a device or CPU touched a cache line of the transaction
pub const ABORT_CONFLICT: u8 = 9;
/// rtm: the transaction did not fit into the cache
pub const ABORT_CAPACITY: u8 = 10;
/// rtm: an interrupt, or another abort without a status
pub const ABORT_INTERRUPT: u8 = 11;
/// rtm: an XABORT that is not pagemove's
pub const ABORT_EXPLICIT: u8 = 12;
/// a device with a TLB of its own is gone or did not answer
pub const ABORT_DEVICE_GONE: u8 = 13;
/// the destination could not be reached through its aperture, or a memory error was found in the page
pub const ABORT_APERTURE: u8 = 14;
/// something else used the page (PAGEMOVE_REASON_IN_USE), or its lock was taken
pub const ABORT_IN_USE: u8 = 15;
pub const ABORT_NR: usize = 16;
/// places in aborts[]; a cause to come shares the last, or has an array of its own
pub const ABORT_SLOTS: usize = 16;
pub const PAGE_NOT_TRIED: u8 = 0;
pub const PAGE_MOVED: u8 = 1;
/// START is intact; abort says why the last attempt failed
pub const PAGE_ABORTED: u8 = 2;
/// it can not be moved: see reason
pub const PAGE_REFUSED: u8 = 3;
/// verification found a write that was lost
pub const PAGE_LOST_WRITE: u8 = 4;
/// it was at the destination node before
pub const PAGE_ALREADY_THERE: u8 = 5;
/// leave out the verification after the commit
pub const MOVE_NO_VERIFY: u32 = 1 << 0;
/// move within the node, too
pub const MOVE_EVEN_IF_THERE: u32 = 1 << 1;
/// an experiment with pages of this file's own region: needs no verdict, and a lost write disables nothing
pub const MOVE_SCRATCH: u32 = 1 << 2;
/// rtm: abort at once when START is written, where the CPU notices
pub const MOVE_WATCH: u32 = 1 << 3;
/// rtm: clear A first, for machines that notice a walk only when it sets A
pub const MOVE_CLEAR_ACCESSED: u32 = 1 << 4;
/// Split no leaf of 2 MiB: they move whole or not at all.
pub const MOVE_KEEP_LEAVES: u32 = 1 << 5;
/// Move none whole: page by page.
pub const MOVE_PIECES: u32 = 1 << 6;
pub const INFO_SIZE_V0: usize = 56;
/// pages behind an IOMMU whose walker does not snoop are moved: emulators only
pub const PARAMETER_ALLOW_INCOHERENT: u32 = 1 << 0;
/// engines are used that no verdict allows
pub const PARAMETER_ALLOW_UNQUALIFIED: u32 = 1 << 1;
pub const PARAMETER_REGION_CHUNKS: u32 = 1 << 2;
pub const REGION_SETUP_SIZE_V0: usize = 24;
/// its file is closed; pages wait until VFIO lets go
pub const REGION_CLOSED: u32 = 1 << 0;
pub const REGION_LIST_SIZE_V0: usize = 24;
/// not allocated yet
pub const PLACE_NONE: u32 = 0;
/// number: NUMA node
pub const PLACE_NODE: u32 = 1;
/// number: aperture
pub const PLACE_APERTURE: u32 = 2;
pub const REGION_QUERY_SIZE_V0: usize = 40;
/// a VMM has it open
pub const DEVICE_OPEN: u32 = 1 << 0;
/// the IOMMU's walker does not snoop
pub const DEVICE_INCOHERENT: u32 = 1 << 1;
/// it has a TLB of its own, and ATS is enabled
pub const DEVICE_ATS: u32 = 1 << 2;
/// a device in its domain has
pub const DEVICE_ATS_DOMAIN: u32 = 1 << 3;
/// pages were pinned by it: VFIO takes no others for dirty by its group
pub const DEVICE_DIRTY_SCOPE: u32 = 1 << 4;
pub const DEVICE_LIST_SIZE_V0: usize = 24;
pub const PAGE_RESULT_SIZE_V0: usize = 8;
pub const MOVE_SIZE_V0: usize = 216;
pub const WINDOW_BUCKETS: usize = 96;
pub const STATS_SIZE_V0: usize = 1008;
/// a move uses it
pub const SESSION_BUSY: u32 = 1 << 0;
/// the helper waits for a device that does not answer
pub const SESSION_STUCK: u32 = 1 << 1;
pub const SESSION_LIST_SIZE_V0: usize = 24;
/// read A and D of the entry: found is PAGEMOVE_USED_*
pub const EXPERIMENT_USED: u32 = 1;
/// clear A and D, invalidate; found: what they were
pub const EXPERIMENT_CLEAR: u32 = 2;
/// set A and D, invalidate; found: what they were
pub const EXPERIMENT_SET: u32 = 3;
/// for ns: a transaction that has read all lines of the page; found: abort status, lost: 1 if it was aborted before its end
pub const EXPERIMENT_WATCH: u32 = 4;
/// for ns: swap an ignored bit of the entry to and fro, A and D being cleared now and then; found: swaps, lost: swaps that were overwritten
pub const EXPERIMENT_RACE: u32 = 5;
/// for ns at most: swap the entry between its page and the one behind it until A or D shows, and put it back; found: PAGEMOVE_FRAME_* or 0, lost: swaps that were overwritten
pub const EXPERIMENT_FRAMES: u32 = 6;
/// for ns at most: wait until the first word of an eighth of the page changes; updates: 1 if one did, found: PAGEMOVE_USED_* of the entry in the next instruction; lost: 1 if it may have changed 5 us before, so that nothing was found
pub const EXPERIMENT_LANDS: u32 = 7;
/// split the leaf of 2 MiB at iova, whoever has the memory, and leave it so; found: 1; lost: 1 if the IOMMU brought the leaf back
pub const EXPERIMENT_SPLIT: u32 = 8;
/// for ns at most: split it and merge it again, over and over; found: splits, updates: merges (one less: it is split now), lost: how often the IOMMU brought an old entry back
pub const EXPERIMENT_SIZES: u32 = 9;
/// A or D showed while the entry had its own page
pub const FRAME_FIRST: u64 = 1;
/// ... while it had the page behind it
pub const FRAME_SECOND: u64 = 2;
pub const USED_ACCESSED: u64 = 1 << 0;
pub const USED_DIRTY: u64 = 1 << 1;
pub const MAX_EXPERIMENT_NS: u64 = 100_000_000;
/// PAGEMOVE_EXPERIMENT_WATCH has interrupts off, so it is shorter.
pub const MAX_WATCH_NS: u64 = 1_000_000;
pub const EXPERIMENT_SIZE_V0: usize = 56;
/// a walk of a written PTE aborts the transaction
pub const FINDING_WALK_SEEN: u32 = 1 << 0;
/// it does when it sets A: A is cleared first
pub const FINDING_A_SEEN: u32 = 1 << 1;
/// a DMA write to a watched line does
pub const FINDING_WATCH_SEEN: u32 = 1 << 2;
/// no A/D update that raced a swap has overwritten it
pub const FINDING_AD_CAS: u32 = 1 << 3;
/// a write through a clean IOTLB entry walks again
pub const FINDING_CLEAN_WALKS: u32 = 1 << 4;
/// valid-to-valid changes under load lost nothing
pub const FINDING_VALID_CHANGE: u32 = 1 << 5;
/// the IOMMU sets A and D
pub const FINDING_AD_SET: u32 = 1 << 6;
/// ... before the access lands
pub const FINDING_AD_FIRST: u32 = 1 << 8;
/// leaves of 2 MiB in use were split, and nothing was lost
pub const FINDING_SPLIT_LIVE: u32 = 1 << 9;
/// ... and merged again
pub const FINDING_MERGE_LIVE: u32 = 1 << 10;
/// a transaction committed over a walk of the written PTE
pub const FINDING_NO_WALK_SEEN: u32 = 1 << 16;
/// the same where A was cleared first
pub const FINDING_NO_A_SEEN: u32 = 1 << 17;
/// DMA writes to watched lines abort nothing
pub const FINDING_NO_WATCH_SEEN: u32 = 1 << 18;
/// an A/D update has overwritten a swap
pub const FINDING_NO_AD_CAS: u32 = 1 << 19;
/// a write through a clean IOTLB entry did not walk again
pub const FINDING_NO_CLEAN_WALKS: u32 = 1 << 20;
/// a move by adbit under load has lost something
pub const FINDING_NO_MOVES_ADBIT: u32 = 1 << 21;
/// the IOMMU does not set A and D each time
pub const FINDING_NO_AD_SET: u32 = 1 << 22;
/// a move by rtm under load has lost something
pub const FINDING_NO_MOVES_RTM: u32 = 1 << 23;
/// a write has landed before A and D were set
pub const FINDING_NO_AD_FIRST: u32 = 1 << 24;
/// beside splits under load something was lost, or an old entry came back
pub const FINDING_NO_SPLIT_LIVE: u32 = 1 << 25;
/// the same beside merges
pub const FINDING_NO_MERGE_LIVE: u32 = 1 << 26;
/// of devices that have a TLB of their own, with ATS enabled
pub const VERDICT_ATS: u32 = 1 << 0;
pub const VERDICT_SET_SIZE_V0: usize = 56;
pub const MAX_VERDICTS: usize = 64;
pub const VERDICT_LIST_SIZE_V0: usize = 24;
pub const APERTURE_LIST_SIZE_V0: usize = 24;
/// a peer may write it: PAGEMOVE_IOC_OFFER
pub const DETAIL_OFFERED: u32 = 1 << 0;
/// CPUs wait for it: PAGEMOVE_OFFER_AWAIT
pub const DETAIL_AWAITED: u32 = 1 << 1;
/// What was in it was lost with its aperture.
pub const DETAIL_LOST: u32 = 1 << 2;
/// CPUs that access a page which this call offers wait until it has arrived
pub const OFFER_AWAIT: u32 = 1 << 0;
pub const OFFER_SIZE_V0: usize = 56;
pub const USED_SIZE_V0: usize = 48;
pub const USED_CLEAR: u32 = 1 << 0;
/// pages of a region
pub const MEMORY_REGION: u32 = 1;
/// other memory of this host: memfd, tmpfs, and what can not be moved
pub const MEMORY_OTHER: u32 = 2;
/// no memory of this host: a BAR
pub const MEMORY_DEVICE: u32 = 3;
/// anonymous memory of this host, which can not be moved
pub const MEMORY_ANONYMOUS: u32 = 4;
pub const MAPS_SIZE_V0: usize = 48;
pub const OFFERED_SIZE_V0: usize = 40;
pub const WANTED_SIZE_V0: usize = 48;
/// the link is up
pub const APERTURE_UP: u32 = 1 << 0;
/// it is a memory window of an NTB
pub const APERTURE_LINK: u32 = 1 << 1;
/// the link is up
pub const WINDOW_UP: u32 = 1 << 0;
pub const WINDOW_LIST_SIZE_V0: usize = 24;
pub const WINDOW_SET_SIZE_V0: usize = 24;
/// whatever was held against its IOMMU, by way of any device
pub const LIFT_IOMMU: u32 = 1 << 0;
pub const LIFT_SIZE_V0: usize = 16;
/// a region was mapped or set up for the first time
pub const EVENT_REGION_MADE: u32 = 1;
/// the last copy of its file was closed
pub const EVENT_REGION_CLOSED: u32 = 2;
/// a VMM has opened a device that is bound to PAGEMOVE_DRIVER
pub const EVENT_DEVICE_OPENED: u32 = 3;
/// it was closed
pub const EVENT_DEVICE_CLOSED: u32 = 4;
/// a call moves pages
pub const EVENT_MOVE_BEGUN: u32 = 5;
/// it has ended
pub const EVENT_MOVE_ENDED: u32 = 6;
pub const EVENT_APERTURE_ADDED: u32 = 7;
pub const EVENT_APERTURE_REMOVED: u32 = 8;
/// the link of an NTB has come up
pub const EVENT_LINK_UP: u32 = 9;
/// it has gone down
pub const EVENT_LINK_DOWN: u32 = 10;
/// verification found a lost write
pub const EVENT_LOST_WRITE: u32 = 11;
/// PAGEMOVE_IOC_LIFT has forgotten some
pub const EVENT_LIFTED: u32 = 12;
/// Events that are remembered: one more takes the place of the oldest.
pub const MAX_EVENTS: usize = 1024;
pub const EVENTS_SIZE_V0: usize = 48;
pub const VERDICT_FILE: &str = "pagemove/verdicts";
/// "PGV2"
pub const VERDICT_MAGIC: u32 = 0x3256_4750;

/// `pagemove_page_result.abort` of a page that no attempt was aborted for.
pub const ABORT_NONE: u8 = 0xff;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    pub size: u32,
    pub abi_version: u32,
    pub engines: u32,
    pub formats: u32,
    pub move_flags: u32,
    pub test_build: u32,
    pub max_region_bytes: u64,
    pub max_move_pages: u64,
    pub max_entries: u64,
    pub max_retries: u32,
    pub page_size: u32,
    pub tested_first: u32,
    pub tested_last: u32,
    pub parameters: u32,
    pub longest_us: u32,
    pub limit_mib: u64,
    pub patience_ms: u32,
    pub rtm_reason: u32,
    pub version: [u8; 32],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionSetup {
    pub size: u32,
    pub flags: u32,
    pub length: u64,
    pub node: i32,
    pub id: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Region {
    pub id: u32,
    pub flags: u32,
    pub length: u64,
    pub pages: u64,
    pub node: i32,
    pub pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionList {
    pub size: u32,
    pub flags: u32,
    pub entries: u64,
    pub capacity: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub kind: u32,
    pub number: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RegionQuery {
    pub size: u32,
    pub flags: u32,
    pub id: u32,
    pub reserved: u32,
    pub offset: u64,
    pub length: u64,
    pub entries: u64,
    pub details: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageDetail {
    pub offset: u64,
    pub flags: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Device {
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub flags: u32,
    pub format: u32,
    pub engines: u32,
    pub reason: u32,
    pub node: i32,
    pub iommu: [u8; 16],
    pub registers: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceList {
    pub size: u32,
    pub flags: u32,
    pub entries: u64,
    pub capacity: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageResult {
    pub outcome: u8,
    pub abort: u8,
    pub attempts: u16,
    pub window_ns: u32,
    pub engine: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Move {
    pub size: u32,
    pub flags: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub engine: u32,
    pub iova: u64,
    pub length: u64,
    pub node: i32,
    pub retries: u32,
    pub deadline_ns: u64,
    pub results: u64,
    pub pages_moved: u64,
    pub pages_done: u64,
    pub pages_there: u64,
    pub reason: u32,
    pub engine_used: u32,
    pub aborts: [u64; ABORT_SLOTS],
    pub result_size: u32,
    pub editor_cpu: u32,
    pub helper_cpu: u32,
    pub aperture: u32,
    pub targets: u64,
    pub region: u32,
    pub reserved: u32,
    pub offset: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    pub editor_cpu: u32,
    pub helper_cpu: u32,
    pub flags: u32,
    pub slots: u32,
    pub lead_ns: u64,
    pub first_slot_ns: u64,
    pub interval_ns: u64,
    pub tsc_khz: u64,
    pub transactions: u64,
    pub commits: u64,
    pub irqs_off_max_ns: u64,
    pub aborts: [u64; ABORT_SLOTS],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionList {
    pub size: u32,
    pub flags: u32,
    pub entries: u64,
    pub capacity: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Experiment {
    pub size: u32,
    pub kind: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub reason: u32,
    pub iova: u64,
    pub ns: u64,
    pub found: u64,
    pub lost: u64,
    pub updates: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub iommu: [u8; 16],
    pub format: u32,
    pub cpu: u32,
    pub microcode: u32,
    pub engines: u32,
    pub findings: u32,
    pub flags: u32,
    pub registers: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct VerdictSet {
    pub size: u32,
    pub flags: u32,
    pub verdict: Verdict,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct VerdictList {
    pub size: u32,
    pub flags: u32,
    pub entries: u64,
    pub capacity: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Aperture {
    pub id: u32,
    pub flags: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub bar: u32,
    pub length: u64,
    pub pages: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ApertureList {
    pub size: u32,
    pub flags: u32,
    pub entries: u64,
    pub capacity: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub size: u32,
    pub flags: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub reason: u32,
    pub iova: u64,
    pub length: u64,
    pub entries: u64,
    pub pages: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Mapping {
    pub iova: u64,
    pub length: u64,
    pub memory: u32,
    pub region: u32,
    pub offset: u64,
    pub place: Place,
    pub leaf: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Maps {
    pub size: u32,
    pub flags: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub reason: u32,
    pub iova: u64,
    pub entries: u64,
    pub capacity: u32,
    pub filled: u32,
    pub next: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer {
    pub size: u32,
    pub flags: u32,
    pub region: u32,
    pub window: u32,
    pub offset: u64,
    pub length: u64,
    pub targets: u64,
    pub pages: u64,
    pub reason: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Offered {
    pub size: u32,
    pub flags: u32,
    pub region: u32,
    pub reserved: u32,
    pub offset: u64,
    pub length: u64,
    pub pages: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    pub offset: u64,
    pub since_ns: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub size: u32,
    pub flags: u32,
    pub region: u32,
    pub capacity: u32,
    pub entries: u64,
    pub timeout_ns: u64,
    pub seen: u64,
    pub count: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub id: u32,
    pub flags: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub number: u32,
    pub largest: u64,
    pub length: u64,
    pub offered: u64,
    pub kept: u64,
    pub node: i32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowList {
    pub size: u32,
    pub flags: u32,
    pub entries: u64,
    pub capacity: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowSet {
    pub size: u32,
    pub flags: u32,
    pub id: u32,
    pub node: i32,
    pub length: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Lift {
    pub size: u32,
    pub flags: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub lifted: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub number: u64,
    pub time_ns: u64,
    pub kind: u32,
    pub id: u32,
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub pid: i32,
    pub error: u32,
    pub reason: u32,
    pub values: [u64; 2],
}

impl Event {
    pub const NONE: Self = Self {
        number: 0,
        time_ns: 0,
        kind: 0,
        id: 0,
        segment: 0,
        bus: 0,
        devfn: 0,
        pid: 0,
        error: 0,
        reason: REASON_NONE,
        values: [0; 2],
    };
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    pub size: u32,
    pub flags: u32,
    pub entries: u64,
    pub capacity: u32,
    pub filled: u32,
    pub next: u64,
    pub lost: u64,
    pub end: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct VerdictFile {
    pub magic: u32,
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    pub size: u32,
    pub flags: u32,
    pub calls: u64,
    pub pages_moved: u64,
    pub pages_aborted: u64,
    pub attempts: u64,
    pub lost_writes: u64,
    pub invalidations: u64,
    pub pages_premapped: u64,
    pub faults_held: u64,
    pub unmaps_held: u64,
    pub regions: u64,
    pub region_pages: u64,
    pub closed_pages: u64,
    pub window_max_ns: u64,
    pub aborts: [u64; ABORT_SLOTS],
    pub windows: [u64; WINDOW_BUCKETS],
    pub offered_pages: u64,
    pub faults_awaited: u64,
    pub owned_pages: u64,
    pub irqs_off_max_ns: u64,
    pub irqs_off: [u64; WINDOW_BUCKETS],
    pub leaves_split: u64,
    pub leaves_moved: u64,
    pub leaves_merged: u64,
}

/// A part of the ABI that may be read and written as bytes.
///
/// # Safety
///
/// Any bytes are a value, and every byte belongs to a member: there is no padding.
pub unsafe trait Plain: Copy {}

/// The structure of an ioctl: its first member is its size.
///
/// # Safety
///
/// It begins with `size: u32`.
pub unsafe trait Argument: Plain {
    /// Bytes of its first published version.
    const V0: usize;
}

macro_rules! plain {
    ($($type:ty),* $(,)?) => { $(
        // SAFETY: integers, or repr(C) and integers only; what is asserted at the end of this
        // file, and the test that compares it with the header, show that there is no padding.
        unsafe impl Plain for $type {}
    )* };
}

macro_rules! arguments {
    ($($type:ident $v0:ident,)*) => {
        plain!($($type),*);
        $(
            // SAFETY: the first member is the size.
            unsafe impl Argument for $type {
                const V0: usize = $v0;
            }
            const_assert_eq!(offset_of!($type, size), 0);
        )*
    };
}

// What arrays in user memory consist of.
plain!(
    u8, u64, Region, Place, Device, PageResult, Session, Verdict, Aperture, PageDetail, Want,
    Window, Mapping, Event
);

arguments! {
    Info INFO_SIZE_V0,
    RegionSetup REGION_SETUP_SIZE_V0,
    RegionList REGION_LIST_SIZE_V0,
    RegionQuery REGION_QUERY_SIZE_V0,
    DeviceList DEVICE_LIST_SIZE_V0,
    Move MOVE_SIZE_V0,
    Stats STATS_SIZE_V0,
    SessionList SESSION_LIST_SIZE_V0,
    Experiment EXPERIMENT_SIZE_V0,
    VerdictSet VERDICT_SET_SIZE_V0,
    VerdictList VERDICT_LIST_SIZE_V0,
    ApertureList APERTURE_LIST_SIZE_V0,
    Used USED_SIZE_V0,
    Maps MAPS_SIZE_V0,
    Offer OFFER_SIZE_V0,
    Offered OFFERED_SIZE_V0,
    Wanted WANTED_SIZE_V0,
    WindowList WINDOW_LIST_SIZE_V0,
    WindowSet WINDOW_SET_SIZE_V0,
    Lift LIFT_SIZE_V0,
    Events EVENTS_SIZE_V0,
}

/// Returns a mask with the bits of these numbers.
pub fn mask_of(numbers: impl Iterator<Item = u32>) -> u32 {
    numbers.fold(0, |mask, number| mask | 1u32.wrapping_shl(number))
}

/// Lower bound, in ns, of bucket `b` of a window histogram.
pub const fn window_bucket_lower(b: usize) -> u64 {
    if b == 0 || b >= WINDOW_BUCKETS {
        return 0;
    }
    ((4 + b % 4) as u64) << (b / 4 + 4)
}

/// The bucket that counts a window of `ns` nanoseconds.
pub const fn window_bucket(ns: u64) -> usize {
    if ns < 64 {
        return 0;
    }
    let log2 = 63 - ns.leading_zeros() as usize;
    let b = (log2 - 6) * 4 + ((ns >> (log2 - 2)) & 3) as usize;
    if b < WINDOW_BUCKETS {
        b
    } else {
        WINDOW_BUCKETS - 1
    }
}

// A change that moves a member breaks the build here, on either side.
const_assert_eq!(core::mem::size_of::<Info>(), INFO_SIZE_V0 + 64);
const_assert_eq!(offset_of!(Info, tested_first), INFO_SIZE_V0);
const_assert_eq!(core::mem::size_of::<RegionSetup>(), REGION_SETUP_SIZE_V0);
const_assert_eq!(core::mem::size_of::<RegionList>(), REGION_LIST_SIZE_V0);
const_assert_eq!(
    core::mem::size_of::<RegionQuery>(),
    REGION_QUERY_SIZE_V0 + 8
);
const_assert_eq!(offset_of!(RegionQuery, details), REGION_QUERY_SIZE_V0);
const_assert_eq!(core::mem::size_of::<PageDetail>(), 16);
const_assert_eq!(core::mem::size_of::<Used>(), USED_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Mapping>(), 48);
const_assert_eq!(core::mem::size_of::<Maps>(), MAPS_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Offer>(), OFFER_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Offered>(), OFFERED_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Want>(), 16);
const_assert_eq!(core::mem::size_of::<Wanted>(), WANTED_SIZE_V0);
const_assert_eq!(core::mem::size_of::<DeviceList>(), DEVICE_LIST_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Move>(), MOVE_SIZE_V0 + 40);
const_assert_eq!(core::mem::size_of::<Aperture>(), 32);
const_assert_eq!(core::mem::size_of::<ApertureList>(), APERTURE_LIST_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Window>(), 56);
const_assert_eq!(core::mem::size_of::<WindowList>(), WINDOW_LIST_SIZE_V0);
const_assert_eq!(core::mem::size_of::<WindowSet>(), WINDOW_SET_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Lift>(), LIFT_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Event>(), 56);
const_assert_eq!(core::mem::size_of::<Events>(), EVENTS_SIZE_V0);
const_assert_eq!(
    core::mem::size_of::<Stats>(),
    STATS_SIZE_V0 + 56 + 8 * WINDOW_BUCKETS
);
const_assert_eq!(offset_of!(Stats, offered_pages), STATS_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Region>(), 32);
const_assert_eq!(core::mem::size_of::<Device>(), 48);
const_assert_eq!(core::mem::size_of::<Place>(), 8);
const_assert_eq!(core::mem::size_of::<PageResult>(), 16);
const_assert_eq!(offset_of!(PageResult, engine), PAGE_RESULT_SIZE_V0);
const_assert_eq!(core::mem::size_of::<SessionList>(), SESSION_LIST_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Session>(), 200);
const_assert_eq!(core::mem::size_of::<Experiment>(), EXPERIMENT_SIZE_V0);
const_assert_eq!(core::mem::size_of::<Verdict>(), 48);
const_assert_eq!(core::mem::size_of::<VerdictSet>(), VERDICT_SET_SIZE_V0);
const_assert_eq!(core::mem::size_of::<VerdictList>(), VERDICT_LIST_SIZE_V0);
const_assert_eq!(core::mem::size_of::<VerdictFile>(), 8);
const_assert_eq!(offset_of!(Move, result_size), MOVE_SIZE_V0);
const_assert_eq!(offset_of!(RegionQuery, offset), 16);
const_assert_eq!(offset_of!(Device, iommu), 24);
const_assert_eq!(offset_of!(Move, iova), 16);
const_assert_eq!(offset_of!(Move, pages_moved), 56);
const_assert_eq!(offset_of!(Move, aborts), 88);
const_assert_eq!(offset_of!(Stats, windows), 240);
