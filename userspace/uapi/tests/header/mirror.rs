// SPDX-License-Identifier: GPL-2.0
//! What the mirror says, as tables. The macros break the build if the mirror
//! has a member that is not listed here; the tests compare the lists with the
//! header's.

use pagemove_uapi::*;

pub enum Value {
    Number(u64),
    Text(&'static str),
}

pub struct Member {
    name: &'static str,
    pub offset: usize,
    pub size: usize,
    pub signed: Option<bool>,
}

impl Member {
    /// Rust needs no underscores to say that a member is reserved.
    pub fn name_in_header(&self) -> &'static str {
        match self.name {
            "reserved" => "__reserved",
            name => name,
        }
    }
}

pub struct Structure {
    /// In the header.
    pub name: &'static str,
    pub size: usize,
    pub members: Vec<Member>,
}

/// The types that members have.
trait Field {
    const SIGNED: Option<bool>;
}

macro_rules! fields {
    ($($type:ty: $signed:expr),*) => {
        $(impl Field for $type {
            const SIGNED: Option<bool> = $signed;
        })*
    };
}

fields!(u8: Some(false), u16: Some(false), u32: Some(false), u64: Some(false), i32: Some(true));

impl<T, const N: usize> Field for [T; N] {
    const SIGNED: Option<bool> = None;
}

fn member<S, F: Field>(name: &'static str, offset: usize, _: fn(&S) -> &F) -> Member {
    Member {
        name,
        offset,
        size: size_of::<F>(),
        signed: F::SIGNED,
    }
}

macro_rules! structure {
    ($name:literal, $type:ident { $($member:ident),* $(,)? }) => {{
        // Without `..`: a member left out here is an error.
        let _ = |$type { $($member: _),* }: $type| ();
        Structure {
            name: $name,
            size: size_of::<$type>(),
            members: vec![$(member(
                stringify!($member),
                memoffset::offset_of!($type, $member),
                |structure: &$type| &structure.$member,
            )),*],
        }
    }};
}

pub fn structs() -> Vec<Structure> {
    vec![
        structure!(
            "pagemove_info",
            Info {
                size,
                abi_version,
                engines,
                formats,
                move_flags,
                test_build,
                max_region_bytes,
                max_move_pages,
                max_entries,
                max_retries,
                page_size,
            }
        ),
        structure!(
            "pagemove_region_setup",
            RegionSetup {
                size,
                flags,
                length,
                node,
                id
            }
        ),
        structure!(
            "pagemove_region",
            Region {
                id,
                flags,
                length,
                pages,
                node,
                pid
            }
        ),
        structure!(
            "pagemove_region_list",
            RegionList {
                size,
                flags,
                entries,
                capacity,
                count
            }
        ),
        structure!("pagemove_place", Place { kind, number }),
        structure!(
            "pagemove_region_query",
            RegionQuery {
                size,
                flags,
                id,
                reserved,
                offset,
                length,
                entries,
            }
        ),
        structure!(
            "pagemove_device",
            Device {
                segment,
                bus,
                devfn,
                flags,
                format,
                engines,
                reason,
                node,
                iommu,
            }
        ),
        structure!(
            "pagemove_device_list",
            DeviceList {
                size,
                flags,
                entries,
                capacity,
                count
            }
        ),
        structure!(
            "pagemove_page_result",
            PageResult {
                outcome,
                abort,
                attempts,
                window_ns
            }
        ),
        structure!(
            "pagemove_move",
            Move {
                size,
                flags,
                segment,
                bus,
                devfn,
                engine,
                iova,
                length,
                node,
                retries,
                deadline_ns,
                results,
                pages_moved,
                pages_done,
                pages_there,
                reason,
                engine_used,
                aborts,
            }
        ),
        structure!(
            "pagemove_stats",
            Stats {
                size,
                flags,
                calls,
                pages_moved,
                pages_aborted,
                attempts,
                lost_writes,
                invalidations,
                pages_premapped,
                faults_held,
                unmaps_held,
                regions,
                region_pages,
                closed_pages,
                window_max_ns,
                aborts,
                windows,
            }
        ),
    ]
}

macro_rules! numbers {
    ($($name:ident),* $(,)?) => {
        vec![$((stringify!($name), Value::Number($name as u64))),*]
    };
}

/// Names without the prefix of the header.
pub fn constants() -> Vec<(&'static str, Value)> {
    let mut constants = numbers![
        ABI_VERSION,
        IOC_TYPE,
        IOC_INFO,
        IOC_REGION_SETUP,
        IOC_REGION_LIST,
        IOC_REGION_QUERY,
        IOC_DEVICE_LIST,
        IOC_MOVE,
        IOC_STATS,
        PAGE_SIZE,
        MAX_REGION_BYTES,
        MAX_MOVE_PAGES,
        MAX_ENTRIES,
        MAX_RETRIES,
        ENGINE_AUTO,
        ENGINE_ADBIT,
        FORMAT_UNKNOWN,
        FORMAT_X86_64,
        FORMAT_VTDSS,
        FORMAT_AMDV1,
        REASON_NONE,
        REASON_FORMAT,
        REASON_IOMMU,
        REASON_INCOHERENT,
        REASON_LARGE_LEAF,
        REASON_SHARED_DOMAIN,
        REASON_DISABLED,
        REASON_NOT_MAPPED,
        REASON_NOT_REGION,
        REASON_CLOSED_REGION,
        REASON_BUSY,
        REASON_UNMAPPING,
        REASON_DEADLINE,
        REASON_SIGNAL,
        REASON_NO_MEMORY,
        REASON_LOST_WRITE,
        REASON_NODE,
        REASON_NO_VADDR,
        REASON_NO_DOMAIN,
        REASON_ALIASED,
        ABORT_ACCESSED,
        ABORT_DIRTY,
        ABORT_PTE_CHANGED,
        ABORT_OVERWRITTEN,
        ABORT_DEADLINE,
        ABORT_CANCELLED,
        ABORT_INVALIDATE,
        ABORT_NR,
        ABORT_SLOTS,
        PAGE_NOT_TRIED,
        PAGE_MOVED,
        PAGE_ABORTED,
        PAGE_REFUSED,
        PAGE_LOST_WRITE,
        PAGE_ALREADY_THERE,
        MOVE_NO_VERIFY,
        MOVE_EVEN_IF_THERE,
        INFO_SIZE_V0,
        REGION_SETUP_SIZE_V0,
        REGION_CLOSED,
        REGION_LIST_SIZE_V0,
        PLACE_NONE,
        PLACE_NODE,
        PLACE_APERTURE,
        REGION_QUERY_SIZE_V0,
        DEVICE_OPEN,
        DEVICE_INCOHERENT,
        DEVICE_LIST_SIZE_V0,
        MOVE_SIZE_V0,
        WINDOW_BUCKETS,
        STATS_SIZE_V0,
    ];
    constants.push(("DEVICE", Value::Text(DEVICE)));
    constants.push(("DRIVER", Value::Text(DRIVER)));
    constants
}
