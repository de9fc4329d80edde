// SPDX-License-Identifier: GPL-2.0
//! A device that goes away: VFIO asks its user to release it (VFIO_PCI_REQ_IRQ_INDEX),
//! and its driver can not leave it before that.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::ledger::account::Account;
use pagemove_devices::vfio::Assigned;

/// What a guest does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Reaction {
    /// It closes the device.
    Close,
    /// It closes the device three seconds later.
    Late,
}

impl Reaction {
    fn patience(self) -> Duration {
        match self {
            Reaction::Close => Duration::ZERO,
            Reaction::Late => Duration::from_secs(3),
        }
    }
}

/// Listens for the request.
pub struct Removal {
    request: EventFd,
    reaction: Reaction,
    asked: Option<Instant>,
}

impl Removal {
    pub fn watch(assigned: &Assigned, reaction: Reaction) -> Result<Self> {
        let request = EventFd::new(EFD_NONBLOCK).context("eventfd")?;
        assigned.tell_requests(&request)?;
        Ok(Self {
            request,
            reaction,
            asked: None,
        })
    }

    /// Returns whether the device has to be closed now.
    pub fn is_due(&mut self, account: &Account) -> bool {
        // Nothing to read: nobody asked, or nobody asked again.
        if self.request.read().is_ok() && self.asked.is_none() {
            self.asked = Some(Instant::now());
            account.asked.add(1);
        }
        self.asked
            .is_some_and(|at| at.elapsed() >= self.reaction.patience())
    }
}
