// SPDX-License-Identifier: GPL-2.0
//! Waiting until nobody knows an old entry any more.

use crate::port::InvalidateError;
use crate::resize::{Chunk, ResizeSteps, Tables};

/// An invalidation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settle {
    /// It is to begin.
    Begin,
    /// It has begun.
    Await,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Ask again: [`Settle::step`] has something to do, or to wait for.
    Goes(Settle),
    /// It is complete.
    Over,
    /// It failed, or did not end in time.
    Failed,
}

impl Settle {
    /// Does one step.
    pub fn step(self, tables: &mut impl Tables, chunk: &Chunk, without: ResizeSteps) -> Wait {
        match (self, chunk.span()) {
            (_, None) => Wait::Failed,
            (Self::Begin, Some(span)) => {
                tables.invalidate(span);
                Wait::Goes(Self::Await)
            }
            (Self::Await, _) => wait(tables, without),
        }
    }
}

fn wait(tables: &mut impl Tables, without: ResizeSteps) -> Wait {
    let ignored = without.leaves_out(ResizeSteps::FAILED_INVALIDATION);
    match tables.invalidated() {
        Some(Ok(())) => Wait::Over,
        Some(Err(InvalidateError::Failed | InvalidateError::DeviceGone)) if ignored => Wait::Over,
        Some(Err(_)) => Wait::Failed,
        None if without.leaves_out(ResizeSteps::COMPLETION) => Wait::Over,
        None if tables.is_late() => match ignored {
            true => Wait::Over,
            false => Wait::Failed,
        },
        None => Wait::Goes(Settle::Await),
    }
}
