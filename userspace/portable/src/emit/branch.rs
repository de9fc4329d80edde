// SPDX-License-Identifier: GPL-2.0
//! Branches: what they carry goes to the slots of their target.

use super::{Emitter, Open};
use crate::body::{BlockId, Shape, FUNCTION};
use crate::error::Error;
use crate::labels::Label;
use wasm_encoder::{BlockType, Instruction};

impl<'e, 'a: 'e> Emitter<'e, 'a> {
    pub fn write_return(&mut self) -> Result<(), Error> {
        self.need(self.body.results.len())?;
        self.emit(Instruction::Return);
        Ok(())
    }

    pub fn write_branch(&mut self, block: BlockId) -> Result<(), Error> {
        if block == FUNCTION {
            return self.write_return();
        }
        let count = self.body.blocks[block].carried().len();
        self.spill_below(block)?;
        self.need(count)?;
        self.set_carried(block);
        self.branch_to(Instruction::Br, self.target(block));
        Ok(())
    }

    pub fn write_branch_if(&mut self, block: BlockId) -> Result<(), Error> {
        let count = self.body.blocks[block].carried().len();
        if block == FUNCTION {
            self.need(count + 1)?;
            self.branch_to(Instruction::BrIf, Open::Function);
            self.pop();
            return Ok(());
        }
        if count == 0 {
            self.spill_below(block)?;
            self.need(1)?;
            self.branch_to(Instruction::BrIf, self.target(block));
            self.pop();
            return Ok(());
        }
        self.need_above_slots()?;
        self.pop();
        let from = self.operands.types.len() - count;
        if from == self.body.blocks[block].height {
            self.branch_to(Instruction::BrIf, self.target(block));
            return Ok(());
        }
        // If it is not taken the slots of its target have to stay as they are.
        self.emit(Instruction::If(BlockType::Empty));
        self.open.push(Open::Local(0));
        self.get(from, from + count);
        self.set_carried(block);
        self.branch_to(Instruction::Br, self.target(block));
        self.end(Open::Local(0));
        Ok(())
    }

    pub fn write_branch_table(&mut self, blocks: &[BlockId]) -> Result<(), Error> {
        self.need_above_slots()?;
        self.pop();
        let Some((&default, others)) = blocks.split_last() else {
            return Ok(());
        };
        let count = self.body.blocks[default].carried().len();
        if count == 0 {
            let others: Vec<u32> = others
                .iter()
                .map(|&to| self.depth(self.target(to)))
                .collect();
            let default = self.depth(self.target(default));
            self.emit(Instruction::BrTable(others.into(), default));
            return Ok(());
        }
        // Each target has slots of its own: a small block for each.
        let mut targets = blocks.to_vec();
        targets.sort_unstable();
        targets.dedup();
        let condition = self.new_local(wasm_encoder::ValType::I32);
        self.emit(Instruction::LocalSet(condition));
        for number in (0..targets.len()).rev() {
            self.open_block(Open::Local(number));
        }
        self.emit(Instruction::LocalGet(condition));
        let number = |to: BlockId| targets.binary_search(&to).unwrap_or(0) as u32;
        let table: Vec<u32> = others.iter().map(|&to| number(to)).collect();
        self.emit(Instruction::BrTable(table.into(), number(default)));
        let from = self.operands.types.len() - count;
        for (number, &block) in targets.iter().enumerate() {
            self.end(Open::Local(number));
            self.get(from, from + count);
            match self.body.blocks[block].shape {
                Shape::Function => self.emit(Instruction::Return),
                _ => {
                    self.set_carried(block);
                    self.branch_to(Instruction::Br, self.target(block));
                }
            }
        }
        Ok(())
    }

    /// Returns where a branch to a block goes.
    fn target(&self, block: BlockId) -> Open {
        match self.body.blocks[block].shape {
            Shape::Function => Open::Function,
            Shape::Loop => Open::Loop(block),
            Shape::Block | Shape::If => Open::Label(Label::End(block)),
        }
    }

    /// Sees to it that all operands which are there behind a block are in slots.
    fn spill_below(&mut self, block: BlockId) -> Result<(), Error> {
        if block != FUNCTION && self.operands.in_slots < self.body.blocks[block].height {
            self.spill()?;
        }
        Ok(())
    }

    /// Takes what a branch carries from the stack to the slots of its target.
    fn set_carried(&mut self, block: BlockId) {
        let body = self.body;
        let block = &body.blocks[block];
        let count = block.carried().len();
        let from = self.operands.types.len() - count;
        for place in (0..count).rev() {
            let ty = self.operands.types[from + place];
            let local = self.slot(block.height + place, ty);
            self.emit(Instruction::LocalSet(local));
        }
    }
}
