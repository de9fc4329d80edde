// SPDX-License-Identifier: GPL-2.0
//! From a program that stands to an image, and back.

use crate::engine::Program;
use crate::exit::{Exit, Failure};
use crate::module::Module;
use pagemove_image::{Global, Image, Memory, Program as Which, Times, Value};
use pagemove_portable::control;
use wasmi::Val;

/// Takes the state of a program that stands.
pub fn take(program: &Program, which: &Which) -> Result<Image, Failure> {
    let odd = |what: &str| Failure::new(Exit::Unsupported, format!("{what} can not be kept"));
    let top = usize::try_from(program.word(control::TOP)?).map_err(|_| odd("the frames"))?;
    let from = control::FRAMES as usize;
    let bytes = program.control().data(&program.store);
    let frames = bytes
        .get(from..from.saturating_add(top))
        .ok_or_else(|| odd("the frames"))?;
    let mut globals = Vec::new();
    for (index, global) in program.globals() {
        let value = match global.get(&program.store) {
            Val::I32(value) => Value::I32(value as u32),
            Val::I64(value) => Value::I64(value as u64),
            Val::F32(value) => Value::F32(value.to_bits()),
            Val::F64(value) => Value::F64(value.to_bits()),
            _ => return Err(odd("a global that is a reference")),
        };
        globals.push(Global { index, value });
    }
    let mut memories = Vec::new();
    while let Some(memory) = program.memory(memories.len() as u32) {
        let taken = Memory::of(memories.len() as u32, memory.data(&program.store));
        memories.push(taken.ok_or_else(|| odd("a memory"))?);
    }
    Ok(Image {
        program: which.clone(),
        frames: frames.to_vec(),
        globals,
        memories,
        files: Vec::new(),
        messages: None,
        times: Times {
            ran_ns: program.store.data().ran_ns(),
            timers_ns: Vec::new(),
        },
    })
}

/// Gives a new program the state of an image; its next slice goes on from there. What does not fit the module
/// is refused before anything is changed.
pub fn give(program: &mut Program, module: &Module, image: &Image) -> Result<(), Failure> {
    let refuse = |what: String| Failure::new(Exit::Unsupported, format!("this image {what}"));
    if !image.files.is_empty() || !image.times.timers_ns.is_empty() {
        return Err(refuse(
            "has open files or timers, which this host does not have".into(),
        ));
    }
    module
        .points
        .frames(&image.frames)
        .map_err(|error| refuse(format!("is of another module: {error}")))?;
    let globals = program.globals();
    let given: Vec<u32> = image.globals.iter().map(|global| global.index).collect();
    if !globals.iter().map(|(index, _)| *index).eq(given) {
        return Err(refuse("has other globals than the module".into()));
    }
    let memories = (0..)
        .map_while(|index| program.memory(index))
        .collect::<Vec<_>>();
    let known = (0u32..).zip(&memories).map(|(index, _)| index);
    if !known.eq(image.memories.iter().map(|memory| memory.index)) {
        return Err(refuse("has other memories than the module".into()));
    }
    for ((_, global), given) in globals.iter().zip(&image.globals) {
        let value = match given.value {
            Value::I32(bits) => Val::I32(bits as i32),
            Value::I64(bits) => Val::I64(bits as i64),
            Value::F32(bits) => Val::F32(wasmi::core::F32::from_bits(bits)),
            Value::F64(bits) => Val::F64(wasmi::core::F64::from_bits(bits)),
        };
        global
            .set(&mut program.store, value)
            .map_err(|error| refuse(format!("has a global of another type: {error}")))?;
    }
    for (memory, given) in memories.iter().zip(&image.memories) {
        let pages = memory.size(&program.store);
        let missing = u64::from(given.pages)
            .checked_sub(pages)
            .ok_or_else(|| refuse("has a smaller memory than the module".into()))?;
        memory
            .grow(&mut program.store, missing)
            .map_err(|error| refuse(format!("needs a memory of {} pages: {error}", given.pages)))?;
        let bytes = memory.data_mut(&mut program.store);
        // What the module puts there when it begins.
        bytes.fill(0);
        given
            .put(bytes)
            .map_err(|_| refuse("does not fit into its memory".into()))?;
    }
    give_frames(program, &image.frames)
        .map_err(|error| refuse(format!("needs more memory for its frames: {error}")))?;
    program.set_word(control::TOP, image.frames.len() as i32)?;
    program.set_word(control::WORD, control::REWINDS)
}

fn give_frames(program: &mut Program, frames: &[u8]) -> Result<(), wasmi::Error> {
    let memory = program.control();
    let needed = control::FRAMES as usize + frames.len();
    let missing = needed.saturating_sub(memory.data_size(&program.store));
    let pages = missing.div_ceil(control::PAGE as usize) as u64;
    memory.grow(&mut program.store, pages)?;
    memory.write(&mut program.store, control::FRAMES as usize, frames)?;
    Ok(())
}
