// SPDX-License-Identifier: GPL-2.0
//! Cores that can be editor and helper: on one socket, and not threads of one core.

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

/// Package and core of a CPU.
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
        Known(sockets) if sockets.iter().any(|socket| socket.cores >= 2) => None,
        Known(_) => Some(Finding::blocker(
            "one-core",
            "no socket has two cores online: editor and helper may not be threads of one core",
            "bring a core online (echo 1 > /sys/devices/system/cpu/cpuN/online); in a guest: give \
             it two cores of one socket",
        )),
        Fact::Unknown(unknown) => Some(Finding::unknown(
            "cores-unknown",
            format!("which cores are online is unknown: {}", unknown.unknown),
            RUN_AS_ROOT,
        )),
    }
}
