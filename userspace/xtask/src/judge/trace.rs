// SPDX-License-Identifier: GPL-2.0
//! QEMU's trace, as far as it is about invalidations and marked copies.
//!
//! Descriptors are those of the VT-d specification, 6.5.2; QEMU traces the two halves
//! of each when it processes it, and a wait when it stores the wait's status.

use std::fmt;

pub const PAGE: u64 = 4096;

/// Marks of `src/marker.rs`, which are selections of firmware items.
const MARK: u64 = 1 << 13;
const MARK_END: u64 = 1 << 15;
/// So many pages of a region have marks of their own.
pub const MARKED_PAGES: u64 = MARK;

/// Addresses, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    const EVERYTHING: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// Returns the smallest aligned block of a power of two of pages around these: what an
    /// invalidation can name.
    pub fn block(first: u64, last: u64) -> Self {
        let bits = (u64::BITS - (first ^ last).leading_zeros()).max(PAGE.trailing_zeros());
        Self::aligned(first, bits)
    }

    fn aligned(address: u64, bits: u32) -> Self {
        let low = 1u64.checked_shl(bits).map_or(u64::MAX, |size| size - 1);
        Self {
            first: address & !low,
            last: address | low,
        }
    }

    pub fn covers(&self, address: u64) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Returns whether `other` lies within it.
    pub fn holds(&self, other: &Self) -> bool {
        self.covers(other.first) && self.covers(other.last)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..={:#x}", self.first, self.last)
    }
}

/// What is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tlb {
    Iotlb,
    /// The TLB of the device with this source id.
    Device(u16),
}

impl fmt::Display for Tlb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tlb::Iotlb => write!(f, "IOTLB"),
            Tlb::Device(sid) => write!(f, "TLB of device {sid:04x}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Invalidate(Tlb, Span),
    /// The status of a wait was stored: what was before it is complete.
    Waited,
    /// The copy of a page of a region begins, or ends.
    Copy(u64),
    Copied(u64),
}

/// Returns the events of a trace in their order.
pub fn parse(trace: &str) -> Vec<Event> {
    trace.lines().filter_map(event).collect()
}

fn event(line: &str) -> Option<Event> {
    let (name, rest) = line.split_once(' ')?;
    match name {
        "vtd_inv_desc" => invalidation(rest),
        "vtd_inv_desc_wait_sw" => Some(Event::Waited),
        "fw_cfg_select" => mark(number(rest, "key ")?),
        _ => None,
    }
}

/// Returns the number after `before`.
fn number(text: &str, before: &str) -> Option<u64> {
    let (_, rest) = text.split_once(before)?;
    let word = rest.split([' ', ',']).next()?;
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

fn mark(key: u64) -> Option<Event> {
    let page = key & (MARK - 1);
    match key & !(MARK - 1) {
        MARK => Some(Event::Copy(page)),
        kind if kind == MARK | MARK_END => Some(Event::Copied(page)),
        _ => None,
    }
}

fn invalidation(text: &str) -> Option<Event> {
    let (_, rest) = text.split_once("type ")?;
    let (kind, _) = rest.split_once(' ')?;
    let (high, low) = (number(rest, "high ")?, number(rest, "low ")?);
    match kind {
        // 6.5.2.3 and 6.5.2.4: granularity 3 names pages, others name more.
        "iotlb" | "p-iotlb" => {
            let pages = low >> 4 & 3 == 3;
            let bits = (high & 0x3f) as u32 + PAGE.trailing_zeros();
            let span = if pages {
                Span::aligned(high & !(PAGE - 1), bits)
            } else {
                Span::EVERYTHING
            };
            Some(Event::Invalidate(Tlb::Iotlb, span))
        }
        // 6.5.2.5: with S the ones below the lowest zero of the address are the size.
        "device" => {
            let address = high & !(PAGE - 1);
            let bits = match high & 1 {
                0 => PAGE.trailing_zeros(),
                _ => (address | (PAGE - 1)).trailing_ones() + 1,
            };
            let sid = (low >> 32) as u16;
            Some(Event::Invalidate(
                Tlb::Device(sid),
                Span::aligned(address, bits),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
