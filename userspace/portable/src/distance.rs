// SPDX-License-Identifier: GPL-2.0
//! How long a program may run without a poll: the longest way, in instructions.
//!
//! Every circle has a poll in it (loops at their header, recursion at entries and returns), so the
//! ways between polls have an end, and the longest one is found by looking at each step once.
//! Instructions are those of the module as it was. A call of the host counts as one, as do
//! `memory.copy` and its like, however long they take.

use crate::body::{BlockId, Body, Shape, Step, FUNCTION};
use crate::calls::Calls;
use crate::module::Module;

/// The longest way without a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distance {
    /// In instructions of the module before it was rewritten.
    pub instructions: u64,
    /// The function in which that way ends.
    pub function: u32,
}

/// What is known of a function.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    /// From the last poll in it, or from its begin where it has none, to its return.
    to_return: u64,
    /// Between any two polls in it, or from the last one to its return.
    longest: u64,
}

impl Distance {
    pub fn of(module: &Module<'_>, calls: &Calls) -> Self {
        let mut lengths = vec![Lengths::default(); module.functions.len()];
        // What a function is called for is known when those that it calls are; recursion meets a
        // poll after each call, so one more look at its circle changes nothing that counts.
        for body in calls
            .callees_first(module)
            .into_iter()
            .chain(calls.callees_first(module))
        {
            lengths[body.index as usize] = Walk::of(body, calls, &lengths);
        }
        let mut distance = Distance::default();
        for (function, lengths) in (0u32..).zip(&lengths) {
            if lengths.longest > distance.instructions {
                distance = Distance {
                    instructions: lengths.longest,
                    function,
                };
            }
        }
        distance
    }
}

struct Walk<'w, 'a> {
    body: &'w Body<'a>,
    calls: &'w Calls,
    lengths: &'w [Lengths],
    /// The longest way to the end of each block.
    end: Vec<u64>,
    /// The longest way to the begin of each `else`.
    other: Vec<u64>,
    longest: u64,
}

impl<'w, 'a> Walk<'w, 'a> {
    fn of(body: &'w Body<'a>, calls: &'w Calls, lengths: &'w [Lengths]) -> Lengths {
        let mut walk = Walk {
            body,
            calls,
            lengths,
            end: vec![0; body.blocks.len()],
            other: vec![0; body.blocks.len()],
            longest: 0,
        };
        let mut length = 0;
        for instruction in &body.steps {
            length = walk.step(length, &instruction.step);
        }
        Lengths {
            to_return: walk.end[FUNCTION],
            longest: walk.longest.max(walk.end[FUNCTION]),
        }
    }

    /// Returns the length of the way behind a step, when it is `length` before it.
    fn step(&mut self, length: u64, step: &Step<'_>) -> u64 {
        match step {
            Step::Plain(_) | Step::Unreachable => self.seen(length + 1),
            Step::Call(_) | Step::CallIndirect { .. } => self.call(length + 1, step),
            Step::Open(block) => match self.body.blocks[*block].shape {
                Shape::Loop => {
                    self.seen(length + 1);
                    0
                }
                Shape::If => {
                    self.join_other(*block, length + 1);
                    self.seen(length + 1)
                }
                Shape::Block | Shape::Function => length,
            },
            Step::Else { block, falls } => {
                if *falls {
                    self.join_end(*block, length + 1);
                }
                self.other[*block]
            }
            Step::Close { block, falls } => {
                if *falls {
                    self.join_end(*block, length);
                }
                self.end[*block]
            }
            Step::Branch(block) => self.branch(*block, length + 1),
            Step::BranchIf(block) => self.branch(*block, length + 1),
            Step::BranchTable(blocks) => {
                for &block in blocks {
                    self.branch(block, length + 1);
                }
                length + 1
            }
            Step::Return => self.branch(FUNCTION, length + 1),
        }
    }

    fn seen(&mut self, length: u64) -> u64 {
        self.longest = self.longest.max(length);
        length
    }

    fn branch(&mut self, block: BlockId, length: u64) -> u64 {
        self.seen(length);
        if self.body.blocks[block].shape != Shape::Loop {
            self.join_end(block, length);
        }
        length
    }

    fn join_end(&mut self, block: BlockId, length: u64) {
        self.end[block] = self.end[block].max(length);
        self.seen(length);
    }

    /// Notes the way of an `if` whose condition is not met.
    fn join_other(&mut self, block: BlockId, length: u64) {
        self.other[block] = length;
        if !self.body.blocks[block].has_else {
            self.join_end(block, length);
        }
    }

    fn call(&mut self, length: u64, step: &Step<'_>) -> u64 {
        // To the poll at the callee's entry, if it has one.
        self.seen(length);
        if self.calls.may_recurse(self.body.index, step) {
            // A poll follows; what comes before it is the callee's way to its return.
            return 0;
        }
        let callees = self.calls.callees(step);
        let behind = callees.iter().map(|&callee| {
            let to_return = self.lengths[callee as usize].to_return;
            match self.calls.stops(callee) {
                true => to_return,
                false => length + to_return,
            }
        });
        // A function of the host may be meant, which counts as one.
        let behind = behind
            .max()
            .unwrap_or(0)
            .max(if callees.is_empty() { length } else { 0 });
        self.seen(behind)
    }
}
