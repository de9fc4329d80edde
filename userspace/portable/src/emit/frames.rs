// SPDX-License-Identifier: GPL-2.0
//! Frames: where they are stored and taken, and how a function gets back to its point.

use super::{Emitter, Open};
use crate::body::{BlockId, FUNCTION};
use crate::control;
use crate::labels::Label;
use crate::options::Mistake;
use crate::points::Kind;
use wasm_encoder::{BlockType, Instruction, MemArg, ValType};

/// Returns the bytes of a frame, the number of its point with them.
pub fn size(frame: &[(u32, ValType)]) -> u32 {
    frame.iter().map(|&(_, ty)| width(ty)).sum::<u32>() + 4
}

fn width(ty: ValType) -> u32 {
    match ty {
        ValType::I64 | ValType::F64 => 8,
        _ => 4,
    }
}

impl<'e, 'a: 'e> Emitter<'e, 'a> {
    /// Writes the function's entry: nothing where the word is zero, else a frame is stored or taken.
    pub fn write_entry(&mut self, scratch: u32) {
        const BEGIN: usize = usize::MAX;
        const BAD: usize = usize::MAX - 1;
        self.emit_poll();
        self.emit(Instruction::If(BlockType::Empty));
        self.open.push(Open::Local(BEGIN));
        self.write_stop(0);
        self.open_block(Open::Local(BAD));
        let points = self.layout.places.len();
        for point in (0..points).rev() {
            self.open_block(Open::Local(point));
        }
        self.emit(Instruction::Call(self.around.helpers.enter));
        self.emit_from_first(0);
        let table: Vec<u32> = (0..points as u32).collect();
        self.emit(Instruction::BrTable(table.into(), points as u32));
        for point in 0..points {
            self.end(Open::Local(point));
            self.write_restore(point, scratch);
            let (open, arrived) = match point {
                0 => (Open::Local(BEGIN), true),
                _ => {
                    let (label, arrived) = self.layout.way(self.body, FUNCTION, point);
                    (Open::Label(label), arrived)
                }
            };
            if arrived && self.layout.places[point].kind.is_poll() {
                self.emit(Instruction::Call(self.around.helpers.resumed));
            }
            self.branch_to(Instruction::Br, open);
        }
        self.end(Open::Local(BAD));
        self.emit(Instruction::Unreachable);
        self.end(Open::Local(BEGIN));
    }

    /// Writes a loop's header: nothing where the word is zero, else a frame is stored, or the way
    /// to a point in the loop goes on.
    pub fn write_header(&mut self, block: BlockId, point: usize) {
        const COLD: usize = usize::MAX;
        self.emit_poll();
        let inside = self.layout.inside[block].clone();
        if inside.is_empty() {
            self.branch_to(Instruction::BrIf, Open::Label(Label::Save(point)));
            return;
        }
        self.emit(Instruction::If(BlockType::Empty));
        self.open.push(Open::Local(COLD));
        self.write_stop(point);
        let polls: Vec<usize> = inside
            .clone()
            .filter(|&inner| {
                let (_, arrived) = self.layout.way(self.body, block, inner);
                arrived && self.layout.places[inner].kind.is_poll()
            })
            .collect();
        for &inner in polls.iter().rev() {
            self.open_block(Open::Local(inner));
        }
        self.emit_load(control::TARGET);
        self.emit_from_first(inside.start);
        let table: Vec<u32> = inside
            .map(|inner| match polls.contains(&inner) {
                true => self.depth(Open::Local(inner)),
                false => self.depth(Open::Label(self.layout.way(self.body, block, inner).0)),
            })
            .collect();
        // Another number can not be: it would have been refused at the entry.
        let default = self.depth(Open::Label(Label::Save(point)));
        self.emit(Instruction::BrTable(table.into(), default));
        for &inner in &polls {
            self.end(Open::Local(inner));
            self.emit(Instruction::Call(self.around.helpers.resumed));
            let (label, _) = self.layout.way(self.body, block, inner);
            self.branch_to(Instruction::Br, Open::Label(label));
        }
        self.end(Open::Local(COLD));
    }

    /// Writes: to where a point's frame is stored, if a stop is wanted.
    fn write_stop(&mut self, point: usize) {
        self.emit_load(control::WORD);
        self.emit(Instruction::I32Const(control::STOP));
        self.emit(Instruction::I32Eq);
        self.branch_to(Instruction::BrIf, Open::Label(Label::Save(point)));
    }

    /// Makes of a point's number on the stack its distance from a point of this function.
    fn emit_from_first(&mut self, point: usize) {
        self.emit(Instruction::I32Const(self.first + point as i32));
        self.emit(Instruction::I32Sub);
    }

    /// Writes, for each point, how its frame is stored.
    pub fn write_saves(&mut self, scratch: u32) {
        for point in 0..self.layout.places.len() {
            if !self.is_stored_apart(point) {
                continue;
            }
            self.place(Label::Save(point));
            let after = self.layout.places.get(point + 1);
            let shared = self.layout.places[point].kind == Kind::Call
                && after.is_some_and(|after| after.kind == Kind::Returned);
            if shared {
                self.emit_load(control::WORD);
                self.emit(Instruction::I32Const(control::UNWINDS));
                self.emit(Instruction::I32Eq);
                self.emit(Instruction::If(BlockType::Empty));
                self.open.push(Open::Local(0));
                self.write_save(point, scratch);
                self.end(Open::Local(0));
                self.write_save(point + 1, scratch);
            } else {
                self.write_save(point, scratch);
            }
        }
    }

    fn write_save(&mut self, point: usize, scratch: u32) {
        let frame = std::mem::take(&mut self.frames[point]);
        self.emit(Instruction::I32Const(size(&frame) as i32));
        self.emit(Instruction::Call(self.around.helpers.push));
        self.emit(Instruction::LocalSet(scratch));
        let mut offset = control::FRAMES;
        for &(local, ty) in &frame {
            self.emit(Instruction::LocalGet(scratch));
            self.emit(Instruction::LocalGet(local));
            let place = self.packed(offset);
            self.emit(match ty {
                ValType::I64 => Instruction::I64Store(place),
                ValType::F32 => Instruction::F32Store(place),
                ValType::F64 => Instruction::F64Store(place),
                _ => Instruction::I32Store(place),
            });
            offset += u64::from(width(ty));
        }
        self.emit(Instruction::LocalGet(scratch));
        self.emit(Instruction::I32Const(self.first + point as i32));
        self.emit(Instruction::I32Store(self.packed(offset)));
        self.frames[point] = frame;
        // Nobody looks at the result.
        for &ty in &self.body.results {
            self.emit(match ty {
                wasmparser::ValType::I64 => Instruction::I64Const(0),
                wasmparser::ValType::F32 => Instruction::F32Const(0.0.into()),
                wasmparser::ValType::F64 => Instruction::F64Const(0.0.into()),
                _ => Instruction::I32Const(0),
            });
        }
        self.emit(Instruction::Return);
    }

    fn write_restore(&mut self, point: usize, scratch: u32) {
        let frame = std::mem::take(&mut self.frames[point]);
        self.emit(Instruction::I32Const(size(&frame) as i32));
        self.emit(Instruction::Call(self.around.helpers.take));
        self.emit(Instruction::LocalSet(scratch));
        let mut offset = control::FRAMES;
        let reversed = self.around.options.mistake == Some(Mistake::ValuesReversed);
        let order: Vec<_> = match reversed {
            true => frame.iter().rev().copied().collect(),
            false => frame.clone(),
        };
        for (local, ty) in order {
            self.emit(Instruction::LocalGet(scratch));
            let place = self.packed(offset);
            self.emit(match ty {
                ValType::I64 => Instruction::I64Load(place),
                ValType::F32 => Instruction::F32Load(place),
                ValType::F64 => Instruction::F64Load(place),
                _ => Instruction::I32Load(place),
            });
            self.emit(Instruction::LocalSet(local));
            offset += u64::from(width(ty));
        }
        self.frames[point] = frame;
    }

    /// Returns the place of a value in a frame; frames are packed.
    fn packed(&self, offset: u64) -> MemArg {
        MemArg {
            offset,
            align: 2,
            memory_index: self.around.helpers.memory,
        }
    }
}
