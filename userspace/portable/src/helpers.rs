// SPDX-License-Identifier: GPL-2.0
//! Functions that a rewritten module gets: the cold half of each poll.

use crate::control;
use wasm_encoder::{BlockType, Function, Instruction as I, MemArg, ValType};

/// The numbers of the functions, and of the memory that they work on.
#[derive(Clone, Copy, Debug)]
pub struct Helpers {
    pub memory: u32,
    /// `() -> i32`: the word; each call counts towards the stop of [`control::TICKS`].
    pub tick: u32,
    /// `(size) -> offset`: makes room for a frame; from now on functions return.
    pub push: u32,
    /// `(size) -> offset`: takes the last frame.
    pub take: u32,
    /// `() -> number`: the point of the last frame, which is gone to.
    pub enter: u32,
    /// `()`: the innermost function is at its point; the program runs.
    pub resumed: u32,
}

/// Parameters and results of each of them, in the order of [`Helpers::functions`].
pub const TYPES: [(&[ValType], &[ValType]); 5] = [
    (&[], &[ValType::I32]),
    (&[ValType::I32], &[ValType::I32]),
    (&[ValType::I32], &[ValType::I32]),
    (&[], &[ValType::I32]),
    (&[], &[]),
];

impl Helpers {
    /// Numbers them behind the functions of a module.
    pub fn behind(functions: u32, memory: u32) -> Self {
        Helpers {
            memory,
            tick: functions,
            push: functions + 1,
            take: functions + 2,
            enter: functions + 3,
            resumed: functions + 4,
        }
    }

    /// Returns the code of each.
    pub fn functions(&self) -> [Function; 5] {
        [
            self.tick(),
            self.push(),
            self.take(),
            self.enter(),
            self.resumed(),
        ]
    }

    fn at(&self, offset: u64) -> MemArg {
        MemArg {
            offset,
            align: 2,
            memory_index: self.memory,
        }
    }

    fn load(&self, offset: u64) -> [I<'static>; 2] {
        [I::I32Const(0), I::I32Load(self.at(offset))]
    }

    /// Sets a number to a constant.
    fn set(&self, offset: u64, value: i32) -> [I<'static>; 3] {
        [
            I::I32Const(0),
            I::I32Const(value),
            I::I32Store(self.at(offset)),
        ]
    }

    fn tick(&self) -> Function {
        let mut code = Vec::new();
        // Whoever unwinds or rewinds is at no poll.
        code.extend(self.load(control::WORD));
        code.extend([I::I32Eqz, I::If(BlockType::Empty)]);
        code.extend(self.load(control::TICKS));
        code.push(I::If(BlockType::Empty));
        code.push(I::I32Const(0));
        code.extend(self.load(control::TICKS));
        code.extend([
            I::I32Const(1),
            I::I32Sub,
            I::I32Store(self.at(control::TICKS)),
        ]);
        code.extend(self.load(control::TICKS));
        code.extend([I::I32Eqz, I::If(BlockType::Empty)]);
        code.extend(self.set(control::WORD, control::STOP));
        code.extend([I::End, I::End, I::End]);
        code.extend(self.load(control::WORD));
        function(0, code)
    }

    fn push(&self) -> Function {
        // Parameter 0: the size; local 1: where the frame begins; local 2: pages that are missing.
        let mut code = Vec::new();
        code.extend(self.set(control::WORD, control::UNWINDS));
        code.extend(self.load(control::TOP));
        code.extend([I::LocalTee(1), I::LocalGet(0), I::I32Add, I::LocalSet(0)]);
        code.extend([
            I::I32Const(0),
            I::LocalGet(0),
            I::I32Store(self.at(control::TOP)),
        ]);
        let last = control::FRAMES as i32 + control::PAGE as i32 - 1;
        code.extend([I::LocalGet(0), I::I32Const(last), I::I32Add]);
        code.extend([
            I::I32Const(16),
            I::I32ShrU,
            I::MemorySize(self.memory),
            I::I32Sub,
        ]);
        code.extend([
            I::LocalTee(2),
            I::I32Const(0),
            I::I32GtS,
            I::If(BlockType::Empty),
        ]);
        code.extend([
            I::LocalGet(2),
            I::MemoryGrow(self.memory),
            I::I32Const(-1),
            I::I32Eq,
        ]);
        code.extend([
            I::If(BlockType::Empty),
            I::Unreachable,
            I::End,
            I::End,
            I::LocalGet(1),
        ]);
        function(2, code)
    }

    fn take(&self) -> Function {
        let mut code = Vec::new();
        code.extend(self.load(control::TOP));
        code.extend([I::LocalTee(1), I::LocalGet(0), I::I32LtU]);
        code.extend([I::If(BlockType::Empty), I::Unreachable, I::End]);
        code.extend([
            I::I32Const(0),
            I::LocalGet(1),
            I::LocalGet(0),
            I::I32Sub,
            I::LocalTee(1),
        ]);
        code.extend([I::I32Store(self.at(control::TOP)), I::LocalGet(1)]);
        function(1, code)
    }

    fn enter(&self) -> Function {
        let mut code = Vec::new();
        code.extend(self.load(control::WORD));
        code.extend([I::I32Const(control::REWINDS), I::I32Ne]);
        code.extend([I::If(BlockType::Empty), I::Unreachable, I::End]);
        code.extend(self.load(control::TOP));
        code.extend([I::LocalTee(0), I::I32Const(4), I::I32LtU]);
        code.extend([I::If(BlockType::Empty), I::Unreachable, I::End]);
        code.extend([
            I::I32Const(0),
            I::LocalGet(0),
            I::I32Load(self.at(control::FRAMES - 4)),
        ]);
        code.extend([
            I::LocalTee(0),
            I::I32Store(self.at(control::TARGET)),
            I::LocalGet(0),
        ]);
        function(1, code)
    }

    fn resumed(&self) -> Function {
        // It is the innermost, so no frame is left.
        let mut code = Vec::new();
        code.extend(self.load(control::TOP));
        code.extend([I::If(BlockType::Empty), I::Unreachable, I::End]);
        code.extend(self.set(control::WORD, control::RUNS));
        function(0, code)
    }
}

/// Returns a function with so many locals of type i32.
fn function(locals: u32, code: Vec<I<'static>>) -> Function {
    let mut function = Function::new([(locals, ValType::I32)]);
    for instruction in code {
        function.instruction(&instruction);
    }
    function.instruction(&I::End);
    function
}
