// SPDX-License-Identifier: GPL-2.0
//! CPUs that can be editor and helper. Any two can; best are two cores of one socket,
//! which hand a cache line over soon and do not share the cache of the write set.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::finding::{Finding, RUN_AS_ROOT};
use super::tree::{self, Tree};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    pub package: u32,
    /// Cores with a thread that is online.
    pub cores: usize,
    /// Threads that are online.
    pub threads: usize,
}

const CPUS: &str = "sys/devices/system/cpu";

pub fn read(tree: &Tree) -> Fact<Vec<Socket>> {
    let name = format!("{CPUS}/online");
    let online = tree.must(&name).and_then(|text| tree::list(&name, &text));
    online.and_then(|online| sockets(tree, &online))
}

fn sockets(tree: &Tree, online: &[u32]) -> Fact<Vec<Socket>> {
    // Of each package: the cores, each named by the list of its threads.
    let mut packages: BTreeMap<u32, (BTreeSet<String>, usize)> = BTreeMap::new();
    for cpu in online {
        match place(tree, *cpu) {
            Known((package, core)) => {
                let (cores, threads) = packages.entry(package).or_default();
                cores.insert(core);
                *threads += 1;
            }
            Fact::Unknown(unknown) => return Fact::Unknown(unknown),
        }
    }
    let socket = |(package, (cores, threads)): (u32, (BTreeSet<String>, usize))| Socket {
        package,
        cores: cores.len(),
        threads,
    };
    Known(packages.into_iter().map(socket).collect())
}

/// Returns the package and core of a CPU.
fn place(tree: &Tree, cpu: u32) -> Fact<(u32, String)> {
    let name = format!("{CPUS}/cpu{cpu}/topology/physical_package_id");
    let package = tree.must(&name).and_then(|text| match text.parse::<i64>() {
        // -1 where firmware gives no number: then there is one package.
        Ok(number) => Known(u32::try_from(number).unwrap_or(0)),
        Err(_) => Fact::unknown(format!("/{name} holds no number")),
    });
    let core = tree.must(&format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"));
    package.and_then(|package| core.map(|core| (package, core)))
}

pub fn findings(sockets: &Fact<Vec<Socket>>) -> Option<Finding> {
    match sockets {
        Known(sockets) if threads(sockets) >= 2 => None,
        Known(_) => Some(Finding::blocker(
            "one-cpu",
            "only one CPU is online: editor and helper need one each",
            "bring another online (echo 1 > /sys/devices/system/cpu/cpuN/online)",
        )),
        Fact::Unknown(unknown) => Some(Finding::unknown(
            "cpus-unknown",
            format!("which CPUs are online is unknown: {}", unknown.unknown),
            RUN_AS_ROOT,
        )),
    }
}

fn threads(sockets: &[Socket]) -> usize {
    sockets.iter().map(|socket| socket.threads).sum()
}

pub fn notes(sockets: &Fact<Vec<Socket>>) -> Vec<String> {
    let near = |sockets: &Vec<Socket>| sockets.iter().any(|socket| socket.cores >= 2);
    match sockets.known() {
        Some(sockets) if threads(sockets) >= 2 && !near(sockets) => vec![
            "no socket has two cores online: editor and helper of the engine rtm would be on two \
             sockets or threads of one core, where more of their transactions abort"
                .to_string(),
        ],
        _ => Vec::new(),
    }
}
