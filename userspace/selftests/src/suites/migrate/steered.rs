// SPDX-License-Identifier: GPL-2.0
//! A migration and its receiver, seen, ended and waited for by others. The hook of `leave` holds the migration
//! up for as long as a case wants.

use std::fs;
use std::process::Child;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::Case;
use serde_json::Value;

use super::{case, finish, Hosts, Nothing, Receiver, PAGES};
use crate::suites::cli::run;
use crate::suites::cli::running::{answer_of, begin_wait, shown, until};

const GATE: &str = "/tmp/leave";

pub fn cases() -> Vec<Case<Nothing>> {
    vec![
        case("status shows both ends, and wait is told 0 of each", waited),
        case(
            "cancel ends a migration: 5 for who waits for it, and its receiver is told",
            cancelled,
        ),
        case("cancel ends a receiver that listens", listening),
    ]
}

/// A migration that has come to `leave`, and its receiver.
fn begin(hosts: &Hosts) -> Result<(Child, Receiver)> {
    // Nobody has left it before.
    let _ = fs::remove_file(GATE);
    let receiver = Receiver::start(hosts.b.id, &[])?;
    let hook = format!("[ $PAGEMOVE_EVENT != leave ] || until [ -e {GATE} ]; do sleep 0.1; done");
    let child = hosts.start("migrate", &receiver.address.clone(), &["--hook", &hook])?;
    Ok((child, receiver))
}

/// Returns what `status` says of a process in this phase.
fn in_phase(pid: u32, phase: &str) -> Result<Value> {
    until(phase, || Ok(shown(pid)?.filter(|it| it["phase"] == phase)))
}

/// Checks what `status` says of both, and begins to wait for both.
fn look(hosts: &Hosts, source: &Child, target: &Receiver) -> Result<[Child; 2]> {
    let it = in_phase(source.id(), "leave")?;
    ensure!(
        it["verb"] == "migrate"
            && it["name"] == "vm1"
            && it["region"] == hosts.rig.region()?
            && it["device"] == hosts.rig.device.to_string()
            && it["to"] == target.address
            && it["pages"] == PAGES,
        "{it}"
    );
    let it = in_phase(target.pid() as u32, "moving")?;
    ensure!(
        it["verb"] == "receive" && it["region"] == hosts.b.id && it["pages"] == PAGES,
        "{it}"
    );
    Ok([begin_wait(source.id())?, begin_wait(target.pid() as u32)?])
}

fn expect_told(waiter: Child, code: i32) -> Result<()> {
    let (found, json) = answer_of(waiter)?;
    ensure!(
        found == code && json["ended"] == true && json["code"] == code,
        "wait: {found}, {json}"
    );
    Ok(())
}

/// Nothing runs any more.
fn expect_nothing() -> Result<()> {
    let (code, json) = run("status")?;
    let commands = json["commands"].as_array().context("no commands")?;
    ensure!(code == 0 && commands.is_empty(), "{code}: {json}");
    Ok(())
}

fn waited() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let (source, target) = begin(&hosts)?;
    let waiters = look(&hosts, &source, &target)?;
    fs::write(GATE, "")?;
    finish(source)?.expect(0)?;
    let received = target.end()?;
    ensure!(received.code == 0, "{}", received.errors);
    for waiter in waiters {
        expect_told(waiter, 0)?;
    }
    expect_nothing()?;
    hosts.check_out(1)?;
    hosts.migrate(&["--back"], &[])?.0.expect(0)?;
    hosts.check_home(1)
}

fn cancelled() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let (source, target) = begin(&hosts)?;
    let [of_source, of_target] = look(&hosts, &source, &target)?;
    let (code, json) = run(&format!("cancel {}", source.id()))?;
    ensure!(
        code == 0 && json["verb"] == "migrate",
        "cancel: {code}, {json}"
    );
    fs::write(GATE, "")?;
    let stopped = finish(source)?;
    stopped.expect(5)?;
    ensure!(
        stopped.json["error"]["kind"] == "stopped",
        "{}",
        stopped.json
    );
    let received = target.end()?;
    ensure!(
        received.errors.contains("the peer was stopped"),
        "{}",
        received.errors
    );
    expect_told(of_source, 5)?;
    expect_told(of_target, received.code)?;
    expect_nothing()?;
    hosts.migrate(&["--back"], &[])?.0.expect(0)?;
    hosts.check_home(1)
}

fn listening() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let receiver = Receiver::start_lasting(hosts.b.id, &[])?;
    let pid = receiver.pid() as u32;
    in_phase(pid, "listening")?;
    let (code, json) = run(&format!("cancel {pid} --wait --timeout 60s"))?;
    let received = receiver.end()?;
    ensure!(
        code == received.code && json["ended"] == true && json["code"] == code,
        "receive ended with {}: {code}, {json}",
        received.code
    );
    expect_nothing()?;
    hosts.check_home(1)
}
