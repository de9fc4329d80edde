// SPDX-License-Identifier: GPL-2.0
//! Programs that run, are stopped into a file, and go on from it, as a user does it.

mod common;

use common::place::{text, Place};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Counts, and tells a number after each 2^18 turns; what it has is in a local, a global and memory.
const COUNTER: &str = r#"(module
    (import "env" "note" (func $note (param i64)))
    (memory (export "memory") 1)
    (global $state (mut i64) (i64.const 1))
    (func $step (param $turn i64)
        (global.set $state (i64.add
            (i64.mul (global.get $state) (i64.const 6364136223846793005))
            (i64.add (local.get $turn) (i64.load (i32.const 64)))))
        (if (i64.eqz (i64.and (local.get $turn) (i64.const 0x3ffff)))
            (then
                (i64.store (i32.const 64) (global.get $state))
                (call $note (global.get $state)))))
    (func (export "run") (param $turns i64) (result i64) (local $turn i64)
        (loop $next
            (local.set $turn (i64.add (local.get $turn) (i64.const 1)))
            (call $step (local.get $turn))
            (br_if $next (i64.lt_u (local.get $turn) (local.get $turns))))
        (i64.add (global.get $state) (local.get $turn))))"#;

/// Numbers of a run that ends: it takes some seconds, of which a busy host needs a part to ask for
/// something meanwhile.
const NUMBERS: u64 = 192;
const TURNS: u64 = NUMBERS << 18;
/// Turns of one that does not end before it is ended.
const ENDLESS: u64 = 1 << 60;

/// Returns what the counter tells, one number after the other.
fn numbers() -> impl Iterator<Item = u64> {
    let (mut state, mut turn) = (1u64, 0u64);
    let mut stored = 0;
    std::iter::from_fn(move || {
        for _ in 0..1 << 18 {
            turn += 1;
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(turn.wrapping_add(stored));
        }
        stored = state;
        Some(state)
    })
}

/// Returns what one tells that ends, its result last.
fn counted() -> Vec<u64> {
    let mut told: Vec<u64> = numbers().take(NUMBERS as usize).collect();
    told.extend(told.last().map(|last| last.wrapping_add(TURNS)));
    told
}

/// A program that runs, and what it has told.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    told: Vec<u64>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Running {
            child,
            lines,
            told: Vec::new(),
        }
    }

    /// Waits for a number that it tells; returns whether there was one.
    fn next(&mut self) -> bool {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        self.told.extend(line.trim().parse::<u64>());
        !line.is_empty()
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end; returns all that it has told.
    fn end(mut self) -> Vec<u64> {
        while self.next() {}
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        self.told
    }
}

#[test]
fn a_program_goes_on_from_its_file() {
    let place = Place::new();
    let module = place.module("counter.wasm", COUNTER);
    let built = place.path("counter.pm.wasm");
    let output = place.output(&["build", text(&module), "-o", text(&built)]);
    assert!(output.status.success(), "{output:?}");
    let image = place.path("image");
    let turns = TURNS.to_string();
    let run = [
        "run",
        text(&built),
        "--name",
        "counter",
        "--function",
        "run",
        "--",
        &turns,
    ];
    let mut running = Running::start(place.command(&run));
    let mut told = Vec::new();
    for round in 0..3 {
        assert!(running.next(), "it has ended in round {round}");
        let asked = place.output(&["--json", "checkpoint", "counter", text(&image), "--stop"]);
        assert!(asked.status.success(), "{asked:?}");
        told.extend(running.end());
        let restore = ["restore", text(&image), "--module", text(&built)];
        running = Running::start(place.command(&restore));
    }
    told.extend(running.end());
    assert_eq!(told, counted());
}

#[test]
fn a_program_that_was_killed_goes_on_from_its_last_file() {
    let place = Place::new();
    let module = place.module("counter.wasm", COUNTER);
    let image = place.path("image");
    let turns = ENDLESS.to_string();
    let run = [
        "run",
        text(&module),
        "--name",
        "killed",
        "--function",
        "run",
        "--",
        &turns,
    ];
    let mut running = Running::start(place.command(&run));
    assert!(running.next());
    let listed = place.output(&["--json", "list"]);
    assert!(
        String::from_utf8_lossy(&listed.stderr).contains("\"name\":\"killed\""),
        "{listed:?}"
    );
    place.fails(&run, 1, "runs already");
    let asked = place.output(&["checkpoint", "killed", text(&image)]);
    assert!(asked.status.success(), "{asked:?}");
    assert!(running.next(), "it goes on after a checkpoint");
    running.kill();
    // The socket of the dead one is in nobody's way.
    let restore = ["restore", text(&image), "--module", text(&module)];
    let mut restored = Running::start(place.command(&restore));
    while restored.told.len() < 3 {
        assert!(restored.next(), "it goes on from its file");
    }
    restored.kill();
    // It is among the first, however late it was asked for the file.
    let told = &restored.told;
    let mut right = numbers().take(100_000).skip_while(|it| *it != told[0]);
    assert!(told.iter().all(|it| right.next() == Some(*it)), "{told:?}");
}

#[test]
fn what_can_not_be_run_is_refused() {
    let place = Place::new();
    let module = place.module("counter.wasm", COUNTER);
    let module = text(&module);
    place.fails(&["run", module], 1, "exports no function \"_start\"");
    place.fails(&["run", module, "--function", "run"], 1, "takes 1 numbers");
    place.fails(
        &["run", module, "--function", "run", "--", "x"],
        1,
        "is no number",
    );
    place.fails(
        &[
            "run",
            module,
            "--name",
            "../x",
            "--function",
            "run",
            "--",
            "1",
        ],
        1,
        "no name",
    );
    place.fails(&["run", "/nowhere"], 2, "reading /nowhere");
    place.fails(
        &["checkpoint", "nobody", "file"],
        2,
        "no program named nobody",
    );
    let simd = "(module (func (export \"_start\") (drop (v128.const i64x2 1 2))))";
    let simd = place.module("simd.wasm", simd);
    place.fails(&["run", text(&simd)], 4, "v128.const at offset");
    let other = "(module (import \"x\" \"y\" (func)) (func (export \"_start\") (call 0)))";
    let other = place.module("other.wasm", other);
    place.fails(&["run", text(&other)], 4, "x");
    let trap = place.module(
        "trap.wasm",
        "(module (func (export \"_start\") (unreachable)))",
    );
    place.fails(&["run", text(&trap)], 3, "the program");
}

#[test]
fn images_of_others_are_refused() {
    let place = Place::new();
    let module = place.module("counter.wasm", COUNTER);
    let image = place.path("image");
    let turns = ENDLESS.to_string();
    let run = [
        "run",
        text(&module),
        "--name",
        "other",
        "--function",
        "run",
        "--",
        &turns,
    ];
    let mut running = Running::start(place.command(&run));
    assert!(running.next());
    let asked = place.output(&["checkpoint", "other", text(&image), "--stop"]);
    assert!(asked.status.success(), "{asked:?}");
    running.end();
    let other = place.module(
        "changed.wasm",
        &COUNTER.replace("(i64.const 1)", "(i64.const 2)"),
    );
    place.fails(
        &["restore", text(&image), "--module", text(&other)],
        4,
        "another module",
    );
    let mut bytes = std::fs::read(&image).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&image, bytes).expect("written");
    place.fails(
        &["restore", text(&image), "--module", text(&module)],
        4,
        "damaged",
    );
    place.fails(
        &["restore", text(&module), "--module", text(&module)],
        4,
        "no image",
    );
}

#[test]
fn a_program_of_wasi_writes_and_exits() {
    let place = Place::new();
    let hello = r#"(module
        (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_sizes_get"
            (func $sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory 1)
        (func (export "_start")
            (drop (call $sizes (i32.const 0) (i32.const 4)))
            (drop (call $get (i32.const 16) (i32.const 256)))
            (i32.store (i32.const 8) (i32.const 256))
            (i32.store (i32.const 12) (i32.load (i32.const 4)))
            (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))
            (call $exit (i32.add (i32.load (i32.const 0)) (i32.const 40)))))"#;
    let module = place.module("hello.wasm", hello);
    let output = place.output(&["run", text(&module), "--", "one", "two"]);
    assert_eq!(output.stdout, b"hello\0one\0two\0");
    // The length of what was written stands where the number of arguments was.
    assert_eq!(output.status.code(), Some(54));
}
