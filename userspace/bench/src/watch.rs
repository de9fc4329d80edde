// SPDX-License-Identifier: GPL-2.0
//! What is measured of a piece of work: its time, or its instructions.

use std::time::Instant;

use crate::counter::{Count, Counter};

/// Times, or counts: a counter that is on makes times longer.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a> {
    counter: Option<&'a Counter>,
}

#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub ns: u64,
    pub count: Option<Count>,
}

impl<'a> Watch<'a> {
    pub fn counting(counter: &'a Counter) -> Self {
        Self {
            counter: Some(counter),
        }
    }

    pub fn time<T>(&self, body: impl FnOnce() -> T) -> (T, Taken) {
        let began = Instant::now();
        let (done, count) = match self.counter {
            None => (body(), None),
            Some(counter) => {
                let (done, count) = counter.count(body);
                (done, Some(count))
            }
        };
        let ns = began.elapsed().as_nanos() as u64;
        (done, Taken { ns, count })
    }
}
