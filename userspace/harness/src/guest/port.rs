// SPDX-License-Identifier: GPL-2.0
//! A device that traffic goes to: its store, and its lanes.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use pagemove_uapi::PAGE_SIZE;

use super::traffic::{Lane, Settings, State};
use crate::ledger::medium::Medium;
use pagemove_devices::device::DmaDevice;

/// A device and what is in its store.
pub struct Port {
    pub device: Box<dyn DmaDevice>,
    pub medium: Medium,
    pub timeout: Duration,
    /// Its lanes.
    pub first_lane: usize,
    pub lanes: usize,
    /// Pages of the longest transfer.
    pub longest: usize,
    pub roams: bool,
    /// Transfers that the device was not told of.
    pub unrung: usize,
}

impl Port {
    /// Prepares a device with lanes of its own, which are appended to `lanes`.
    pub fn new(
        number: usize,
        device: Box<dyn DmaDevice>,
        lanes: &mut Vec<Lane>,
        pages: usize,
        settings: Settings,
    ) -> Result<Self> {
        let limits = device.limits();
        let blocks = (limits.store / PAGE_SIZE as u64) as usize;
        let count = usize::from(limits.depth).min(blocks);
        ensure!(count > 0, "the device has no store");
        let roams = settings.roam > 0 && !limits.in_order;
        // Without roaming each lane has a share of the store.
        let share = if roams {
            blocks.min(settings.roam)
        } else {
            blocks / count
        };
        let longest = longest(pages, share.min(limits.max_length / PAGE_SIZE));
        let first_lane = lanes.len();
        lanes.extend((0..count).map(|index| Lane {
            port: number,
            tag: index as u16,
            state: State::Idle,
            since: Instant::now(),
            pages: 0,
            block: if roams { 0 } else { index * share },
            version: 0,
            sent: Vec::new(),
            source_before: Vec::new(),
        }));
        Ok(Self {
            medium: Medium::new(
                number,
                if roams { share } else { count * share },
                settings.seed,
            ),
            timeout: Duration::from_secs(limits.timeout_s),
            device,
            first_lane,
            lanes: count,
            longest,
            roams,
            unrung: 0,
        })
    }
}

/// Returns how many pages the longest transfer has.
fn longest(pages: usize, store: usize) -> usize {
    store.min(pages / 4).max(1)
}
