// SPDX-License-Identifier: GPL-2.0
//! Words for the numbers of the ABI: a short name for tables and JSON, and a
//! sentence that says what is wrong and what would be right.
//!
//! Numbers of a newer module have no entry; callers print the number then.

use crate::abi::*;
use crate::numbers::{engine_number, format_number};
use engine::{Format, Method};

mod aborts;
mod reasons;

pub use aborts::ABORTS;
pub use reasons::REASONS;

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

/// Makes the text of a constant that is a mask of one bit.
const fn flag(mask: u32, name: &'static str, help: &'static str) -> Text {
    text(mask.trailing_zeros(), name, help)
}

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

pub const ENGINES: &[Text] = &{
    let mut all = [const { of_no_engine() }; 1 + Method::ALL.len()];
    let mut n = 0;
    while n < Method::ALL.len() {
        all[n + 1] = of_engine(Method::ALL[n]);
        n += 1;
    }
    all
};

const fn of_no_engine() -> Text {
    text(
        ENGINE_AUTO,
        "auto",
        "the best engine that works here: the usual choice",
    )
}

/// Returns the words for an engine.
pub const fn of_engine(method: Method) -> Text {
    let (name, help) = match method {
        Method::AdBit => (
            "adbit",
            "accessed and dirty bits with compare-and-swap: needs an IOMMU that sets them",
        ),
        Method::Rtm => (
            "rtm",
            "a hardware transaction: needs an Intel CPU with RTM, and a machine that is qualified for it",
        ),
    };
    text(engine_number(method), name, help)
}

pub const FORMATS: &[Text] = &{
    let mut all = [const { of_no_format() }; 1 + Format::ALL.len()];
    let mut n = 0;
    while n < Format::ALL.len() {
        all[n + 1] = of_format(Format::ALL[n]);
        n += 1;
    }
    all
};

const fn of_no_format() -> Text {
    text(
        FORMAT_UNKNOWN,
        "unknown",
        "no format that pagemove knows, or the device is not open: open it first",
    )
}

/// Returns the words for a table format.
pub const fn of_format(format: Format) -> Text {
    let (name, help) = match format {
        Format::X86_64 => (
            "x86_64",
            "VT-d first stage or AMD v2: pages can be moved by adbit, and by rtm where it is qualified",
        ),
        Format::VtdSs => (
            "vtdss",
            "VT-d second stage: pages can be moved by rtm where it is qualified, by no other engine",
        ),
        Format::AmdV1 => (
            "amdv1",
            "AMD v1: pages can be moved by rtm where it is qualified, by no other engine",
        ),
    };
    text(format_number(format), name, help)
}

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

pub const EVENTS: &[Text] = &[
    text(
        EVENT_REGION_MADE,
        "region-made",
        "a process has mapped a region, or set it up",
    ),
    text(
        EVENT_REGION_CLOSED,
        "region-closed",
        "the last copy of its file was closed",
    ),
    text(
        EVENT_DEVICE_OPENED,
        "device-opened",
        "a VMM has opened a device",
    ),
    text(EVENT_DEVICE_CLOSED, "device-closed", "a device was closed"),
    text(EVENT_MOVE_BEGUN, "move-begun", "a call moves pages"),
    text(
        EVENT_MOVE_ENDED,
        "move-ended",
        "a call that moves pages has ended",
    ),
    text(
        EVENT_APERTURE_ADDED,
        "aperture-added",
        "there is one more aperture",
    ),
    text(
        EVENT_APERTURE_REMOVED,
        "aperture-removed",
        "an aperture has gone",
    ),
    text(EVENT_LINK_UP, "link-up", "the link of an NTB has come up"),
    text(
        EVENT_LINK_DOWN,
        "link-down",
        "the link of an NTB has gone down",
    ),
    text(
        EVENT_LOST_WRITE,
        "lost-write",
        "verification found a lost write: nothing is moved there until `pagemove lift`",
    ),
    text(
        EVENT_LIFTED,
        "lifted",
        "lost writes were forgotten, and pages are moved there again",
    ),
];

pub const MEMORIES: &[Text] = &[
    text(MEMORY_REGION, "region", "pages of a region"),
    text(
        MEMORY_OTHER,
        "other",
        "memory of this host that is in no region: memfd, tmpfs, and what can not be moved",
    ),
    text(
        MEMORY_ANONYMOUS,
        "anonymous",
        "anonymous memory, which can not be moved, such as what a VMM maps for a ROM",
    ),
    text(
        MEMORY_DEVICE,
        "device",
        "no memory of this host: a BAR that another device may reach",
    ),
];

/// Flags of a move. The number is that of the bit.
pub const MOVE_FLAGS: &[Text] = &[
    flag(
        MOVE_NO_VERIFY,
        "no-verify",
        "leave out the verification after the commit: a lost write is not noticed",
    ),
    flag(
        MOVE_EVEN_IF_THERE,
        "even-if-there",
        "move pages that are at the destination node, too: to other pages of it",
    ),
    flag(
        MOVE_SCRATCH,
        "scratch",
        "an experiment with pages of the caller's own region: needs no verdict",
    ),
    flag(
        MOVE_WATCH,
        "watch",
        "rtm: abort at once when the source is written, where the CPU notices",
    ),
    flag(
        MOVE_CLEAR_ACCESSED,
        "clear-accessed",
        "rtm: clear the accessed bit first, for machines that notice a walk only when it sets it",
    ),
    flag(
        MOVE_KEEP_LEAVES,
        "keep-leaves",
        "split no leaf of 2 MiB: they move whole or not at all",
    ),
    flag(
        MOVE_PIECES,
        "pieces",
        "move no leaf of 2 MiB whole: page by page",
    ),
];

/// What experiments have shown. The number is that of the bit.
pub const FINDINGS: &[Text] = &[
    flag(
        FINDING_WALK_SEEN,
        "walk-seen",
        "a walk of an entry that a transaction has written aborts it: what rtm relies on",
    ),
    flag(
        FINDING_A_SEEN,
        "a-seen",
        "a walk that sets the accessed bit aborts the transaction: rtm works if it is cleared first",
    ),
    flag(
        FINDING_WATCH_SEEN,
        "watch-seen",
        "a device write to a line that a transaction has read aborts it: watching is of use",
    ),
    flag(
        FINDING_AD_CAS,
        "ad-cas",
        "no accessed or dirty update that raced a swap has overwritten it: what adbit relies on",
    ),
    flag(
        FINDING_CLEAN_WALKS,
        "clean-walks",
        "a write through a cached entry without the dirty bit walks again: the dirty bit tells all",
    ),
    flag(
        FINDING_VALID_CHANGE,
        "valid-change",
        "entries that were changed while valid, under load, lost nothing: what a commit relies on",
    ),
    flag(
        FINDING_AD_SET,
        "ad-set",
        "the IOMMU sets accessed and dirty bits in this format: adbit can see its accesses",
    ),
    flag(
        FINDING_AD_FIRST,
        "ad-first",
        "accessed and dirty bits are set before the access lands: what adbit relies on",
    ),
    flag(
        FINDING_SPLIT_LIVE,
        "split-live",
        "leaves of 2 MiB in use were split, under load, and nothing was lost",
    ),
    flag(
        FINDING_MERGE_LIVE,
        "merge-live",
        "tables in use became leaves of 2 MiB again, under load, and nothing was lost",
    ),
    flag(FINDING_NO_WALK_SEEN, "no-walk-seen", "a transaction committed over a walk of the entry, and a write was lost: rtm may not rely on it"),
    flag(FINDING_NO_A_SEEN, "no-a-seen", "the same where the accessed bit was cleared first: rtm may not rely on that either"),
    flag(FINDING_NO_WATCH_SEEN, "no-watch-seen", "device writes to lines that a transaction has read abort nothing: watching is of no use"),
    flag(FINDING_NO_AD_CAS, "no-ad-cas", "an accessed or dirty update has overwritten a swap: moves by adbit have to be verified"),
    flag(FINDING_NO_CLEAN_WALKS, "no-clean-walks", "a write through a cached entry without the dirty bit did not walk again: nothing may rely on it"),
    flag(FINDING_NO_MOVES_ADBIT, "no-moves-adbit", "moves by adbit have lost something under load: that engine is not allowed"),
    flag(FINDING_NO_AD_SET, "no-ad-set", "the IOMMU does not set accessed and dirty bits each time: adbit is not allowed"),
    flag(FINDING_NO_MOVES_RTM, "no-moves-rtm", "moves by rtm have lost something under load: that engine is not allowed"),
    flag(FINDING_NO_AD_FIRST, "no-ad-first", "a write has landed before accessed and dirty bits were set: adbit is not allowed"),
    flag(FINDING_NO_SPLIT_LIVE, "no-split-live", "beside splits of leaves in use something was lost, or an old entry came back: none in use is split"),
    flag(FINDING_NO_MERGE_LIVE, "no-merge-live", "beside merges something was lost, or an old entry came back: no table in use becomes a leaf"),
];

fn find(table: &'static [Text], number: u32) -> Option<&'static Text> {
    table.iter().find(|text| text.number == number)
}

/// Returns the text of a member that is padded with zeroes; none where there is none.
pub fn padded(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
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

/// Returns the number with this name.
pub fn number(table: &'static [Text], name: &str) -> Option<u32> {
    let named = table.iter().find(|text| text.name == name);
    named.map(|text| text.number)
}

/// Returns the name in a table, or the number of one that is newer than this program.
pub fn name_or_number(table: &'static [Text], number: u32) -> String {
    find(table, number).map_or_else(|| number.to_string(), |text| text.name.to_string())
}

/// Returns the names of the bits set in a mask, lowest first.
pub fn names_of_mask(table: &'static [Text], mask: u32) -> Vec<String> {
    (0..u32::BITS)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| name_or_number(table, bit))
        .collect()
}

/// Returns the series of kernels, "7.2", that has a number like `Info::tested_first`; none if a module too
/// old to tell has left it 0.
pub fn series(version: u32) -> Option<String> {
    let (major, minor) = (version >> 16, version >> 8 & 0xff);
    (version != 0).then(|| format!("{major}.{minor}"))
}

#[cfg(test)]
mod tests;
