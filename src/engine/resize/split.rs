// SPDX-License-Identifier: GPL-2.0
//! A leaf of 2 MiB becomes a table of 512 leaves. Each call of [`Split::step`] does one observable
//! action.

use crate::batch::Progress;
use crate::resize::{Chunk, ResizeError, ResizeSteps, Settle, Tables, Wait};

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SplitPhase {
    /// Set A and D of the leaf.
    Mark,
    /// Wait for who has read it without.
    AwaitOld(Settle),
    /// Put the leaf of a piece into the table.
    Fill(u16),
    /// Let the entry point to the table.
    Commit,
    /// Wait for who knows the leaf.
    AwaitLeaf(Settle),
    /// Read the entry again.
    Judge,
    /// Wait for who has met the table, since the leaf is back.
    AwaitTable(Settle),
    /// Nothing is left.
    Done(Splitted),
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Splitted {
    /// The chunk has a table, and nobody knows the leaf.
    Split,
    /// It has its leaf, and nobody knows the page for the table.
    Not(ResizeError),
    /// Either may be known: that page is not freed, and no piece moves.
    Unsettled,
}

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    phase: SplitPhase,
    /// The leaf as it was marked.
    leaf: u64,
}

impl Split {
    /// Returns one of which no step was done.
    pub const fn new() -> Self {
        Self {
            phase: SplitPhase::Mark,
            leaf: 0,
        }
    }

    /// Tells what the next step does.
    pub const fn phase(&self) -> SplitPhase {
        self.phase
    }

    /// Returns what became of it, once it is done.
    pub const fn result(&self) -> Option<Splitted> {
        match self.phase {
            SplitPhase::Done(result) => Some(result),
            _ => None,
        }
    }

    /// Does one step.
    pub fn step<T: Tables>(
        &mut self,
        tables: &mut T,
        chunk: &Chunk,
        without: ResizeSteps,
    ) -> Progress {
        let before = self.phase;
        self.phase = self.next(tables, chunk, without);
        match self.phase {
            SplitPhase::Done(_) => Progress::Done,
            phase if phase == before => Progress::Waiting,
            _ => Progress::More,
        }
    }

    fn next<T: Tables>(
        &mut self,
        tables: &mut T,
        chunk: &Chunk,
        without: ResizeSteps,
    ) -> SplitPhase {
        let settle = |settle: Settle, tables: &mut T| settle.step(tables, chunk, without);
        match self.phase {
            SplitPhase::Mark => self.mark(tables, chunk, without),
            SplitPhase::AwaitOld(state) => match settle(state, tables) {
                Wait::Goes(state) => SplitPhase::AwaitOld(state),
                Wait::Over => prepared(without),
                Wait::Failed => SplitPhase::Done(Splitted::Not(ResizeError::Invalidate)),
            },
            SplitPhase::Fill(n) => self.fill(tables, chunk, without, n),
            SplitPhase::Commit => self.commit(tables, chunk, without),
            SplitPhase::AwaitLeaf(state) => match settle(state, tables) {
                Wait::Goes(state) => SplitPhase::AwaitLeaf(state),
                Wait::Over => SplitPhase::Judge,
                Wait::Failed => SplitPhase::Done(Splitted::Unsettled),
            },
            SplitPhase::Judge => self.judge(tables, chunk, without),
            SplitPhase::AwaitTable(state) => match settle(state, tables) {
                Wait::Goes(state) => SplitPhase::AwaitTable(state),
                Wait::Over => SplitPhase::Done(Splitted::Not(ResizeError::Reverted)),
                Wait::Failed => SplitPhase::Done(Splitted::Unsettled),
            },
            SplitPhase::Done(_) => self.phase,
        }
    }

    fn mark(
        &mut self,
        tables: &mut impl Tables,
        chunk: &Chunk,
        without: ResizeSteps,
    ) -> SplitPhase {
        let seen = tables.load(chunk.pte);
        if chunk.format.piece_of(seen, 0).is_none() {
            return SplitPhase::Done(Splitted::Not(ResizeError::Shape));
        }
        self.leaf = seen;
        if !without.leaves_out(ResizeSteps::MARK) {
            self.leaf = seen | chunk.used();
            if tables.swap(chunk.pte, seen, self.leaf).is_err() {
                // Most likely the IOMMU has set one of the two: it does so twice at most.
                return match tables.is_late() {
                    true => SplitPhase::Done(Splitted::Not(ResizeError::Changed)),
                    false => SplitPhase::Mark,
                };
            }
        }
        match without.leaves_out(ResizeSteps::FIRST_INVALIDATION) {
            true => prepared(without),
            false => SplitPhase::AwaitOld(Settle::Begin),
        }
    }

    fn fill<T: Tables>(
        &self,
        tables: &mut T,
        chunk: &Chunk,
        without: ResizeSteps,
        n: u16,
    ) -> SplitPhase {
        let Some(piece) = chunk.format.piece_of(self.leaf, n) else {
            return SplitPhase::Done(Splitted::Not(ResizeError::Shape));
        };
        let piece = match without.leaves_out(ResizeSteps::PIECES_USED) {
            true => piece & !chunk.used(),
            false => piece | chunk.used(),
        };
        let piece = match without.leaves_out(ResizeSteps::OTHER_BITS) {
            // Present and writable, as a careless editor would write it.
            true => chunk.format.address(piece).0 | chunk.used() | 3,
            false => piece,
        };
        tables.fill(chunk.piece(n), piece);
        match n.checked_add(1).filter(|next| *next < T::PIECES) {
            Some(next) => SplitPhase::Fill(next),
            None if without.leaves_out(ResizeSteps::FILL_FIRST) => known(without),
            None => SplitPhase::Commit,
        }
    }

    fn commit(
        &mut self,
        tables: &mut impl Tables,
        chunk: &Chunk,
        without: ResizeSteps,
    ) -> SplitPhase {
        let table = chunk.format.table_entry(chunk.table);
        let old = match without.leaves_out(ResizeSteps::COMPARE) {
            true => tables.load(chunk.pte),
            false => self.leaf,
        };
        if tables.swap(chunk.pte, old, table).is_err() {
            return SplitPhase::Done(Splitted::Not(ResizeError::Changed));
        }
        match without.leaves_out(ResizeSteps::FILL_FIRST) {
            true => SplitPhase::Fill(0),
            false => known(without),
        }
    }

    fn judge(&self, tables: &mut impl Tables, chunk: &Chunk, without: ResizeSteps) -> SplitPhase {
        let seen = tables.load(chunk.pte) & !chunk.used();
        let table = chunk.format.table_entry(chunk.table) & !chunk.used();
        if seen == table || without.leaves_out(ResizeSteps::JUDGE) {
            return SplitPhase::Done(Splitted::Split);
        }
        match seen == self.leaf & !chunk.used() {
            true if without.leaves_out(ResizeSteps::REVERTED_INVALIDATION) => {
                SplitPhase::Done(Splitted::Not(ResizeError::Reverted))
            }
            true => SplitPhase::AwaitTable(Settle::Begin),
            // Nobody who has a part in this changes it.
            false => SplitPhase::Done(Splitted::Unsettled),
        }
    }
}

impl Default for Split {
    fn default() -> Self {
        Self::new()
    }
}

/// What follows when nobody has read the leaf without A and D.
fn prepared(without: ResizeSteps) -> SplitPhase {
    match without.leaves_out(ResizeSteps::FILL_FIRST) {
        true => SplitPhase::Commit,
        false => SplitPhase::Fill(0),
    }
}

/// What follows when the table is known.
fn known(without: ResizeSteps) -> SplitPhase {
    match without.leaves_out(ResizeSteps::INVALIDATION) {
        true => SplitPhase::Judge,
        false => SplitPhase::AwaitLeaf(Settle::Begin),
    }
}
