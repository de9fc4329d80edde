// SPDX-License-Identifier: GPL-2.0
//! What a program may ask about messages, what the tool says of wrong usage, and images that were forged.

mod common;

use common::place::{text, Place};
use pagemove_image::Messages;
use pagemove_peers::driver::Prepared;
use pagemove_peers::{Limits, Looked, SchedulerFile};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// A program of one function, with the calls and a page of memory.
fn program(body: &str) -> String {
    format!(
        r#"(module
        (import "pagemove" "rank" (func $rank (result i32)))
        (import "pagemove" "size" (func $size (result i32)))
        (import "pagemove" "send" (func $send (param i32 i32 i32 i32) (result i32)))
        (import "pagemove" "recv" (func $recv (param i32 i32 i32 i32 i32) (result i32)))
        (memory 1)
        (func (export "run") (result i32) {body}))"#
    )
}

/// Waits for a message from itself, for ever.
const WAITS: &str = "(loop $again
    (br_if $again (i32.eq (i32.const -1) (call $recv
        (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 8) (i32.const 64)))))
    (i32.const 0)";

struct Alone {
    place: Place,
    module: PathBuf,
    scheduler: PathBuf,
}

impl Alone {
    fn new(body: &str) -> Self {
        let place = Place::new();
        let module = place.module("program.wasm", &program(body));
        let scheduler = place.path("scheduler");
        Alone {
            place,
            module,
            scheduler,
        }
    }

    fn run<'a>(&'a self, rank: &'a str, of: &'a str) -> Vec<&'a str> {
        self.run_as("program", rank, of)
    }

    fn run_as<'a>(&'a self, name: &'a str, rank: &'a str, of: &'a str) -> Vec<&'a str> {
        let (module, scheduler) = (text(&self.module), text(&self.scheduler));
        vec![
            "run",
            module,
            "--function",
            "run",
            "--name",
            name,
            "--rank",
            rank,
            "--of",
            of,
            "--scheduler",
            scheduler,
        ]
    }

    fn restore<'a>(&'a self, image: &'a Path) -> Vec<&'a str> {
        let scheduler = text(&self.scheduler);
        let module = text(&self.module);
        vec![
            "restore",
            text(image),
            "--module",
            module,
            "--scheduler",
            scheduler,
        ]
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.place.command(arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.begun();
        child.expect("it can be started")
    }

    /// Waits until the program runs.
    fn begun(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.list().contains("program") {
            assert!(Instant::now() < until, "it does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn list(&self) -> String {
        let listed = self.place.output(&["--json", "list"]);
        String::from_utf8_lossy(&listed.stderr).into_owned()
    }
}

/// Runs a program alone, with a mistake or without one.
fn alone(body: &str, mistake: &str) -> Output {
    let alone = Alone::new(body);
    let mut command = alone.place.command(&alone.run("0", "1"));
    command.env("PAGEMOVE_APP_MISTAKE", mistake);
    command.output().expect("it can be started")
}

/// Asserts that a call ends the program, and that this is said.
fn traps(body: &str, told: &str) {
    let output = alone(body, "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{body}: {said}");
    let told = format!("pagemove-app: the program: {told}\n");
    assert_eq!(said, told, "{body}");
}

/// Asserts that a program returns this.
fn returns(body: &str, result: i32) {
    let output = alone(body, "");
    assert!(output.status.success(), "{body}: {output:?}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.trim(), result.to_string(), "{body}");
}

fn send(rank: i32, tag: i32, at: i64, length: i64) -> String {
    let (at, length) = (at as i32, length as i32);
    format!(
        "(call $send (i32.const {rank}) (i32.const {tag}) (i32.const {at}) (i32.const {length}))"
    )
}

fn recv(rank: i32, tag: i32, at: i64, room: i64, told: i64) -> String {
    let (at, room, told) = (at as i32, room as i32, told as i32);
    format!(
        "(call $recv (i32.const {rank}) (i32.const {tag}) (i32.const {at}) (i32.const {room}) (i32.const {told}))"
    )
}

#[test]
fn what_can_not_be_right_is_told() {
    traps(&send(1, 0, 0, 8), "there is no rank 1 of 1");
    traps(&send(-1, 0, 0, 8), "there is no rank -1 of 1");
    traps(&recv(65536, 0, 0, 8, 64), "there is no rank 65536 of 1");
    traps(&recv(-2, 0, 0, 8, 64), "there is no rank -2 of 1");
    let tag = "-5 is no tag: those are not negative";
    traps(&send(0, -5, 0, 8), tag);
    traps(&recv(0, -5, 0, 8, 64), tag);
    traps(
        &send(0, 0, 0, 16777217),
        "a message of 16777217 bytes is too long: 16777216 at most",
    );
}

const OUTSIDE: &str = "16 bytes at 0xfff1 are outside of the program's memory";

#[test]
fn places_outside_of_the_memory_are_refused() {
    traps(&send(0, 0, 0xfff1, 16), OUTSIDE);
    traps(&recv(0, 0, 0xfff1, 16, 64), OUTSIDE);
    traps(
        &recv(0, 0, 0, 16, 0xfff5),
        "12 bytes at 0xfff5 are outside of the program's memory",
    );
    traps(
        &send(0, 0, -1, 8),
        "8 bytes at 0xffffffff are outside of the program's memory",
    );
    traps(
        &recv(0, 0, 0, -1, 64),
        "4294967295 bytes at 0x0 are outside of the program's memory",
    );
    // The twin: with a place that is not looked at it goes on.
    let mistaken = alone(&send(0, 0, 0xfff1, 16), "Place");
    assert!(mistaken.status.success(), "{mistaken:?}");
    // The last bytes are inside.
    returns(&send(0, 0, 0xfff0, 16), 0);
}

#[test]
fn what_a_program_is_told() {
    returns("(call $rank)", 0);
    returns("(call $size)", 1);
    // Nothing is there, and something may come; of others nothing can.
    returns(&recv(0, -1, 0, 8, 64), -1);
    returns(&recv(-1, -1, 0, 8, 64), -2);
    let three = format!("(drop {}) ", send(0, 9, 0, 3));
    // It is longer than the room, and stays: 3 bytes of rank 0, with tag 9.
    let room = recv(-1, -1, 0, 2, 64);
    returns(&format!("{three} {room}"), -3);
    let length = "(i32.load (i32.const 72))";
    let tag = "(i32.load (i32.const 68))";
    returns(&format!("{three} (drop {room}) {length}"), 3);
    returns(&format!("{three} (drop {room}) {tag}"), 9);
    let fits = recv(-1, -1, 0, 3, 64);
    returns(&format!("{three} (drop {room}) {fits}"), 3);
    returns(&format!("{three} (drop {room}) (drop {fits}) {fits}"), -2);
    // With another tag nothing is there.
    let other = recv(0, 8, 0, 8, 64);
    returns(&format!("{three} {other}"), -1);
}

#[test]
fn who_has_ended_is_told() {
    for call in [
        recv(1, -1, 0, 8, 64),
        send(1, 0, 0, 8),
        recv(-1, -1, 0, 8, 64),
    ] {
        let first = Alone::new(&call);
        let file = SchedulerFile::open(&first.scheduler, 2).expect("made");
        let second = Prepared::at("127.0.0.1:0").expect("a port");
        let second = second.join(file, 1, Limits::USUAL).expect("joined");
        second.end(Duration::from_secs(10)).expect("ended");
        let output = first.place.output(&first.run("0", "2"));
        assert_eq!(output.stdout, b"-2\n", "{call}: {output:?}");
    }
}

/// Its peers shall not wait for it; before it was known to have ended they would.
#[test]
fn who_made_a_mistake_has_ended() {
    let first = Alone::new("(unreachable)");
    let file = SchedulerFile::open(&first.scheduler, 2).expect("made");
    assert_eq!(file.look(0).expect("whole"), Looked::Absent);
    let output = first.place.output(&first.run("0", "2"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(file.look(0).expect("whole"), Looked::Ended);
}

/// The process before may still hold the address when the next one wants it.
#[test]
fn a_rank_is_taken_up_at_the_same_address() {
    let waits = Alone::new(WAITS);
    let free = Prepared::at("127.0.0.1:0").expect("a port");
    let address = free.place().to_string();
    drop(free);
    let image = waits.place.path("image");
    let listen = ["--listen", &address];
    let run = [&waits.run("0", "1")[..], &listen].concat();
    let mut running = waits.start(&run);
    for _ in 0..4 {
        let stop = ["checkpoint", "program", text(&image), "--stop"];
        assert!(waits.place.output(&stop).status.success());
        // It is not waited for.
        let restore = [&waits.restore(&image)[..], &listen].concat();
        let next = waits.start(&restore);
        assert!(running.wait().expect("it ends").success());
        running = next;
    }
    running.kill().expect("it runs");
    running.wait().expect("it ends");
}

#[test]
fn wrong_usage_is_told() {
    let waits = Alone::new(WAITS);
    let place = &waits.place;
    let module = text(&waits.module);
    let plain = ["run", module, "--function", "run"];
    place.fails(&plain, 1, "give --rank, --of and --scheduler");
    place.fails(&[&plain[..], &["--rank", "0"]].concat(), 1, "--of");
    place.fails(&[&plain[..], &["--listen", "x"]].concat(), 1, "--rank");
    place.fails(&waits.run("2", "2"), 1, "there is no rank 2 of 2");
    let bad = [&waits.run("0", "2")[..], &["--listen", "192.0.2.1:1"]].concat();
    place.fails(&bad, 2, "it can't listen there");

    let mut running = waits.start(&waits.run("0", "2"));
    let listed = waits.list();
    assert!(listed.contains("\"rank\":{\"message_bytes\":0"), "{listed}");
    let image = waits.place.path("image");
    let plain = ["checkpoint", "program", text(&image)];
    place.fails(&plain, 1, "give --stop");
    let told = "another process is that rank";
    place.fails(&waits.run_as("other", "0", "2"), 4, told);
    place.fails(&waits.run_as("other", "0", "3"), 4, "is of 2 ranks");
    // Where it can't be written it goes on as the rank.
    let nowhere = ["checkpoint", "program", "/nowhere/image", "--stop"];
    place.fails(&nowhere, 2, "/nowhere");
    // Nor without the scheduler's file: that is written beside, where a directory is in the way.
    let way = waits.scheduler.with_file_name("scheduler.new");
    std::fs::create_dir(&way).expect("made");
    let stop = [&plain[..], &["--stop"]].concat();
    place.fails(&stop, 2, "can't be written");
    std::fs::remove_dir(&way).expect("removed");
    let asked = place.output(&stop);
    assert!(asked.status.success(), "{asked:?}");
    assert!(running.wait().expect("it ends").success());

    let restore = ["restore", text(&image), "--module", module];
    place.fails(&restore, 1, "is of rank 0 of 2: give --scheduler");
    let lost = [&restore[..], &["--scheduler", "/nowhere/file"]].concat();
    place.fails(&lost, 2, "can't be read");
    let mut running = waits.start(&waits.restore(&image));
    running.kill().expect("it runs");
    running.wait().expect("it ends");
}

/// The place of the messages among the parts of an image.
const MESSAGES: usize = 4;

/// Writes an image with other messages, and checksums that are right.
fn forge(bytes: &[u8], change: impl FnOnce(&mut Messages)) -> Vec<u8> {
    let count = u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
    let mut at = 16 + count * 16 + 4;
    let mut parts = Vec::new();
    for part in 0..count {
        let entry = &bytes[16 + part * 16..][..16];
        let length = u64::from_le_bytes(entry[4..12].try_into().expect("eight")) as usize;
        parts.push((entry[..4].to_vec(), bytes[at..at + length].to_vec()));
        at += length;
    }
    let part = &mut parts[MESSAGES].1;
    assert_eq!(part[0], 1, "it has messages");
    let mut messages = Messages::from_bytes(&part[1..]).expect("whole");
    change(&mut messages);
    *part = [&[1], &messages.to_bytes().expect("small")[..]].concat();
    let mut forged = bytes[..16].to_vec();
    for (kind, part) in &parts {
        forged.extend(kind);
        forged.extend((part.len() as u64).to_le_bytes());
        forged.extend(crc32fast::hash(part).to_le_bytes());
    }
    forged.extend(crc32fast::hash(&forged).to_le_bytes());
    forged.extend(parts.into_iter().flat_map(|(_, part)| part));
    forged
}

#[test]
fn forged_messages_are_refused() {
    let waits = Alone::new(WAITS);
    let mut running = waits.start(&waits.run("0", "2"));
    let image = waits.place.path("image");
    let stop = ["checkpoint", "program", text(&image), "--stop"];
    assert!(waits.place.output(&stop).status.success());
    assert!(running.wait().expect("it ends").success());
    let whole = std::fs::read(&image).expect("it is there");
    let before = std::fs::read(&waits.scheduler).expect("it is there");
    let refuses = |told: &str, change: fn(&mut Messages)| {
        std::fs::write(&image, forge(&whole, change)).expect("written");
        waits.place.fails(&waits.restore(&image), 4, told);
        // Nothing of it was used: the scheduler has not heard of it.
        let now = std::fs::read(&waits.scheduler).expect("it is there");
        assert!(now == before, "{told}: the scheduler's file has changed");
    };
    refuses("message 7 is not due there (rank 1)", |it| {
        let bytes = vec![1];
        let message = pagemove_image::Message {
            number: 7,
            tag: 0,
            bytes,
        };
        it.list.push((1, message));
    });
    refuses("more was taken than came (rank 1)", |it| {
        it.peers[1].told = 1
    });
    refuses("there is no rank 2 of 2", |it| it.rank = 2);
    refuses("is of 2 ranks", |it| it.peers.push(it.peers[1].clone()));
    // Which can be, but is not so.
    refuses("an older state of rank 1", |it| it.rank = 1);
    refuses("an older state of rank 0", |it| it.epoch += 1);
    // The twin: who does not compare takes it up.
    let mut forged = waits.place.command(&waits.restore(&image));
    forged.env("PAGEMOVE_APP_MISTAKE", "Older");
    let mut forged = forged
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    waits.begun();
    forged.kill().expect("it runs");
    forged.wait().expect("it ends");
    std::fs::write(&waits.scheduler, &before).expect("written");
    // The same forger is believed what could have been: he changes nothing that is known elsewhere.
    std::fs::write(&image, forge(&whole, |it| it.peers[1].breaks = 5)).expect("written");
    let mut running = waits.start(&waits.restore(&image));
    running.kill().expect("it runs");
    running.wait().expect("it ends");
}
