// SPDX-License-Identifier: GPL-2.0
//! Each mistake that the sweep is there for is made, and has to be found.

mod common;

use common::engine::Value;
use common::interpreter::Interpreted;
use common::programs::{Program, PROGRAMS};
use common::sweep::{nothing, plain, sweep, Damage, State};
use pagemove_portable::{rewrite, Mistake, Options, Points, Poll};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Returns the programs for which a sweep ends differently, or not at all.
fn found(mistake: Option<Mistake>, damage: &Damage) -> Vec<&'static str> {
    let wrong = |program: &Program| {
        let wasm = program.wasm();
        let options = Options {
            poll: Poll::Counted,
            mistake,
        };
        let rewritten = rewrite(&wasm, options).expect("it can be rewritten");
        let arguments = [Value::I32(program.size)];
        let right = plain(&Interpreted::new(&wasm), "run", &arguments, &["memory"]);
        let code = Interpreted::new(&rewritten.wasm);
        let run = || {
            sweep(
                &[&code],
                &rewritten.points,
                "run",
                &arguments,
                7,
                &["memory"],
                damage,
            )
            .end
        };
        // What is wrong may be seen by the sweep itself, which then panics.
        !catch_unwind(AssertUnwindSafe(run)).is_ok_and(|end| end == right)
    };
    PROGRAMS
        .iter()
        .filter(|program| wrong(program))
        .map(|program| program.name)
        .collect()
}

/// Asserts that a mistake is found by some programs.
fn is_found(name: &str, mistake: Option<Mistake>, damage: &Damage) {
    let found = found(mistake, damage);
    println!("{name}: found by {found:?}");
    assert!(!found.is_empty(), "{name} is not found");
}

#[test]
fn without_a_mistake_nothing_is_found() {
    assert_eq!(found(None, &nothing), Vec::<&str>::new());
}

#[test]
fn liveness_without_loops_is_found() {
    is_found(
        "liveness without loops",
        Some(Mistake::LivenessWithoutLoops),
        &nothing,
    );
}

#[test]
fn values_in_reverse_order_are_found() {
    is_found("values reversed", Some(Mistake::ValuesReversed), &nothing);
}

#[test]
fn an_operand_left_out_is_found() {
    is_found(
        "an operand left out",
        Some(Mistake::OperandLeftOut),
        &nothing,
    );
}

#[test]
fn a_return_that_nobody_looks_at_is_found() {
    is_found(
        "return not looked at",
        Some(Mistake::ReturnNotLookedAt),
        &nothing,
    );
}

#[test]
fn frames_in_reverse_order_are_found() {
    is_found("frames reversed", None, &|state, points| {
        let found = points.frames(&state.frames).expect("frames fit");
        let mut reversed = Vec::new();
        for (point, begin) in found {
            reversed.extend(&state.frames[begin..begin + point.size as usize]);
        }
        state.frames = reversed;
    });
}

#[test]
fn a_global_left_out_is_found() {
    is_found(
        "a global left out",
        None,
        &|state: &mut State, _: &Points| {
            state.globals.pop();
        },
    );
}

#[test]
fn a_page_left_out_is_found() {
    is_found(
        "the last page left out",
        None,
        &|state: &mut State, _: &Points| {
            let memory = &mut state.memories[0].1;
            let kept = memory.len() - 65536;
            memory[kept..].fill(0);
        },
    );
}
