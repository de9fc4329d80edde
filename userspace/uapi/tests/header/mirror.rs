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
    /// Returns a member's name in C: Rust needs no underscores to say that one is reserved.
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

impl Field for Verdict {
    const SIGNED: Option<bool> = None;
}

impl Field for Place {
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
                tested_first,
                tested_last,
                parameters,
                longest_us,
                limit_mib,
                patience_ms,
                rtm_reason,
                version,
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
                details,
            }
        ),
        structure!(
            "pagemove_page_detail",
            PageDetail {
                offset,
                flags,
                reserved
            }
        ),
        structure!(
            "pagemove_offer",
            Offer {
                size,
                flags,
                region,
                window,
                offset,
                length,
                targets,
                pages,
                reason,
                reserved,
            }
        ),
        structure!(
            "pagemove_used",
            Used {
                size,
                flags,
                segment,
                bus,
                devfn,
                reason,
                iova,
                length,
                entries,
                pages
            }
        ),
        structure!(
            "pagemove_mapping",
            Mapping {
                iova,
                length,
                memory,
                region,
                offset,
                place,
                leaf
            }
        ),
        structure!(
            "pagemove_maps",
            Maps {
                size,
                flags,
                segment,
                bus,
                devfn,
                reason,
                iova,
                entries,
                capacity,
                filled,
                next
            }
        ),
        structure!(
            "pagemove_offered",
            Offered {
                size,
                flags,
                region,
                reserved,
                offset,
                length,
                pages
            }
        ),
        structure!("pagemove_want", Want { offset, since_ns }),
        structure!(
            "pagemove_wanted",
            Wanted {
                size,
                flags,
                region,
                capacity,
                entries,
                timeout_ns,
                seen,
                count,
                reserved,
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
                registers,
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
                window_ns,
                engine,
                reserved,
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
                result_size,
                editor_cpu,
                helper_cpu,
                aperture,
                targets,
                region,
                reserved,
                offset,
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
                offered_pages,
                faults_awaited,
                owned_pages,
                irqs_off_max_ns,
                irqs_off,
                leaves_split,
                leaves_moved,
                leaves_merged,
            }
        ),
        structure!(
            "pagemove_session",
            Session {
                editor_cpu,
                helper_cpu,
                flags,
                slots,
                lead_ns,
                first_slot_ns,
                interval_ns,
                tsc_khz,
                transactions,
                commits,
                irqs_off_max_ns,
                aborts,
            }
        ),
        structure!(
            "pagemove_session_list",
            SessionList {
                size,
                flags,
                entries,
                capacity,
                count
            }
        ),
        structure!(
            "pagemove_aperture",
            Aperture {
                id,
                flags,
                segment,
                bus,
                devfn,
                bar,
                length,
                pages,
            }
        ),
        structure!(
            "pagemove_aperture_list",
            ApertureList {
                size,
                flags,
                entries,
                capacity,
                count
            }
        ),
        structure!(
            "pagemove_window",
            Window {
                id,
                flags,
                segment,
                bus,
                devfn,
                number,
                largest,
                length,
                offered,
                kept,
                node,
                reserved,
            }
        ),
        structure!(
            "pagemove_window_list",
            WindowList {
                size,
                flags,
                entries,
                capacity,
                count
            }
        ),
        structure!(
            "pagemove_window_set",
            WindowSet {
                size,
                flags,
                id,
                node,
                length
            }
        ),
        structure!(
            "pagemove_experiment",
            Experiment {
                size,
                kind,
                segment,
                bus,
                devfn,
                reason,
                iova,
                ns,
                found,
                lost,
                updates,
            }
        ),
        structure!(
            "pagemove_verdict",
            Verdict {
                iommu,
                format,
                cpu,
                microcode,
                engines,
                findings,
                flags,
                registers,
            }
        ),
        structure!(
            "pagemove_verdict_set",
            VerdictSet {
                size,
                flags,
                verdict
            }
        ),
        structure!(
            "pagemove_verdict_list",
            VerdictList {
                size,
                flags,
                entries,
                capacity,
                count
            }
        ),
        structure!(
            "pagemove_lift",
            Lift {
                size,
                flags,
                segment,
                bus,
                devfn,
                lifted
            }
        ),
        structure!(
            "pagemove_event",
            Event {
                number,
                time_ns,
                kind,
                id,
                segment,
                bus,
                devfn,
                pid,
                error,
                reason,
                values,
            }
        ),
        structure!(
            "pagemove_events",
            Events {
                size,
                flags,
                entries,
                capacity,
                filled,
                next,
                lost,
                end,
            }
        ),
        structure!("pagemove_verdict_file", VerdictFile { magic, count }),
    ]
}

macro_rules! numbers {
    ($($name:ident),* $(,)?) => {
        vec![$((stringify!($name), Value::Number($name as u64))),*]
    };
}

/// Returns names without the prefix of the header.
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
        IOC_SESSION_LIST,
        IOC_EXPERIMENT,
        IOC_VERDICT_SET,
        IOC_VERDICT_LIST,
        IOC_APERTURE_LIST,
        IOC_OFFER,
        IOC_ARRIVE,
        IOC_RETRACT,
        IOC_WANTED,
        IOC_USED,
        IOC_MAPS,
        IOC_LIFT,
        IOC_EVENTS,
        IOC_WINDOW_LIST,
        IOC_WINDOW_SET,
        PAGE_SIZE,
        MAX_REGION_BYTES,
        MAX_MOVE_PAGES,
        MAX_ENTRIES,
        MAX_RETRIES,
        ENGINE_AUTO,
        ENGINE_ADBIT,
        ENGINE_RTM,
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
        REASON_UNQUALIFIED,
        REASON_NO_RTM,
        REASON_TSC,
        REASON_CPUS,
        REASON_ENCRYPTED,
        REASON_STUCK,
        REASON_NOT_SCRATCH,
        REASON_NO_APERTURE,
        REASON_NO_SLOT,
        REASON_SLOT_TAKEN,
        REASON_NO_PIN,
        REASON_OFFERED,
        REASON_ELSEWHERE,
        REASON_OTHER_PAGE,
        REASON_NO_WINDOW,
        REASON_NOT_IN_WINDOW,
        REASON_ANONYMOUS,
        REASON_NOT_SHMEM,
        REASON_LARGE_FOLIO,
        REASON_SWAP_CACHE,
        REASON_USERFAULTFD,
        REASON_IN_USE,
        REASON_POISONED,
        REASON_OTHER_FRAME,
        REASON_ATS,
        REASON_TYPE1_V1,
        REASON_ASLEEP,
        REASON_NOT_LARGE,
        REASON_DIRECT,
        REASON_NO_SNOOP,
        ABORT_ACCESSED,
        ABORT_DIRTY,
        ABORT_PTE_CHANGED,
        ABORT_OVERWRITTEN,
        ABORT_DEADLINE,
        ABORT_CANCELLED,
        ABORT_INVALIDATE,
        ABORT_LATE,
        ABORT_TIMEOUT,
        ABORT_CONFLICT,
        ABORT_CAPACITY,
        ABORT_INTERRUPT,
        ABORT_EXPLICIT,
        ABORT_DEVICE_GONE,
        ABORT_APERTURE,
        ABORT_IN_USE,
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
        MOVE_SCRATCH,
        MOVE_WATCH,
        MOVE_CLEAR_ACCESSED,
        MOVE_KEEP_LEAVES,
        MOVE_PIECES,
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
        DEVICE_ATS,
        DEVICE_ATS_DOMAIN,
        DEVICE_DIRTY_SCOPE,
        DEVICE_LIST_SIZE_V0,
        PAGE_RESULT_SIZE_V0,
        MOVE_SIZE_V0,
        WINDOW_BUCKETS,
        STATS_SIZE_V0,
        SESSION_BUSY,
        SESSION_STUCK,
        SESSION_LIST_SIZE_V0,
        EXPERIMENT_USED,
        EXPERIMENT_CLEAR,
        EXPERIMENT_SET,
        EXPERIMENT_WATCH,
        EXPERIMENT_RACE,
        EXPERIMENT_FRAMES,
        EXPERIMENT_LANDS,
        EXPERIMENT_SPLIT,
        EXPERIMENT_SIZES,
        FRAME_FIRST,
        FRAME_SECOND,
        USED_ACCESSED,
        USED_DIRTY,
        MAX_EXPERIMENT_NS,
        MAX_WATCH_NS,
        EXPERIMENT_SIZE_V0,
        FINDING_WALK_SEEN,
        FINDING_A_SEEN,
        FINDING_WATCH_SEEN,
        FINDING_AD_CAS,
        FINDING_CLEAN_WALKS,
        FINDING_VALID_CHANGE,
        FINDING_AD_SET,
        FINDING_AD_FIRST,
        FINDING_SPLIT_LIVE,
        FINDING_MERGE_LIVE,
        PARAMETER_ALLOW_INCOHERENT,
        PARAMETER_ALLOW_UNQUALIFIED,
        PARAMETER_REGION_CHUNKS,
        FINDING_NO_WALK_SEEN,
        FINDING_NO_A_SEEN,
        FINDING_NO_WATCH_SEEN,
        FINDING_NO_AD_CAS,
        FINDING_NO_CLEAN_WALKS,
        FINDING_NO_MOVES_ADBIT,
        FINDING_NO_AD_SET,
        FINDING_NO_MOVES_RTM,
        FINDING_NO_AD_FIRST,
        FINDING_NO_SPLIT_LIVE,
        FINDING_NO_MERGE_LIVE,
        VERDICT_ATS,
        VERDICT_SET_SIZE_V0,
        MAX_VERDICTS,
        LIFT_IOMMU,
        LIFT_SIZE_V0,
        EVENT_REGION_MADE,
        EVENT_REGION_CLOSED,
        EVENT_DEVICE_OPENED,
        EVENT_DEVICE_CLOSED,
        EVENT_MOVE_BEGUN,
        EVENT_MOVE_ENDED,
        EVENT_APERTURE_ADDED,
        EVENT_APERTURE_REMOVED,
        EVENT_LINK_UP,
        EVENT_LINK_DOWN,
        EVENT_LOST_WRITE,
        EVENT_LIFTED,
        MAX_EVENTS,
        EVENTS_SIZE_V0,
        VERDICT_LIST_SIZE_V0,
        APERTURE_LIST_SIZE_V0,
        APERTURE_UP,
        DETAIL_OFFERED,
        DETAIL_AWAITED,
        DETAIL_LOST,
        OFFER_AWAIT,
        OFFER_SIZE_V0,
        USED_SIZE_V0,
        USED_CLEAR,
        MEMORY_REGION,
        MEMORY_OTHER,
        MEMORY_DEVICE,
        MEMORY_ANONYMOUS,
        MAPS_SIZE_V0,
        OFFERED_SIZE_V0,
        WANTED_SIZE_V0,
        APERTURE_LINK,
        WINDOW_UP,
        WINDOW_LIST_SIZE_V0,
        WINDOW_SET_SIZE_V0,
        VERDICT_MAGIC,
    ];
    constants.push(("DEVICE", Value::Text(DEVICE)));
    constants.push(("DRIVER", Value::Text(DRIVER)));
    constants.push(("VERDICT_FILE", Value::Text(VERDICT_FILE)));
    constants
}
