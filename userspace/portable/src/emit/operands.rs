// SPDX-License-Identifier: GPL-2.0
//! The operand stack: which operands lie on the engine's, which in locals.
//!
//! At each label all operands are in locals, one for each height and type ("slots"); between labels they
//! stay on the stack as they were. So the lower ones are in slots and the upper ones on the stack, and the
//! border moves.

use super::{Emitter, Open};
use crate::body::{BlockId, Shape};
use crate::error::Error;
use crate::labels::Label;
use crate::live::Locals;
use crate::options::Mistake;
use wasm_encoder::{Instruction, ValType};

/// The operands at some place of a function.
#[derive(Debug, Default)]
pub struct Operands {
    pub types: Vec<ValType>,
    /// How many of them, from the bottom, are in slots.
    pub in_slots: usize,
}

impl<'e, 'a: 'e> Emitter<'e, 'a> {
    /// Returns the local for an operand.
    pub fn slot(&mut self, height: usize, ty: ValType) -> u32 {
        if let Some(&local) = self.slots.get(&(height, ty)) {
            return local;
        }
        let local = self.new_local(ty);
        self.slots.insert((height, ty), local);
        local
    }

    /// Puts all operands into their slots.
    pub fn spill(&mut self) -> Result<(), Error> {
        for height in (self.operands.in_slots..self.operands.types.len()).rev() {
            let ty = self.operands.types[height];
            if matches!(ty, ValType::Ref(_)) {
                let why = "a reference that lives across a poll is no data that an image can have";
                return Err(self.unsupported("an operand that is a reference".into(), why));
            }
            let local = self.slot(height, ty);
            self.emit(Instruction::LocalSet(local));
        }
        self.operands.in_slots = self.operands.types.len();
        Ok(())
    }

    /// Has the uppermost `count` operands on the stack.
    pub fn need(&mut self, count: usize) -> Result<(), Error> {
        let all = self.operands.types.len();
        let wanted = all.saturating_sub(count);
        if self.operands.in_slots <= wanted {
            return Ok(());
        }
        self.spill()?;
        self.get(wanted, all);
        self.operands.in_slots = wanted;
        Ok(())
    }

    /// Puts operands on the stack from their slots.
    pub fn get(&mut self, from: usize, to: usize) {
        for height in from..to {
            let local = self.slot(height, self.operands.types[height]);
            self.emit(Instruction::LocalGet(local));
        }
    }

    /// Forgets the uppermost operand, which an instruction has taken from the stack.
    pub fn pop(&mut self) {
        self.operands.types.pop();
        self.operands.in_slots = self.operands.in_slots.min(self.operands.types.len());
    }

    /// Notes what an instruction has taken from the stack and put there.
    pub fn replace(&mut self, place: usize) -> Result<(), Error> {
        let instruction = &self.body.steps[place];
        let left = self.operands.types.len().saturating_sub(instruction.pops);
        self.operands.types.truncate(left);
        self.operands.in_slots = self.operands.in_slots.min(left);
        for &ty in &instruction.pushes {
            let ty = self.encoded(ty)?;
            self.operands.types.push(ty);
        }
        Ok(())
    }

    /// Goes on as at the begin of a block (`begin`), or as behind it.
    pub fn reset_to(&mut self, block: BlockId, begin: bool) -> Result<(), Error> {
        let body = self.body;
        let block = &body.blocks[block];
        let added = if begin { &block.params } else { &block.results };
        self.operands.types.truncate(block.height);
        for &ty in added {
            let ty = self.encoded(ty)?;
            self.operands.types.push(ty);
        }
        self.operands.in_slots = self.operands.types.len();
        Ok(())
    }

    /// Returns those of the first `count` locals that are in a set, to be kept in a frame.
    pub fn locals_of(&self, locals: &Locals, count: usize) -> Result<Vec<(u32, ValType)>, Error> {
        let mut found = Vec::new();
        for local in locals.iter().take_while(|&local| (local as usize) < count) {
            let ty = self.encoded(self.body.locals[local as usize])?;
            if matches!(ty, ValType::Ref(_)) {
                let why = "a reference that lives across a poll is no data that an image can have";
                return Err(self.unsupported(format!("local {local}, a reference,"), why));
            }
            found.push((local, ty));
        }
        Ok(found)
    }

    /// Adds the lowest `count` operands to what is kept at a point.
    pub fn keep_operands(&mut self, point: usize, count: usize) {
        let mistake = self.around.options.mistake == Some(Mistake::OperandLeftOut);
        for height in usize::from(mistake)..count {
            let ty = self.operands.types[height];
            let local = self.slot(height, ty);
            self.frames[point].push((local, ty));
        }
    }

    /// Writes the begin of an `if`: where its condition is not met, to its `else` or end.
    pub fn write_if(&mut self, block: BlockId) -> Result<(), Error> {
        self.need_above_slots()?;
        let label = match self.body.blocks[block].has_else {
            true => Label::Else(block),
            false => Label::End(block),
        };
        self.emit(Instruction::I32Eqz);
        self.branch_to(Instruction::BrIf, Open::Label(label));
        self.pop();
        Ok(())
    }

    /// Has the uppermost operand on the stack, and all others in slots.
    pub fn need_above_slots(&mut self) -> Result<(), Error> {
        let top = self.operands.types.len().saturating_sub(1);
        if self.operands.in_slots != top {
            self.spill()?;
            self.get(top, top + 1);
            self.operands.in_slots = top;
        }
        Ok(())
    }

    /// Writes the begin of a loop, with its header.
    pub fn open_loop(&mut self, block: BlockId) -> Result<(), Error> {
        debug_assert_eq!(self.body.blocks[block].shape, Shape::Loop);
        self.spill()?;
        if let Some(point) = self.layout.point_of[self.step] {
            self.frames[point] = self.locals_of(self.live.at_header(block), usize::MAX)?;
            self.keep_operands(point, self.operands.types.len());
            self.place(Label::Loop(block));
            self.emit(Instruction::Loop(wasm_encoder::BlockType::Empty));
            self.open.push(Open::Loop(block));
            self.open_region(block);
            self.write_header(block, point);
        }
        Ok(())
    }
}
