// SPDX-License-Identifier: GPL-2.0
//! Why a call was refused or stopped.

use super::{text, Text};
use crate::abi::*;

pub const REASONS: &[Text] = &[
    text(REASON_NONE, "none", "nothing stands in the way"),
    text(
        REASON_FORMAT,
        "format",
        "this IOMMU page-table format gets no accessed and dirty bits from the hardware here: use \
         VT-d in scalable mode with first-stage tables (intel_iommu=on,sm_on), or the engine rtm \
         where it is qualified",
    ),
    text(
        REASON_IOMMU,
        "iommu",
        "pagemove does not know how this IOMMU updates accessed and dirty bits: use a device behind \
         an Intel VT-d IOMMU in scalable mode",
    ),
    text(
        REASON_INCOHERENT,
        "incoherent",
        "the IOMMU reads page tables past the CPU caches, where an accessed-bit update is a fault: \
         use a coherent IOMMU (an emulator may load the module with allow_incoherent=1)",
    ),
    text(
        REASON_LARGE_LEAF,
        "large-leaf",
        "the IOMMU maps this memory in a leaf larger than 4096 bytes that is not to be split: one of 2 MiB is \
         where pagemove qualify has seen split-live; or load vfio_iommu_type1 with disable_hugepages=1",
    ),
    text(
        REASON_SHARED_DOMAIN,
        "shared-domain",
        "a device that pagemove_vfio does not drive can reach the same memory: bind every device of \
         the guest to pagemove_vfio",
    ),
    text(
        REASON_DISABLED,
        "disabled",
        "verification found a lost write in this domain before, or in three of this IOMMU, so moving is \
         off: find out whose doing it was, or do not use pagemove on this machine; `pagemove lift` turns \
         it on again",
    ),
    text(
        REASON_NOT_MAPPED,
        "not-mapped",
        "the device has no mapping at this IOVA: give an IOVA that the VMM has mapped",
    ),
    text(
        REASON_NOT_REGION,
        "not-region",
        "the IOVA maps memory that is not a page of a region, which an aperture, an offer and an \
         experiment need: give the guest memory from /dev/pagemove (memory-backend-file, \
         mem-path=/dev/pagemove, share=on)",
    ),
    text(
        REASON_CLOSED_REGION,
        "closed-region",
        "the region of this page was closed: keep it open or mapped while its pages are to be moved",
    ),
    text(REASON_BUSY, "busy", "another call is moving this page: wait for it to end"),
    text(
        REASON_UNMAPPING,
        "unmapping",
        "the mapping is being removed or the device is being closed: ask again if it stays",
    ),
    text(
        REASON_DEADLINE,
        "deadline",
        "the deadline passed before every page was moved: give more time or fewer pages",
    ),
    text(
        REASON_SIGNAL,
        "signal",
        "a signal arrived before every page was moved: run it again for the rest",
    ),
    text(
        REASON_NO_MEMORY,
        "no-memory",
        "the destination node has no free page: free memory there, or choose another node",
    ),
    text(
        REASON_LOST_WRITE,
        "lost-write",
        "verification found that a device write was lost, so this IOMMU does not keep its promise: \
         stop the guest and do not use pagemove on this machine",
    ),
    text(
        REASON_NODE,
        "node",
        "the destination node does not exist, is offline or has no memory: choose one of \
         /sys/devices/system/node/has_memory",
    ),
    text(
        REASON_NO_VADDR,
        "no-vaddr",
        "the VMM has unmapped this page from its own address space, so VFIO can not hold it: keep \
         guest memory mapped in the VMM",
    ),
    text(
        REASON_NO_DOMAIN,
        "no-domain",
        "the device is not behind an IOMMU: turn the IOMMU on (intel_iommu=on,sm_on)",
    ),
    text(
        REASON_ALIASED,
        "aliased",
        "the same page is mapped at a second IOVA: map each page of a region once",
    ),
    text(
        REASON_UNQUALIFIED,
        "unqualified",
        "nothing shows that this engine loses no write on this machine and IOMMU: run \
         `pagemove qualify`, load the module with allow_unqualified=1, or do not leave out the \
         verification",
    ),
    text(
        REASON_NO_RTM,
        "no-rtm",
        "this CPU has no hardware transactions, or every one of them aborts: use an Intel CPU with \
         RTM, booted with tsx=on, or the engine adbit",
    ),
    text(
        REASON_TSC,
        "tsc",
        "the TSC is not invariant or the kernel found it unstable, so two CPUs can not agree on \
         times: use the engine adbit",
    ),
    text(
        REASON_CPUS,
        "cpus",
        "editor and helper need a CPU each: give two different CPUs that are online; those that are \
         isolated (isolcpus, nohz_full, cpusets) are used only if they are named",
    ),
    text(
        REASON_ENCRYPTED,
        "encrypted",
        "addresses in the IOMMU page table carry a memory encryption bit, which pagemove does not \
         handle: boot with mem_encrypt=off",
    ),
    text(
        REASON_STUCK,
        "stuck",
        "a helper still waits for a device that did not answer an invalidation: remove the device, \
         or wait until it is found to be gone",
    ),
    text(
        REASON_NOT_SCRATCH,
        "not-scratch",
        "an experiment works on pages of the caller's own region alone: map a region of the same \
         open file and use its IOVA",
    ),
    text(
        REASON_NO_APERTURE,
        "no-aperture",
        "there is no aperture with this number, or it is being unbound: bind a PCI function to \
         pagemove_aperture, and see pagemove list",
    ),
    text(
        REASON_NO_SLOT,
        "no-slot",
        "the offset is not that of a page in the aperture: give a multiple of 4096 below its length",
    ),
    text(
        REASON_SLOT_TAKEN,
        "slot-taken",
        "another page is at this offset of the aperture: choose a free one",
    ),
    text(
        REASON_NO_PIN,
        "no-pin",
        "the page was in an aperture when VFIO mapped it, and can not be held there: it stays until \
         its region is closed",
    ),
    text(
        REASON_OFFERED,
        "offered",
        "the page is offered to another host, which may write it: retract the offer first (end \
         pagemove receive)",
    ),
    text(
        REASON_ELSEWHERE,
        "elsewhere",
        "the page lives in an aperture, so its memory is not this host's to offer: bring it home first",
    ),
    text(
        REASON_OTHER_PAGE,
        "other-page",
        "the IOVA maps another page than the call names: give the region and offset that the \
         device has mapped there",
    ),
    text(
        REASON_NO_WINDOW,
        "no-window",
        "there is no window with this number, or it shows nothing: see pagemove windows",
    ),
    text(
        REASON_NOT_IN_WINDOW,
        "not-in-window",
        "the page exists in memory that the window does not show: offer pages that nobody has \
         touched yet",
    ),
    text(
        REASON_ANONYMOUS,
        "anonymous",
        "the memory is anonymous or a private copy, which pagemove does not move: give the \
         guest shared memory (memory-backend-memfd, share=on), or a region",
    ),
    text(
        REASON_NOT_SHMEM,
        "not-shmem",
        "the memory is of a file system or driver that pagemove does not move: give the guest a \
         memfd (memory-backend-memfd, share=on), or a region",
    ),
    text(
        REASON_LARGE_FOLIO,
        "large-folio",
        "the page is part of a larger one (THP, hugetlb): give the guest memory in pages of \
         4096 bytes (shmem_enabled=never, no hugetlb)",
    ),
    text(
        REASON_SWAP_CACHE,
        "swap-cache",
        "the page is on its way to or from swap: ask again",
    ),
    text(
        REASON_USERFAULTFD,
        "userfaultfd",
        "a userfaultfd watches a mapping of the page: unregister it first",
    ),
    text(
        REASON_IN_USE,
        "in-use",
        "something else uses the page (a second mapping for devices, a pin, a pipe, I/O under \
         way): ask again when it has ended",
    ),
    text(
        REASON_POISONED,
        "poisoned",
        "the page has an uncorrectable memory error: the VMM has to give the guest another",
    ),
    text(
        REASON_OTHER_FRAME,
        "other-frame",
        "the device maps another frame than the VMM's memory has there now: the VMM has to map \
         it for the device anew",
    ),
    text(
        REASON_ATS,
        "ats",
        "a device of the domain has a TLB of its own (ATS), where only pages of regions move: give the \
         guest memory from /dev/pagemove, or switch its ATS off",
    ),
    text(
        REASON_TYPE1_V1,
        "type1-v1",
        "the VMM has set VFIO_TYPE1_IOMMU, by which nothing can be pinned: it has to set \
         VFIO_TYPE1v2_IOMMU",
    ),
    text(
        REASON_ASLEEP,
        "asleep",
        "a device of the domain has a TLB of its own (ATS) and sleeps, so that it can not be asked to \
         forget a page: wake it, or ask again when it is awake",
    ),
    text(
        REASON_NOT_LARGE,
        "not-large",
        "no leaf of 2 MiB maps the address that could be split: give the VMM huge pages, aligned to 2 MiB \
         for the device, too",
    ),
    text(
        REASON_DIRECT,
        "direct",
        "a device with a TLB of its own (ATS) reaches the aperture through a switch, past the root complex, \
         where no invalidation waits for its writes: switch its ATS off, or have the ports of the switch \
         redirect requests (ACS RR on, DT off)",
    ),
    text(
        REASON_NO_SNOOP,
        "no-snoop",
        "a device of the domain may ask for DMA that passes by the CPUs' caches (DEVCTL: Enable No Snoop), \
         which its IOMMU does not prevent: clear that bit, or use an IOMMU with snoop control",
    ),
];
