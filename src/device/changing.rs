// SPDX-License-Identifier: GPL-2.0
//! Chunks of a container whose leaves change their size. Who finds an entry there waits: somebody may still know the
//! chunk in its other size, or the change is taken back.
//!
//! A hold keeps a chunk mapped already if it has pinned one page of it: VFIO unmaps no part of a mapping, and a leaf is
//! of one. So several holds may be in one chunk, of which one changes it.

use crate::device::stays::{State, Stays};
use crate::testing::sabotage::{self, Bug};
use engine::{Iova, CHUNK_SIZE};
use kernel::sync::Arc;

/// A chunk that its owner may change, as long as this is there.
pub(crate) struct Changing {
    stays: Arc<Stays>,
    /// Its first address.
    chunk: u64,
    /// Nobody knows which size it has: it is left alone from here on.
    is_unsettled: bool,
}

impl Stays {
    /// Begins to change the chunk of `iova`; none if somebody else does.
    pub(crate) fn change_size(self: &Arc<Self>, iova: Iova) -> Option<Changing> {
        let chunk = chunk_of(iova);
        let mut state = self.state.lock();
        if state.is_changing(chunk) {
            return None;
        }
        // Without room for more the caller waits for one of those.
        state.changing.push_within_capacity(chunk).ok()?;
        Some(Changing {
            stays: self.clone(),
            chunk,
            is_unsettled: false,
        })
    }

    /// Returns what `walk` finds at `iova`; none while the chunk there changes. What it finds stays so for a hold that has
    /// pinned the page, but for a leaf of 2 MiB.
    pub(crate) fn unless_changing<T>(&self, iova: Iova, walk: impl FnOnce() -> T) -> Option<T> {
        let state = self.state.lock();
        let is_changing =
            state.is_changing(chunk_of(iova)) && !sabotage::has_bug(Bug::SplitUnawaited);
        (!is_changing).then(walk)
    }
}

impl State {
    fn is_changing(&self, chunk: u64) -> bool {
        self.changing.contains(&chunk)
    }
}

impl Changing {
    /// Leaves the chunk alone for as long as the container is there.
    pub(crate) fn leave_unsettled(mut self) {
        self.is_unsettled = true;
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        if !self.is_unsettled {
            let mut state = self.stays.state.lock();
            state.changing.retain(|chunk| *chunk != self.chunk);
        }
    }
}

const fn chunk_of(iova: Iova) -> u64 {
    iova.0 & !(CHUNK_SIZE - 1)
}
