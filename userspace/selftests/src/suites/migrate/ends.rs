// SPDX-License-Identifier: GPL-2.0
//! Migrations that end early, and what is said of them; and how they go on.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{ensure, Context, Result};

use super::{case, finish, Hosts, Migrated, Nothing, Receiver, PAGES};
use crate::region::Region;
use pagemove_testkit::tap::Case;

pub fn cases() -> Vec<Case<Nothing>> {
    vec![
        case("nobody listens: 3, and it says what to do", nobody),
        case(
            "a region of another size is refused on both sides",
            other_size,
        ),
        case(
            "an aperture or a region that is not there: refused",
            not_there,
        ),
        case(
            "a stranger is told nothing, and the next one is served",
            stranger,
        ),
        case("SIGKILL of A at 24 times, then resume: every byte", kill_a),
        case(
            "SIGKILL of B at 24 times, then resume and back: every byte",
            kill_b,
        ),
        case(
            "SIGINT: the peer is told, the numbers are exact, resume goes on",
            interrupted,
        ),
        case(
            "little time: 3 or 5, and resume goes on from there",
            little_time,
        ),
    ]
}

/// `pagemove resume`, to whoever listens now.
fn resume(hosts: &Hosts, receiver: &Receiver) -> Result<Migrated> {
    let path = format!("{}/vm1.json", super::NOTES);
    let text = fs::read_to_string(&path).context("no note")?;
    let mut note: serde_json::Value = serde_json::from_str(&text)?;
    note["to"] = receiver.address.clone().into();
    fs::write(&path, note.to_string())?;
    ensure!(hosts.is_noted());
    let child = Command::new("pagemove")
        .args(["--json", "resume", "vm1", "--state", super::NOTES])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    finish(child)
}

fn nobody() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let alone = hosts.run("migrate", "tcp:127.0.0.1:9", &[])?;
    alone.expect(3)?;
    let said = &alone.errors;
    ensure!(
        said.contains("is `pagemove receive` running there?"),
        "{said}"
    );
    ensure!(!said.contains("resume"), "nothing has begun: {said}");
    ensure!(!hosts.is_noted(), "nothing has begun, and there is a note");
    hosts.check_home(1)
}

fn other_size() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let other = Region::on_node(PAGES, hosts.rig.nodes.here)?;
    let receiver = Receiver::start(other.id, &[])?;
    let refused = hosts.run("migrate", &receiver.address.clone(), &[])?;
    refused.expect(3)?;
    ensure!(
        refused.errors.contains("memory of the same size"),
        "{}",
        refused.errors
    );
    let received = receiver.end()?;
    ensure!(received.code == 3 && received.errors.contains("memory of the same size"));
    hosts.check_home(1)
}

fn not_there() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let aperture = hosts.run("migrate", "tcp:127.0.0.1:9", &["--aperture", "77"])?;
    ensure!(aperture.code != 0);
    let real = hosts.aperture;
    hosts.aperture = 77;
    let aperture = hosts.run("migrate", "tcp:127.0.0.1:9", &[])?;
    aperture.expect(2)?;
    ensure!(
        aperture.errors.contains("there is no aperture 77"),
        "{}",
        aperture.errors
    );
    hosts.aperture = real;
    let output = Command::new("pagemove")
        .args(["receive", "--once", "--region", "4711"])
        .output()?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    hosts.check_home(1)
}

fn stranger() -> Result<()> {
    let mut hosts = Hosts::open()?;
    // For one migration, which a stranger is none.
    let receiver = Receiver::start(hosts.b.id, &[])?;
    let to = receiver.address.clone();
    let mut stream = TcpStream::connect(to.trim_start_matches("tcp:"))?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    ensure!(said.is_empty(), "a stranger was told {said:?}");
    hosts.run("migrate", &to, &[])?.expect(0)?;
    hosts.check_out(1)?;
    let received = receiver.end()?;
    ensure!(received.code == 0, "{}", received.errors);
    ensure!(
        received.errors.contains("broke the protocol"),
        "{}",
        received.errors
    );
    hosts.migrate(&["--back"], &[])?.0.expect(0)?;
    hosts.check_home(1)
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: a child of ours that was not waited for.
    unsafe { libc::kill(pid, signal) };
}

/// Times that are spread over a migration, which takes some tens of milliseconds.
fn times() -> impl Iterator<Item = Duration> {
    (0..24).map(|n| Duration::from_millis(4 + 5 * n))
}

fn kill_a() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let mut ended = 0;
    for time in times() {
        let receiver = Receiver::start(hosts.b.id, &[])?;
        let child = hosts.start("migrate", &receiver.address.clone(), &["--batch", "1"])?;
        thread::sleep(time);
        kill(child.id() as i32, libc::SIGKILL);
        let killed = finish(child)?.code == -libc::SIGKILL;
        // One that had not connected yet leaves B waiting.
        kill(receiver.pid(), libc::SIGTERM);
        receiver.end()?;
        ended += u32::from(killed);
        if killed && hosts.is_noted() {
            let receiver = Receiver::start(hosts.b.id, &[])?;
            resume(&hosts, &receiver)?.expect(0)?;
            receiver.end()?;
        } else {
            hosts.migrate(&[], &[])?.0.expect(0)?;
        }
        hosts
            .check_out(1)
            .with_context(|| format!("after {time:?}"))?;
        hosts.migrate(&["--back"], &[])?.0.expect(0)?;
        hosts
            .check_home(1)
            .with_context(|| format!("home after {time:?}"))?;
    }
    ensure!(ended >= 4, "{ended} were killed in time");
    Ok(())
}

fn kill_b() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let mut partial = 0;
    for (n, time) in times().enumerate() {
        let receiver = Receiver::start(hosts.b.id, &[])?;
        let child = hosts.start("migrate", &receiver.address.clone(), &["--batch", "1"])?;
        thread::sleep(time);
        kill(receiver.pid(), libc::SIGKILL);
        receiver.end()?;
        let migrated = finish(child)?;
        ensure!(
            matches!(migrated.code, 0 | 3 | 5),
            "{} {}",
            migrated.code,
            migrated.errors
        );
        if migrated.code == 5 {
            partial += 1;
            ensure!(
                migrated.errors.contains("connection"),
                "{}",
                migrated.errors
            );
        }
        if n % 2 == 0 && migrated.code != 0 {
            // What had not begun has left no note.
            if hosts.is_noted() {
                let receiver = Receiver::start(hosts.b.id, &[])?;
                resume(&hosts, &receiver)?.expect(0)?;
                receiver.end()?;
            } else {
                hosts.migrate(&[], &[])?.0.expect(0)?;
            }
            hosts
                .check_out(1)
                .with_context(|| format!("after {time:?}"))?;
        }
        hosts.migrate(&["--back"], &[])?.0.expect(0)?;
        hosts
            .check_home(1)
            .with_context(|| format!("home after {time:?}"))?;
    }
    pagemove_testkit::tap::note(&format!("{partial} of 24 ended in the middle"));
    Ok(())
}

fn interrupted() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let receiver = Receiver::start(hosts.b.id, &[])?;
    // In the hook it is sure to be at work.
    let child = hosts.start("migrate", &receiver.address.clone(), &["--hook", "sleep 1"])?;
    thread::sleep(Duration::from_millis(700));
    kill(child.id() as i32, libc::SIGINT);
    let stopped = finish(child)?;
    let received = receiver.end()?;
    stopped.expect(5)?;
    ensure!(
        stopped.errors.contains("stopped by a signal"),
        "{}",
        stopped.errors
    );
    ensure!(
        received.errors.contains("the peer was stopped"),
        "{}",
        received.errors
    );
    let moved = stopped.number("pages_moved")?;
    ensure!(
        received.json["pages_arrived"] == moved,
        "{moved}, {}",
        received.json
    );
    ensure!(
        stopped.number("pages_on_peer")? == moved,
        "{}",
        stopped.json
    );
    let receiver = Receiver::start(hosts.b.id, &[])?;
    resume(&hosts, &receiver)?.expect(0)?;
    receiver.end()?;
    hosts.check_out(1)?;
    hosts.migrate(&["--back"], &[])?.0.expect(0)?;
    hosts.check_home(1)
}

/// The time may be over before a connection is of use, but no page goes back.
fn little_time() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let receiver = Receiver::start(hosts.b.id, &[])?;
    let time = ["--deadline", "25ms", "--batch", "1"];
    let mut last = hosts.run("migrate", &receiver.address.clone(), &time)?;
    receiver.end()?;
    let (mut runs, mut there) = (1, 0);
    while last.code != 0 && last.number("pages_on_peer")? < PAGES as u64 {
        ensure!(matches!(last.code, 3 | 5), "{} {}", last.code, last.errors);
        ensure!(
            last.errors.contains("the deadline passed"),
            "{}",
            last.errors
        );
        let now = last.number("pages_on_peer")?;
        ensure!(
            now >= there && runs < 60,
            "{now} after {there} pages, {runs} runs"
        );
        there = now;
        let receiver = Receiver::start(hosts.b.id, &[])?;
        last = resume(&hosts, &receiver)?;
        receiver.end()?;
        runs += 1;
    }
    pagemove_testkit::tap::note(&format!("{runs} runs"));
    hosts.migrate(&[], &[])?.0.expect(0)?;
    hosts.check_out(1)?;
    hosts.migrate(&["--back"], &[])?.0.expect(0)?;
    hosts.check_home(1)
}
