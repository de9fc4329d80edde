// SPDX-License-Identifier: GPL-2.0
//! Words for the numbers of the ABI: a short name for tables and JSON, and a
//! sentence that says what is wrong and what would be right.
//!
//! Numbers of a newer module have no entry; callers print the number then.

use crate::abi::*;

/// A number's name and explanation.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    pub number: u32,
    pub name: &'static str,
    pub help: &'static str,
}

const fn text(number: u32, name: &'static str, help: &'static str) -> Text {
    Text { number, name, help }
}

pub const REASONS: &[Text] = &[
    text(REASON_NONE, "none", "nothing stands in the way"),
    text(
        REASON_FORMAT,
        "format",
        "this IOMMU page-table format gets no accessed and dirty bits from the hardware here: VT-d \
         needs scalable mode with first-stage tables (intel_iommu=on,sm_on)",
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
        "the IOMMU maps this memory in a leaf larger than 4096 bytes: map it in smaller pieces, or \
         load vfio_iommu_type1 with disable_hugepages=1",
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
        "verification found a lost write on this IOMMU before, so moving is off: do not use pagemove \
         on this machine; only loading the module anew turns it on again",
    ),
    text(
        REASON_NOT_MAPPED,
        "not-mapped",
        "the device has no mapping at this IOVA: give an IOVA that the VMM has mapped",
    ),
    text(
        REASON_NOT_REGION,
        "not-region",
        "the IOVA maps memory that is not a page of a region: give the guest memory from \
         /dev/pagemove (memory-backend-file, mem-path=/dev/pagemove, share=on)",
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
];

pub const ABORTS: &[Text] = &[
    text(ABORT_ACCESSED as u32, "accessed", "a device read the page: try again when it is quieter"),
    text(ABORT_DIRTY as u32, "dirty", "a device wrote the page: try again when it is quieter"),
    text(
        ABORT_PTE_CHANGED as u32,
        "pte-changed",
        "something else changed the page-table entry: try again when nothing else edits the mapping",
    ),
    text(
        ABORT_OVERWRITTEN as u32,
        "overwritten",
        "a racing accessed or dirty update took the new entry back: try again, the source is intact",
    ),
    text(ABORT_DEADLINE as u32, "deadline", "the deadline passed before the commit: give more time"),
    text(
        ABORT_CANCELLED as u32,
        "cancelled",
        "a signal, an unmap or a close came before the commit: try again if the mapping stays",
    ),
    text(
        ABORT_INVALIDATE as u32,
        "invalidate",
        "the IOMMU did not complete an invalidation: check that the device still answers",
    ),
];

pub const OUTCOMES: &[Text] = &[
    text(PAGE_NOT_TRIED as u32, "not-tried", "the call ended before this page: ask again for it"),
    text(PAGE_MOVED as u32, "moved", "the page is at the destination now: nothing is left to do"),
    text(
        PAGE_ABORTED as u32,
        "aborted",
        "every attempt was aborted and the page is where it was: allow more retries, or try later",
    ),
    text(PAGE_REFUSED as u32, "refused", "the page can not be moved: the reason says why"),
    text(
        PAGE_LOST_WRITE as u32,
        "lost-write",
        "a device write to this page was lost: stop the guest and do not use pagemove on this machine",
    ),
    text(
        PAGE_ALREADY_THERE as u32,
        "already-there",
        "the page was at the destination node before: nothing was to be done",
    ),
];

pub const ENGINES: &[Text] = &[
    text(
        ENGINE_AUTO,
        "auto",
        "the best engine that works here: the usual choice",
    ),
    text(
        ENGINE_ADBIT,
        "adbit",
        "accessed and dirty bits with compare-and-swap: needs an IOMMU that sets them",
    ),
];

pub const FORMATS: &[Text] = &[
    text(
        FORMAT_UNKNOWN,
        "unknown",
        "no format that pagemove knows, or the device is not open: open it first",
    ),
    text(
        FORMAT_X86_64,
        "x86_64",
        "VT-d first stage or AMD v2: pages can be moved",
    ),
    text(
        FORMAT_VTDSS,
        "vtdss",
        "VT-d second stage: can not be moved, use scalable mode with first-stage tables",
    ),
    text(
        FORMAT_AMDV1,
        "amdv1",
        "AMD v1: can not be moved, use an IOMMU with x86_64 tables",
    ),
];

pub const PLACES: &[Text] = &[
    text(
        PLACE_NONE,
        "none",
        "not allocated yet: it will be when it is first touched",
    ),
    text(
        PLACE_NODE,
        "node",
        "memory of a NUMA node: the number is the node's",
    ),
    text(
        PLACE_APERTURE,
        "aperture",
        "memory behind an aperture: the number is the aperture's",
    ),
];

fn find(table: &'static [Text], number: u32) -> Option<&'static Text> {
    table.iter().find(|text| text.number == number)
}

pub fn reason(number: u32) -> Option<&'static Text> {
    find(REASONS, number)
}

pub fn abort(number: u8) -> Option<&'static Text> {
    find(ABORTS, number.into())
}

pub fn outcome(number: u8) -> Option<&'static Text> {
    find(OUTCOMES, number.into())
}

pub fn engine(number: u32) -> Option<&'static Text> {
    find(ENGINES, number)
}

pub fn format(number: u32) -> Option<&'static Text> {
    find(FORMATS, number)
}

pub fn place(number: u32) -> Option<&'static Text> {
    find(PLACES, number)
}

/// The name in a table, or the number of one that is newer than this program.
pub fn name_or_number(table: &'static [Text], number: u32) -> String {
    find(table, number).map_or_else(|| number.to_string(), |text| text.name.to_string())
}

/// The names of the bits set in a mask, lowest first.
pub fn names_of_mask(table: &'static [Text], mask: u32) -> Vec<String> {
    (0..u32::BITS)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| name_or_number(table, bit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [(&str, &[Text]); 6] = [
        ("PAGEMOVE_REASON_", REASONS),
        ("PAGEMOVE_ABORT_", ABORTS),
        ("PAGEMOVE_PAGE_", OUTCOMES),
        ("PAGEMOVE_ENGINE_", ENGINES),
        ("PAGEMOVE_FORMAT_", FORMATS),
        ("PAGEMOVE_PLACE_", PLACES),
    ];

    /// Sizes share a prefix with a table but name no member of it.
    const NO_MEMBERS: [&str; 3] = [
        "PAGEMOVE_ABORT_NR",
        "PAGEMOVE_ABORT_SLOTS",
        "PAGEMOVE_PAGE_SIZE",
    ];

    /// (name, number) of each constant of the header with this prefix.
    fn members(prefix: &str) -> Vec<(String, u32)> {
        include_str!("../../../include/uapi/linux/pagemove.h")
            .lines()
            .filter_map(|line| line.strip_prefix("#define "))
            .filter(|line| line.starts_with(prefix))
            .map(|line| {
                let mut words = line.split_whitespace();
                (
                    words.next().unwrap().to_string(),
                    words.next().unwrap().parse().unwrap_or(u32::MAX),
                )
            })
            .filter(|(name, _)| !NO_MEMBERS.contains(&name.as_str()))
            .collect()
    }

    #[test]
    fn every_number_of_the_header_has_its_words() {
        for (prefix, table) in TABLES {
            let members = members(prefix);
            assert_eq!(members.len(), table.len(), "{prefix}: {members:?}");
            for (name, number) in members {
                let text = find(table, number).unwrap_or_else(|| panic!("{name} has no text"));
                let expected = name[prefix.len()..].to_lowercase().replace('_', "-");
                assert_eq!(text.name.replace('_', "-"), expected);
            }
        }
    }

    #[test]
    fn help_is_one_sentence() {
        for text in TABLES.iter().flat_map(|(_, table)| table.iter()) {
            assert!(
                text.help.len() > 15 && !text.help.ends_with('.'),
                "{}",
                text.name
            );
            assert!(!text.help.contains("  "), "{}: {:?}", text.name, text.help);
        }
        for text in &REASONS[1..] {
            assert!(
                text.help.contains(": "),
                "{} does not say what would be right",
                text.name
            );
        }
    }

    #[test]
    fn masks_name_their_bits() {
        assert_eq!(names_of_mask(ENGINES, 0b10), ["adbit"]);
        assert_eq!(names_of_mask(ENGINES, 0b1000_0010), ["adbit", "7"]);
        assert!(names_of_mask(FORMATS, 0).is_empty());
    }
}
