// SPDX-License-Identifier: GPL-2.0
//! What the tests need of an engine.

use pagemove_portable::control;

/// A number of WebAssembly's, by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
}

impl Value {
    /// Returns it, or the one NaN if it is any: which one is left to the engine.
    pub fn canonical(self) -> Self {
        match self {
            Value::F32(bits) if f32::from_bits(bits).is_nan() => Value::F32(0x7fc0_0000),
            Value::F64(bits) if f64::from_bits(bits).is_nan() => Value::F64(0x7ff8 << 48),
            other => other,
        }
    }
}

/// A module that was compiled, or whatever the engine does.
pub trait Code {
    /// Makes an instance; fails if its segments do not fit.
    fn instantiate(&self) -> Result<Box<dyn Instance>, String>;
}

/// A program that runs or stands.
pub trait Instance {
    /// Calls an exported function with these arguments, or with zeros.
    fn call(&mut self, name: &str, arguments: Option<&[Value]>) -> Result<Vec<Value>, String>;
    fn has(&self, name: &str) -> bool;
    fn memory(&self, name: &str) -> Option<Vec<u8>>;
    /// Makes a memory so large, and puts this there.
    fn set_memory(&mut self, name: &str, bytes: &[u8]);
    fn globals(&self) -> Vec<(String, Value)>;
    fn global(&self, name: &str) -> Option<Value>;
    fn set_global(&mut self, name: &str, value: Value);
    /// What the program has told.
    fn notes(&mut self) -> &mut Vec<u64>;

    /// Returns what is in an exported memory or global.
    fn seen(&self, name: &str) -> Option<Vec<u8>> {
        let global = || {
            self.global(name)
                .map(|value| format!("{:?}", value.canonical()).into())
        };
        self.memory(name).or_else(global)
    }

    fn word(&self, offset: u64) -> i32 {
        let memory = self.memory(control::MEMORY).expect("it was not rewritten");
        let at = offset as usize;
        i32::from_le_bytes(memory[at..at + 4].try_into().expect("four bytes"))
    }

    fn set_word(&mut self, offset: u64, value: i32) {
        let mut memory = self.memory(control::MEMORY).expect("it was not rewritten");
        let at = offset as usize;
        memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self.set_memory(control::MEMORY, &memory);
    }
}
