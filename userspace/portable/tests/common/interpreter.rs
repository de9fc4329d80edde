// SPDX-License-Identifier: GPL-2.0
//! The engine wasmi, an interpreter.

use super::engine::{Code, Instance, Value};
use pagemove_portable::control;
use wasmi::{Config, Engine, Extern, Linker, Module, Mutability, Store, Val};

/// How many instructions an instance executes, about: a program that was damaged may never end.
const FUEL: u64 = 50_000_000;

/// A module for wasmi.
pub struct Interpreted {
    engine: Engine,
    module: Module,
}

impl Interpreted {
    pub fn new(wasm: &[u8]) -> Self {
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm)
            .unwrap_or_else(|error| panic!("wasmi does not take the module: {error}"));
        Interpreted { engine, module }
    }
}

impl Code for Interpreted {
    fn instantiate(&self) -> Result<Box<dyn Instance>, String> {
        let mut store = Store::new(&self.engine, Vec::new());
        store.set_fuel(FUEL).expect("it counts");
        let mut linker = Linker::new(&self.engine);
        let note = |mut caller: wasmi::Caller<'_, Vec<u64>>, value: i64| {
            caller.data_mut().push(value as u64);
        };
        linker.func_wrap("env", "note", note).expect("defined once");
        let instance = linker
            .instantiate(&mut store, &self.module)
            .and_then(|instance| instance.start(&mut store))
            .map_err(|error| error.to_string())?;
        Ok(Box::new(Running { store, instance }))
    }
}

struct Running {
    store: Store<Vec<u64>>,
    instance: wasmi::Instance,
}

pub fn to_wasmi(value: Value) -> Val {
    match value {
        Value::I32(bits) => Val::I32(bits as i32),
        Value::I64(bits) => Val::I64(bits as i64),
        Value::F32(bits) => Val::F32(wasmi::core::F32::from_bits(bits)),
        Value::F64(bits) => Val::F64(wasmi::core::F64::from_bits(bits)),
    }
}

pub fn from_wasmi(value: &Val) -> Option<Value> {
    Some(match value {
        Val::I32(value) => Value::I32(*value as u32),
        Val::I64(value) => Value::I64(*value as u64),
        Val::F32(value) => Value::F32(value.to_bits()),
        Val::F64(value) => Value::F64(value.to_bits()),
        _ => return None,
    })
}

impl Instance for Running {
    fn call(&mut self, name: &str, arguments: Option<&[Value]>) -> Result<Vec<Value>, String> {
        let function = self
            .instance
            .get_func(&self.store, name)
            .expect("it is exported");
        let ty = function.ty(&self.store);
        let zeros = ty.params().iter().map(|&ty| Val::default(ty));
        let arguments: Vec<Val> = match arguments {
            Some(values) => values.iter().map(|&value| to_wasmi(value)).collect(),
            None => zeros.collect(),
        };
        let mut results: Vec<Val> = ty.results().iter().map(|&ty| Val::default(ty)).collect();
        function
            .call(&mut self.store, &arguments, &mut results)
            .map_err(|error| error.to_string())?;
        Ok(results
            .iter()
            .filter_map(from_wasmi)
            .map(Value::canonical)
            .collect())
    }

    fn has(&self, name: &str) -> bool {
        self.instance.get_export(&self.store, name).is_some()
    }

    fn memory(&self, name: &str) -> Option<Vec<u8>> {
        let memory = self.instance.get_memory(&self.store, name)?;
        Some(memory.data(&self.store).to_vec())
    }

    fn set_memory(&mut self, name: &str, bytes: &[u8]) {
        let memory = self
            .instance
            .get_memory(&self.store, name)
            .expect("it is exported");
        let missing = bytes.len().saturating_sub(memory.data_size(&self.store));
        let pages = missing.div_ceil(control::PAGE as usize) as u64;
        memory
            .grow(&mut self.store, pages)
            .expect("it can be so large");
        memory.data_mut(&mut self.store)[..bytes.len()].copy_from_slice(bytes);
    }

    fn globals(&self) -> Vec<(String, Value)> {
        let mut globals = Vec::new();
        for export in self.instance.exports(&self.store) {
            let name = export.name().to_string();
            if let Extern::Global(global) = export.into_extern() {
                let mutable = global.ty(&self.store).mutability() == Mutability::Var;
                if mutable && name.starts_with(control::PROGRAM_GLOBAL) {
                    globals.extend(from_wasmi(&global.get(&self.store)).map(|value| (name, value)));
                }
            }
        }
        globals.sort_by(|a, b| a.0.cmp(&b.0));
        globals
    }

    fn global(&self, name: &str) -> Option<Value> {
        let global = self.instance.get_global(&self.store, name)?;
        from_wasmi(&global.get(&self.store))
    }

    fn set_global(&mut self, name: &str, value: Value) {
        let global = self
            .instance
            .get_global(&self.store, name)
            .expect("it is exported");
        global
            .set(&mut self.store, to_wasmi(value))
            .expect("it is mutable");
    }

    fn notes(&mut self) -> &mut Vec<u64> {
        self.store.data_mut()
    }

    fn word(&self, offset: u64) -> i32 {
        let memory = self
            .instance
            .get_memory(&self.store, control::MEMORY)
            .expect("exported");
        let mut bytes = [0; 4];
        memory
            .read(&self.store, offset as usize, &mut bytes)
            .expect("within its first page");
        i32::from_le_bytes(bytes)
    }

    fn set_word(&mut self, offset: u64, value: i32) {
        let memory = self
            .instance
            .get_memory(&self.store, control::MEMORY)
            .expect("exported");
        memory
            .write(&mut self.store, offset as usize, &value.to_le_bytes())
            .expect("within its first page");
    }
}
