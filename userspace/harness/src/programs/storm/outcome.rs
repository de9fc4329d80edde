// SPDX-License-Identifier: GPL-2.0
//! What came of a storm, and what has to have come of it.

use pagemove_devices::device::Kind;
use pagemove_testkit::tap::{note, Tap};

use super::Options;
use crate::campaign::mover::Work;
use crate::campaign::Sums;
use crate::ledger::account::{DeviceStatus, Status};
use crate::programs::figures::Figures;

/// What there is when the moves have ended.
pub struct Outcome {
    pub figures: Figures,
    pub work: Vec<Work>,
    pub last: Vec<Status>,
    /// The module's own count of the pages moved.
    pub counted: u64,
    pub windows: String,
    pub engine_is_as_asked: bool,
}

/// Returns how many commands a device has to have had at a time. The network card's ring has room for
/// fewer.
fn deep(kind: Kind) -> u64 {
    match kind {
        Kind::Nvme => 32,
        Kind::VirtioNet => 16,
        Kind::Edu => 1,
    }
}

impl Outcome {
    pub fn report_moves(&self, options: &Options, tap: &mut Tap) {
        let figures = &self.figures;
        let ended: Vec<&str> = self
            .work
            .iter()
            .filter_map(|one| one.ended.as_deref())
            .collect();
        let by_mover: Vec<String> = self
            .work
            .iter()
            .map(|one| one.sums.pages_moved.to_string())
            .collect();
        let why = if ended.is_empty() {
            String::new()
        } else {
            format!(" ({})", ended.join("; "))
        };
        tap.test(
            figures.moves >= options.moves
                && self.work.iter().all(|one| one.sums.pages_moved > 0)
                && self.engine_is_as_asked
                && ended.is_empty(),
            &format!(
                "{} page moves by engine {}, {} wanted: {} by each mover, in {} calls, {:.0} % of the time{why}",
                figures.moves,
                options.campaign.engine,
                options.moves,
                by_mover.join(" and "),
                figures.calls,
                figures.moving * 100.0
            ),
        );
        let mut sums = Sums::default();
        self.work.iter().for_each(|one| sums.merge(&one.sums));
        tap.test(
            sums.aborts_by_access() > 0 && sums.moved_by_retry > 0,
            &format!(
                "aborts: {}; {} pages moved by a later attempt, {} given up by a call",
                sums.describe_aborts(),
                sums.moved_by_retry,
                sums.given_up
            ),
        );
        tap.test(
            sums.lost == 0,
            &format!(
                "{} pages with a lost write by the module's own verification",
                sums.lost
            ),
        );
        let misplaced: u64 = self.work.iter().map(|one| one.misplaced).sum();
        tap.test(
            misplaced == 0,
            &format!("{misplaced} pages were not where the tool said"),
        );
        tap.test(
            self.counted == figures.moves,
            &format!(
                "the module counts {} pages moved, the tools {}",
                self.counted, figures.moves
            ),
        );
    }

    pub fn report_blocks(&self, options: &Options, tap: &mut Tap) {
        let figures = &self.figures;
        tap.test(
            figures.blocks >= options.blocks,
            &format!(
                "{} blocks read and written in {} DMAs and {:.1} s, at least {} wanted",
                figures.blocks, figures.dmas, figures.seconds, options.blocks
            ),
        );
        let are_deep = self.is_deep(options);
        tap.test(are_deep, &figures.describe_devices().join("; "));
        for status in &self.last {
            status.events.iter().for_each(|event| note(event));
        }
        let in_memory =
            |status: &Status| status.losses() - status.medium_lost - status.medium_stale;
        let clean = self
            .last
            .iter()
            .all(|status| in_memory(status) == 0 && status.failed.is_none());
        tap.test(
            clean,
            &format!(
                "{} pages compared in memory: {}",
                figures.compared,
                self.losses()
            ),
        );
        if options.devices.iter().any(|kind| kind.keeps()) {
            let lost: u64 = self.last.iter().map(|status| status.medium_lost).sum();
            let stale: u64 = self.last.iter().map(|status| status.medium_stale).sum();
            tap.test(
                figures.medium > 0 && lost + stale == 0,
                &format!(
                    "{} blocks read back from the media by memory that does not move: {lost} lost, {stale} stale",
                    figures.medium
                ),
            );
        }
    }

    /// Returns whether each device had as many commands at a time as it has to have.
    pub fn is_deep(&self, options: &Options) -> bool {
        let devices = &self.figures.devices;
        let deep_enough = |(kind, (_, device)): (&Kind, &(String, DeviceStatus))| {
            device.deepest >= deep(*kind) && device.blocks > 0
        };
        devices.len() == options.devices.len()
            && options.devices.iter().zip(devices).all(deep_enough)
    }

    fn losses(&self) -> String {
        if self.last.iter().all(Status::is_clean) {
            return "0 lost, 0 stale".to_string();
        }
        let losses: Vec<String> = self.last.iter().map(Status::describe_losses).collect();
        let has_wrong_bytes = |status: &Status| status.lost + status.stale + status.corrupt > 0;
        let found = if self.last.iter().any(has_wrong_bytes) {
            "wrong bytes"
        } else {
            "no wrong bytes"
        };
        format!("the storm found {found}: {}", losses.join("; "))
    }
}
