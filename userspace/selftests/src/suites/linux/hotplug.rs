// SPDX-License-Identifier: GPL-2.0
//! Memory that comes and goes while the guest runs: blocks of virtio-mem, and a DIMM.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::{note, Outcome, Pass};
use pagemove_testkit::wait;
use pagemove_uapi::{Control, PciAddress, PAGE_SIZE, REASON_OTHER_FRAME};
use serde_json::json;

use super::guest::{backend, most};
use super::{moves, Memory, State};
use crate::bench::{self, describe, Nodes};
use crate::memory;

const LENGTH: u64 = 128 << 20;
/// The guest fills so much of it.
const FILLED: u64 = 64 << 20;
/// What has gone is free again after this time.
const FREED_WITHIN: Duration = Duration::from_secs(2);

/// Moves a span from node to node, whatever of it is there, while something else is done.
fn beside(
    device: PciAddress,
    nodes: Nodes,
    iova: u64,
    work: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let is_over = AtomicBool::new(false);
    let moved = AtomicU64::new(0);
    thread::scope(|scope| {
        let mover = scope.spawn(|| -> Result<()> {
            let control = Control::open()?;
            // A piece at a time: what is not mapped ends the call.
            let piece = 2 << 20;
            let pieces = (0..LENGTH / piece).map(|n| iova + n * piece);
            let mut nodes = [nodes.there, nodes.here].into_iter().cycle();
            while !is_over.load(Ordering::Relaxed) {
                let node = nodes.next().context("a node")?;
                for at in pieces.clone() {
                    let request = bench::request(device, at, piece as usize / PAGE_SIZE, node);
                    let report = control.move_pages(&request, None);
                    moved.fetch_add(report.pages_moved, Ordering::Relaxed);
                    // QEMU's virtio-mem punches the hole first, and unmaps afterwards.
                    let is_hole =
                        report.error.map(|error| error.reason) == Some(REASON_OTHER_FRAME);
                    ensure!(
                        is_hole || moves::is_of_guest(&report),
                        "{}",
                        describe(&report)
                    );
                }
            }
            Ok(())
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let mover = mover.join();
        done?;
        mover.map_err(|_| anyhow::anyhow!("the mover has ended"))?
    })?;
    Ok(moved.into_inner())
}

/// Bytes of shared memory of this VM, or of pages of regions.
fn used(state: &State, kind: Memory) -> Result<u64> {
    if kind == Memory::Region {
        return Ok(state.control.stats()?.region_pages * PAGE_SIZE as u64);
    }
    memory::shared()
}

/// Returns where the guest has a memory device.
fn address(state: &mut State, kind: &str, member: &str) -> Result<u64> {
    let monitor = &mut state.guest()?.monitor;
    let devices = monitor.execute("query-memory-devices", json!({}))?;
    let devices = devices.as_array().context("a list")?;
    let device = devices.iter().find(|device| device["type"] == kind);
    let address = device.and_then(|device| device["data"][member].as_u64());
    address.with_context(|| format!("no {kind}"))
}

/// Has the guest do something, and waits until it has.
fn order(state: &mut State, word: &str) -> Result<()> {
    let guest = state.guest()?;
    guest.order(word)?;
    guest.await_line(&format!("guest: has done {word}"))
}

/// Sets the size of virtio-mem, and waits until the guest has it.
fn set_size(state: &mut State, bytes: u64) -> Result<()> {
    let of = "/machine/peripheral/vm0";
    let guest = state.guest()?;
    guest.monitor.execute(
        "qom-set",
        json!({ "path": of, "property": "requested-size", "value": bytes }),
    )?;
    wait::until("virtio-mem has its size", most(), || {
        guest.is_alive()?;
        let asked = json!({ "path": of, "property": "size" });
        let size = guest.monitor.execute("qom-get", asked)?;
        Ok(size.as_u64() == Some(bytes))
    })?;
    Ok(())
}

/// Moves all of it once each way: nothing of it may stay.
fn all_of_it(state: &mut State, iova: u64) -> Result<()> {
    let (mut moved, mut stayed) = (0, 0);
    for n in 0..2 {
        let node = state.node(n);
        let (of_pass, left) = moves::pass(state, &[(iova, LENGTH)], node)?;
        moved += of_pass;
        stayed += left;
    }
    let pages = LENGTH / PAGE_SIZE as u64;
    note(&format!(
        "{moved} pages of {pages} twice, {stayed} stayed in use"
    ));
    ensure!(moved >= pages && stayed <= pages / 100, "{moved}, {stayed}");
    Ok(())
}

/// Expects that memory is free again soon.
fn is_freed(state: &State, memory: Memory, before: u64) -> Result<()> {
    let begun = Instant::now();
    let most = before.saturating_sub(FILLED);
    wait::until("its memory is free", FREED_WITHIN, || {
        Ok(used(state, memory)? <= most)
    })?;
    note(&format!(
        "{} MiB were free again {} ms later",
        (before - used(state, memory)?) >> 20,
        begun.elapsed().as_millis()
    ));
    Ok(())
}

/// Blocks of virtio-mem are plugged, filled, moved, unplugged: QEMU punches holes into its memfd.
pub fn virtio_mem(state: &mut State) -> Outcome {
    let iova = address(state, "virtio-mem", "memaddr")?;
    let (device, nodes) = (state.device, state.nodes);
    let moved = beside(device, nodes, iova, || {
        set_size(state, LENGTH)?;
        order(state, "grow1")
    })?;
    note(&format!("{moved} pages moved while it came"));
    all_of_it(state, iova)?;
    let before = used(state, Memory::Memfd)?;
    let moved = beside(device, nodes, iova, || {
        order(state, "thin1")?;
        set_size(state, 0)
    })?;
    note(&format!("{moved} pages moved while it went"));
    is_freed(state, Memory::Memfd, before)?;
    state.log.check()?;
    Ok(Pass)
}

/// A DIMM is plugged, filled, moved, unplugged.
pub fn dimm(state: &mut State) -> Outcome {
    let of = backend(state.options.memory, "d", LENGTH);
    let monitor = &mut state.guest()?.monitor;
    monitor.execute("object-add", of)?;
    let dimm = json!({ "driver": "pc-dimm", "id": "d0", "memdev": "d" });
    monitor.execute("device_add", dimm)?;
    let iova = address(state, "dimm", "addr")?;
    let (device, nodes) = (state.device, state.nodes);
    let moved = beside(device, nodes, iova, || order(state, "grow2"))?;
    note(&format!("{moved} pages moved while it came"));
    all_of_it(state, iova)?;
    let before = used(state, state.options.memory)?;
    let moved = beside(device, nodes, iova, || {
        order(state, "thin2")?;
        unplug(state)
    })?;
    note(&format!("{moved} pages moved while it went"));
    is_freed(state, state.options.memory, before)?;
    state.log.check()?;
    Ok(Pass)
}

/// Takes the DIMM away. A guest may refuse, for a time: it is asked again.
fn unplug(state: &mut State) -> Result<()> {
    let guest = state.guest()?;
    let begun = Instant::now();
    while !guest.monitor.has_deleted("d0")? {
        guest.is_alive()?;
        ensure!(begun.elapsed() < most(), "the guest keeps its DIMM");
        // Refused where the last question is not answered yet.
        let _ = guest.monitor.execute("device_del", json!({ "id": "d0" }));
        thread::sleep(Duration::from_millis(500));
    }
    guest.monitor.execute("object-del", json!({ "id": "d" }))?;
    Ok(())
}
