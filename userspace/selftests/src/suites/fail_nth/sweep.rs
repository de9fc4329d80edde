// SPDX-License-Identifier: GPL-2.0
//! One call after another of a path is made to fail, until the path comes to its end without
//! reaching the next.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure, Context, Result};
use pagemove_uapi::{errno, Control};

use super::fault::{self, Fired};
use super::snapshot::Snapshot;
use super::source::Source;

/// More than any path has.
const MOST: u64 = 5000;

/// Calls whose failure may be overcome, so that the caller is told of a success: what is lost
/// then is something that would have been good to have.
const OVERCOME: &[(&str, &str)] = &[
    // A page is mapped ahead of its fault, or it is not.
    ("fixup_user_fault", ""),
    ("down_read_trylock", ""),
    ("mtree_load", ""),
    ("krealloc", "premap"),
    ("vmf_insert_page_mkwrite", "premap"),
    // Statistics.
    ("debugfs_create_file", ""),
    // No verdicts, and the log says so.
    ("kernel_read_file_from_path", ""),
    ("krealloc", "verdict::"),
    ("krealloc", "InPlaceModule"),
    // "There is none": a device without a domain or a group, a CPU that is not online and not
    // chosen, a link that is down.
    ("iommu_get_domain_for_dev", ""),
    ("iommu_driver_get_domain_for_dev", ""),
    ("iommu_group_get", ""),
    ("pci_device_is_present", ""),
    ("domain_format", ""),
    // The other engine can do it.
    ("check_tsc_unstable", ""),
    ("cpu_is_online", ""),
    // An entry of a table that was freed this instant: nothing is mapped there.
    ("copy_from_kernel_nofault", ""),
    // A batch that finds no memory is tried again page by page; the search for entries that still map
    // what was moved away from does without.
    ("krealloc", "mover::run"),
    ("kvrealloc", "mover::run"),
    ("alloc_pages_node", "mover::run"),
    ("vfio_pin_pages", "mover::run"),
    // It ends a pause between two attempts.
    ("signal_pending", "Batch>::run"),
    // Whom VFIO is called for goes by a signal if that takes long. It does not, but on a slow host.
    ("signal_pending", "hold::Hold"),
    ("signal_pending", "errand::Errand"),
    // pagemove's threads get no signals.
    ("signal_pending", "EditorSide"),
    ("signal_pending", "HelperSide"),
    ("signal_pending", "Pair"),
    // The kernel itself tries again, or does without, in many places.
    (Fired::IN_THE_KERNEL, ""),
];

/// Looks at what was done, and at which call failed, if any did; undoes it.
type Settle<W> = fn(&mut W, &Result<(), i32>, Option<&Fired>) -> Result<()>;

/// A way into the module.
pub struct Path<W> {
    pub name: &'static str,
    /// What it may say when a call on the way has failed.
    pub errnos: &'static [i32],
    /// What has to be there before.
    pub prepare: fn(&mut W) -> Result<()>,
    /// Goes it, once.
    pub go: fn(&mut W) -> Result<(), i32>,
    /// After an error all has to be as it was. (A move may end in the middle.)
    pub exact: bool,
    /// Checks what was done, and undoes it.
    pub settle: Settle<W>,
    /// It can be gone again at once: the next call works. Otherwise it makes something that
    /// stays, once for all.
    pub again: bool,
    /// Only calls with this in their name.
    pub only: &'static str,
}

impl<W> Path<W> {
    /// Makes a way that needs nothing, changes nothing and can be gone again at once, with any
    /// call on it.
    pub fn new(
        name: &'static str,
        errnos: &'static [i32],
        go: fn(&mut W) -> Result<(), i32>,
    ) -> Self {
        Self {
            name,
            errnos,
            prepare: |_| Ok(()),
            go,
            exact: true,
            settle: |_, _, _| Ok(()),
            again: true,
            only: "",
        }
    }
}

/// Which calls failed on which path.
#[derive(Default)]
pub struct Table {
    /// By call and place, the paths.
    hits: BTreeMap<(String, String), BTreeSet<&'static str>>,
    pub points: u64,
}

impl Table {
    pub fn add(&mut self, path: &'static str, fired: &Fired) {
        let frame = fired.frames.first().cloned().unwrap_or_default();
        self.hits
            .entry((fired.call.clone(), frame))
            .or_default()
            .insert(path);
        self.points += 1;
    }

    /// Where calls failed: `symbol+offset`.
    pub fn places(&self) -> impl Iterator<Item = &String> {
        self.hits.keys().map(|(_, place)| place)
    }

    /// A line for each call and place.
    pub fn lines(&self) -> Vec<String> {
        let line = |((call, place), paths): (&(String, String), &BTreeSet<&str>)| {
            let paths: Vec<&str> = paths.iter().copied().collect();
            format!("{call} < {}: {}", fault::demangled(place), paths.join(" "))
        };
        self.hits.iter().map(line).collect()
    }
}

/// Sweeps a path. Says how many calls have failed, one at a time.
pub fn sweep<W>(
    world: &mut W,
    path: &Path<W>,
    source: &Source,
    control: fn(&W) -> &Control,
    table: &mut Table,
) -> Result<u64> {
    if path.again {
        // What is made once, and kept, is there then.
        for _ in 0..2 {
            (path.prepare)(world)?;
            let done = (path.go)(world);
            ensure!(
                done.is_ok(),
                "it does not even work as it is: {}",
                name_of(&done)
            );
            (path.settle)(world, &done, None).context("as it is")?;
        }
    }
    for n in 1..=MOST {
        let before = Snapshot::take_quietly(control(world))?;
        (path.prepare)(world)?;
        let prepared = Snapshot::take(control(world))?;
        source.arm(n, path.only)?;
        let done = (path.go)(world);
        let Some(fired) = source.fired()? else {
            ensure!(
                done.is_ok(),
                "call {n} is past the end, and yet: {}",
                name_of(&done)
            );
            (path.settle)(world, &done, None)?;
            if path.again {
                before.is_back(control(world))?;
            }
            return Ok(n - 1);
        };
        table.add(path.name, &fired);
        let judged = judge(path, &done, &fired).inspect_err(|_| {
            // So that the next way finds what it expects.
            let _ = (path.settle)(world, &done, Some(&fired));
        });
        judged
            .and_then(|()| {
                if path.exact && done.is_err() {
                    prepared.is_back(control(world))
                } else {
                    Ok(())
                }
            })
            .and_then(|()| (path.settle)(world, &done, Some(&fired)))
            .and_then(|()| {
                if path.again || done.is_err() {
                    before.is_back(control(world))
                } else {
                    Ok(())
                }
            })
            .and_then(|()| {
                if path.again {
                    goes_again(world, path)
                } else {
                    Ok(())
                }
            })
            .and_then(|()| {
                if path.again {
                    before
                        .is_back(control(world))
                        .context("after the next call")
                } else {
                    Ok(())
                }
            })
            .with_context(|| {
                format!(
                    "call {n} failed ({}), it said {}",
                    fired.describe(),
                    name_of(&done)
                )
            })?;
        if !path.again && done.is_ok() {
            return Ok(n);
        }
    }
    bail!("more than {MOST} calls")
}

fn judge<W>(path: &Path<W>, done: &Result<(), i32>, fired: &Fired) -> Result<()> {
    match done {
        Ok(()) => ensure!(may_be_overcome(fired), "the failure was not told"),
        Err(errno) => ensure!(path.errnos.contains(errno), "that is not an errno for this"),
    }
    Ok(())
}

fn goes_again<W>(world: &mut W, path: &Path<W>) -> Result<()> {
    (path.prepare)(world)?;
    let done = (path.go)(world);
    ensure!(done.is_ok(), "the next call says {}", name_of(&done));
    (path.settle)(world, &done, None).context("the next call")
}

pub fn may_be_overcome(fired: &Fired) -> bool {
    OVERCOME
        .iter()
        .any(|(call, place)| fired.call == *call && (place.is_empty() || fired.is_in(place)))
}

fn name_of(done: &Result<(), i32>) -> String {
    match done {
        Ok(()) => "success".to_string(),
        Err(number) => errno::name(*number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(call: &str, frame: &str) -> Fired {
        Fired {
            call: call.to_string(),
            frames: vec![frame.to_string()],
        }
    }

    #[test]
    fn only_what_is_listed_may_be_overcome() {
        assert!(may_be_overcome(&fired("debugfs_create_file", "f+0x1")));
        assert!(may_be_overcome(&fired("krealloc", "verdict::load+0x1")));
        assert!(!may_be_overcome(&fired("krealloc", "offers::offer+0x1")));
        assert!(may_be_overcome(&fired("vfio_pin_pages", "mover::run+0x1")));
        assert!(!may_be_overcome(&fired("vfio_pin_pages", "used::run+0x1")));
        assert!(!may_be_overcome(&fired("copy", "verdict::load+0x1")));
    }

    #[test]
    fn the_table_counts_points_and_names_places() {
        let mut table = Table::default();
        table.add("move", &fired("krealloc", "f+0x1"));
        table.add("used", &fired("krealloc", "f+0x1"));
        assert_eq!(table.points, 2);
        assert_eq!(table.lines(), ["krealloc < f+0x1: move used"]);
    }
}
