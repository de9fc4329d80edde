// SPDX-License-Identifier: GPL-2.0
//! Frames that a stranger made: those of no point are refused, and others can make the program wrong, or end it
//! with a trap, and nothing else.

mod common;

use common::engine::{Code, Value};
use common::interpreter::Interpreted;
use common::programs::{Program, PROGRAMS};
use common::sweep::{give, take, State};
use pagemove_portable::{control, rewrite, Options, Points, Poll, Portable};

fn program(name: &str) -> (Program, Portable) {
    let program = PROGRAMS
        .into_iter()
        .find(|program| program.name == name)
        .expect("it is there");
    let options = Options {
        poll: Poll::Counted,
        ..Options::default()
    };
    (
        program,
        rewrite(&program.wasm(), options).expect("it can be rewritten"),
    )
}

/// Returns the state of a program at its so many-th poll, deep in recursion.
fn stopped(program: &Program, code: &Interpreted, polls: i32) -> State {
    let mut instance = code.instantiate().expect("it can begin");
    instance.set_word(control::TICKS, polls);
    instance
        .call("run", Some(&[Value::I32(program.size)]))
        .expect("no trap");
    assert_eq!(
        instance.word(control::WORD),
        control::UNWINDS,
        "it has ended before"
    );
    take(&mut *instance)
}

#[test]
fn frames_of_no_point_are_refused() {
    let (program, rewritten) = program("parser");
    let code = Interpreted::new(&rewritten.wasm);
    let frames = stopped(&program, &code, 100).frames;
    let points = &rewritten.points;
    let whole = points.frames(&frames).expect("they are of this module");
    assert!(whole.len() > 2, "{whole:?}");
    assert!(points.frames(&[]).is_err(), "no frame");
    assert!(
        points.frames(&frames[1..]).is_err(),
        "a byte less at the innermost"
    );
    let (_, outer) = whole[0];
    let (_, next) = whole[1];
    assert!(
        points.frames(&frames[next..]).is_err(),
        "the innermost is missing"
    );
    points
        .frames(&frames[..outer])
        .expect("without the outermost they are as good");
    let mut twice = frames.clone();
    twice.extend(&frames);
    assert!(
        points.frames(&twice).is_err(),
        "a poll that is not the innermost"
    );
    let end = frames.len();
    for number in [0, points.points.len() as u32 + 1, u32::MAX] {
        let mut wrong = frames.clone();
        wrong[end - 4..].copy_from_slice(&number.to_le_bytes());
        assert!(points.frames(&wrong).is_err(), "point {number}");
    }
}

#[test]
fn the_list_of_points_comes_with_the_module() {
    let (_, rewritten) = program("sort");
    let found = Points::of_module(&rewritten.wasm)
        .expect("a module")
        .expect("it has points");
    assert_eq!(found, rewritten.points);
    let bytes = found.encode();
    assert!(
        Points::decode(&bytes[..bytes.len() - 1]).is_none(),
        "it ends early"
    );
    assert!(Points::decode(&[]).is_none(), "nothing");
    let mut later = bytes;
    later[0] += 1;
    assert!(Points::decode(&later).is_none(), "a later version");
    let before = PROGRAMS[0].wasm();
    assert_eq!(Points::of_module(&before).expect("a module"), None);
}

#[test]
fn forged_frames_stay_in_the_sandbox() {
    let (program, rewritten) = program("parser");
    let code = Interpreted::new(&rewritten.wasm);
    let (mut traps, mut ends) = (0, 0);
    for polls in [20, 60, 100] {
        let state = stopped(&program, &code, polls);
        for place in 0..state.frames.len() {
            let mut forged = state.clone();
            forged.frames[place] ^= 0x81;
            let mut instance = code.instantiate().expect("it can begin");
            give(&mut *instance, &forged);
            match instance.call("run", None) {
                Ok(_) => ends += 1,
                Err(_) => traps += 1,
            }
        }
    }
    println!("{traps} traps, {ends} ends");
    assert!(traps > 10 && ends > 10, "{traps} traps, {ends} ends");
}
