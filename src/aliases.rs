// SPDX-License-Identifier: GPL-2.0
//! Pages that devices reach by more than one entry.
//!
//! A move changes one entry. A page with a second one, at another address of the
//! same domain or in the domain of another device, would split in two, so it is
//! refused. VFIO keeps no list of a page's mappings and tells nobody when it
//! makes one; so each call looks through the tables once before it begins.
//! A mapping that is made during the call is not seen: see
//! `Documentation/design.md`, limits.

use crate::device::Device;
use crate::domain::Domain;
use crate::ffi;
use crate::refusal::Refusal;
use crate::sharing;
use engine::{Iova, PageSpan, PhysAddr, PteAddr, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

/// Bits of the filter: most pages that are not asked about miss it.
const FILTER_BITS: u32 = 20;

/// What was found about the pages of one call.
pub(crate) struct Aliases {
    /// Frames that the span maps, ascending.
    frames: KVVec<u64>,
    filter: KVVec<u64>,
    /// Frames with another entry, and why that refuses them.
    found: KVVec<(u64, Refusal)>,
}

/// The addresses that any table of this format can translate: 57 bits.
const EVERYTHING: u64 = 1 << 57;

impl Aliases {
    /// Looks at what `span` maps for the device, and for more entries of the same
    /// pages in every open domain.
    pub(crate) fn find(device: &Device, span: PageSpan) -> Result<Self, Refusal> {
        let mut aliases = Self {
            frames: KVVec::new(),
            filter: KVVec::from_elem(0, 1 << (FILTER_BITS - 6), GFP_KERNEL)
                .map_err(|_| Refusal::NoMemory)?,
            found: KVVec::new(),
        };
        aliases
            .frames
            .reserve(span.pages() as usize, GFP_KERNEL)
            .map_err(|_| Refusal::NoMemory)?;
        let mut own = None;
        device.with_open_domain(|domain| {
            own = Some(domain);
            for_each_leaf(domain, span, |_, page, bytes| {
                // Larger leaves are refused anyway. There is room for each page.
                if bytes == PAGE_SIZE {
                    let _ = aliases.frames.push_within_capacity(page.0 >> PAGE_SHIFT);
                }
            });
        });
        aliases.prepare();
        aliases.look_everywhere(own.ok_or(Refusal::Unmapping)?, span)?;
        Ok(aliases)
    }

    /// Why `page` has to be refused, if it has.
    pub(crate) fn refusal(&self, page: PhysAddr) -> Option<Refusal> {
        let frame = page.0 >> PAGE_SHIFT;
        let found = self.found.iter().find(|(f, _)| *f == frame);
        found.map(|(_, refusal)| *refusal)
    }

    fn prepare(&mut self) {
        self.frames.sort_unstable();
        for frame in self.frames.iter() {
            let bit = hash(*frame);
            if let Some(word) = self.filter.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
        }
    }

    fn is_asked_for(&self, frame: u64) -> bool {
        let bit = hash(frame);
        let word = self.filter.get((bit >> 6) as usize).copied().unwrap_or(0);
        word >> (bit & 63) & 1 != 0 && self.frames.binary_search(&frame).is_ok()
    }

    fn look_everywhere(&mut self, domain: Domain, span: PageSpan) -> Result<(), Refusal> {
        let everything = PageSpan::new(Iova(0), EVERYTHING).ok_or(Refusal::NotMapped)?;
        let mut out_of_memory = self.note_repeated();
        let mut seen: KVec<Domain> = KVec::new();
        sharing::for_each_user_domain(|other| {
            if seen.contains(&other) {
                return;
            }
            out_of_memory |= seen.push(other, GFP_KERNEL).is_err();
            let own = other == domain;
            for_each_leaf(other, everything, |iova, page, bytes| {
                if own && iova >= span.first() && iova <= span.last() {
                    return;
                }
                let refusal = if own { Refusal::Aliased } else { Refusal::SharedPage };
                out_of_memory |= self.note(page, bytes, refusal).is_err();
            });
        });
        if out_of_memory {
            return Err(Refusal::NoMemory);
        }
        Ok(())
    }

    /// Notes pages that the span itself maps twice. Says whether memory ran out.
    fn note_repeated(&mut self) -> bool {
        let mut out_of_memory = false;
        for pair in self.frames.windows(2) {
            if let [a, b] = pair {
                if a == b {
                    let entry = (*a, Refusal::Aliased);
                    out_of_memory |= self.found.push(entry, GFP_KERNEL).is_err();
                }
            }
        }
        out_of_memory
    }

    fn note(&mut self, page: PhysAddr, bytes: u64, refusal: Refusal) -> Result {
        let first = page.0 >> PAGE_SHIFT;
        for frame in first..first.saturating_add(bytes >> PAGE_SHIFT) {
            let known = self.found.iter().any(|(f, _)| *f == frame);
            if self.is_asked_for(frame) && !known {
                self.found.push((frame, refusal), GFP_KERNEL)?;
            }
        }
        Ok(())
    }
}

fn hash(frame: u64) -> u64 {
    frame.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS)
}

/// The page that `iova` maps, if any. A hint: nothing holds it.
pub(crate) fn glance(device: &Device, iova: Iova) -> Option<PhysAddr> {
    let span = PageSpan::new(iova, PAGE_SIZE)?;
    let mut found = None;
    device.with_open_domain(|domain| {
        for_each_leaf(domain, span, |_, page, _| found = Some(page));
    });
    found
}

/// Visits the leaves of a domain that can't go away. Tables may be freed meanwhile; the
/// reads survive that.
fn for_each_leaf(domain: Domain, span: PageSpan, visit: impl FnMut(Iova, PhysAddr, u64)) {
    let Some(top) = domain.top() else { return };
    let mut reads: u32 = 0;
    let read = |pte: PteAddr| {
        reads = reads.wrapping_add(1);
        if reads % 65536 == 0 {
            ffi::yield_cpu();
        }
        let mut value = 0;
        // SAFETY: writes to `value` only; any address is checked before it is read.
        unsafe { ffi::pagemove_read_word(pte.0, &mut value) }.then_some(value)
    };
    engine::scan(top, span, read, visit);
}
