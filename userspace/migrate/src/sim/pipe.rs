// SPDX-License-Identifier: GPL-2.0
//! A wire within one process.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wire::{Heard, Wire};

#[derive(Default)]
struct Direction {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

impl Direction {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<u8>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end.
pub struct Pipe {
    to: Arc<Direction>,
    from: Arc<Direction>,
}

/// Returns both ends.
pub fn pipe() -> (Pipe, Pipe) {
    let (one, two) = (Arc::<Direction>::default(), Arc::<Direction>::default());
    let end = |to: &Arc<Direction>, from: &Arc<Direction>| Pipe {
        to: Arc::clone(to),
        from: Arc::clone(from),
    };
    (end(&one, &two), end(&two, &one))
}

impl Wire for Pipe {
    fn send(&self, bytes: &[u8]) -> Result<()> {
        let mut state = self.to.lock();
        if state.1 {
            return Err(Error::from(ErrorKind::BrokenPipe));
        }
        state.0.extend(bytes);
        self.to.changed.notify_all();
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8], timeout: Duration) -> Result<Heard> {
        let state = self.from.lock();
        let (mut state, _) = self
            .from
            .changed
            .wait_timeout_while(state, timeout, |(bytes, closed)| {
                bytes.is_empty() && !*closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.0.is_empty() {
            return Ok(if state.1 { Heard::End } else { Heard::Nothing });
        }
        let count = buffer.len().min(state.0.len());
        for (slot, byte) in buffer.iter_mut().zip(state.0.drain(..count)) {
            *slot = byte;
        }
        Ok(Heard::Bytes(count))
    }

    fn hang_up(&self) {
        self.to.lock().1 = true;
        self.to.changed.notify_all();
    }

    fn close(&self) {
        for direction in [&self.to, &self.from] {
            direction.lock().1 = true;
            direction.changed.notify_all();
        }
    }
}
