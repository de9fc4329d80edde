// SPDX-License-Identifier: GPL-2.0
//! What is the first of its kind after loading: the module's lists have no room yet. Later they
//! keep what they have, and no sweep comes by there any more.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::{module, pci};
use pagemove_uapi::{errno, Control, ENGINE_ADBIT, PAGE_SIZE};

use super::fault;
use super::source::Source;
use super::sweep::Table;
use super::world::spare;
use super::{devices, load};
use crate::bench;
use crate::region::{Mapping, Region};
use crate::rig::Rig;
use crate::suites::ntb::bridge::{self, Bridge};

/// More than any of them has.
const MOST: u64 = 200;
/// For windows that the driver makes in a thread of its own.
const PATIENCE: Duration = Duration::from_millis(300);

pub struct First {
    pub name: &'static str,
    prepare: fn(&mut Option<Rig>) -> Result<()>,
    go: fn(&mut Option<Rig>) -> Result<(), i32>,
    undo: fn(&mut Option<Rig>) -> Result<()>,
    /// Only calls with this in their name.
    only: &'static str,
}

pub fn firsts() -> [First; 6] {
    let first = |name, go, undo| First {
        name,
        prepare: nothing,
        go,
        undo,
        only: "",
    };
    [
        first("the first region of all", region, nothing),
        first("the first region of all, which grows", growing, nothing),
        first("the first device of all", device, no_device),
        first(
            "the first aperture of all",
            |_| devices::bind_window(),
            |_| devices::unbind_window(),
        ),
        first("the first windows of all", windows, no_windows),
        // Of what is no allocation there is nothing new in it.
        First {
            prepare: open_rig,
            only: "alloc",
            ..first("the first move of all", move_page, close_rig)
        },
    ]
}

fn nothing(_: &mut Option<Rig>) -> Result<()> {
    Ok(())
}

fn open_rig(rig: &mut Option<Rig>) -> Result<()> {
    *rig = Some(Rig::open(1)?);
    Ok(())
}

/// There, and back if it has gone.
fn move_page(rig: &mut Option<Rig>) -> Result<(), i32> {
    let rig = rig.as_mut().ok_or(libc::EEXIST)?;
    let (report, _) = rig.move_pages(&rig.request(0, 1, ENGINE_ADBIT, rig.nodes.there));
    rig.check(0, 0).map_err(|_| libc::EEXIST)?;
    let _ = rig.move_pages(&rig.request(0, 1, ENGINE_ADBIT, rig.nodes.here));
    rig.check(0, 0).map_err(|_| libc::EEXIST)?;
    match bench::errno_of(&report) {
        0 => Ok(()),
        errno => Err(errno),
    }
}

fn close_rig(rig: &mut Option<Rig>) -> Result<()> {
    *rig = None;
    bench::wait_for_no_pages(Duration::from_secs(20)).map(drop)
}

fn region(_: &mut Option<Rig>) -> Result<(), i32> {
    Region::on_node(1, 0)
        .map(|region| region.map.fill(1))
        .map_err(|_| libc::ENOMEM)
}

/// Nothing is said of it before its mmap.
fn growing(_: &mut Option<Rig>) -> Result<(), i32> {
    let control = Control::open().map_err(|error| error.errno)?;
    Mapping::shared(control.file(), 0, PAGE_SIZE).map(|map| map.fill(1))
}

fn device(_: &mut Option<Rig>) -> Result<(), i32> {
    devices::bind(spare().map_err(|_| libc::EEXIST)?, pci::PAGEMOVE)
}

fn no_device(_: &mut Option<Rig>) -> Result<()> {
    pci::unbind(spare()?)
}

/// Both ports have two, and one of them shows memory.
fn windows(_: &mut Option<Rig>) -> Result<(), i32> {
    let go = || -> Result<bool> {
        Bridge::load()?;
        let control = Control::open()?;
        let end = Instant::now() + PATIENCE;
        while control.window_list()?.len() < 4 {
            if Instant::now() > end {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = control.window_list()?.first().context("no window")?.id;
        Ok(control.window_set(id, bridge::WINDOW_BYTES, 0).is_ok())
    };
    match go() {
        Ok(true) => Ok(()),
        _ => Err(libc::ENOMEM),
    }
}

fn no_windows(_: &mut Option<Rig>) -> Result<()> {
    Bridge::unload()
}

/// Sweeps it, and returns how many calls have failed. Nobody may use the module.
pub fn sweep(first: &First, table: &mut Table) -> Result<u64> {
    for n in 1..=MOST {
        // That it can be unloaded says that nothing of the round before holds it.
        load::unload()?;
        module::load_pagemove()?;
        let mut rig = None;
        (first.prepare)(&mut rig)?;
        fault::arm_all(n, first.only)?;
        let done = (first.go)(&mut rig);
        let Some(fired) = Source::Module.fired()? else {
            ensure!(
                done.is_ok(),
                "call {n} is past the end, and yet: {}",
                errno::name(done.unwrap_err())
            );
            (first.undo)(&mut rig)?;
            return Ok(n - 1);
        };
        table.add(first.name, &fired);
        judge(first, &mut rig, done)
            .with_context(|| format!("call {n} failed ({})", fired.describe()))?;
    }
    anyhow::bail!("more than {MOST} calls")
}

/// Judges whether all goes on. Whether the errno is right is what the other sweeps look at.
fn judge(first: &First, rig: &mut Option<Rig>, done: Result<(), i32>) -> Result<()> {
    if let Err(number) = done {
        ensure!(
            [libc::ENOMEM, libc::ENFILE, libc::EIO, libc::EBUSY].contains(&number),
            "it says {}",
            errno::name(number)
        );
    }
    (first.undo)(rig).context("undoing it")?;
    (first.prepare)(rig)?;
    let again = (first.go)(rig);
    ensure!(
        again.is_ok(),
        "the next one: {}",
        errno::name(again.unwrap_err())
    );
    (first.undo)(rig).context("undoing the next one")
}
