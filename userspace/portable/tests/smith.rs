// SPDX-License-Identifier: GPL-2.0
//! Modules that wasm-smith makes up: each exported function ends with stops as without.

mod common;

use common::engine::{Code, Value};
use common::interpreter::Interpreted;
use common::sweep::{nothing, plain, sweep};
use pagemove_portable::{rewrite, Options, Poll};
use wasm_smith::{Config, Module};
use wasmparser::{ExternalKind, Parser, Payload, ValType};

/// Modules that are made; `PAGEMOVE_SMITH` says another number.
const MODULES: u64 = 1000;
/// Loops and calls that a program may make before it ends with a trap.
const FUEL: u32 = 200;

fn config(number: u64) -> Config {
    Config {
        allow_start_export: false,
        allowed_instructions: wasm_smith::InstructionKinds::all(),
        bulk_memory_enabled: number % 4 == 0,
        canonicalize_nans: true,
        disallow_traps: number % 3 != 0,
        exceptions_enabled: false,
        export_everything: true,
        extended_const_enabled: false,
        gc_enabled: false,
        max_funcs: 8,
        max_globals: 6,
        max_imports: 0,
        max_instructions: 200,
        max_memories: 1 + number as usize % 2,
        max_memory32_bytes: 4 << 16,
        max_table_elements: 20,
        memory64_enabled: false,
        memory_max_size_required: true,
        min_funcs: 2,
        min_types: 2,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        ..Config::default()
    }
}

/// Returns bytes by the chance of a number (splitmix64).
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::new();
    while bytes.len() < count {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ z >> 31).to_le_bytes());
    }
    bytes
}

/// The exports of a module.
#[derive(Default)]
struct Exports {
    functions: Vec<(String, Vec<ValType>)>,
    others: Vec<String>,
}

fn exports(wasm: &[u8]) -> Exports {
    let (mut types, mut functions, mut found) = (Vec::new(), Vec::new(), Exports::default());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("a module") {
            Payload::TypeSection(reader) => {
                types.extend(
                    reader
                        .into_iter_err_on_gc_types()
                        .map(|ty| ty.expect("a type")),
                );
            }
            Payload::FunctionSection(reader) => {
                functions.extend(reader.into_iter().map(|ty| ty.expect("a function")));
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export.expect("an export");
                    match export.kind {
                        ExternalKind::Func => {
                            let ty = &types[functions[export.index as usize] as usize];
                            let params = ty.params().to_vec();
                            found.functions.push((export.name.to_string(), params));
                        }
                        _ => found.others.push(export.name.to_string()),
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn argument(ty: ValType, seed: u64) -> Value {
    match ty {
        ValType::I64 => Value::I64(seed),
        ValType::F32 => Value::F32((seed as f32).to_bits()),
        ValType::F64 => Value::F64((seed as f64).to_bits()),
        _ => Value::I32(seed as u32),
    }
}

#[test]
fn made_up_modules_end_as_without_a_stop() {
    let modules = std::env::var("PAGEMOVE_SMITH")
        .ok()
        .and_then(|text| text.parse().ok());
    let modules: u64 = modules.unwrap_or(MODULES);
    let (mut made, mut refused, mut calls, mut stopped, mut stops, mut trapped) =
        (0, 0, 0, 0, 0, 0);
    for number in 0..modules {
        let bytes = bytes(number, 4096);
        let mut data = arbitrary::Unstructured::new(&bytes);
        let Ok(mut module) = Module::new(config(number), &mut data) else {
            continue;
        };
        module.ensure_termination(FUEL).expect("it has no imports");
        let wasm = module.to_bytes();
        let options = Options {
            poll: Poll::Counted,
            ..Options::default()
        };
        let rewritten = match rewrite(&wasm, options) {
            Ok(rewritten) => rewritten,
            Err(_) => {
                refused += 1;
                continue;
            }
        };
        let exports = exports(&wasm);
        let seen: Vec<&str> = exports.others.iter().map(String::as_str).collect();
        let (before, after) = (Interpreted::new(&wasm), Interpreted::new(&rewritten.wasm));
        if before.instantiate().is_err() {
            assert!(
                after.instantiate().is_err(),
                "module {number} begins where it must not"
            );
            continue;
        }
        made += 1;
        for (name, params) in &exports.functions {
            let arguments: Vec<Value> = params.iter().map(|&ty| argument(ty, number)).collect();
            let right = plain(&before, name, &arguments, &seen).without_reason();
            for k in [2, 5] {
                let swept = sweep(
                    &[&after],
                    &rewritten.points,
                    name,
                    &arguments,
                    k,
                    &seen,
                    &nothing,
                );
                calls += 1;
                stopped += usize::from(swept.stops > 0);
                stops += swept.stops;
                trapped += usize::from(swept.end.results.is_err());
                assert!(
                    swept.end.without_reason() == right,
                    "module {number}, function {name:?}, a stop at every {k}. poll"
                );
            }
        }
    }
    println!(
        "{made} modules, {refused} refused; {calls} calls, of which {stopped} were stopped {stops} times \
         and {trapped} trapped"
    );
    assert!(made as u64 > modules / 2, "{made} modules");
    assert!(stopped as u64 > modules / 2, "{stopped} calls were stopped");
}
