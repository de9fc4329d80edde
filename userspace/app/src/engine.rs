// SPDX-License-Identifier: GPL-2.0
//! The engine: wasmi, an interpreter. The program runs in slices of so many polls; between two it stands.

use crate::exit::{Exit, Failure};
use crate::messages;
use crate::module::Module;
use crate::wasi::{self, Host};
use pagemove_portable::control;
use wasmi::{Engine, Func, Global, Instance, Linker, Memory, Store, Val};

/// Polls of a slice: about a millisecond.
const SLICE: i32 = 50_000;

/// How a slice has ended.
pub enum Ended {
    /// The program stands, and can go on.
    Stands,
    /// Its function has returned, with these results.
    Returned(Vec<Val>),
    /// It has asked for its end.
    Exited(i32),
}

/// A program.
pub struct Program {
    pub store: Store<Host>,
    instance: Instance,
    control: Memory,
    function: Func,
    arguments: Vec<Val>,
    /// It sends and receives.
    pub has_messages: bool,
}

impl Program {
    pub fn new(module: &Module, function: &str, host: Host) -> Result<Self, Failure> {
        let engine = Engine::default();
        let compiled = wasmi::Module::new(&engine, &module.wasm)
            .map_err(Failure::of(Exit::Unsupported, "the module"))?;
        let mut linker = Linker::new(&engine);
        wasi::define(&mut linker)
            .and_then(|()| messages::define(&mut linker))
            .map_err(Failure::of(Exit::Unsupported, "the host"))?;
        let mut store = Store::new(&engine, host);
        let instance = linker
            .instantiate(&mut store, &compiled)
            .and_then(|instance| instance.start(&mut store))
            .map_err(Failure::of(Exit::Unsupported, "the module can not begin"))?;
        let found = instance.get_func(&store, function).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("the module exports no function {function:?}"),
            )
        })?;
        let control = instance
            .get_memory(&store, control::MEMORY)
            .ok_or_else(|| {
                Failure::new(
                    Exit::Unsupported,
                    "the module was rewritten by something else",
                )
            })?;
        let arguments = found
            .ty(&store)
            .params()
            .iter()
            .map(|&ty| Val::default(ty))
            .collect();
        Ok(Program {
            store,
            instance,
            control,
            function: found,
            arguments,
            has_messages: compiled
                .imports()
                .any(|import| import.module() == messages::MODULE),
        })
    }

    /// Returns how many parameters its function has.
    pub fn parameters(&self) -> usize {
        self.arguments.len()
    }

    /// Sets the numbers that its function is called with.
    pub fn set_arguments(&mut self, texts: &[String]) -> Result<(), Failure> {
        for (argument, text) in self.arguments.iter_mut().zip(texts) {
            let parsed = match argument {
                Val::I32(_) => text.parse().map(Val::I32).ok(),
                Val::I64(_) => text.parse().map(Val::I64).ok(),
                Val::F32(_) => text.parse().map(|value: f32| Val::F32(value.into())).ok(),
                Val::F64(_) => text.parse().map(|value: f64| Val::F64(value.into())).ok(),
                _ => None,
            };
            *argument = parsed.ok_or_else(|| {
                let text = format!("{text:?} is no number of the type that the function takes");
                Failure::new(Exit::Usage, text)
            })?;
        }
        Ok(())
    }

    /// Calls the module's start function, which only a program that begins does.
    pub fn start(&mut self) -> Result<(), Failure> {
        let Some(start) = self.instance.get_func(&self.store, control::START) else {
            return Ok(());
        };
        start
            .call(&mut self.store, &[], &mut [])
            .map_err(Failure::of(Exit::Aborted, "its start"))
    }

    /// Runs it for a slice, from its begin or from where it stands.
    pub fn slice(&mut self) -> Result<Ended, Failure> {
        self.set_word(control::TICKS, SLICE)?;
        if self.word(control::WORD)? == control::UNWINDS {
            self.set_word(control::WORD, control::REWINDS)?;
        }
        let ty = self.function.ty(&self.store);
        let mut results: Vec<Val> = ty.results().iter().map(|&ty| Val::default(ty)).collect();
        let called = self
            .function
            .call(&mut self.store, &self.arguments, &mut results);
        if let Err(error) = called {
            return match error.i32_exit_status() {
                Some(code) => Ok(Ended::Exited(code)),
                None => Err(Failure::new(Exit::Aborted, format!("the program: {error}"))),
            };
        }
        match self.word(control::WORD)? == control::UNWINDS {
            true => Ok(Ended::Stands),
            false => Ok(Ended::Returned(results)),
        }
    }

    pub fn word(&self, offset: u64) -> Result<i32, Failure> {
        let mut bytes = [0; 4];
        self.control
            .read(&self.store, offset as usize, &mut bytes)
            .map_err(Failure::of(
                Exit::Unsupported,
                "the module's control memory",
            ))?;
        Ok(i32::from_le_bytes(bytes))
    }

    pub fn set_word(&mut self, offset: u64, value: i32) -> Result<(), Failure> {
        self.control
            .write(&mut self.store, offset as usize, &value.to_le_bytes())
            .map_err(Failure::of(
                Exit::Unsupported,
                "the module's control memory",
            ))
    }

    /// Returns the memory of frames.
    pub fn control(&self) -> Memory {
        self.control
    }

    /// Returns one of the program's own memories.
    pub fn memory(&self, index: u32) -> Option<Memory> {
        self.instance
            .get_memory(&self.store, &format!("{}{index}", control::PROGRAM_MEMORY))
    }

    /// Returns the program's mutable globals, by their indices.
    pub fn globals(&self) -> Vec<(u32, Global)> {
        let exports = self.instance.exports(&self.store);
        let mut globals: Vec<(u32, Global)> = exports
            .filter_map(|export| {
                let index = export
                    .name()
                    .strip_prefix(control::PROGRAM_GLOBAL)?
                    .parse()
                    .ok()?;
                Some((index, export.into_global()?))
            })
            .collect();
        globals.sort_by_key(|(index, _)| *index);
        globals
    }
}
