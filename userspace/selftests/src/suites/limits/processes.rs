// SPDX-License-Identifier: GPL-2.0
//! Processes that map a region one after the other: the kernel keeps none that has ended.

use std::fs;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{child, cpus};
use pagemove_uapi::PAGE_SIZE;

use crate::bench::Bench;
use crate::region::{Mapping, Region};
use pagemove_testkit::tap::{self, Outcome, Pass};

const CHILDREN: u64 = 400;
/// Kept until the list grows, and what the rest of the machine begins meanwhile.
const SOME: u64 = 40;

/// Address spaces that there are, ended ones that somebody holds among them.
fn address_spaces() -> Result<u64> {
    // Gives back what CPUs and KASAN keep although it is free.
    let shrink = "/sys/kernel/slab/mm_struct/shrink";
    fs::write(shrink, "1").context(shrink)?;
    let slabs = fs::read_to_string("/proc/slabinfo").context("slabinfo")?;
    active(&slabs).context("no mm_struct in slabinfo")
}

fn active(slabs: &str) -> Option<u64> {
    let mut words = slabs
        .lines()
        .find_map(|line| line.strip_prefix("mm_struct "))?
        .split_whitespace();
    words.next()?.parse().ok()
}

pub fn ended(bench: &mut Option<Bench>) -> Outcome {
    let region = Region::on_node(4, bench.as_ref().context("no bench")?.nodes.here)?;
    let file = region.control.file();
    let before = address_spaces()?;
    for n in 0..CHILDREN {
        let status = child::status_of(|| {
            let Ok(own) = Mapping::shared(file, 0, 4 * PAGE_SIZE) else {
                return 1;
            };
            own.write(1, 0, n);
            0
        })?;
        ensure!(status == 0, "child {n} could not map the region");
    }
    ensure!(
        region.map.read(1, 0) == CHILDREN - 1,
        "the children have not mapped what this process has"
    );
    cpus::visit_every()?;
    let after = address_spaces()?;
    tap::note(&format!(
        "address spaces: {before}, {after} after {CHILDREN} processes"
    ));
    ensure!(
        after < before + SOME,
        "of {CHILDREN} processes that have ended the kernel holds {}",
        after - before
    );
    Ok(Pass)
}

#[cfg(test)]
mod tests {
    use super::active;

    #[test]
    fn the_first_number_is_that_of_objects_in_use() {
        let text = "slabinfo - version: 2.1\nmm_struct_x 1 2\nmm_struct             93    112   2176   14    8 : tunables\n";
        assert_eq!(active(text), Some(93));
        assert_eq!(active("task_struct 1 2\n"), None);
    }
}
