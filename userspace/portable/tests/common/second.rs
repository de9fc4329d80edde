// SPDX-License-Identifier: GPL-2.0
//! The engine tinywasm, an interpreter by others, with another way to execute.

use super::engine::{Code, Instance, Value};
use pagemove_portable::control;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use tinywasm::parser::Parser;
use tinywasm::types::{ExternVal, ExternalKind, TinyWasmModule, ValType, WasmValue};
use tinywasm::{Extern, Imports, Module, ModuleInstance, Store};

/// A module for tinywasm.
pub struct Second {
    module: TinyWasmModule,
    /// The parameters of each exported function.
    params: Rc<HashMap<String, Vec<ValType>>>,
}

impl Second {
    pub fn new(wasm: &[u8]) -> Self {
        let module = Parser::new()
            .parse_module_bytes(wasm)
            .unwrap_or_else(|error| panic!("tinywasm does not take the module: {error}"));
        let is_function = |kind: &tinywasm::types::ImportKind| {
            matches!(kind, tinywasm::types::ImportKind::Function(_))
        };
        let imported = module
            .imports
            .iter()
            .filter(|import| is_function(&import.kind))
            .count();
        let mut params = HashMap::new();
        for export in module
            .exports
            .iter()
            .filter(|export| export.kind == ExternalKind::Func)
        {
            if let Some(place) = (export.index as usize).checked_sub(imported) {
                params.insert(
                    export.name.to_string(),
                    module.funcs[place].ty.params.to_vec(),
                );
            }
        }
        Second {
            module,
            params: Rc::new(params),
        }
    }
}

impl Code for Second {
    fn instantiate(&self) -> Result<Box<dyn Instance>, String> {
        let mut store = Store::default();
        let notes = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&notes);
        let mut imports = Imports::new();
        let note = Extern::typed_func(move |_: tinywasm::FuncContext<'_>, value: i64| {
            told.borrow_mut().push(value as u64);
            Ok(())
        });
        imports
            .define("env", "note", note)
            .map_err(|error| error.to_string())?;
        let module = Module::from(&self.module);
        let instance = ModuleInstance::instantiate(&mut store, module, Some(imports))
            .map_err(|error| error.to_string())?;
        let params = Rc::clone(&self.params);
        let globals = self
            .module
            .globals
            .iter()
            .map(|global| (global.ty.mutable, global.ty.ty));
        let globals = globals.collect();
        Ok(Box::new(Running {
            store: RefCell::new(store),
            instance,
            params,
            globals,
            notes,
            told: Vec::new(),
        }))
    }
}

struct Running {
    /// It has to be borrowed for writing even to read.
    store: RefCell<Store>,
    instance: ModuleInstance,
    params: Rc<HashMap<String, Vec<ValType>>>,
    /// Of each global, whether it is mutable, and its type; the programs import none.
    globals: Vec<(bool, ValType)>,
    notes: Rc<RefCell<Vec<u64>>>,
    told: Vec<u64>,
}

fn to_second(value: Value) -> WasmValue {
    match value {
        Value::I32(bits) => WasmValue::I32(bits as i32),
        Value::I64(bits) => WasmValue::I64(bits as i64),
        Value::F32(bits) => WasmValue::F32(f32::from_bits(bits)),
        Value::F64(bits) => WasmValue::F64(f64::from_bits(bits)),
    }
}

fn from_second(value: &WasmValue) -> Option<Value> {
    Some(match value {
        WasmValue::I32(value) => Value::I32(*value as u32),
        WasmValue::I64(value) => Value::I64(*value as u64),
        WasmValue::F32(value) => Value::F32(value.to_bits()),
        WasmValue::F64(value) => Value::F64(value.to_bits()),
        _ => return None,
    })
}

impl Running {
    /// Reads bytes of a memory, all of them if no place is given.
    fn read(&self, name: &str, place: Option<(usize, usize)>) -> Option<Vec<u8>> {
        let mut store = self.store.borrow_mut();
        let pages = self
            .instance
            .exported_memory_mut(&mut store, name)
            .ok()?
            .page_count();
        let memory = self.instance.exported_memory(&mut store, name).ok()?;
        let (offset, length) = place.unwrap_or((0, pages * control::PAGE as usize));
        Some(memory.load_vec(offset, length).expect("it is within"))
    }

    fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) {
        let store = self.store.get_mut();
        let mut memory = self
            .instance
            .exported_memory_mut(store, name)
            .expect("it is exported");
        let has = memory.page_count() * control::PAGE as usize;
        let missing = (offset + bytes.len()).saturating_sub(has);
        let pages = missing.div_ceil(control::PAGE as usize) as i32;
        if pages > 0 {
            memory.grow(pages).expect("it can be so large");
        }
        memory
            .store(offset, bytes.len(), bytes)
            .expect("it is within");
    }
}

impl Instance for Running {
    fn call(&mut self, name: &str, arguments: Option<&[Value]>) -> Result<Vec<Value>, String> {
        let arguments: Vec<WasmValue> = match arguments {
            Some(values) => values.iter().map(|&value| to_second(value)).collect(),
            None => self.params[name]
                .iter()
                .map(|&ty| WasmValue::default_for(ty))
                .collect(),
        };
        let store = self.store.get_mut();
        let function = self
            .instance
            .exported_func_untyped(store, name)
            .expect("it is exported");
        let results = function
            .call(store, &arguments)
            .map_err(|error| error.to_string())?;
        Ok(results
            .iter()
            .filter_map(from_second)
            .map(Value::canonical)
            .collect())
    }

    fn has(&self, name: &str) -> bool {
        self.instance.export_addr(name).is_some()
    }

    fn memory(&self, name: &str) -> Option<Vec<u8>> {
        self.read(name, None)
    }

    fn set_memory(&mut self, name: &str, bytes: &[u8]) {
        self.write(name, 0, bytes);
    }

    fn globals(&self) -> Vec<(String, Value)> {
        let mutable = self
            .globals
            .iter()
            .zip(0..)
            .filter(|((mutable, _), _)| *mutable);
        let mut globals: Vec<(String, Value)> = mutable
            .filter_map(|(_, index)| {
                let name = format!("{}{index}", control::PROGRAM_GLOBAL);
                self.global(&name).map(|value| (name, value))
            })
            .collect();
        globals.sort_by(|a, b| a.0.cmp(&b.0));
        globals
    }

    fn global(&self, name: &str) -> Option<Value> {
        let Some(ExternVal::Global(address)) = self.instance.export_addr(name) else {
            return None;
        };
        // An instance of its own in a store of its own: addresses are indices.
        let (_, ty) = self.globals.get(address as usize)?;
        from_second(&self.store.borrow().get_global_val(address).attach_type(*ty))
    }

    fn set_global(&mut self, name: &str, value: Value) {
        let Some(ExternVal::Global(address)) = self.instance.export_addr(name) else {
            panic!("no global {name}");
        };
        self.store
            .get_mut()
            .set_global_val(address, to_second(value).into());
    }

    fn notes(&mut self) -> &mut Vec<u64> {
        // What was told since the last look goes behind what was known.
        self.told.append(&mut self.notes.borrow_mut());
        &mut self.told
    }

    fn word(&self, offset: u64) -> i32 {
        let bytes = self
            .read(control::MEMORY, Some((offset as usize, 4)))
            .expect("exported");
        i32::from_le_bytes(bytes.try_into().expect("four bytes"))
    }

    fn set_word(&mut self, offset: u64, value: i32) {
        self.write(control::MEMORY, offset as usize, &value.to_le_bytes());
    }
}
