// SPDX-License-Identifier: GPL-2.0
//! The world as the helper's CPU sees it.

use crate::mail::Flight;
use crate::memory::{address, Place};
use crate::{Glue, World};
use engine::rtm::{Helping, Report, Request};
use engine::{ApertureError, Checksum, InvalidateError, LeafSize, PageSpan, PhysAddr, Transfer};

/// The other CPU.
pub struct HelperCpu<'a>(pub &'a mut World);

impl Transfer for HelperCpu<'_> {
    const PARTS: u32 = World::PARTS;
    const PIECES: u16 = World::PIECES;

    fn invalidate(&mut self, span: PageSpan) {
        self.0.invalidate(span);
    }

    /// The editor may have given up meanwhile: then nothing more is touched.
    fn invalidated(&mut self) -> Option<Result<(), InvalidateError>> {
        let result = self.0.invalidated()?;
        let mail = &mut self.0.mail;
        if mail.flight == Flight::Abandoned && !self.0.config.without.contains(Glue::LAND) {
            return Some(Err(InvalidateError::Failed));
        }
        mail.flight = Flight::Landed;
        Some(result)
    }

    fn copy(&mut self, from: PhysAddr, to: PhysAddr, part: u32, sum: Checksum) -> Checksum {
        self.0.copy(from, to, part, sum)
    }

    fn publish(
        &mut self,
        start: PhysAddr,
        end: PhysAddr,
        size: LeafSize,
    ) -> Result<(), ApertureError> {
        self.0.publish(start, end, size)
    }
}

impl Helping for HelperCpu<'_> {
    fn ticks(&mut self) -> u64 {
        let skew = self.0.config.hardware.skew;
        let now = self.0.clock.saturating_add_signed(i64::from(skew));
        self.0.mail.read = Some((now, self.0.clock));
        self.0.mail.set = 0;
        now
    }

    fn request(&mut self) -> Option<Request> {
        let mail = &mut self.0.mail;
        std::mem::take(&mut mail.fresh).then_some(mail.request)?
    }

    fn ready(&mut self) {
        self.0.mail.ready = true;
    }

    fn is_cancelled(&mut self) -> bool {
        self.0.mail.cancelled
    }

    fn page(&mut self, n: u16) -> (PhysAddr, PhysAddr) {
        let page = self.0.mail.pages[usize::from(n)];
        (address(Place::Start, page), address(Place::End, page))
    }

    fn put_sum(&mut self, n: u16, sum: Checksum) {
        self.0.mail.sums[usize::from(n)] = sum;
    }

    fn set_slot(&mut self, n: u64) {
        let n = n as usize;
        self.0.touches_slot(n);
        self.0.slots[n] = self.0.mail.generation;
        self.0.mail.set += 1;
    }

    fn report(&mut self, report: Report) {
        // How long it took is for the controller, which is not part of the model.
        self.0.mail.report = Some(Report {
            phase2: 0,
            ..report
        });
        self.0.mail.read = None;
        self.0.mail.set = 0;
    }
}
