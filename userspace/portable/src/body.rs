// SPDX-License-Identifier: GPL-2.0
//! A function as a list of steps: what its instructions take and give, and where its branches go.
//!
//! Code that is never reached is left out, so each operand of each step has a known type.

use crate::error::Error;
use crate::operators;
use wasmparser::{
    BlockType, FuncType, FuncValidator, FunctionBody, Operator, ValType, ValidatorResources,
};

/// The index of a block among those of its function; the function itself is block 0.
pub type BlockId = usize;
/// The block that is the function's whole body.
pub const FUNCTION: BlockId = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Function,
    Block,
    Loop,
    If,
}

/// A block, loop or `if`.
#[derive(Clone, Debug)]
pub struct Block {
    pub shape: Shape,
    /// How many operands lie below its parameters.
    pub height: usize,
    pub params: Vec<ValType>,
    pub results: Vec<ValType>,
    /// The innermost loop around it, or the function.
    pub region: BlockId,
    pub has_else: bool,
    /// Whether a branch goes to it.
    pub is_target: bool,
}

impl Block {
    /// Returns the types of what a branch to it carries.
    pub fn carried(&self) -> &[ValType] {
        match self.shape {
            Shape::Loop => &self.params,
            _ => &self.results,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// An instruction that neither branches nor calls.
    Plain(Operator<'a>),
    Open(BlockId),
    /// `falls`: whether the code before it gets here.
    Else {
        block: BlockId,
        falls: bool,
    },
    Close {
        block: BlockId,
        falls: bool,
    },
    Branch(BlockId),
    BranchIf(BlockId),
    /// The last one is the default.
    BranchTable(Vec<BlockId>),
    Return,
    Unreachable,
    Call(u32),
    CallIndirect {
        ty: u32,
        table: u32,
    },
}

/// A step, and what it does to the operands.
#[derive(Clone, Debug)]
pub struct Instruction<'a> {
    pub step: Step<'a>,
    pub pops: usize,
    pub pushes: Vec<ValType>,
    pub offset: u64,
}

/// A function that the module defines.
#[derive(Debug)]
pub struct Body<'a> {
    pub index: u32,
    pub params: usize,
    pub results: Vec<ValType>,
    /// Of all locals, parameters first.
    pub locals: Vec<ValType>,
    pub blocks: Vec<Block>,
    pub steps: Vec<Instruction<'a>>,
    /// As the module has it.
    pub raw: &'a [u8],
}

impl<'a> Body<'a> {
    /// Validates a function and reads it.
    pub fn read(
        mut validator: FuncValidator<ValidatorResources>,
        code: &FunctionBody<'a>,
        types: &[FuncType],
        ty: &FuncType,
    ) -> Result<Self, Error> {
        validator.read_locals(&mut code.get_binary_reader())?;
        let locals = (0..validator.len_locals())
            .filter_map(|local| validator.get_local_type(local))
            .collect();
        let function = Block {
            shape: Shape::Function,
            height: 0,
            params: Vec::new(),
            results: ty.results().to_vec(),
            region: FUNCTION,
            has_else: false,
            is_target: false,
        };
        let mut reading = Reading {
            validator,
            types,
            blocks: vec![function],
            open: vec![FUNCTION],
            dead: 0,
        };
        let mut steps = Vec::new();
        let mut reader = code.get_operators_reader()?;
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset()?;
            steps.extend(reading.next(operator, offset)?);
        }
        reader.finish()?;
        Ok(Body {
            index: reading.validator.index(),
            params: ty.params().len(),
            results: ty.results().to_vec(),
            locals,
            blocks: reading.blocks,
            steps,
            raw: code.as_bytes(),
        })
    }

    /// Returns whether any loop is in it.
    pub fn has_loop(&self) -> bool {
        self.blocks.iter().any(|block| block.shape == Shape::Loop)
    }
}

struct Reading<'t> {
    validator: FuncValidator<ValidatorResources>,
    types: &'t [FuncType],
    blocks: Vec<Block>,
    /// Those that the next instruction is in, the outermost first.
    open: Vec<BlockId>,
    /// How many blocks deep in code that is never reached.
    dead: usize,
}

impl Reading<'_> {
    fn next<'a>(
        &mut self,
        operator: Operator<'a>,
        offset: u64,
    ) -> Result<Option<Instruction<'a>>, Error> {
        operators::check(&operator, self.validator.index(), offset)?;
        // A block that begins in dead code is no better, though the validator looks at it anew.
        let frame = self.validator.get_control_frame(0);
        let dead = self.dead > 0 || frame.is_none_or(|frame| frame.unreachable);
        let arity = operator.operator_arity(&self.validator);
        self.validator.op(offset, &operator)?;
        if dead && !self.leaves_dead_code(&operator) {
            return Ok(None);
        }
        let (pops, pushes) = arity.ok_or(Error::TooLarge("operands of one instruction"))?;
        let pushes = (0..pushes as usize)
            .rev()
            .filter_map(|depth| self.validator.get_operand_type(depth).flatten())
            .collect();
        let pops = pops as usize;
        let step = self.step(operator, !dead, pops)?;
        Ok(Some(Instruction {
            step,
            pops,
            pushes,
            offset,
        }))
    }

    /// Returns whether code is reached again with this instruction, counting blocks.
    fn leaves_dead_code(&mut self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.dead += 1;
                false
            }
            Operator::End if self.dead > 0 => {
                self.dead -= 1;
                false
            }
            Operator::Else | Operator::End => self.dead == 0,
            _ => false,
        }
    }

    fn step<'a>(
        &mut self,
        operator: Operator<'a>,
        falls: bool,
        pops: usize,
    ) -> Result<Step<'a>, Error> {
        Ok(match operator {
            Operator::Block { blockty } => self.open(Shape::Block, blockty),
            Operator::Loop { blockty } => self.open(Shape::Loop, blockty),
            Operator::If { blockty } => self.open(Shape::If, blockty),
            Operator::Else => {
                let block = self.innermost();
                self.blocks[block].has_else = true;
                Step::Else { block, falls }
            }
            Operator::End => {
                let block = self.open.pop().unwrap_or(FUNCTION);
                Step::Close { block, falls }
            }
            Operator::Br { relative_depth } => Step::Branch(self.target(relative_depth)),
            Operator::BrIf { relative_depth } => Step::BranchIf(self.target(relative_depth)),
            Operator::BrTable { targets } => {
                let mut blocks = Vec::new();
                for target in targets.targets() {
                    blocks.push(self.target(target?));
                }
                blocks.push(self.target(targets.default()));
                Step::BranchTable(blocks)
            }
            Operator::Return => Step::Return,
            Operator::Unreachable => Step::Unreachable,
            Operator::Call { function_index } => Step::Call(function_index),
            Operator::CallIndirect {
                type_index,
                table_index,
            } => Step::CallIndirect {
                ty: type_index,
                table: table_index,
            },
            other => {
                debug_assert!(pops <= 3);
                Step::Plain(other)
            }
        })
    }

    fn innermost(&self) -> BlockId {
        self.open.last().copied().unwrap_or(FUNCTION)
    }

    fn target(&mut self, depth: u32) -> BlockId {
        // It is valid, so there are so many.
        let place = self.open.len().saturating_sub(1 + depth as usize);
        let block = self.open[place];
        self.blocks[block].is_target = true;
        block
    }

    /// Adds a block that the validator has just opened.
    fn open<'a>(&mut self, shape: Shape, ty: BlockType) -> Step<'a> {
        let (params, results) = match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(ty) => (Vec::new(), vec![ty]),
            BlockType::FuncType(index) => match self.types.get(index as usize) {
                Some(ty) => (ty.params().to_vec(), ty.results().to_vec()),
                None => (Vec::new(), Vec::new()),
            },
        };
        let outer = self.innermost();
        let region = match self.blocks[outer].shape {
            Shape::Loop => outer,
            _ => self.blocks[outer].region,
        };
        let height = self.validator.operand_stack_height() as usize - params.len();
        self.blocks.push(Block {
            shape,
            height,
            params,
            results,
            region,
            has_else: false,
            is_target: false,
        });
        let block = self.blocks.len() - 1;
        self.open.push(block);
        Step::Open(block)
    }
}
