// SPDX-License-Identifier: GPL-2.0
//! Which locals hold something that is still needed, before and after each step.
//!
//! The usual analysis backwards: a local is needed before a step that reads it, and not before one
//! that writes it. A branch needs what its target does. What a loop's header needs is known
//! when its body has been looked at; so it is looked at again until nothing is added.

use crate::body::{BlockId, Body, Shape, Step};
use crate::options::Mistake;
use wasmparser::Operator;

/// A set of locals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locals(Vec<u64>);

impl Locals {
    fn none(count: usize) -> Self {
        Locals(vec![0; count.div_ceil(64)])
    }

    fn add(&mut self, local: u32) {
        if let Some(word) = self.0.get_mut(local as usize / 64) {
            *word |= 1 << (local % 64);
        }
    }

    fn remove(&mut self, local: u32) {
        if let Some(word) = self.0.get_mut(local as usize / 64) {
            *word &= !(1 << (local % 64));
        }
    }

    fn join(&mut self, other: &Locals) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Returns the locals in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().zip(0u32..).flat_map(|(&word, place)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| place * 64 + bit)
        })
    }
}

/// What is needed at each step of a function.
#[derive(Debug)]
pub struct Live {
    /// Before each step, and after the last one.
    before: Vec<Locals>,
    /// Before the first instruction in each loop.
    header: Vec<Locals>,
}

impl Live {
    pub fn of(body: &Body<'_>, mistake: Option<Mistake>) -> Self {
        let none = Locals::none(body.locals.len());
        let mut analysis = Analysis {
            body,
            header: vec![none.clone(); body.blocks.len()],
            end: vec![none.clone(); body.blocks.len()],
            other: vec![none.clone(); body.blocks.len()],
            before: vec![none; body.steps.len() + 1],
        };
        while analysis.pass() && mistake != Some(Mistake::LivenessWithoutLoops) {}
        Live {
            before: analysis.before,
            header: analysis.header,
        }
    }

    /// Returns what is needed when the function begins.
    pub fn at_entry(&self) -> &Locals {
        &self.before[0]
    }

    /// Returns what is needed after a step.
    pub fn after(&self, step: usize) -> &Locals {
        &self.before[step + 1]
    }

    /// Returns what is needed at the header of a loop.
    pub fn at_header(&self, block: BlockId) -> &Locals {
        &self.header[block]
    }
}

struct Analysis<'b, 'a> {
    body: &'b Body<'a>,
    /// At the header of each loop.
    header: Vec<Locals>,
    /// Behind each block.
    end: Vec<Locals>,
    /// At the begin of each `else`.
    other: Vec<Locals>,
    before: Vec<Locals>,
}

impl Analysis<'_, '_> {
    /// Looks at all steps once; returns whether a loop needs more than was known.
    fn pass(&mut self) -> bool {
        let mut changed = false;
        let mut live = Locals::none(self.body.locals.len());
        for (place, instruction) in self.body.steps.iter().enumerate().rev() {
            match &instruction.step {
                Step::Plain(Operator::LocalGet { local_index }) => live.add(*local_index),
                Step::Plain(
                    Operator::LocalSet { local_index } | Operator::LocalTee { local_index },
                ) => live.remove(*local_index),
                Step::Plain(_) | Step::Call(_) | Step::CallIndirect { .. } => {}
                Step::Open(block) => match self.body.blocks[*block].shape {
                    Shape::Loop => {
                        if self.header[*block] != live {
                            self.header[*block] = live.clone();
                            changed = true;
                        }
                    }
                    Shape::If => match self.body.blocks[*block].has_else {
                        true => live.join(&self.other[*block]),
                        false => live.join(&self.end[*block]),
                    },
                    Shape::Block | Shape::Function => {}
                },
                Step::Else { block, falls } => {
                    self.other[*block] = live.clone();
                    live = self.end[*block].clone();
                    if !falls {
                        live.clear();
                    }
                }
                Step::Close { block, falls } => {
                    self.end[*block] = live.clone();
                    if !falls {
                        live.clear();
                    }
                }
                Step::Branch(block) => live = self.target(*block).clone(),
                Step::BranchIf(block) => live.join(&self.target(*block).clone()),
                Step::BranchTable(blocks) => {
                    live.clear();
                    for &block in blocks {
                        live.join(&self.target(block).clone());
                    }
                }
                Step::Return | Step::Unreachable => live.clear(),
            }
            self.before[place] = live.clone();
        }
        changed
    }

    /// Returns what is needed where a branch to a block goes.
    fn target(&self, block: BlockId) -> &Locals {
        match self.body.blocks[block].shape {
            Shape::Loop => &self.header[block],
            // Its end comes after the branch, so it has been looked at in this pass.
            _ => &self.end[block],
        }
    }
}
