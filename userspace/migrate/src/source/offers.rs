// SPDX-License-Identifier: GPL-2.0
//! Where in the aperture B offers room for each page, checked as it comes.

use roaring::RoaringBitmap;

use crate::message::Offer;
use crate::span::{Run, PAGE};
use crate::wrong::Wrong;

#[derive(Debug)]
pub struct Offers {
    span: Run,
    /// Bytes of the aperture.
    length: u64,
    /// For the pages from the span's first.
    targets: Vec<u64>,
    /// Pages of the aperture that are taken.
    taken: RoaringBitmap,
}

impl Offers {
    pub fn new(span: Run, length: u64) -> Self {
        Self {
            span,
            length,
            targets: Vec::new(),
            taken: RoaringBitmap::new(),
        }
    }

    /// Returns what to ask for next.
    pub fn missing(&self, most: u32) -> Option<Run> {
        let have = self.targets.len() as u32;
        let count = (self.span.count - have).min(most);
        (count > 0).then(|| Run::new(self.span.first + have, count))
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
        self.targets.get(index as usize).copied()
    }

    /// Returns the frames of pages that are all in the span.
    pub fn targets(&self, run: Run) -> Vec<u64> {
        run.pages().filter_map(|page| self.target(page)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(first: u32, count: u32, target: u64) -> Offer {
        Offer {
            run: Run::new(first, count),
            target,
        }
    }

    fn offers() -> Offers {
        Offers::new(Run::new(10, 8), 64 * PAGE)
    }

    #[test]
    fn offers_are_taken_in_order() {
        let mut offers = offers();
        assert_eq!(offers.missing(5), Some(Run::new(10, 5)));
        offers
            .take(Run::new(10, 5), &[offer(10, 2, 62 * PAGE), offer(12, 3, 0)])
            .unwrap();
        assert_eq!(offers.missing(5), Some(Run::new(15, 3)));
        offers
            .take(Run::new(15, 3), &[offer(15, 3, 3 * PAGE)])
            .unwrap();
        assert_eq!(offers.missing(5), None);
        assert_eq!(offers.targets(Run::new(11, 3)), [63 * PAGE, 0, PAGE]);
        assert_eq!(offers.target(17), Some(5 * PAGE));
        assert_eq!((offers.target(9), offers.target(18)), (None, None));
    }

    #[test]
    fn bad_offers_change_nothing() {
        let mut good = offers();
        good.take(Run::new(10, 2), &[offer(10, 2, 0)]).unwrap();
        let asked = Run::new(12, 4);
        for (bad, reason) in [
            (vec![offer(12, 4, 100)], "not that of a page"),
            (vec![offer(12, 4, 61 * PAGE)], "not all in the aperture"),
            (
                vec![offer(12, 4, u64::MAX - PAGE + 1)],
                "not all in the aperture",
            ),
            (vec![offer(12, 4, PAGE)], "offered twice"),
            (
                vec![offer(12, 2, 8 * PAGE), offer(14, 2, 9 * PAGE)],
                "offered twice",
            ),
            (vec![offer(12, 3, 8 * PAGE)], "asked for and not offered"),
            (vec![offer(12, 5, 8 * PAGE)], "are not all of"),
            (vec![offer(12, 0, 8 * PAGE)], "a run of no pages"),
            (vec![offer(13, 3, 8 * PAGE)], "was due"),
            (vec![offer(12, u32::MAX, 8 * PAGE)], "are not all of"),
            (vec![], "asked for and not offered"),
        ] {
            let wrong = good.take(asked, &bad).unwrap_err();
            assert!(wrong.0.contains(reason), "{bad:?}: {wrong}");
            assert_eq!(good.missing(4), Some(asked), "{bad:?}");
        }
        good.take(asked, &[offer(12, 4, 8 * PAGE)]).unwrap();
    }
}
