// SPDX-License-Identifier: GPL-2.0
//! Ranks on two hosts exchange numbered messages while they move from host to host: network namespaces
//! with a cable between them, and addresses of their own. TAP; skipped where there are none.

mod common;

use common::exchange::Host;
use common::moves::{on_their_way, run, Plan, Setup};
use nix::sched::{setns, CloneFlags};
use pagemove_peers::driver::Prepared;
use pagemove_testkit::tap::{skip_all, Tap};
use std::fs::File;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Two hosts; they are gone when this is.
struct Pair {
    names: [String; 2],
}

const ADDRESSES: [&str; 2] = ["10.213.77.1", "10.213.77.2"];

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("there is no program ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("ip {}: {}", arguments.join(" "), said.trim()))
        }
    }
}

impl Pair {
    fn new() -> Result<Self, String> {
        let id = std::process::id();
        let names = [format!("pagemove-a-{id}"), format!("pagemove-b-{id}")];
        // Whatever is made is removed, even if the rest can't be.
        let pair = Pair { names };
        for name in &pair.names {
            ip(&["netns", "add", name])?;
        }
        let [a, b] = &pair.names;
        let ends = ["pm0", "netns", a, "type", "veth", "peer", "name", "pm0"];
        ip(&[&["link", "add", "name"][..], &ends, &["netns", b]].concat())?;
        for (name, address) in pair.names.iter().zip(ADDRESSES) {
            let address = format!("{address}/24");
            ip(&["-n", name, "address", "add", &address, "dev", "pm0"])?;
            ip(&["-n", name, "link", "set", "pm0", "up"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(pair)
    }

    fn hosts(&self) -> Vec<Host> {
        let hosts = self
            .names
            .iter()
            .zip(ADDRESSES)
            .map(|(name, address)| Host {
                prefix: ["ip", "netns", "exec", name].map(str::to_string).into(),
                listen: format!("{address}:0"),
            });
        hosts.collect()
    }

    /// Has this thread, and those that it starts, be on the first host.
    fn enter(&self) -> Result<(), String> {
        let path = format!("/run/netns/{}", self.names[0]);
        let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

const PLAN: Plan = Plan {
    programs: 3,
    moves: 12,
    seed: 0x2545_f491_4f6c_dd1d,
    mistake: None,
    patience: Duration::from_secs(60),
};

fn main() -> ExitCode {
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return skip_all(&format!("no network namespaces: {why}")),
    };
    if let Err(why) = pair.enter() {
        return skip_all(&why);
    }
    let prepared = || Prepared::at(&format!("{}:0", ADDRESSES[0])).expect("an address");
    let mut tap = Tap::plan(3);
    match run(&PLAN, pair.hosts(), prepared()) {
        Ok(figures) => {
            figures.print("3 ranks on 2 hosts");
            tap.test(true, "ranks that move from host to host exchange messages");
            let between = figures.between >= 3;
            tap.test(between, "they have moved to the other host");
        }
        Err(why) => {
            tap.test(false, &format!("ranks on two hosts: {why}"));
            tap.test(false, "not reached");
        }
    }
    // The twin.
    let twin = Setup {
        programs: 2,
        mistake: Some("List"),
        patience: Duration::from_secs(4),
        hosts: pair.hosts(),
        prepared: prepared(),
    };
    let missed = match on_their_way(twin, "Deaf,List") {
        Ok(_) => "nothing".to_string(),
        Err(why) => why,
    };
    for line in missed.lines() {
        println!("# without the list: {line}");
    }
    tap.test(
        missed != "nothing",
        "messages left out of a move are missed",
    );
    tap.exit_code()
}
