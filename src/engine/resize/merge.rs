// SPDX-License-Identifier: GPL-2.0
//! A table whose 512 leaves map one piece of memory becomes one leaf again. Each call of [`Merge::step`]
//! does one observable action.
//!
//! Only for a chunk that was split here: mappings that happen to be neighbours, in memory as well, are unmapped one by one.

use crate::batch::Progress;
use crate::resize::{Chunk, ResizeError, ResizeSteps, Settle, Tables, Wait};

/// What the next step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MergePhase {
    /// Look at the leaf of a piece.
    Look(u16),
    /// Let the entry be the leaf.
    Commit,
    /// Wait for who knows the table.
    AwaitTable(Settle),
    /// Read the entry again.
    Judge,
    /// Wait for who has met the leaf, since the table is back.
    AwaitLeaf(Settle),
    /// Nothing is left.
    Done(Merged),
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Merged {
    /// The chunk has a leaf, and no walker knows the table. (Who reads tables on a CPU may.)
    Merged,
    /// It has its table, and nobody knows the leaf.
    Not(ResizeError),
    /// Either may be known: the table is not freed, and no piece moves.
    Unsettled,
}

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Merge {
    phase: MergePhase,
    /// The leaf that is to be.
    leaf: u64,
}

impl Merge {
    /// Returns one of which no step was done.
    pub const fn new() -> Self {
        Self {
            phase: MergePhase::Look(0),
            leaf: 0,
        }
    }

    /// Tells what the next step does.
    pub const fn phase(&self) -> MergePhase {
        self.phase
    }

    /// Returns what became of it, once it is done.
    pub const fn result(&self) -> Option<Merged> {
        match self.phase {
            MergePhase::Done(result) => Some(result),
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
            MergePhase::Done(_) => Progress::Done,
            phase if phase == before => Progress::Waiting,
            _ => Progress::More,
        }
    }

    fn next<T: Tables>(
        &mut self,
        tables: &mut T,
        chunk: &Chunk,
        without: ResizeSteps,
    ) -> MergePhase {
        let settle = |settle: Settle, tables: &mut T| settle.step(tables, chunk, without);
        match self.phase {
            MergePhase::Look(n) => self.look(tables, chunk, without, n),
            MergePhase::Commit => self.commit(tables, chunk, without),
            MergePhase::AwaitTable(state) => match settle(state, tables) {
                Wait::Goes(state) => MergePhase::AwaitTable(state),
                Wait::Over => MergePhase::Judge,
                Wait::Failed => MergePhase::Done(Merged::Unsettled),
            },
            MergePhase::Judge => self.judge(tables, chunk, without),
            MergePhase::AwaitLeaf(state) => match settle(state, tables) {
                Wait::Goes(state) => MergePhase::AwaitLeaf(state),
                Wait::Over => MergePhase::Done(Merged::Not(ResizeError::Reverted)),
                Wait::Failed => MergePhase::Done(Merged::Unsettled),
            },
            MergePhase::Done(_) => self.phase,
        }
    }

    fn look<T: Tables>(
        &mut self,
        tables: &mut T,
        chunk: &Chunk,
        without: ResizeSteps,
        n: u16,
    ) -> MergePhase {
        let seen = tables.load(chunk.piece(n)) & !chunk.used();
        if n == 0 {
            match chunk.format.whole_of(seen) {
                Some(leaf) => self.leaf = leaf,
                None => return MergePhase::Done(Merged::Not(ResizeError::Shape)),
            }
        }
        // Which says as well what the piece has to be.
        let is_piece = chunk.format.piece_of(self.leaf, n) == Some(seen);
        if !is_piece && !without.leaves_out(ResizeSteps::SHAPE) {
            return MergePhase::Done(Merged::Not(ResizeError::Shape));
        }
        match n.checked_add(1).filter(|next| *next < T::PIECES) {
            Some(next) => MergePhase::Look(next),
            None => MergePhase::Commit,
        }
    }

    /// A and D are set in the leaf, whatever the pieces have: who tracks them loses nothing, and no walk has
    /// a reason to store what it has read.
    fn commit(
        &mut self,
        tables: &mut impl Tables,
        chunk: &Chunk,
        without: ResizeSteps,
    ) -> MergePhase {
        let seen = tables.load(chunk.pte);
        let is_table = seen & !chunk.used() == self.table(chunk);
        if !is_table && !without.leaves_out(ResizeSteps::COMPARE) {
            return MergePhase::Done(Merged::Not(ResizeError::Changed));
        }
        let used = match without.leaves_out(ResizeSteps::WHOLE_USED) {
            true => 0,
            false => chunk.used(),
        };
        if tables.swap(chunk.pte, seen, self.leaf | used).is_err() {
            return MergePhase::Done(Merged::Not(ResizeError::Changed));
        }
        match without.leaves_out(ResizeSteps::INVALIDATION) {
            true => MergePhase::Judge,
            false => MergePhase::AwaitTable(Settle::Begin),
        }
    }

    fn judge(&self, tables: &mut impl Tables, chunk: &Chunk, without: ResizeSteps) -> MergePhase {
        let seen = tables.load(chunk.pte) & !chunk.used();
        if seen == self.leaf || without.leaves_out(ResizeSteps::JUDGE) {
            return MergePhase::Done(Merged::Merged);
        }
        match seen == self.table(chunk) {
            true if without.leaves_out(ResizeSteps::REVERTED_INVALIDATION) => {
                MergePhase::Done(Merged::Not(ResizeError::Reverted))
            }
            true => MergePhase::AwaitLeaf(Settle::Begin),
            // Nobody who has a part in this changes it.
            false => MergePhase::Done(Merged::Unsettled),
        }
    }

    fn table(&self, chunk: &Chunk) -> u64 {
        chunk.format.table_entry(chunk.table) & !chunk.used()
    }
}

impl Default for Merge {
    fn default() -> Self {
        Self::new()
    }
}
