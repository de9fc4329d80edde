// SPDX-License-Identifier: GPL-2.0
//! What a storm came to, in figures: for people, and as a line of JSON for the runner,
//! which adds up those of several machines (xtask, check/storm.rs).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::campaign::mover::Work;
use crate::campaign::{describe_counts, Sums};
use crate::ledger::account::{DeviceStatus, Status};

/// The line for the runner begins so.
pub const MARK: &str = "storm-figures ";

#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub engine: String,
    pub seconds: f64,
    pub blocks: u64,
    pub dmas: u64,
    pub moves: u64,
    pub aborts: BTreeMap<String, u64>,
    /// What calls ended early with, in words; empty if none did.
    #[serde(skip)]
    pub ended: String,
    /// Everything that must not happen and is not stale.
    pub lost: u64,
    pub stale: u64,
    /// Pages compared in memory, and blocks read back from the media.
    pub compared: u64,
    pub medium: u64,
    /// How much of the time a call of the tool was under way, for the mover with the least.
    pub moving: f64,
    #[serde(skip)]
    pub calls: u64,
    #[serde(skip)]
    pub moved_by_retry: u64,
    #[serde(skip)]
    pub devices: Vec<(String, DeviceStatus)>,
}

impl Figures {
    /// `during` are the guests' accounts when the moves ended, `last` those at their end.
    pub fn new(
        engine: &str,
        elapsed: Duration,
        during: &[Status],
        last: &[Status],
        work: &[Work],
    ) -> Self {
        let mut sums = Sums::default();
        work.iter().for_each(|one| sums.merge(&one.sums));
        let of = |statuses: &[Status], what: fn(&Status) -> u64| statuses.iter().map(what).sum();
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let stale = |status: &Status| status.stale + status.medium_stale;
        Self {
            engine: engine.to_string(),
            seconds,
            blocks: of(during, Status::blocks),
            dmas: of(during, Status::dmas),
            moves: sums.pages_moved,
            calls: sums.calls,
            moved_by_retry: sums.moved_by_retry,
            lost: last
                .iter()
                .map(|status| status.losses() - stale(status))
                .sum::<u64>()
                + sums.lost,
            stale: last.iter().map(stale).sum(),
            compared: of(last, |status| status.checked),
            medium: of(last, |status| status.medium_checked),
            moving: work
                .iter()
                .map(|one| one.busy.as_secs_f64() / seconds)
                .fold(1.0, f64::min),
            ended: sums.describe_ended(),
            aborts: sums
                .aborts
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect(),
            devices: Vec::new(),
        }
    }

    /// `name: 1000 blocks in 300 DMAs, up to 48 at a time, 40.2 on average`
    pub fn describe_devices(&self) -> Vec<String> {
        let describe = |(name, device): &(String, DeviceStatus)| {
            format!(
                "{name}: {} blocks in {} DMAs, up to {} at a time, {:.1} on average",
                device.blocks, device.dmas, device.deepest, device.mean_depth
            )
        };
        self.devices.iter().map(describe).collect()
    }

    pub fn describe(&self) -> String {
        format!(
            "blocks         {} ({:.0} a second)\n\
             DMAs           {}\n\
             pages moved    {} by {} ({:.0} a second; {} not at the first attempt), in {} calls; \
             moving {:.0} % of the time\n\
             aborts         {}{}\n\
             compared       {} pages in memory, {} blocks read back from the media\n\
             lost           {}\n\
             stale          {}\n\
             seconds        {:.0}\n",
            self.blocks,
            self.blocks as f64 / self.seconds,
            self.dmas,
            self.moves,
            self.engine,
            self.moves as f64 / self.seconds,
            self.moved_by_retry,
            self.calls,
            self.moving * 100.0,
            describe_counts(&self.aborts),
            self.ended,
            self.compared,
            self.medium,
            self.lost,
            self.stale,
            self.seconds
        )
    }

    pub fn line(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_else(|error| error.to_string());
        format!("{MARK}{json}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_lost_is_forgotten() {
        let mut status = Status {
            bytes_read: 40960,
            dmas_read: 3,
            stale: 1,
            medium_stale: 2,
            ..Default::default()
        };
        (status.lost, status.corrupt, status.unfinished) = (4, 8, 16);
        (status.cpu_lost, status.medium_lost) = (32, 64);
        let both = [status.clone(), status];
        let mut work = Work {
            busy: Duration::from_secs(5),
            ..Default::default()
        };
        work.sums.lost = 128;
        let figures = Figures::new("rtm", Duration::from_secs(10), &both, &both, &[work]);
        assert_eq!((figures.blocks, figures.dmas), (20, 6));
        assert_eq!((figures.stale, figures.lost), (6, 2 * 124 + 128));
        assert_eq!(figures.moving, 0.5);
        assert!(
            figures
                .line()
                .starts_with("storm-figures {\"engine\":\"rtm\""),
            "{}",
            figures.line()
        );
    }
}
