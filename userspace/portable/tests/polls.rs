// SPDX-License-Identifier: GPL-2.0
//! What is written for compilers: each loop begins with a poll that they may not take out of it.

mod common;

use common::programs::PROGRAMS;
use pagemove_portable::{control, rewrite, Kind, Options, Poll};
use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload};

/// Polls of a function: loops, and how many of them begin with an atomic load of the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    loops: usize,
    atomic: usize,
}

/// Returns the number of the memory of frames.
fn control_memory(wasm: &[u8]) -> u32 {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(exports) = payload.expect("a module") {
            for export in exports {
                let export = export.expect("an export");
                if export.name == control::MEMORY && export.kind == ExternalKind::Memory {
                    return export.index;
                }
            }
        }
    }
    panic!("there is no memory of frames");
}

/// Looks behind each `loop`, and the blocks that are opened there, for the load.
fn look(body: &FunctionBody<'_>, memory: u32, found: &mut Found) {
    let operators = body.get_operators_reader().expect("code").into_iter();
    let operators: Vec<_> = operators
        .map(|operator| operator.expect("an instruction"))
        .collect();
    for (place, operator) in operators.iter().enumerate() {
        if !matches!(operator, Operator::Loop { .. }) {
            continue;
        }
        found.loops += 1;
        let is_block = |operator: &&Operator<'_>| matches!(operator, Operator::Block { .. });
        let mut behind = operators[place + 1..].iter().skip_while(is_block);
        let address = matches!(behind.next(), Some(Operator::I32Const { value: 0 }));
        let load = match behind.next() {
            Some(Operator::I32AtomicLoad { memarg }) => {
                memarg.memory == memory && memarg.offset == control::WORD
            }
            _ => false,
        };
        found.atomic += usize::from(address && load);
    }
}

/// Rewrites all programs, and returns what is found, and how many points of loops there are.
fn all(poll: Poll) -> (Found, usize) {
    let (mut found, mut points) = (Found::default(), 0);
    for program in PROGRAMS {
        let options = Options {
            poll,
            ..Options::default()
        };
        let rewritten = rewrite(&program.wasm(), options).expect("it can be rewritten");
        let memory = control_memory(&rewritten.wasm);
        for payload in Parser::new(0).parse_all(&rewritten.wasm) {
            if let Payload::CodeSectionEntry(body) = payload.expect("a module") {
                look(&body, memory, &mut found);
            }
        }
        let of_loops = |kind| kind == Kind::Loop;
        points += rewritten
            .points
            .points
            .iter()
            .filter(|point| of_loops(point.kind))
            .count();
    }
    (found, points)
}

#[test]
fn each_loop_begins_with_an_atomic_load() {
    let (found, points) = all(Poll::Atomic);
    assert!(found.loops > 50, "{found:?}");
    assert_eq!(found.atomic, found.loops);
    assert_eq!(points, found.loops);
}

#[test]
fn a_poll_that_is_not_atomic_is_found() {
    let (found, _) = all(Poll::Plain);
    assert!(found.atomic < found.loops, "{found:?}");
}

#[test]
fn what_is_written_is_valid() {
    for poll in [Poll::Atomic, Poll::Plain, Poll::Counted] {
        for program in PROGRAMS {
            let options = Options {
                poll,
                ..Options::default()
            };
            let rewritten = rewrite(&program.wasm(), options).expect("it can be rewritten");
            wasmparser::validate(&rewritten.wasm).expect("it is valid");
        }
    }
}
