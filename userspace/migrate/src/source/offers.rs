// SPDX-License-Identifier: GPL-2.0
//! Where in the aperture B offers room for each page, checked as it comes.

use roaring::RoaringBitmap;

use crate::message::Offer;
use crate::span::{Run, PAGE};
use crate::wrong::Wrong;

/// Stands for a page that is in a hole: no offset is.
const NONE: u64 = u64::MAX;

#[derive(Debug)]
pub struct Offers {
    span: Run,
    holes: RoaringBitmap,
    /// Bytes of the aperture.
    length: u64,
    /// For the pages from the span's first.
    targets: Vec<u64>,
    /// Pages of the aperture that are taken.
    taken: RoaringBitmap,
}

impl Offers {
    pub fn new(span: Run, holes: RoaringBitmap, length: u64) -> Self {
        Self {
            span,
            holes,
            length,
            targets: Vec::new(),
            taken: RoaringBitmap::new(),
        }
    }

    /// Returns what to ask for next.
    pub fn missing(&mut self, most: u32) -> Option<Run> {
        let next = |targets: &[u64]| self.span.first.saturating_add(targets.len() as u32);
        while self.holes.contains(next(&self.targets)) {
            self.targets.push(NONE);
        }
        let first = next(&self.targets);
        let end = self.holes.range(first..).next();
        let end = end.map_or(self.span.end(), |hole| hole.min(self.span.end()));
        let count = end.saturating_sub(first).min(most);
        (count > 0).then(|| Run::new(first, count))
    }

    /// Takes all of `offers`, which have to be those of `asked`, or none of them.
    pub fn take(&mut self, asked: Run, offers: &[Offer]) -> Result<(), Wrong> {
        let mut page = asked.first;
        let mut targets = Vec::with_capacity(asked.count as usize);
        let mut taken = self.taken.clone();
        for offer in offers {
            if offer.run.first != page {
                return Err(Wrong::new(format!(
                    "an offer for page {} came where page {page} was due",
                    offer.run.first
                )));
            }
            asked.check(offer.run)?;
            self.check(offer)?;
            let first = (offer.target / PAGE) as u32;
            for n in 0..offer.run.count {
                if !taken.insert(first + n) {
                    return Err(Wrong::new(format!(
                        "offset {:#x} of the aperture was offered twice, the second time for \
                         page {}",
                        u64::from(first + n) * PAGE,
                        page + n
                    )));
                }
                targets.push(offer.target + u64::from(n) * PAGE);
            }
            page = offer.run.end();
        }
        if page != asked.end() {
            return Err(Wrong::new(format!(
                "pages {page} to {} were asked for and not offered",
                asked.end() - 1
            )));
        }
        self.taken = taken;
        self.targets.append(&mut targets);
        Ok(())
    }

    fn check(&self, offer: &Offer) -> Result<(), Wrong> {
        let Offer { run, target } = offer;
        if target % PAGE != 0 {
            return Err(Wrong::new(format!(
                "page {} was offered the offset {target:#x}, which is not that of a page",
                run.first
            )));
        }
        let end = target.checked_add(u64::from(run.count) * PAGE);
        if end.is_none_or(|end| end > self.length || end / PAGE > u64::from(u32::MAX)) {
            return Err(Wrong::new(format!(
                "page {} was offered the offset {target:#x}, and {} pages from there on are \
                 not all in the aperture, which has {:#x} bytes",
                run.first, run.count, self.length
            )));
        }
        Ok(())
    }

    pub fn target(&self, page: u32) -> Option<u64> {
        let index = page.checked_sub(self.span.first)?;
        let target = self.targets.get(index as usize).copied();
        target.filter(|target| *target != NONE)
    }

    /// Returns the frames of pages that are all in the span.
    pub fn targets(&self, run: Run) -> Vec<u64> {
        run.pages().filter_map(|page| self.target(page)).collect()
    }
}

#[cfg(test)]
#[path = "offers_tests.rs"]
mod tests;
