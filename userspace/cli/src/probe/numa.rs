// SPDX-License-Identifier: GPL-2.0
//! NUMA nodes that have memory: where pages can be moved to.

use serde::{Deserialize, Serialize};

use super::fact::{Fact, Known};
use super::tree::{self, Tree};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub number: u32,
    pub bytes: Fact<u64>,
    pub free_bytes: Fact<u64>,
}

const NODES: &str = "sys/devices/system/node";

pub fn read(tree: &Tree) -> Fact<Vec<Node>> {
    let name = format!("{NODES}/has_memory");
    let numbers = tree.must(&name).and_then(|text| tree::list(&name, &text));
    numbers.map(|numbers| {
        let node = |number| {
            let file = format!("{NODES}/node{number}/meminfo");
            let text = tree.must(&file);
            let value = |key: &str| text.as_ref().and_then(|text| bytes(&file, text, key));
            Node {
                number,
                bytes: value("MemTotal:"),
                free_bytes: value("MemFree:"),
            }
        };
        numbers.into_iter().map(node).collect()
    })
}

/// Reads a line as `Node 0 MemTotal: 1024 kB`.
fn bytes(file: &str, text: &str, key: &str) -> Fact<u64> {
    let lines = text.lines().map(|line| line.split_whitespace());
    let mut values = lines.filter_map(|mut words| {
        words.find(|word| *word == key)?;
        words.next()?.parse::<u64>().ok()?.checked_mul(1 << 10)
    });
    match values.next() {
        Some(bytes) => Known(bytes),
        None => Fact::unknown(format!("/{file} has no {key}")),
    }
}

pub fn notes(nodes: &Fact<Vec<Node>>) -> Vec<String> {
    match nodes.known() {
        Some(nodes) if nodes.len() < 2 => vec![
            "only one NUMA node has memory: pages can be moved within it (--even-if-there), not \
             to another"
                .to_string(),
        ],
        _ => Vec::new(),
    }
}
