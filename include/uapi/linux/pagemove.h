/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * pagemove: move pinned DMA pages while the device keeps running.
 *
 * This header is the only definition of the ABI of /dev/pagemove. The Rust
 * mirror (src/abi.rs) is checked against it, field by field, by a test.
 *
 * Rules for every structure passed to an ioctl
 * --------------------------------------------
 *  - The first member, size, is set by the caller to the size of the structure
 *    it was compiled with. The kernel accepts any size from the first
 *    published version (PAGEMOVE_*_SIZE_V0) up: members the caller does not
 *    know read as zero; a longer structure is accepted while the part that the
 *    kernel does not know is zero (else E2BIG). The kernel writes back no more
 *    than size bytes.
 *  - Reserved members have to be zero (else EINVAL).
 *  - A flag, engine or kind that the kernel does not know: EOPNOTSUPP.
 *  - Lengths and offsets are bytes, times are nanoseconds, pages are 4096 bytes.
 *
 * What an errno means, the same for every ioctl
 * ---------------------------------------------
 *  EINVAL         a value that no call can have: size below V0, a reserved
 *                 member not zero, an address or length that is zero, not a
 *                 multiple of 4096 or past the end of the address space, a
 *                 node that is negative, unknown, offline or without memory,
 *                 more than PAGEMOVE_MAX_* of something, editor and helper not
 *                 two CPUs that are online, a verdict that contradicts itself or
 *                 is of another CPU or microcode, an aperture that does not
 *                 exist, or an offset that is not of a page in it
 *  E2BIG          the structure is longer than the kernel knows, and the rest
 *                 is not zero
 *  EOPNOTSUPP     an unknown flag or engine, or the engine can not work on this
 *                 device, IOMMU or mapping: see the member reason
 *  ENOTTY         no such ioctl
 *  EFAULT         a pointer that can not be read or written
 *  EPERM          CAP_SYS_ADMIN is missing, or the kernel is locked down
 *  EACCES         an experiment names a page that is not of the caller's own region
 *  ENODEV         no PCI function has this address
 *  ENXIO          the PCI function is not bound to the driver pagemove_vfio
 *  ENOTCONN       the PCI function is bound, but no VMM has it open
 *  EXDEV          the IOMMU domain, or the page itself, is also mapped for a
 *                 device that pagemove_vfio does not drive, or was mapped a
 *                 second time while it moved: then its result is LOST_WRITE
 *  ENOENT         the IOVA is not mapped, or no region has this id
 *  EADDRNOTAVAIL  the IOVA maps memory that can not be moved: see the member
 *                 reason; not the page that the call names, or one that is not
 *                 of a region where that is needed; a page that lives in an
 *                 aperture, or that the window does not show, can not be offered
 *  ESTALE         the IOVA maps a page of a region that was closed
 *  EBUSY          another call is moving this page, or had to end while VFIO was
 *                 busy there and has left it to VFIO, something else uses it, the
 *                 page is offered to a peer, the region was set up before, a helper still waits for a
 *                 device that did not answer or does not get its CPU, a device with
 *                 a TLB of its own sleeps, another page
 *                 is at this offset of the aperture, or pages are offered in the
 *                 window, or are there
 *  EAGAIN         the mapping is being removed (VFIO_IOMMU_UNMAP_DMA) or the
 *                 device is being closed: ask again
 *  ETIME          the deadline passed before every page was moved
 *  EINTR          a signal arrived before every page was moved, offered or told,
 *                 or a page was wanted; a suspend of the machine is no signal for a move
 *  ENOMEM         no memory, at the destination node or for the call itself
 *  ENOLINK        the link to the peer is down, so that it can not be asked to
 *                 leave the window
 *  ETIMEDOUT      the peer does not answer
 *  EREMOTEIO      the peer can not use the window
 *  ENOSPC         more than PAGEMOVE_MAX_VERDICTS verdicts
 *  EIO            verification found a lost write, now or before. No page is moved
 *                 in that domain until PAGEMOVE_IOC_LIFT, and none behind its IOMMU
 *                 when it has happened in three domains
 *
 * Whatever PAGEMOVE_IOC_MOVE returns, once its structure could be read its
 * output members are exact: pages that were moved stay moved.
 */
#ifndef _UAPI_LINUX_PAGEMOVE_H
#define _UAPI_LINUX_PAGEMOVE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Tables, aligned by hand. */
/* clang-format off */

#define PAGEMOVE_ABI_VERSION		1

#define PAGEMOVE_DEVICE			"/dev/pagemove"
#define PAGEMOVE_DRIVER			"pagemove_vfio"

#define PAGEMOVE_IOC_TYPE		0xBB
#define PAGEMOVE_IOC_INFO		_IO(PAGEMOVE_IOC_TYPE, 0x00)
#define PAGEMOVE_IOC_REGION_SETUP	_IO(PAGEMOVE_IOC_TYPE, 0x01)
#define PAGEMOVE_IOC_REGION_LIST	_IO(PAGEMOVE_IOC_TYPE, 0x02)
#define PAGEMOVE_IOC_REGION_QUERY	_IO(PAGEMOVE_IOC_TYPE, 0x03)
#define PAGEMOVE_IOC_DEVICE_LIST	_IO(PAGEMOVE_IOC_TYPE, 0x04)
#define PAGEMOVE_IOC_MOVE		_IO(PAGEMOVE_IOC_TYPE, 0x05)
#define PAGEMOVE_IOC_STATS		_IO(PAGEMOVE_IOC_TYPE, 0x06)
#define PAGEMOVE_IOC_SESSION_LIST	_IO(PAGEMOVE_IOC_TYPE, 0x07)
#define PAGEMOVE_IOC_EXPERIMENT		_IO(PAGEMOVE_IOC_TYPE, 0x08)
#define PAGEMOVE_IOC_VERDICT_SET	_IO(PAGEMOVE_IOC_TYPE, 0x09)
#define PAGEMOVE_IOC_VERDICT_LIST	_IO(PAGEMOVE_IOC_TYPE, 0x0a)
#define PAGEMOVE_IOC_APERTURE_LIST	_IO(PAGEMOVE_IOC_TYPE, 0x0b)
#define PAGEMOVE_IOC_OFFER		_IO(PAGEMOVE_IOC_TYPE, 0x0c)
#define PAGEMOVE_IOC_ARRIVE		_IO(PAGEMOVE_IOC_TYPE, 0x0d)
#define PAGEMOVE_IOC_RETRACT		_IO(PAGEMOVE_IOC_TYPE, 0x0e)
#define PAGEMOVE_IOC_WANTED		_IO(PAGEMOVE_IOC_TYPE, 0x0f)
#define PAGEMOVE_IOC_WINDOW_LIST	_IO(PAGEMOVE_IOC_TYPE, 0x10)
#define PAGEMOVE_IOC_WINDOW_SET		_IO(PAGEMOVE_IOC_TYPE, 0x11)
#define PAGEMOVE_IOC_USED		_IO(PAGEMOVE_IOC_TYPE, 0x12)
#define PAGEMOVE_IOC_MAPS		_IO(PAGEMOVE_IOC_TYPE, 0x13)
#define PAGEMOVE_IOC_LIFT		_IO(PAGEMOVE_IOC_TYPE, 0x14)
#define PAGEMOVE_IOC_EVENTS		_IO(PAGEMOVE_IOC_TYPE, 0x15)

#define PAGEMOVE_PAGE_SIZE		4096
#define PAGEMOVE_MAX_REGION_BYTES	(64ULL << 30)
/* Pages one PAGEMOVE_IOC_MOVE may name (1 GiB). */
#define PAGEMOVE_MAX_MOVE_PAGES		262144
/* Entries one list or query call may ask for. */
#define PAGEMOVE_MAX_ENTRIES		262144
#define PAGEMOVE_MAX_RETRIES		10000

/* Engines: the way a move is made atomic. Bit N of a mask is engine N. */
#define PAGEMOVE_ENGINE_AUTO		0 /* the best that works here */
#define PAGEMOVE_ENGINE_ADBIT		1 /* accessed/dirty bits and compare-and-swap */
#define PAGEMOVE_ENGINE_RTM		2 /* a hardware transaction */

/* Page-table formats, as in the kernel's generic_pt. Bit N of a mask is format N. */
#define PAGEMOVE_FORMAT_UNKNOWN		0
#define PAGEMOVE_FORMAT_X86_64		1 /* VT-d first stage, AMD v2 */
#define PAGEMOVE_FORMAT_VTDSS		2 /* VT-d second stage */
#define PAGEMOVE_FORMAT_AMDV1		3 /* AMD v1 */

/*
 * Why a call was refused or stopped, beside its errno. One number, one cause,
 * so that a tool can say what would help.
 */
#define PAGEMOVE_REASON_NONE		0
#define PAGEMOVE_REASON_FORMAT		1 /* the format has no A/D bits that the IOMMU sets here: VT-d needs scalable mode with first-stage tables */
#define PAGEMOVE_REASON_IOMMU		2 /* an IOMMU whose A/D updates pagemove does not know */
#define PAGEMOVE_REASON_INCOHERENT	3 /* the IOMMU's walker does not snoop CPU caches: an A/D update would be a non-recoverable fault (emulators only: load with allow_incoherent=1) */
#define PAGEMOVE_REASON_LARGE_LEAF	4 /* a leaf larger than 4096 bytes that is not to be split: one of 2 MiB is where PAGEMOVE_FINDING_SPLIT_LIVE was seen; or load vfio_iommu_type1 with disable_hugepages=1 */
#define PAGEMOVE_REASON_SHARED_DOMAIN	5 /* a device that pagemove_vfio does not drive is in the same domain or maps the same page */
#define PAGEMOVE_REASON_DISABLED	6 /* verification found a lost write in this domain before, or in three of this IOMMU: see PAGEMOVE_IOC_LIFT */
#define PAGEMOVE_REASON_NOT_MAPPED	7 /* the IOVA is not mapped */
#define PAGEMOVE_REASON_NOT_REGION	8 /* the IOVA maps memory that is not a page of a region, which an aperture, an offer and an experiment need */
#define PAGEMOVE_REASON_CLOSED_REGION	9 /* the region of this page was closed */
#define PAGEMOVE_REASON_BUSY		10 /* another call is moving this page */
#define PAGEMOVE_REASON_UNMAPPING	11 /* the mapping or the device is going away */
#define PAGEMOVE_REASON_DEADLINE	12 /* the deadline passed */
#define PAGEMOVE_REASON_SIGNAL		13 /* a signal arrived */
#define PAGEMOVE_REASON_NO_MEMORY	14 /* no free page at the destination node */
#define PAGEMOVE_REASON_LOST_WRITE	15 /* verification found a lost write in this call */
#define PAGEMOVE_REASON_NODE		16 /* the destination node is unknown, offline or has no memory */
#define PAGEMOVE_REASON_NO_VADDR	17 /* the VMM's mapping of the page is gone, so VFIO can not hold it */
#define PAGEMOVE_REASON_NO_DOMAIN	18 /* the device is not behind an IOMMU */
#define PAGEMOVE_REASON_ALIASED		19 /* not given any more: such a page is in use (PAGEMOVE_ABORT_IN_USE) */
#define PAGEMOVE_REASON_UNQUALIFIED	20 /* no verdict allows the engine on this machine and IOMMU, or one allows it only with verification: run pagemove qualify, or load with allow_unqualified=1 */
#define PAGEMOVE_REASON_NO_RTM		21 /* the CPU has no RTM, or every transaction aborts: needs an Intel CPU with RTM and tsx=on */
#define PAGEMOVE_REASON_TSC		22 /* the TSC is not invariant, or the kernel found it unstable */
#define PAGEMOVE_REASON_CPUS		23 /* editor and helper need two different CPUs that are online, and stay so if the call names them, else are not isolated (EINVAL); or the helper did not get its CPU in time, again and again, and no other engine may move the pages (EBUSY: ask again, or name other CPUs) */
#define PAGEMOVE_REASON_ENCRYPTED	24 /* table addresses carry an encryption bit (SME) that pagemove does not handle: boot with mem_encrypt=off */
#define PAGEMOVE_REASON_STUCK		25 /* a helper still waits for a device that did not answer an invalidation */
#define PAGEMOVE_REASON_NOT_SCRATCH	26 /* the page is not one of the caller's own region, which an experiment needs */
#define PAGEMOVE_REASON_NO_APERTURE	27 /* there is no aperture with this number, or it is being unbound: see PAGEMOVE_IOC_APERTURE_LIST */
#define PAGEMOVE_REASON_NO_SLOT		28 /* the offset is not that of a page in the aperture */
#define PAGEMOVE_REASON_SLOT_TAKEN	29 /* another page is at this offset of the aperture, or was until a moment ago */
#define PAGEMOVE_REASON_NO_PIN		30 /* not given any more: a page is home when VFIO maps it */
#define PAGEMOVE_REASON_OFFERED		31 /* the page is offered to a peer, which may write it: see PAGEMOVE_IOC_OFFER */
#define PAGEMOVE_REASON_ELSEWHERE	32 /* the page lives in an aperture, so that its memory is not this host's to offer */
#define PAGEMOVE_REASON_OTHER_PAGE	33 /* the IOVA maps another page than the call says */
#define PAGEMOVE_REASON_NO_WINDOW	34 /* there is no window with this number, or it shows nothing: see PAGEMOVE_IOC_WINDOW_SET */
#define PAGEMOVE_REASON_NOT_IN_WINDOW	35 /* the page exists in memory that the window does not show: offer pages that nobody has touched */
#define PAGEMOVE_REASON_ANONYMOUS	36 /* the memory is anonymous, or a private copy: it has no place from which it could be exchanged */
#define PAGEMOVE_REASON_NOT_SHMEM	37 /* memory of a file system or driver that pages can not be exchanged in: only memfd, tmpfs, shared anonymous memory and regions */
#define PAGEMOVE_REASON_LARGE_FOLIO	38 /* the page is part of a larger one (THP, hugetlb): only pages of 4096 bytes */
#define PAGEMOVE_REASON_SWAP_CACHE	39 /* the page is on its way to or from swap */
#define PAGEMOVE_REASON_USERFAULTFD	40 /* a userfaultfd watches a mapping of the page */
#define PAGEMOVE_REASON_IN_USE		41 /* something else uses the page: a second mapping for devices, a pin, a pipe, I/O under way */
#define PAGEMOVE_REASON_POISONED	42 /* the page has an uncorrectable memory error */
#define PAGEMOVE_REASON_OTHER_FRAME	43 /* the device maps another frame than the VMM's memory has there now: it was punched, truncated or mapped anew since */
#define PAGEMOVE_REASON_ATS		44 /* a device of the domain has a TLB of its own (ATS), where only pages of regions move */
#define PAGEMOVE_REASON_TYPE1_V1	45 /* the container has VFIO_TYPE1_IOMMU set, by which nothing can be pinned: only VFIO_TYPE1v2_IOMMU */
#define PAGEMOVE_REASON_ASLEEP		46 /* a device of the domain has a TLB of its own (ATS) and sleeps (D1 to D3cold), so that it can not be asked to forget a page: ask again when it is awake */
#define PAGEMOVE_REASON_NOT_LARGE	47 /* no leaf of 2 MiB maps the address that could be split */
#define PAGEMOVE_REASON_DIRECT		48 /* a device with a TLB of its own (ATS) reaches the aperture through a switch, past the root complex, where no invalidation waits for its writes */
#define PAGEMOVE_REASON_NO_SNOOP	49 /* a device of the domain may ask for DMA that passes by the CPUs' caches (No Snoop), which the IOMMU does not prevent */

/* Why one attempt at one page was aborted: the index into aborts[]. */
#define PAGEMOVE_ABORT_ACCESSED		0 /* a device read the page: A was set */
#define PAGEMOVE_ABORT_DIRTY		1 /* a device wrote the page: D was set */
#define PAGEMOVE_ABORT_PTE_CHANGED	2 /* something else in the PTE changed */
#define PAGEMOVE_ABORT_OVERWRITTEN	3 /* the new PTE was overwritten by a racing A/D update; START is intact */
#define PAGEMOVE_ABORT_DEADLINE		4 /* the deadline passed before the commit */
#define PAGEMOVE_ABORT_CANCELLED	5 /* signal, unmap or close before the commit */
#define PAGEMOVE_ABORT_INVALIDATE	6 /* the invalidation did not complete */
#define PAGEMOVE_ABORT_LATE		7 /* rtm: the entry was in the write set after signal 1, or the helper's CPU was busy with something else and nothing was begun */
#define PAGEMOVE_ABORT_TIMEOUT		8 /* rtm: the helper was not done in time for any slot */
#define PAGEMOVE_ABORT_CONFLICT		9 /* rtm: a device or CPU touched a cache line of the transaction */
#define PAGEMOVE_ABORT_CAPACITY		10 /* rtm: the transaction did not fit into the cache */
#define PAGEMOVE_ABORT_INTERRUPT	11 /* rtm: an interrupt, or another abort without a status */
#define PAGEMOVE_ABORT_EXPLICIT		12 /* rtm: an XABORT that is not pagemove's */
#define PAGEMOVE_ABORT_DEVICE_GONE	13 /* a device with a TLB of its own is gone or did not answer */
#define PAGEMOVE_ABORT_APERTURE		14 /* the destination could not be reached through its aperture, or a memory error was found in the page */
#define PAGEMOVE_ABORT_IN_USE		15 /* something else used the page (PAGEMOVE_REASON_IN_USE), or its lock was taken */
#define PAGEMOVE_ABORT_NR		16
#define PAGEMOVE_ABORT_SLOTS		16 /* places in aborts[]; a cause to come shares the last, or has an array of its own */

/* What became of a page: pagemove_page_result.outcome. */
#define PAGEMOVE_PAGE_NOT_TRIED		0
#define PAGEMOVE_PAGE_MOVED		1
#define PAGEMOVE_PAGE_ABORTED		2 /* START is intact; abort says why the last attempt failed */
#define PAGEMOVE_PAGE_REFUSED		3 /* it can not be moved: see reason */
#define PAGEMOVE_PAGE_LOST_WRITE	4 /* verification found a write that was lost */
#define PAGEMOVE_PAGE_ALREADY_THERE	5 /* it was at the destination node before */

/* PAGEMOVE_IOC_MOVE flags */
#define PAGEMOVE_MOVE_NO_VERIFY		(1U << 0) /* leave out the verification after the commit */
#define PAGEMOVE_MOVE_EVEN_IF_THERE	(1U << 1) /* move within the node, too */
#define PAGEMOVE_MOVE_SCRATCH		(1U << 2) /* an experiment with pages of this file's own region: needs no verdict, and a lost write disables nothing */
#define PAGEMOVE_MOVE_WATCH		(1U << 3) /* rtm: abort at once when START is written, where the CPU notices */
#define PAGEMOVE_MOVE_CLEAR_ACCESSED	(1U << 4) /* rtm: clear A first, for machines that notice a walk only when it sets A */
#define PAGEMOVE_MOVE_KEEP_LEAVES	(1U << 5) /* split no leaf of 2 MiB: they move whole or not at all */
#define PAGEMOVE_MOVE_PIECES		(1U << 6) /* move none whole: page by page */

/*
 * PAGEMOVE_IOC_INFO: what this module can do.
 */
struct pagemove_info {
	__u32 size;
	__u32 abi_version;		/* out: PAGEMOVE_ABI_VERSION */
	__u32 engines;			/* out: mask of engines built in */
	__u32 formats;			/* out: mask of formats that some engine can move */
	__u32 move_flags;		/* out: mask of known move flags */
	__u32 test_build;		/* out: 1 if this build can leave out steps (never ship it) */
	__u64 max_region_bytes;		/* out */
	__u64 max_move_pages;		/* out */
	__u64 max_entries;		/* out */
	__u32 max_retries;		/* out */
	__u32 page_size;		/* out */
	__u32 tested_first;		/* out: oldest kernel series this module is tested on, as KERNEL_VERSION(major, minor, 0) */
	__u32 tested_last;		/* out: newest */
	__u32 parameters;		/* out: mask of PAGEMOVE_PARAMETER_* that the module was loaded with */
	__u32 longest_us;		/* out: longest time of a transaction */
	__u64 limit_mib;		/* out: most memory that all regions may have together, in MiB; 0: no limit */
	__u32 patience_ms;		/* out: how long a device may take for an invalidation */
	__u32 rtm_reason;		/* out: PAGEMOVE_REASON_* why rtm is off on this machine; NONE: it works */
	char version[32];		/* out: of the module, NUL-padded: "0.1.0" */
};
#define PAGEMOVE_INFO_SIZE_V0		56
#define PAGEMOVE_PARAMETER_ALLOW_INCOHERENT	(1U << 0) /* pages behind an IOMMU whose walker does not snoop are moved: emulators only */
#define PAGEMOVE_PARAMETER_ALLOW_UNQUALIFIED	(1U << 1) /* engines are used that no verdict allows */
#define PAGEMOVE_PARAMETER_REGION_CHUNKS	(1U << 2) /* memory of regions comes in pieces of 2 MiB, which IOMMUs map by one leaf */

/*
 * PAGEMOVE_IOC_REGION_SETUP: give this open file a region of a fixed size whose
 * pages come from one NUMA node. Optional: a file that is mmapped without it
 * gets a region that grows to the highest byte that was mapped, with pages
 * from where the memory policy of the faulting mapping (mbind, numactl) says.
 */
struct pagemove_region_setup {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 length;			/* bytes, a multiple of 4096 */
	__s32 node;			/* -1: as the memory policy says */
	__u32 id;			/* out: the region's id */
};
#define PAGEMOVE_REGION_SETUP_SIZE_V0	24

#define PAGEMOVE_REGION_CLOSED		(1U << 0) /* its file is closed; pages that are away or offered are waited for */

struct pagemove_region {
	__u32 id;
	__u32 flags;			/* PAGEMOVE_REGION_* */
	__u64 length;			/* bytes */
	__u64 pages;			/* pages allocated */
	__s32 node;			/* node it was set up for, or -1 */
	__s32 pid;			/* who made it, in the pid namespace it was in */
};

/*
 * PAGEMOVE_IOC_REGION_LIST: every region. If there are more than capacity, the
 * first are returned and count says how many there are.
 */
struct pagemove_region_list {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 entries;			/* pointer to struct pagemove_region[capacity] */
	__u32 capacity;
	__u32 count;			/* out: regions there are */
};
#define PAGEMOVE_REGION_LIST_SIZE_V0	24

/* Where one page is. */
#define PAGEMOVE_PLACE_NONE		0 /* not allocated yet */
#define PAGEMOVE_PLACE_NODE		1 /* number: NUMA node */
#define PAGEMOVE_PLACE_APERTURE		2 /* number: aperture */

struct pagemove_place {
	__u32 kind;			/* PAGEMOVE_PLACE_* */
	__s32 number;
};

#define PAGEMOVE_DETAIL_OFFERED		(1U << 0) /* a peer may write it: PAGEMOVE_IOC_OFFER */
#define PAGEMOVE_DETAIL_AWAITED		(1U << 1) /* CPUs wait for it: PAGEMOVE_OFFER_AWAIT */
#define PAGEMOVE_DETAIL_LOST		(1U << 2) /* what was in it was lost with its aperture: who touches it gets SIGBUS */

struct pagemove_page_detail {
	__u64 offset;			/* in its aperture, in bytes; 0 elsewhere */
	__u32 flags;			/* PAGEMOVE_DETAIL_* */
	__u32 __reserved;		/* out: 0 */
};

/*
 * PAGEMOVE_IOC_REGION_QUERY: where is each page of [offset, offset + length)?
 */
struct pagemove_region_query {
	__u32 size;
	__u32 flags;			/* none yet */
	__u32 id;
	__u32 __reserved;
	__u64 offset;			/* bytes, a multiple of 4096 */
	__u64 length;			/* bytes, a multiple of 4096 */
	__u64 entries;			/* pointer to struct pagemove_place[length / 4096] */
	__u64 details;			/* pointer to struct pagemove_page_detail[length / 4096], or 0 */
};
#define PAGEMOVE_REGION_QUERY_SIZE_V0	40

#define PAGEMOVE_DEVICE_OPEN		(1U << 0) /* a VMM has it open */
#define PAGEMOVE_DEVICE_INCOHERENT	(1U << 1) /* the IOMMU's walker does not snoop */
#define PAGEMOVE_DEVICE_ATS		(1U << 2) /* it has a TLB of its own, and ATS is enabled */
#define PAGEMOVE_DEVICE_ATS_DOMAIN	(1U << 3) /* a device in its domain has */
#define PAGEMOVE_DEVICE_DIRTY_SCOPE	(1U << 4) /* pages were pinned by it: VFIO takes no others for dirty by its group */

struct pagemove_device {
	__u16 segment;
	__u8 bus;
	__u8 devfn;			/* device << 3 | function */
	__u32 flags;			/* PAGEMOVE_DEVICE_* */
	__u32 format;			/* PAGEMOVE_FORMAT_*, if open */
	__u32 engines;			/* mask of engines that can move its pages now */
	__u32 reason;			/* PAGEMOVE_REASON_*: why engines is 0 */
	__s32 node;			/* NUMA node of the device, or -1 */
	char iommu[16];			/* name of its IOMMU, NUL-terminated: "dmar0" */
	__u64 registers;		/* physical address of that IOMMU's registers; 0: its driver does not tell */
};

/* PAGEMOVE_IOC_DEVICE_LIST: every PCI function bound to pagemove_vfio. */
struct pagemove_device_list {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 entries;			/* pointer to struct pagemove_device[capacity] */
	__u32 capacity;
	__u32 count;			/* out: devices there are */
};
#define PAGEMOVE_DEVICE_LIST_SIZE_V0	24

struct pagemove_page_result {
	__u8 outcome;			/* PAGEMOVE_PAGE_* */
	__u8 abort;			/* PAGEMOVE_ABORT_* of the last aborted attempt; 0xff: none */
	__u16 attempts;
	__u32 window_ns;		/* of the attempt that committed: first step (adbit) or XBEGIN (rtm) to commit */
	/* from here on only with pagemove_move.result_size */
	__u32 engine;			/* PAGEMOVE_ENGINE_* that moved it; 0: it was not moved */
	__u32 __reserved;		/* out: 0 */
};
#define PAGEMOVE_PAGE_RESULT_SIZE_V0	8

/*
 * PAGEMOVE_IOC_MOVE: move the pages that [iova, iova + length) of the device
 * maps to memory of a NUMA node, or to what an aperture shows. Needs
 * CAP_SYS_ADMIN.
 *
 * Pages are taken in ascending order. A page that stays aborted after its
 * retries does not end the call: it returns 0 with pages_moved below the number
 * of pages. A page that can not be moved, a signal or the deadline end the call
 * with an errno and a reason; pages before it have their results.
 */
struct pagemove_move {
	__u32 size;
	__u32 flags;			/* PAGEMOVE_MOVE_* */
	__u16 segment;			/* PCI address of the device */
	__u8 bus;
	__u8 devfn;
	__u32 engine;			/* PAGEMOVE_ENGINE_* */
	__u64 iova;			/* bytes, a multiple of 4096 */
	__u64 length;			/* bytes, a multiple of 4096 */
	__s32 node;			/* destination NUMA node */
	__u32 retries;			/* further attempts at an aborted page */
	__u64 deadline_ns;		/* from the start of the call; 0: none */
	__u64 results;			/* pointer to an array of length / 4096 results, or 0 */
	__u64 pages_moved;		/* out */
	__u64 pages_done;		/* out: pages with a result, from the first */
	__u64 pages_there;		/* out: pages that were at the node before */
	__u32 reason;			/* out: PAGEMOVE_REASON_* */
	__u32 engine_used;		/* out: PAGEMOVE_ENGINE_* chosen for the first attempts; 0: the call was refused before */
	__u64 aborts[PAGEMOVE_ABORT_SLOTS]; /* out: aborted attempts by cause */
	__u32 result_size;		/* bytes from one result to the next: sizeof(struct pagemove_page_result), or 0 for PAGEMOVE_PAGE_RESULT_SIZE_V0 */
	__u32 editor_cpu;		/* 1 + the CPU of the editor, or 0: choose one */
	__u32 helper_cpu;		/* 1 + the CPU of the helper, or 0: choose one */
	__u32 aperture;			/* 1 + the destination aperture, or 0: node is the destination */
	__u64 targets;			/* with aperture: pointer to __u64[length / 4096], for each page its offset there in bytes */
	__u32 region;			/* 1 + the region that the pages have to be of, or 0: any */
	__u32 __reserved;
	__u64 offset;			/* with region: the first page's offset there in bytes; the others follow it */
};
#define PAGEMOVE_MOVE_SIZE_V0		216

/*
 * Bucket b of a window histogram counts windows of [lower(b), lower(b + 1)) ns.
 * Four buckets for each power of two from 64 ns:
 * lower(b) = (4 + b % 4) << (b / 4 + 4), and bucket 0 begins at 0; the last has
 * no upper bound.
 */
#define PAGEMOVE_WINDOW_BUCKETS		96

/* PAGEMOVE_IOC_STATS: sums since the module was loaded. */
struct pagemove_stats {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 calls;			/* out: move calls that began */
	__u64 pages_moved;		/* out */
	__u64 pages_aborted;		/* out: pages given up after their retries */
	__u64 attempts;			/* out: attempts at one page */
	__u64 lost_writes;		/* out: found by verification */
	__u64 invalidations;		/* out */
	__u64 pages_premapped;		/* out: CPU mappings made ahead of the fault */
	__u64 faults_held;		/* out: CPU faults that waited for a move */
	__u64 unmaps_held;		/* out: VFIO unmaps that waited for a move */
	__u64 regions;			/* out: regions that exist now */
	__u64 region_pages;		/* out: pages allocated now */
	__u64 closed_pages;		/* out: of these, pages of closed regions */
	__u64 window_max_ns;		/* out */
	__u64 aborts[PAGEMOVE_ABORT_SLOTS]; /* out */
	__u64 windows[PAGEMOVE_WINDOW_BUCKETS]; /* out */
	__u64 offered_pages;		/* out: pages offered to a peer now */
	__u64 faults_awaited;		/* out: CPU faults that waited for a page to arrive */
	__u64 owned_pages;		/* out: pages allocated now for regions, moves under way among them */
	__u64 irqs_off_max_ns;		/* out: longest time that a transaction kept interrupts off */
	__u64 irqs_off[PAGEMOVE_WINDOW_BUCKETS]; /* out: these times, in buckets as the windows */
	__u64 leaves_split;		/* out: leaves of 2 MiB that were split, so that pages of them could move */
	__u64 leaves_moved;		/* out: leaves of 2 MiB that moved whole; their pages are in pages_moved */
	__u64 leaves_merged;		/* out: of those that were split: have one leaf again, since all of their pages moved */
};
#define PAGEMOVE_STATS_SIZE_V0		1008

/*
 * A session: an editor and a helper thread, bound to two CPUs, and what they have
 * learned of each other's times. Made when a move first needs it.
 */
struct pagemove_session {
	__u32 editor_cpu;
	__u32 helper_cpu;
	__u32 flags;			/* PAGEMOVE_SESSION_* */
	__u32 slots;			/* M: slots of the next schedule */
	__u64 lead_ns;			/* from the post to signal 1 */
	__u64 first_slot_ns;		/* from signal 1 to slot 0 */
	__u64 interval_ns;		/* INT: from one slot to the next */
	__u64 tsc_khz;
	__u64 transactions;		/* that were begun */
	__u64 commits;			/* of these */
	__u64 irqs_off_max_ns;		/* longest time with interrupts off */
	__u64 aborts[PAGEMOVE_ABORT_SLOTS]; /* attempts (not pages) by cause */
};

#define PAGEMOVE_SESSION_BUSY		(1U << 0) /* a move uses it */
#define PAGEMOVE_SESSION_STUCK		(1U << 1) /* the helper waits for a device that does not answer */

/* PAGEMOVE_IOC_SESSION_LIST: every session. */
struct pagemove_session_list {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 entries;			/* pointer to struct pagemove_session[capacity] */
	__u32 capacity;
	__u32 count;			/* out: sessions there are */
};
#define PAGEMOVE_SESSION_LIST_SIZE_V0	24

/* What to try: pagemove_experiment.kind. */
#define PAGEMOVE_EXPERIMENT_USED	1 /* read A and D of the entry: found is PAGEMOVE_USED_* */
#define PAGEMOVE_EXPERIMENT_CLEAR	2 /* clear A and D, invalidate; found: what they were */
#define PAGEMOVE_EXPERIMENT_SET		3 /* set A and D, invalidate; found: what they were */
#define PAGEMOVE_EXPERIMENT_WATCH	4 /* for ns: a transaction that has read all lines of the page; found: abort status, lost: 1 if it was aborted before its end */
#define PAGEMOVE_EXPERIMENT_RACE	5 /* for ns: swap an ignored bit of the entry to and fro, A and D being cleared now and then; found: swaps, lost: swaps that were overwritten */
#define PAGEMOVE_EXPERIMENT_FRAMES	6 /* for ns at most: swap the entry between its page and the one behind it until A or D shows, and put it back; found: PAGEMOVE_FRAME_* or 0, lost: swaps that were overwritten */
#define PAGEMOVE_EXPERIMENT_LANDS	7 /* for ns at most: wait until the first word of an eighth of the page changes; updates: 1 if one did, found: PAGEMOVE_USED_* of the entry in the next instruction; lost: 1 if it may have changed 5 us before, so that nothing was found */
#define PAGEMOVE_EXPERIMENT_SPLIT	8 /* split the leaf of 2 MiB at iova, whoever has the memory, and leave it so; found: 1; lost: 1 if the IOMMU brought the leaf back */
#define PAGEMOVE_EXPERIMENT_SIZES	9 /* for ns at most: split it and merge it again, over and over; found: splits, updates: merges (one less: it is split now), lost: how often the IOMMU brought an old entry back */

/* pagemove_experiment.found of FRAMES; all that the device had begun has arrived. */
#define PAGEMOVE_FRAME_FIRST		1ULL /* A or D showed while the entry had its own page */
#define PAGEMOVE_FRAME_SECOND		2ULL /* ... while it had the page behind it */

#define PAGEMOVE_USED_ACCESSED		(1U << 0)
#define PAGEMOVE_USED_DIRTY		(1U << 1)

#define PAGEMOVE_MAX_EXPERIMENT_NS	100000000ULL
/* PAGEMOVE_EXPERIMENT_WATCH has interrupts off, so it is shorter. */
#define PAGEMOVE_MAX_WATCH_NS		1000000ULL

/*
 * PAGEMOVE_IOC_EXPERIMENT: try something on one page of this file's own region (FRAMES: on two; SPLIT,
 * SIZES: on 2 MiB of any memory that a VMM has mapped), while the caller lets the device use it. Needs CAP_SYS_ADMIN.
 */
struct pagemove_experiment {
	__u32 size;
	__u32 kind;			/* PAGEMOVE_EXPERIMENT_* */
	__u16 segment;			/* PCI address of the device */
	__u8 bus;
	__u8 devfn;
	__u32 reason;			/* out: PAGEMOVE_REASON_* */
	__u64 iova;			/* bytes, a multiple of 4096; SPLIT, SIZES: of 2 MiB */
	__u64 ns;			/* how long, at most PAGEMOVE_MAX_*_NS */
	__u64 found;			/* out */
	__u64 lost;			/* out */
	__u64 updates;			/* out, RACE: updates of A or D among these swaps; FRAMES: swaps; LANDS: writes that were seen */
};
#define PAGEMOVE_EXPERIMENT_SIZE_V0	56

/*
 * PAGEMOVE_IOC_USED: which pages that a device maps has it used? Reads A and D of
 * the IOMMU's entries; with PAGEMOVE_USED_CLEAR A is cleared and what IOMMUs and
 * devices remember is invalidated, so that the next call tells of the time
 * between. Needs CAP_SYS_ADMIN. A page that can not be looked at ends the call
 * with an errno and a reason; pages before it have their answers.
 */
struct pagemove_used {
	__u32 size;
	__u32 flags;			/* PAGEMOVE_USED_CLEAR, or 0 */
	__u16 segment;			/* PCI address of the device */
	__u8 bus;
	__u8 devfn;
	__u32 reason;			/* out: PAGEMOVE_REASON_* */
	__u64 iova;			/* bytes, a multiple of 4096 */
	__u64 length;			/* bytes, a multiple of 4096, at most PAGEMOVE_MAX_MOVE_PAGES pages */
	__u64 entries;			/* pointer to __u8[length / 4096]: out: mask of PAGEMOVE_USED_ACCESSED and PAGEMOVE_USED_DIRTY */
	__u64 pages;			/* out: pages with an answer, from the first */
};
#define PAGEMOVE_USED_SIZE_V0		48
#define PAGEMOVE_USED_CLEAR		(1U << 0)

/* Whose memory a device maps: pagemove_mapping.memory. */
#define PAGEMOVE_MEMORY_REGION		1 /* pages of a region */
#define PAGEMOVE_MEMORY_OTHER		2 /* other memory of this host: memfd, tmpfs, and what can not be moved */
#define PAGEMOVE_MEMORY_DEVICE		3 /* no memory of this host: a BAR */
#define PAGEMOVE_MEMORY_ANONYMOUS	4 /* anonymous memory of this host, which can not be moved */

/*
 * A run: pages that follow each other at the device's addresses, in the region
 * if they are of one, and are at the same place.
 */
struct pagemove_mapping {
	__u64 iova;
	__u64 length;			/* bytes */
	__u32 memory;			/* PAGEMOVE_MEMORY_* */
	__u32 region;			/* MEMORY_REGION: its id; else 0 */
	__u64 offset;			/* MEMORY_REGION: of the first page in it, in bytes; else 0 */
	struct pagemove_place place;	/* MEMORY_DEVICE: PAGEMOVE_PLACE_NONE */
	__u64 leaf;			/* bytes that one entry of the table maps: pages with more than 4096 can not be moved */
};

/*
 * PAGEMOVE_IOC_MAPS: what do the addresses of a device map? Tells runs in
 * ascending order, from the page at iova on; go on with next until it is 0.
 * Nothing holds what is told: it is of a moment, and for what is mapped, unmapped
 * or moved meanwhile it may be wrong. Needs CAP_SYS_ADMIN.
 */
struct pagemove_maps {
	__u32 size;
	__u32 flags;			/* none yet */
	__u16 segment;			/* PCI address of the device */
	__u8 bus;
	__u8 devfn;
	__u32 reason;			/* out: PAGEMOVE_REASON_* */
	__u64 iova;			/* bytes, a multiple of 4096: where to begin */
	__u64 entries;			/* pointer to struct pagemove_mapping[capacity] */
	__u32 capacity;			/* 1 or more */
	__u32 filled;			/* out: entries that were written */
	__u64 next;			/* out: where to go on, 0: nothing follows */
};
#define PAGEMOVE_MAPS_SIZE_V0		48

/* What experiments have shown: pagemove_verdict.findings. */
#define PAGEMOVE_FINDING_WALK_SEEN	(1U << 0) /* a walk of a written PTE aborts the transaction */
#define PAGEMOVE_FINDING_A_SEEN		(1U << 1) /* it does when it sets A: A is cleared first */
#define PAGEMOVE_FINDING_WATCH_SEEN	(1U << 2) /* a DMA write to a watched line does */
#define PAGEMOVE_FINDING_AD_CAS		(1U << 3) /* no A/D update that raced a swap has overwritten it */
#define PAGEMOVE_FINDING_CLEAN_WALKS	(1U << 4) /* a write through a clean IOTLB entry walks again */
#define PAGEMOVE_FINDING_VALID_CHANGE	(1U << 5) /* valid-to-valid changes under load lost nothing */
#define PAGEMOVE_FINDING_AD_SET		(1U << 6) /* the IOMMU sets A and D */
#define PAGEMOVE_FINDING_AD_FIRST	(1U << 8) /* ... before the access lands */
#define PAGEMOVE_FINDING_SPLIT_LIVE	(1U << 9) /* leaves of 2 MiB in use were split, and nothing was lost */
#define PAGEMOVE_FINDING_MERGE_LIVE	(1U << 10) /* ... and merged again */
/* What was seen to be otherwise: it forbids what needs it, whatever is seen later. */
#define PAGEMOVE_FINDING_NO_WALK_SEEN	(1U << 16) /* a transaction committed over a walk of the written PTE */
#define PAGEMOVE_FINDING_NO_A_SEEN	(1U << 17) /* the same where A was cleared first */
#define PAGEMOVE_FINDING_NO_WATCH_SEEN	(1U << 18) /* DMA writes to watched lines abort nothing */
#define PAGEMOVE_FINDING_NO_AD_CAS	(1U << 19) /* an A/D update has overwritten a swap */
#define PAGEMOVE_FINDING_NO_CLEAN_WALKS	(1U << 20) /* a write through a clean IOTLB entry did not walk again */
#define PAGEMOVE_FINDING_NO_MOVES_ADBIT	(1U << 21) /* a move by adbit under load has lost something */
#define PAGEMOVE_FINDING_NO_AD_SET	(1U << 22) /* the IOMMU does not set A and D each time */
#define PAGEMOVE_FINDING_NO_MOVES_RTM	(1U << 23) /* a move by rtm under load has lost something */
#define PAGEMOVE_FINDING_NO_AD_FIRST	(1U << 24) /* a write has landed before A and D were set */
#define PAGEMOVE_FINDING_NO_SPLIT_LIVE	(1U << 25) /* beside splits under load something was lost, or an old entry came back */
#define PAGEMOVE_FINDING_NO_MERGE_LIVE	(1U << 26) /* the same beside merges */

#define PAGEMOVE_VERDICT_ATS		(1U << 0) /* of devices that have a TLB of their own, with ATS enabled */

/*
 * What pagemove qualify found out about one IOMMU and format of this machine. It
 * counts only where all of iommu, registers, format, cpu and microcode are as given
 * (a kernel numbers IOMMUs anew when the firmware lists others), and for
 * devices with ATS or for those without. Stored verdicts are read when the
 * module is loaded: see Documentation/qualify.md.
 */
struct pagemove_verdict {
	char iommu[16];			/* NUL-padded: "dmar0" */
	__u32 format;			/* PAGEMOVE_FORMAT_* */
	__u32 cpu;			/* CPUID leaf 1, EAX */
	__u32 microcode;		/* revision */
	__u32 engines;			/* mask of engines that are allowed; the findings have to support them */
	__u32 findings;			/* PAGEMOVE_FINDING_* */
	__u32 flags;			/* PAGEMOVE_VERDICT_* */
	__u64 registers;		/* as in struct pagemove_device */
};

/* PAGEMOVE_IOC_VERDICT_SET: replaces the verdict on the same IOMMU, registers, flags and format. Needs
 * CAP_SYS_ADMIN. EINVAL: engines that the findings do not support or forbid. */
struct pagemove_verdict_set {
	__u32 size;
	__u32 flags;			/* none yet */
	struct pagemove_verdict verdict;
};
#define PAGEMOVE_VERDICT_SET_SIZE_V0	56
#define PAGEMOVE_MAX_VERDICTS		64

/* PAGEMOVE_IOC_VERDICT_LIST: the verdicts that count on this machine now. */
struct pagemove_verdict_list {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 entries;			/* pointer to struct pagemove_verdict[capacity] */
	__u32 capacity;
	__u32 count;			/* out: verdicts there are */
};
#define PAGEMOVE_VERDICT_LIST_SIZE_V0	24

/*
 * An aperture: a window in a BAR of a PCI function, bound to the driver
 * pagemove_aperture by its driver_override, through which other memory is reached;
 * or a memory window of an NTB, which pagemove_ntb.ko found.
 */
struct pagemove_aperture {
	__u32 id;
	__u32 flags;			/* PAGEMOVE_APERTURE_* */
	__u16 segment;			/* PCI address of the function */
	__u8 bus;
	__u8 devfn;
	__u32 bar;			/* with PAGEMOVE_APERTURE_LINK: number of the memory window */
	__u64 length;			/* bytes; with PAGEMOVE_APERTURE_LINK no page goes to the last page of these */
	__u64 pages;			/* pages that are there */
};

#define PAGEMOVE_APERTURE_UP		(1U << 0) /* the link is up, and what it shows is what it has shown from the beginning */
#define PAGEMOVE_APERTURE_LINK		(1U << 1) /* it is a memory window of an NTB */

/* PAGEMOVE_IOC_APERTURE_LIST: every aperture. */
struct pagemove_aperture_list {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 entries;			/* pointer to struct pagemove_aperture[capacity] */
	__u32 capacity;
	__u32 count;			/* out: apertures there are */
};
#define PAGEMOVE_APERTURE_LIST_SIZE_V0	24

/*
 * Offers: another host moves pages of its own into pages of a region of this
 * host, which its aperture shows. An offered page stays where it is: it can not
 * be moved, and it is not freed, even if the file of its region is closed, until
 * the offer is retracted. Retract only what the peer no longer refers to. All
 * four calls need CAP_SYS_ADMIN.
 */

/* CPUs that access a page which this call offers wait until it has arrived. */
#define PAGEMOVE_OFFER_AWAIT		(1U << 0)

/*
 * PAGEMOVE_IOC_OFFER: offer the pages of [offset, offset + length) of a region.
 * Pages that do not exist are allocated; in a window's arena, if one is named,
 * which then can not be used for pages that exist elsewhere. A page that is offered already stays as
 * it is, and its target is told again. A page that can not be offered ends the
 * call with an errno and a reason; pages before it are offered.
 */
struct pagemove_offer {
	__u32 size;
	__u32 flags;			/* PAGEMOVE_OFFER_* */
	__u32 region;			/* its id */
	__u32 window;			/* 1 + the window that shows them; 0: the peer's aperture shows all memory of this host from physical address 0 */
	__u64 offset;			/* bytes, a multiple of 4096 */
	__u64 length;			/* bytes, a multiple of 4096 */
	__u64 targets;			/* pointer to __u64[length / 4096]: out: for each page its offset in the peer's aperture in bytes */
	__u64 pages;			/* out: pages that were not offered before */
	__u32 reason;			/* out: PAGEMOVE_REASON_* */
	__u32 __reserved;
};
#define PAGEMOVE_OFFER_SIZE_V0		56

/*
 * PAGEMOVE_IOC_ARRIVE: CPUs need not wait any longer for the pages of [offset,
 * offset + length): what the peer moved is there. The offer stands.
 * PAGEMOVE_IOC_RETRACT: the offer ends, and so does waiting.
 * Other pages of the span stay as they are.
 */
struct pagemove_offered {
	__u32 size;
	__u32 flags;			/* none yet */
	__u32 region;			/* its id */
	__u32 __reserved;
	__u64 offset;			/* bytes, a multiple of 4096 */
	__u64 length;			/* bytes, a multiple of 4096 */
	__u64 pages;			/* out: pages that were awaited (ARRIVE) or offered (RETRACT) */
};
#define PAGEMOVE_OFFERED_SIZE_V0	40

/* A page that CPUs wait for. */
struct pagemove_want {
	__u64 offset;			/* in the region, in bytes */
	__u64 since_ns;			/* CLOCK_MONOTONIC: the first access */
};

/*
 * PAGEMOVE_IOC_WANTED: which pages do CPUs wait for? Returns when a page has
 * been wanted that the caller has not heard of (seen), or after timeout_ns. If
 * there are more than capacity, the first are returned and count says how many
 * there are.
 */
struct pagemove_wanted {
	__u32 size;
	__u32 flags;			/* none yet */
	__u32 region;			/* its id */
	__u32 capacity;
	__u64 entries;			/* pointer to struct pagemove_want[capacity] */
	__u64 timeout_ns;		/* 0: do not wait */
	__u64 seen;			/* in: 0, or seen of the call before; out: pages that were wanted so far */
	__u32 count;			/* out: pages that are wanted now */
	__u32 __reserved;
};
#define PAGEMOVE_WANTED_SIZE_V0		48

/*
 * A window: a memory window of an NTB through which the peer sees memory of this
 * host, and an aperture there. It shows an arena, memory that holds nothing but
 * pages that are offered to the peer, and a number.
 */
struct pagemove_window {
	__u32 id;
	__u32 flags;			/* PAGEMOVE_WINDOW_* */
	__u16 segment;			/* PCI address of the NTB */
	__u8 bus;
	__u8 devfn;
	__u32 number;			/* of the memory window of the NTB */
	__u64 largest;			/* bytes that it can show */
	__u64 length;			/* bytes that it shows, 0: nothing; the last page is never offered: it has a number by which the peer knows it again */
	__u64 offered;			/* pages of these that are offered to the peer */
	__u64 kept;			/* pages of these that have arrived */
	__s32 node;			/* NUMA node of what it shows, or -1 */
	__u32 __reserved;		/* out: 0 */
};

#define PAGEMOVE_WINDOW_UP		(1U << 0) /* the link is up */

/* PAGEMOVE_IOC_WINDOW_LIST: every window. */
struct pagemove_window_list {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 entries;			/* pointer to struct pagemove_window[capacity] */
	__u32 capacity;
	__u32 count;			/* out: windows there are */
};
#define PAGEMOVE_WINDOW_LIST_SIZE_V0	24

/*
 * PAGEMOVE_IOC_WINDOW_SET: let a window show a new arena, or nothing, instead of
 * what it shows. Needs CAP_SYS_ADMIN. While pages are offered there, or the peer
 * has pages there: EBUSY, and nothing changes. Pages that have arrived there stay
 * what they are.
 */
struct pagemove_window_set {
	__u32 size;
	__u32 flags;			/* none yet */
	__u32 id;
	__s32 node;			/* NUMA node to take the arena from */
	__u64 length;			/* bytes of the arena, a power of two; 0: show nothing */
};
#define PAGEMOVE_WINDOW_SET_SIZE_V0	24

/* PAGEMOVE_IOC_LIFT flags */
#define PAGEMOVE_LIFT_IOMMU		(1U << 0) /* whatever was held against its IOMMU, by way of any device */

/*
 * PAGEMOVE_IOC_LIFT: use a domain again in which verification found a lost write.
 * What is remembered are the functions that were in the domain, until this call or
 * until the module is unloaded: a VMM that opens one anew goes on being refused.
 * Names one of them, which has to be bound to pagemove_vfio, open or not. Needs
 * CAP_SYS_ADMIN.
 */
struct pagemove_lift {
	__u32 size;
	__u32 flags;			/* PAGEMOVE_LIFT_* */
	__u16 segment;			/* PCI address of the device */
	__u8 bus;
	__u8 devfn;
	__u32 lifted;			/* out: domains that were forgotten, 0: there was none */
};
#define PAGEMOVE_LIFT_SIZE_V0		16

/* What happened: pagemove_event.kind. In brackets: which members tell more, and values[]. */
#define PAGEMOVE_EVENT_REGION_MADE	1 /* a region was mapped or set up for the first time (id, pid: who opened its file; bytes, pages it has) */
#define PAGEMOVE_EVENT_REGION_CLOSED	2 /* the last copy of its file was closed (the same; pages that it gives up as soon as nothing keeps them) */
#define PAGEMOVE_EVENT_DEVICE_OPENED	3 /* a VMM has opened a device that is bound to PAGEMOVE_DRIVER (its address); if that fails it is closed next */
#define PAGEMOVE_EVENT_DEVICE_CLOSED	4 /* it was closed (its address) */
#define PAGEMOVE_EVENT_MOVE_BEGUN	5 /* a call moves pages (id: of the call, pid: whose it is, address of the device; pages, address of the first) */
#define PAGEMOVE_EVENT_MOVE_ENDED	6 /* it has ended (the same, error, reason; pages moved, attempts that were aborted) */
#define PAGEMOVE_EVENT_APERTURE_ADDED	7 /* (id, address of the function; bytes, number of BAR or memory window) */
#define PAGEMOVE_EVENT_APERTURE_REMOVED	8 /* (the same) */
#define PAGEMOVE_EVENT_LINK_UP		9 /* the link of an NTB, and so of its apertures and windows, has come up (address of the NTB) */
#define PAGEMOVE_EVENT_LINK_DOWN	10 /* it has gone down (the same) */
#define PAGEMOVE_EVENT_LOST_WRITE	11 /* verification found a lost write (address of the device; 1: nothing is moved behind its IOMMU any more, 0: nothing in its domain) */
#define PAGEMOVE_EVENT_LIFTED		12 /* PAGEMOVE_IOC_LIFT has forgotten some (address of the device; domains) */
/* There are more to come: pass over a kind that you do not know. */

/* An event. What a kind does not use is 0. */
struct pagemove_event {
	__u64 number;			/* 1 is the first since the module was loaded */
	__u64 time_ns;			/* CLOCK_MONOTONIC; not before that of a lower number */
	__u32 kind;			/* PAGEMOVE_EVENT_* */
	__u32 id;			/* of the region, call or aperture */
	__u16 segment;			/* PCI address */
	__u8 bus;
	__u8 devfn;
	__s32 pid;			/* of the process, in the pid namespace it was in */
	__u32 error;			/* MOVE_ENDED: the errno that the call ended with, or 0 */
	__u32 reason;			/* MOVE_ENDED: PAGEMOVE_REASON_* */
	__u64 values[2];
};

/* Events that are remembered: one more takes the place of the oldest. */
#define PAGEMOVE_MAX_EVENTS		1024

/*
 * PAGEMOVE_IOC_EVENTS: which events are there from number next on? It does not wait: poll() of
 * the same file tells POLLIN while there are events from the next on that the last such call has
 * left, and POLLERR before the first such call and to who may not make it. With capacity 0 nothing
 * is read, so that a call with next = 0 tells the end, and one with that as its next waits for what
 * is new. Copies of a file (dup, fork) have one next for poll(). Needs CAP_SYS_ADMIN.
 * EINVAL: next is higher than the end.
 */
struct pagemove_events {
	__u32 size;
	__u32 flags;			/* none yet */
	__u64 entries;			/* pointer to struct pagemove_event[capacity] */
	__u32 capacity;
	__u32 filled;			/* out: entries that were written */
	__u64 next;			/* in: number of the first that is wanted, 0: the oldest of all; out: of the first that was not told */
	__u64 lost;			/* out: events in between that are not remembered any more */
	__u64 end;			/* out: the number that the next event will have */
};
#define PAGEMOVE_EVENTS_SIZE_V0		48

/*
 * The file of stored verdicts, in the firmware search path: this header, then the
 * verdicts, in the byte order of the machine.
 */
#define PAGEMOVE_VERDICT_FILE		"pagemove/verdicts"
#define PAGEMOVE_VERDICT_MAGIC		0x32564750 /* "PGV2" */

struct pagemove_verdict_file {
	__u32 magic;			/* PAGEMOVE_VERDICT_MAGIC */
	__u32 count;			/* verdicts that follow */
};

/* clang-format on */

#endif /* _UAPI_LINUX_PAGEMOVE_H */
