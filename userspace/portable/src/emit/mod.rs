// SPDX-License-Identifier: GPL-2.0
//! A function that may stop, written anew.
//!
//! ```text
//! labels of where frames are stored
//!   labels of the function's region
//!     entry: is the word zero? if not: store a frame, or take one and jump to its point
//!     the function's code; each loop has labels of its own and such a header
//!     return
//!   where frames are stored, one after the other: store, return
//! ```

mod branch;
mod frames;
mod operands;

use crate::body::{BlockId, Body, Shape, Step, FUNCTION};
use crate::calls::Calls;
use crate::control;
use crate::error::Error;
use crate::helpers::Helpers;
use crate::labels::{Label, Layout};
use crate::live::Live;
use crate::operators;
use crate::options::{Mistake, Options, Poll};
use crate::points::{Kind, Point};
use operands::Operands;
use std::collections::HashMap;
use wasm_encoder::{BlockType, Function, Instruction, MemArg, ValType};

/// What all functions of a module share.
pub struct Surroundings<'m> {
    pub calls: &'m Calls,
    pub helpers: Helpers,
    pub options: Options,
}

/// Something that a branch can go to in the code that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Function,
    Label(Label),
    Loop(BlockId),
    /// A block of a few instructions; its number.
    Local(usize),
}

/// A function that was written anew, and its points.
pub struct Emitted {
    pub function: Function,
    pub points: Vec<Point>,
}

/// Writes a function anew. The numbers of its points begin with `first`.
pub fn function(body: &Body<'_>, around: &Surroundings<'_>, first: u32) -> Result<Emitted, Error> {
    check_results(body)?;
    let layout = Layout::of(body, around.calls);
    let live = Live::of(body, around.options.mistake);
    let mut emitter = Emitter {
        body,
        around,
        layout: &layout,
        live: &live,
        first: first as i32,
        code: Vec::new(),
        open: Vec::new(),
        locals: 0,
        operands: Operands::default(),
        slots: HashMap::new(),
        added: Vec::new(),
        frames: vec![Vec::new(); layout.places.len()],
        step: 0,
    };
    emitter.locals = body.locals.len() as u32;
    let scratch = emitter.new_local(ValType::I32);
    emitter.write(scratch)?;
    emitter.finish()
}

/// A function that stops returns something, whatever it is; of references there need be nothing.
fn check_results(body: &Body<'_>) -> Result<(), Error> {
    match body.results.iter().find(|ty| ty.is_reference_type()) {
        None => Ok(()),
        Some(ty) => Err(Error::Unsupported {
            what: format!("a result of type {ty} of a function that may stop"),
            why: "references are not supported yet",
            function: Some(body.index),
            offset: body.steps.first().map_or(0, |step| step.offset),
        }),
    }
}

struct Emitter<'e, 'a> {
    body: &'e Body<'a>,
    around: &'e Surroundings<'e>,
    layout: &'e Layout,
    live: &'e Live,
    /// The number of the function's first point in the module.
    first: i32,
    code: Vec<Instruction<'e>>,
    /// What the next instruction is in.
    open: Vec<Open>,
    /// How many locals there are.
    locals: u32,
    operands: Operands,
    /// The local of an operand of this type at this height.
    slots: HashMap<(usize, ValType), u32>,
    /// The types of the locals that were added.
    added: Vec<ValType>,
    /// Of each point, what is stored.
    frames: Vec<Vec<(u32, ValType)>>,
    /// The step that is being written.
    step: usize,
}

impl<'e, 'a: 'e> Emitter<'e, 'a> {
    fn write(&mut self, scratch: u32) -> Result<(), Error> {
        self.open.push(Open::Function);
        for point in (0..self.layout.places.len()).rev() {
            if self.is_stored_apart(point) {
                self.open_block(Open::Label(Label::Save(point)));
            }
        }
        self.open_region(FUNCTION);
        let entry = self.open.clone();
        let begin = self.code.len();
        for (place, instruction) in self.body.steps.iter().enumerate() {
            self.step = place;
            self.write_step(place, instruction.pops, &instruction.step)?;
        }
        self.frames[0] = self.locals_of(self.live.at_entry(), self.body.params)?;
        self.write_saves(scratch);
        // The header comes first, but what it takes from frames is known only now.
        let rest = self.code.split_off(begin);
        let end = std::mem::replace(&mut self.open, entry);
        self.write_entry(scratch);
        self.open = end;
        self.code.extend(rest);
        Ok(())
    }

    fn finish(self) -> Result<Emitted, Error> {
        let mut function = Function::new_with_locals_types(
            self.declared()?
                .into_iter()
                .chain(self.added.iter().copied()),
        );
        for instruction in &self.code {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        let points = self
            .layout
            .places
            .iter()
            .zip(&self.frames)
            .map(|(place, frame)| Point {
                function: self.body.index,
                kind: place.kind,
                size: frames::size(frame),
            });
        Ok(Emitted {
            points: points.collect(),
            function,
        })
    }

    /// Returns the types of the locals that are no parameters.
    fn declared(&self) -> Result<Vec<ValType>, Error> {
        let locals = &self.body.locals[self.body.params..];
        locals.iter().map(|&ty| self.encoded(ty)).collect()
    }

    fn encoded(&self, ty: wasmparser::ValType) -> Result<ValType, Error> {
        ValType::try_from(ty).map_err(|_| self.unsupported(ty.to_string(), "it is not known"))
    }

    fn unsupported(&self, what: String, why: &'static str) -> Error {
        Error::Unsupported {
            what,
            why,
            function: Some(self.body.index),
            offset: self.body.steps.get(self.step).map_or(0, |step| step.offset),
        }
    }

    /// Returns whether a point has a place of its own where its frame is stored; one behind a call
    /// shares that of the call.
    fn is_stored_apart(&self, point: usize) -> bool {
        self.layout.places[point].kind != Kind::Returned
    }

    fn write_step(&mut self, place: usize, pops: usize, step: &'e Step<'a>) -> Result<(), Error> {
        match step {
            Step::Plain(operator) => {
                self.need(pops)?;
                let instruction = Instruction::try_from(operator.clone()).map_err(|_| {
                    self.unsupported(operators::name(operator), "it can not be written")
                })?;
                self.emit(instruction);
                self.replace(place)?;
            }
            Step::Unreachable => {
                self.emit(Instruction::Unreachable);
                self.replace(place)?;
            }
            Step::Open(block) => match self.body.blocks[*block].shape {
                Shape::Loop => self.open_loop(*block)?,
                Shape::If => self.write_if(*block)?,
                Shape::Block | Shape::Function => {}
            },
            Step::Else { block, falls } => {
                if *falls {
                    self.spill()?;
                    self.branch_to(Instruction::Br, Open::Label(Label::End(*block)));
                }
                self.place(Label::Else(*block));
                self.reset_to(*block, true)?;
            }
            Step::Close { block, falls } => self.close(*block, *falls)?,
            Step::Branch(block) => self.write_branch(*block)?,
            Step::BranchIf(block) => self.write_branch_if(*block)?,
            Step::BranchTable(blocks) => self.write_branch_table(blocks)?,
            Step::Return => self.write_return()?,
            Step::Call(_) | Step::CallIndirect { .. } => self.write_call(place, pops, step)?,
        }
        Ok(())
    }

    fn close(&mut self, block: BlockId, falls: bool) -> Result<(), Error> {
        match self.body.blocks[block].shape {
            Shape::Function if falls => self.write_return()?,
            Shape::Function => {}
            Shape::Loop => {
                if falls {
                    self.spill()?;
                }
                self.end(Open::Loop(block));
                self.reset_to(block, false)?;
            }
            Shape::Block if !self.body.blocks[block].is_target => {
                if !falls {
                    self.reset_to(block, false)?;
                }
            }
            Shape::Block | Shape::If => {
                if falls {
                    self.spill()?;
                }
                self.place(Label::End(block));
                self.reset_to(block, false)?;
            }
        }
        Ok(())
    }

    /// Writes a call; where it may stop, with what has to be done then.
    fn write_call(&mut self, place: usize, pops: usize, step: &Step<'_>) -> Result<(), Error> {
        let Some(point) = self.layout.point_of[place] else {
            self.need(pops)?;
            self.emit_call(step);
            return self.replace(place);
        };
        self.spill()?;
        self.place(Label::Call(point));
        self.frames[point] = self.locals_of(self.live.after(place), usize::MAX)?;
        // What is called again needs no arguments: it has a frame. Which one it is has to be known.
        let kept = match step {
            Step::CallIndirect { .. } => {
                let index = self.operands.types.len() - 1;
                let local = self.slot(index, ValType::I32);
                self.frames[point].push((local, ValType::I32));
                pops
            }
            _ => pops,
        };
        let below = self.operands.types.len() - kept;
        self.keep_operands(point, below);
        self.need(pops)?;
        self.emit_call(step);
        self.replace(place)?;
        let after = self.layout.places.get(point + 1);
        if after.is_some_and(|after| after.kind == Kind::Returned && after.step == place) {
            self.spill()?;
            self.frames[point + 1] = self.locals_of(self.live.after(place), usize::MAX)?;
            self.keep_operands(point + 1, self.operands.types.len());
            self.emit_poll();
            self.branch_to(Instruction::BrIf, Open::Label(Label::Save(point)));
            self.place(Label::Returned(point + 1));
        } else if self.around.options.mistake != Some(Mistake::ReturnNotLookedAt) {
            self.emit_load(control::WORD);
            self.emit(Instruction::I32Const(control::UNWINDS));
            self.emit(Instruction::I32Eq);
            self.branch_to(Instruction::BrIf, Open::Label(Label::Save(point)));
        }
        Ok(())
    }

    fn emit_call(&mut self, step: &Step<'_>) {
        match step {
            Step::Call(function) => self.emit(Instruction::Call(*function)),
            Step::CallIndirect { ty, table } => self.emit(Instruction::CallIndirect {
                type_index: *ty,
                table_index: *table,
            }),
            _ => {}
        }
    }

    /// Opens the blocks of all labels of a region, the last one first.
    fn open_region(&mut self, region: BlockId) {
        for place in (0..self.layout.labels[region].len()).rev() {
            self.open_block(Open::Label(self.layout.labels[region][place]));
        }
    }

    fn open_block(&mut self, open: Open) {
        self.emit(Instruction::Block(BlockType::Empty));
        self.open.push(open);
    }

    /// Ends the block of a label, which is the innermost.
    fn place(&mut self, label: Label) {
        self.end(Open::Label(label));
    }

    fn end(&mut self, open: Open) {
        debug_assert_eq!(self.open.last(), Some(&open));
        self.open.pop();
        self.emit(Instruction::End);
    }

    fn depth(&self, open: Open) -> u32 {
        let depth = self.open.iter().rev().position(|&other| other == open);
        debug_assert!(depth.is_some(), "{open:?} is not in {:?}", self.open);
        depth.unwrap_or(0) as u32
    }

    fn branch_to(&mut self, branch: fn(u32) -> Instruction<'e>, open: Open) {
        let depth = self.depth(open);
        self.emit(branch(depth));
    }

    fn emit(&mut self, instruction: Instruction<'e>) {
        self.code.push(instruction);
    }

    fn new_local(&mut self, ty: ValType) -> u32 {
        self.added.push(ty);
        self.locals += 1;
        self.locals - 1
    }

    /// Puts the word on the stack, as a poll.
    fn emit_poll(&mut self) {
        match self.around.options.poll {
            Poll::Atomic => {
                self.emit(Instruction::I32Const(0));
                self.emit(Instruction::I32AtomicLoad(self.word(control::WORD)));
            }
            Poll::Plain => self.emit_load(control::WORD),
            Poll::Counted => self.emit(Instruction::Call(self.around.helpers.tick)),
        }
    }

    /// Puts a number of the control memory on the stack.
    fn emit_load(&mut self, offset: u64) {
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32Load(self.word(offset)));
    }

    fn word(&self, offset: u64) -> MemArg {
        MemArg {
            offset,
            align: 2,
            memory_index: self.around.helpers.memory,
        }
    }
}
