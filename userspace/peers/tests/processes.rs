// SPDX-License-Identifier: GPL-2.0
//! A rank that goes to another process and comes back, while numbers are sent to it. Of the
//! processes that are to be the rank some are killed before they are.

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use pagemove_peers::driver::{Node, Prepared};
use pagemove_peers::{Epoch, Image, Limits, SchedulerFile};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const FILE: &str = "PAGEMOVE_PEERS_FILE";
const TEST: &str = "a_rank_goes_to_other_processes_of_which_some_are_killed";
const LIMIT: Duration = Duration::from_secs(60);
/// Numbers that a process takes before the rank moves on.
const TURN: u64 = 200;

fn limits() -> Limits {
    Limits {
        messages: 16,
        bytes: 64 << 10,
    }
}

fn prepared() -> Prepared {
    Prepared::at("127.0.0.1:0").unwrap()
}

fn take(node: &Node, last: &mut u64, count: u64) {
    for _ in 0..count {
        let it = node.recv(Some(0), None).unwrap();
        let number = u64::from_le_bytes(it.message.bytes[..8].try_into().unwrap());
        assert_eq!(number, *last + 1);
        *last = number;
    }
}

/// What the program knows, and what is known of its messages.
fn put(to: &mut impl Write, last: u64, image: &Image) {
    let bytes = image.to_bytes().unwrap();
    to.write_all(&last.to_le_bytes()).unwrap();
    to.write_all(&(bytes.len() as u64).to_le_bytes()).unwrap();
    to.write_all(&bytes).unwrap();
    to.flush().unwrap();
}

fn get(from: &mut impl Read) -> io::Result<(u64, Image)> {
    let mut number = [0; 8];
    from.read_exact(&mut number)?;
    let last = u64::from_le_bytes(number);
    from.read_exact(&mut number)?;
    let mut bytes = vec![0; u64::from_le_bytes(number) as usize];
    from.read_exact(&mut bytes)?;
    Ok((last, Image::from_bytes(&bytes).unwrap()))
}

fn line(from: &mut impl BufRead) -> String {
    let mut text = String::new();
    from.read_line(&mut text).unwrap();
    text.trim().to_string()
}

/// The other process: it is the rank for a turn. What it says is on its standard error, since
/// the other output is the test's.
fn other_process(path: &Path) {
    let (mut input, mut output) = (io::stdin().lock(), io::stderr());
    let next = prepared();
    writeln!(output, "{}", next.place()).unwrap();
    let epoch: Epoch = line(&mut input).parse().unwrap();
    let file = SchedulerFile::open(path, 2).unwrap();
    let node = next.initialize(file.clone(), 1, epoch, limits()).unwrap();
    let Ok((mut last, image)) = get(&mut input) else {
        return;
    };
    node.restore(image).unwrap();
    node.commit().unwrap();
    take(&node, &mut last, TURN);
    let back = line(&mut input);
    let epoch = file.begin(1, node.epoch(), &back).unwrap();
    writeln!(output, "{epoch}").unwrap();
    put(&mut output, last, &node.stop(LIMIT).unwrap());
    // Who still asks is refused, until the other one says that it is the rank.
    line(&mut input);
}

struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Starts the other process, and has the scheduler know of it.
fn start(path: &Path, file: &SchedulerFile, node: &Node) -> Other {
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    // Its standard error is what we read.
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1 >/dev/null"]);
    command
        .arg(exe)
        .args([TEST, "--exact", "--nocapture", "--test-threads=1"]);
    command
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let place = line(&mut output);
    let epoch = file.begin(1, node.epoch(), &place).unwrap();
    writeln!(input, "{epoch}").unwrap();
    Other {
        child,
        input,
        output,
    }
}

/// The rank goes there and comes back.
fn go_and_return(file: &SchedulerFile, node: Node, last: &mut u64, mut other: Other) -> Node {
    let image = node.stop(LIMIT).unwrap();
    put(&mut other.input, *last, &image);
    let back = prepared();
    writeln!(other.input, "{}", back.place()).unwrap();
    let epoch: Epoch = line(&mut other.output).parse().unwrap();
    drop(node);
    let node = back.initialize(file.clone(), 1, epoch, limits()).unwrap();
    let (there, image) = get(&mut other.output).unwrap();
    assert_eq!(there, *last + TURN);
    *last = there;
    node.restore(image).unwrap();
    node.commit().unwrap();
    writeln!(other.input, "thanks").unwrap();
    assert!(other.child.wait().unwrap().success());
    node
}

#[test]
fn a_rank_goes_to_other_processes_of_which_some_are_killed() {
    if let Some(path) = std::env::var_os(FILE) {
        return other_process(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler");
    let file = SchedulerFile::open(&path, 2).unwrap();
    let a = prepared().join(file.clone(), 0, limits()).unwrap();
    let mut node = prepared().join(file.clone(), 1, limits()).unwrap();
    let done = AtomicBool::new(false);
    let mut last = 0;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut number = 0u64;
            while !done.load(Ordering::Relaxed) {
                let bytes = (number + 1).to_le_bytes();
                let limit = Duration::from_millis(10);
                number += u64::from(a.send_within(1, 0, &bytes, limit).unwrap());
            }
            number
        });
        for round in 0..12u64 {
            take(&node, &mut last, TURN);
            let mut other = start(&path, &file, &node);
            if round % 3 == 2 {
                node = go_and_return(&file, node, &mut last, other);
                continue;
            }
            // Now and then before the old one stands, now and then after that.
            let early = round % 2 == 0;
            let end = |other: &Other| {
                std::thread::sleep(Duration::from_millis(round * 3));
                kill(Pid::from_raw(other.child.id() as i32), Signal::SIGKILL).unwrap();
            };
            if early {
                end(&other);
            }
            node.stop(LIMIT).unwrap();
            if !early {
                end(&other);
            }
            other.child.wait().unwrap();
            node.resume().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        let left = sent - last;
        take(&node, &mut last, left);
        println!("{sent} numbers; there and back 4 times, 8 processes were killed");
    });
}
