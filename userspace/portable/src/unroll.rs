// SPDX-License-Identifier: GPL-2.0
//! Small innermost loops, with several turns to a poll.
//!
//! A loop of a few instructions pays for its poll dearly. So the body is written several times, one turn behind the
//! other, with one poll for all of them:
//!
//! ```text
//! loop L                       the poll is here
//!   block E                    where the loop is left by its end
//!     block N                  the next turn; what went back to L goes here
//!       body, br E
//!     end
//!     body                     the last turn; what goes back to L does so
//!   end
//! end
//! ```

use crate::body::{Block, BlockId, Body, Instruction, Shape, Step};
use crate::calls::Calls;
use std::collections::HashMap;

/// Instructions of the largest loop that is written several times.
const MOST_STEPS: usize = 40;
/// Turns to a poll.
const TURNS: usize = 4;

/// Writes the small innermost loops of a function several times.
pub fn unroll(body: &mut Body<'_>, calls: &Calls) {
    let mut place = 0;
    while place < body.steps.len() {
        if let Some(end) = small_loop(body, calls, place) {
            place = unroll_one(body, place, end);
        }
        place += 1;
    }
}

/// Returns where the loop ends that begins at a step, if it is one that is worth it.
fn small_loop(body: &Body<'_>, calls: &Calls, begin: usize) -> Option<usize> {
    let Step::Open(id) = body.steps[begin].step else {
        return None;
    };
    let block = &body.blocks[id];
    if block.shape != Shape::Loop || !block.is_target {
        return None;
    }
    for (place, instruction) in body
        .steps
        .iter()
        .enumerate()
        .skip(begin + 1)
        .take(MOST_STEPS)
    {
        match &instruction.step {
            Step::Close { block, .. } if *block == id => return Some(place),
            Step::Open(inner) if body.blocks[*inner].shape == Shape::Loop => return None,
            // A point within it would be there several times.
            step if calls.may_stop(step) => return None,
            _ => {}
        }
    }
    None
}

/// Writes one loop several times; returns where it ends now.
fn unroll_one(body: &mut Body<'_>, begin: usize, end: usize) -> usize {
    let Step::Open(id) = body.steps[begin].step else {
        return end;
    };
    let Step::Close { falls, .. } = body.steps[end].step else {
        return end;
    };
    let turn: Vec<Instruction<'_>> = body.steps[begin + 1..end].to_vec();
    let offset = body.steps[end].offset;
    let bare = |step| Instruction {
        step,
        pops: 0,
        pushes: Vec::new(),
        offset,
    };
    let (params, results) = (
        body.blocks[id].params.clone(),
        body.blocks[id].results.clone(),
    );
    let (region, height) = (id, body.blocks[id].height);
    let mut add = |results: Vec<_>| {
        body.blocks.push(Block {
            shape: Shape::Block,
            height,
            params: params.clone(),
            results,
            region,
            has_else: false,
            is_target: true,
        });
        body.blocks.len() - 1
    };
    let exit = add(results);
    let nexts: Vec<BlockId> = (1..TURNS).map(|_| add(params.clone())).collect();
    let mut written = vec![bare(Step::Open(exit))];
    for next in nexts {
        written.push(bare(Step::Open(next)));
        written.extend(copy(body, &turn, id, next));
        if falls {
            written.push(bare(Step::Branch(exit)));
        }
        written.push(bare(Step::Close {
            block: next,
            falls: false,
        }));
    }
    written.extend(turn);
    written.push(bare(Step::Close { block: exit, falls }));
    let count = written.len();
    body.steps.splice(begin + 1..end, written);
    begin + 1 + count
}

/// Returns a turn with blocks of its own, and what went back to the loop going to `next`.
fn copy<'a>(
    body: &mut Body<'_>,
    turn: &[Instruction<'a>],
    from: BlockId,
    next: BlockId,
) -> Vec<Instruction<'a>> {
    let mut ids = HashMap::from([(from, next)]);
    let mut copied = Vec::new();
    for instruction in turn {
        let mut instruction = instruction.clone();
        if let Step::Open(block) = instruction.step {
            let copy = body.blocks[block].clone();
            body.blocks.push(copy);
            ids.insert(block, body.blocks.len() - 1);
        }
        let renamed = |block: &mut BlockId| {
            if let Some(&id) = ids.get(block) {
                *block = id;
            }
        };
        match &mut instruction.step {
            Step::Open(block)
            | Step::Else { block, .. }
            | Step::Close { block, .. }
            | Step::Branch(block)
            | Step::BranchIf(block) => renamed(block),
            Step::BranchTable(blocks) => blocks.iter_mut().for_each(renamed),
            Step::Plain(_)
            | Step::Return
            | Step::Unreachable
            | Step::Call(_)
            | Step::CallIndirect { .. } => {}
        }
        copied.push(instruction);
    }
    copied
}
