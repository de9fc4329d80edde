// SPDX-License-Identifier: GPL-2.0
//! Programs: sequences of calls, how they are chosen and changed, and their text.
//!
//! A line is a call: its name, then `argument=value` for each argument that is not 0. What
//! comes after a number sign is for readers.

use std::fmt;

use anyhow::{bail, Context, Result};
use pagemove_testkit::random::Random;

use crate::op::{Op, OPS};
use crate::value::Value;

/// Calls that one program has at most.
pub const LONGEST: usize = 48;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Index into [`OPS`].
    pub op: usize,
    pub values: Vec<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program(pub Vec<Call>);

impl Call {
    pub fn op(&self) -> &'static Op {
        &OPS[self.op]
    }

    /// What most calls of this kind look like; now and then something is wrong with one.
    pub fn choose(op: usize, random: &mut Random) -> Self {
        let args = OPS[op].args;
        let mut values: Vec<Value> = args
            .iter()
            .map(|arg| arg.kind.choose(random, false))
            .collect();
        if random.below(5) == 0 && !args.is_empty() {
            let at = random.below(args.len());
            values[at] = args[at].kind.choose(random, true);
        }
        let mut call = Self { op, values };
        call.settle(random);
        call
    }

    /// Draws one argument anew.
    pub fn change(&mut self, random: &mut Random) {
        let args = self.op().args;
        if !args.is_empty() {
            let at = random.below(args.len());
            let wrong = random.below(3) == 0;
            self.values[at] = args[at].kind.choose(random, wrong);
            self.settle(random);
        }
    }

    /// Arguments that only make sense together.
    fn settle(&mut self, random: &mut Random) {
        let op = self.op();
        let at = |name: &str| op.args.iter().position(|arg| arg.name == name);
        if let (Some(aperture), Some(targets)) = (at("aperture"), at("targets")) {
            let none = self.values[aperture] == Value::Number(0);
            let seed = if none {
                0
            } else {
                1 + random.below(1000) as u64
            };
            if random.below(30) != 0 {
                self.values[targets] = Value::Number(seed);
            }
        }
        if let (Some(region), Some(offset)) = (at("region"), at("offset")) {
            if op.name == "move" && self.values[region] == Value::Number(0) && random.below(30) != 0
            {
                self.values[offset] = Value::Number(0);
            }
        }
    }
}

/// A call by its weight.
fn draw_op(random: &mut Random) -> usize {
    let total: u32 = OPS.iter().map(|op| op.weight).sum();
    let mut at = random.below(total as usize) as u32;
    OPS.iter()
        .position(|op| {
            let here = at < op.weight;
            at = at.saturating_sub(op.weight);
            here
        })
        .expect("a draw below the sum of weights")
}

impl Program {
    /// A new one: it makes what calls are about, mostly, and then calls.
    pub fn choose(random: &mut Random) -> Self {
        let mut calls = Vec::new();
        for line in START[random.below(START.len())] {
            calls.push(parse_call(line).expect("a line of START"));
        }
        for _ in 0..8 + random.below(LONGEST - 8 - calls.len()) {
            calls.push(Call::choose(draw_op(random), random));
        }
        Self(calls)
    }

    /// Another one, made of this and of `other`.
    pub fn mutate(&self, other: &Self, random: &mut Random) -> Self {
        let mut calls = self.0.clone();
        for _ in 0..1 + random.below(4) {
            match random.below(6) {
                0 if calls.len() > 1 => {
                    calls.remove(random.below(calls.len()));
                }
                1 if !calls.is_empty() => {
                    let again = calls[random.below(calls.len())].clone();
                    calls.insert(random.below(calls.len() + 1), again);
                }
                2 if !other.0.is_empty() => {
                    let from = random.below(other.0.len());
                    let to = (from + 1 + random.below(6)).min(other.0.len());
                    calls.extend_from_slice(&other.0[from..to]);
                }
                3 => {
                    for _ in 0..1 + random.below(8) {
                        let at = random.below(calls.len() + 1);
                        calls.insert(at, Call::choose(draw_op(random), random));
                    }
                }
                _ if !calls.is_empty() => {
                    let at = random.below(calls.len());
                    calls[at].change(random);
                }
                _ => {}
            }
        }
        calls.truncate(LONGEST);
        Self(calls)
    }

    pub fn without(&self, at: usize) -> Self {
        let mut calls = self.0.clone();
        calls.remove(at);
        Self(calls)
    }

    pub fn parse(text: &str) -> Result<Self> {
        let mut calls = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                calls.push(parse_call(line).with_context(|| format!("line {}", number + 1))?);
            }
        }
        Ok(Self(calls))
    }
}

fn parse_call(line: &str) -> Result<Call> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let op = OPS
        .iter()
        .position(|op| op.name == name)
        .with_context(|| format!("there is no call '{name}'"))?;
    let args = OPS[op].args;
    let mut values = vec![Value::Number(0); args.len()];
    for (value, arg) in values.iter_mut().zip(args) {
        if !arg.kind.names().is_empty() {
            *value = Value::Name(0);
        }
    }
    for word in words {
        let Some((argument, text)) = word.split_once('=') else {
            bail!("'{word}' is not argument=value");
        };
        let at = args.iter().position(|arg| arg.name == argument);
        let at = at.with_context(|| format!("{name} has no argument '{argument}'"))?;
        values[at] = args[at]
            .kind
            .parse(text)
            .with_context(|| format!("'{text}' is no {argument}"))?;
    }
    Ok(Call { op, values })
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op().name)?;
        for (arg, value) in self.op().args.iter().zip(&self.values) {
            if !matches!(value, Value::Number(0) | Value::Name(0)) {
                write!(f, " {}={}", arg.name, arg.kind.text(*value))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|call| writeln!(f, "{call}"))
    }
}

/// Beginnings: a region with pages that a device maps; one that grows; one that is shared
/// with the other processes; nothing.
const START: &[&[&str]] = &[
    &[
        "open file=2",
        "region_setup file=2 length=0x10000 node=0",
        "mmap map=0 file=2 pages=16",
        "touch map=0 pages=16 write=1",
        "attach box=0",
        "dma_map box=0 map=0 iova=0x100000 pages=16",
    ],
    &[
        "attach box=0",
        "open file=2",
        "mmap map=1 file=2 pages=8",
        "dma_map box=0 map=1 iova=0x100000 pages=8",
        "used device=$0 iova=0x100000 length=0x8000",
    ],
    &[
        "open file=2",
        "mmap map=2 file=0 pages=16",
        "attach box=0",
        "dma_map box=0 map=2 iova=0x100000 pages=16",
    ],
    &[
        "open file=2",
        "region_setup file=2 length=0x10000 node=1",
        "mmap map=0 file=2 pages=16",
    ],
    &[
        "open file=2",
        "mmap map=3 file=1 pages=4",
        "touch map=3 pages=4",
    ],
    &["open file=2"],
];

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
