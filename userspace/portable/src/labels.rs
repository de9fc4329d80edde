// SPDX-License-Identifier: GPL-2.0
//! Where a function can be entered and branched to, loop by loop.
//!
//! Within one turn of a loop (or the function, outside of its loops) control only goes forward. So all
//! places that something jumps to there can be ends of blocks that are opened together at the
//! header, the last one outermost, and from the header each of them is one branch away.
//! That is how a function gets back to its point: from header to header, inwards.

use crate::body::{BlockId, Body, Shape, Step, FUNCTION};
use crate::calls::Calls;
use crate::points::Kind;

/// A place that is jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Behind a block.
    End(BlockId),
    /// The begin of an `else`.
    Else(BlockId),
    /// Before a loop.
    Loop(BlockId),
    /// Before a call's arguments, to call again; the local number of its point.
    Call(usize),
    /// Behind a call; the local number of that point.
    Returned(usize),
    /// Where a point's frame is stored, behind the function's code.
    Save(usize),
}

/// A point of a function.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub kind: Kind,
    /// The step that it belongs to; of the entry none.
    pub step: usize,
    /// The loop in which it is jumped to, or the function. Of a loop's own point the one around it.
    pub region: BlockId,
    /// The loop whose point it is.
    pub header: Option<BlockId>,
}

/// The points of a function, and the labels of each of its regions.
#[derive(Debug)]
pub struct Layout {
    /// In the order of the code; the entry is the first.
    pub places: Vec<Place>,
    /// Of each block that is a loop or the function, its labels in the order of the code.
    pub labels: Vec<Vec<Label>>,
    /// Of each loop, which of `places` are in it.
    pub inside: Vec<std::ops::Range<usize>>,
    /// Of each step, its first point.
    pub point_of: Vec<Option<usize>>,
}

impl Layout {
    pub fn of(body: &Body<'_>, calls: &Calls) -> Self {
        let entry = Place {
            kind: Kind::Entry,
            step: 0,
            region: FUNCTION,
            header: None,
        };
        let mut layout = Layout {
            places: vec![entry],
            labels: vec![Vec::new(); body.blocks.len()],
            inside: vec![0..0; body.blocks.len()],
            point_of: vec![None; body.steps.len()],
        };
        let mut region = FUNCTION;
        for (step, instruction) in body.steps.iter().enumerate() {
            match &instruction.step {
                Step::Open(block) if body.blocks[*block].shape == Shape::Loop => {
                    layout.labels[region].push(Label::Loop(*block));
                    layout.add(Kind::Loop, step, region, Some(*block));
                    layout.inside[*block] = layout.places.len()..layout.places.len();
                    region = *block;
                }
                Step::Else { block, .. } => layout.labels[region].push(Label::Else(*block)),
                Step::Close { block, .. } => match body.blocks[*block].shape {
                    Shape::Loop => {
                        layout.inside[*block].end = layout.places.len();
                        region = body.blocks[*block].region;
                    }
                    Shape::If => layout.labels[region].push(Label::End(*block)),
                    Shape::Block if body.blocks[*block].is_target => {
                        layout.labels[region].push(Label::End(*block));
                    }
                    Shape::Block | Shape::Function => {}
                },
                step_of_call @ (Step::Call(_) | Step::CallIndirect { .. })
                    if calls.may_stop(step_of_call) =>
                {
                    let point = layout.add(Kind::Call, step, region, None);
                    layout.labels[region].push(Label::Call(point));
                    if calls.may_recurse(body.index, step_of_call) {
                        let point = layout.add(Kind::Returned, step, region, None);
                        layout.labels[region].push(Label::Returned(point));
                    }
                }
                _ => {}
            }
        }
        layout
    }

    fn add(&mut self, kind: Kind, step: usize, region: BlockId, header: Option<BlockId>) -> usize {
        let point = self.places.len();
        self.places.push(Place {
            kind,
            step,
            region,
            header,
        });
        self.point_of[step].get_or_insert(point);
        point
    }

    /// Returns where the header of `region` jumps to on the way to a point in it, and whether that is
    /// the point itself.
    pub fn way(&self, body: &Body<'_>, region: BlockId, point: usize) -> (Label, bool) {
        let place = &self.places[point];
        if place.region == region {
            return match (place.kind, place.header) {
                (Kind::Call, _) => (Label::Call(point), true),
                (Kind::Returned, _) => (Label::Returned(point), true),
                (_, header) => (Label::Loop(header.unwrap_or(FUNCTION)), true),
            };
        }
        let mut inner = place.region;
        while body.blocks[inner].region != region && inner != FUNCTION {
            inner = body.blocks[inner].region;
        }
        (Label::Loop(inner), false)
    }
}
