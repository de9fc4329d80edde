// SPDX-License-Identifier: GPL-2.0
//! A controller for each size of leaf.

use super::bounds::Bounds;
use super::controller::Controller;
use crate::addr::LeafSize;

/// One for each size of leaf. What a copy of 2 MiB takes is no multiple of what a page takes, of which
/// most is the invalidation; and neither would find its times among the measures of the other.
#[derive(Clone, Debug)]
pub struct Controllers {
    pages: Controller,
    chunks: Controller,
}

impl Controllers {
    /// Both know nothing yet.
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            pages: Controller::new(bounds),
            chunks: Controller::new(bounds),
        }
    }

    /// Returns that of a size.
    pub const fn of(&self, size: LeafSize) -> &Controller {
        match size {
            LeafSize::Page => &self.pages,
            LeafSize::Chunk => &self.chunks,
        }
    }

    /// Returns that of a size, to be told of an attempt.
    pub fn of_mut(&mut self, size: LeafSize) -> &mut Controller {
        match size {
            LeafSize::Page => &mut self.pages,
            LeafSize::Chunk => &mut self.chunks,
        }
    }
}
