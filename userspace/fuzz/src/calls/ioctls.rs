// SPDX-License-Identifier: GPL-2.0
//! An ioctl as the table describes it: its structure is put together and given to the kernel,
//! and what came back is looked at.

use std::mem::offset_of;

use pagemove_uapi::{RegionSetup, PAGE_SIZE};

use crate::calls::maps;
use crate::checks;
use crate::errno;
use crate::op::{Arg, Ioctl, Op};
use crate::program::Call;
use crate::scratch::Spot;
use crate::value::{Kind, Value, IOMMUS, PLACES, SIZES};
use crate::world::{Outcome, World};

/// The structure of a call, and the arrays that it points to.
struct Argument {
    bytes: Vec<u8>,
    arrays: [Spot; 2],
}

pub fn make(world: &mut World, call: &Call, ioctl: &Ioctl) -> Outcome {
    let op = call.op();
    let argument = build(world, op, ioctl, &call.values);
    let said = u32::from_ne_bytes(
        argument
            .bytes
            .get(..4)
            .map_or([0; 4], |b| b.try_into().unwrap_or_default()),
    );
    let writable = ioctl.size.min(said as usize).min(argument.bytes.len());
    let place = name(PLACES, call.values[2]);
    let spot = world
        .structure
        .put(place, &argument.bytes, writable, maps::address(0));
    let fd = world.fd(number_of(call.values[0]));
    // SAFETY: the kernel has to cope with whatever is there; what it may write is memory of
    // ours in which no Rust value lives.
    let result = unsafe { libc::ioctl(fd, u64::from(ioctl.request), spot.address) };
    let mut outcome = Outcome::of(result.into());
    let after = world.structure.read(spot);
    if let (Some(at), Some(after)) = (ioctl.reason, &after) {
        outcome.reason = checks::u32_at(after, at);
    }
    look(
        world,
        op,
        ioctl,
        &argument,
        spot,
        after.as_deref(),
        &mut outcome,
    );
    if let (true, 0, Some(after)) = (op.name == "region_setup", outcome.errno, &after) {
        learn_region(
            world,
            number_of(call.values[0]),
            checks::u32_at(after, offset_of!(RegionSetup, id)),
        );
    }
    outcome
}

/// The number of a region that was set up.
fn learn_region(world: &mut World, slot: u64, id: u32) {
    if let Some(Some(file)) = world.files.get_mut(slot as usize) {
        file.region = Some(id);
    }
}

fn look(
    world: &mut World,
    op: &Op,
    ioctl: &Ioctl,
    argument: &Argument,
    spot: Spot,
    after: Option<&[u8]>,
    outcome: &mut Outcome,
) {
    let errno = outcome.errno;
    let documented = errno == 0 || errno::COMMON.contains(&errno) || ioctl.errnos.contains(&errno);
    // There may be no such file, too.
    if !documented && errno != libc::EBADF {
        let reason = outcome.reason;
        world.problem(format!(
            "{} ends with {} (reason {reason}), which is not documented",
            op.name,
            errno::name(errno)
        ));
    }
    let mut damage = vec![world.structure.damage(spot, Some(&argument.bytes))];
    damage.extend(
        world
            .arrays
            .iter()
            .zip(argument.arrays)
            .map(|(area, spot)| area.damage(spot, None)),
    );
    for text in damage.into_iter().flatten() {
        world.problem(format!("{}: {text}", op.name));
    }
    if errno == libc::EBADF {
        return;
    }
    if let Some(after) = after {
        outcome.way = checks::way(op.name, after);
        if let Some(text) = checks::outputs(op.name, &argument.bytes, after, *outcome) {
            world.problem(format!("{}: {text}", op.name));
        }
    }
}

fn name(names: &'static [&'static str], value: Value) -> &'static str {
    match value {
        Value::Name(at) => names.get(usize::from(at)).copied().unwrap_or("good"),
        _ => names.first().copied().unwrap_or("good"),
    }
}

fn number_of(value: Value) -> u64 {
    match value {
        Value::Number(number) => number,
        Value::Own(n) | Value::Live(n) | Value::Name(n) => u64::from(n),
    }
}

fn build(world: &mut World, op: &Op, ioctl: &Ioctl, values: &[Value]) -> Argument {
    let mut bytes = vec![0u8; ioctl.size];
    let mut arrays = [Spot::NOWHERE; 2];
    let mut used = 0;
    for (arg, value) in op.args.iter().zip(values).skip(3) {
        let number = match arg.kind {
            Kind::Array(element, count) => {
                let element = if arg.name == "results" {
                    result_size(op, values)
                } else {
                    element
                };
                let length = element.saturating_mul(count_of(op, values, count));
                let place = name(PLACES, *value);
                // An array that may be left out is, as often as not.
                if arg.name == "details" && place == "good" && length % 3 != 0 {
                    0
                } else {
                    arrays[used] = world.arrays[used].room(place, length, maps::address(0));
                    used += 1;
                    arrays[used - 1].address
                }
            }
            Kind::Targets => targets(world, op, values, number_of(*value)),
            Kind::Iommu => {
                let text = IOMMUS
                    .get(number_of(*value) as usize)
                    .unwrap_or(&"none")
                    .as_bytes();
                bytes[arg.at..arg.at + text.len().min(16)]
                    .copy_from_slice(&text[..text.len().min(16)]);
                continue;
            }
            _ => resolve(world, arg, *value),
        };
        bytes[arg.at..arg.at + arg.width].copy_from_slice(&number.to_ne_bytes()[..arg.width]);
    }
    let said = match name(SIZES, values[1]) {
        "v0" => ioctl.v0,
        "short" => ioctl.v0 - 1,
        "zero" => 0,
        "longer" | "unknown" => ioctl.size + 16,
        "page" => PAGE_SIZE,
        "huge" => u32::MAX as usize,
        _ => ioctl.size,
    };
    let length = if said > PAGE_SIZE {
        ioctl.size
    } else {
        said.max(4)
    };
    bytes.resize(length.max(4), 0);
    if name(SIZES, values[1]) == "unknown" {
        bytes[ioctl.size + 3] = 1;
    }
    bytes[..4].copy_from_slice(&(said as u32).to_ne_bytes());
    Argument { bytes, arrays }
}

/// How many elements an array has, by the argument that says so.
fn count_of(op: &Op, values: &[Value], what: &str) -> usize {
    let at = op.args.iter().position(|arg| arg.name == what);
    let number = at.map_or(0, |at| number_of(values[at]));
    let count = if what == "length" {
        number / PAGE_SIZE as u64
    } else {
        number & 0xffff_ffff
    };
    count.min(1 << 20) as usize
}

/// Bytes from one result of a move to the next.
fn result_size(op: &Op, values: &[Value]) -> usize {
    let at = op.args.iter().position(|arg| arg.name == "result_size");
    match at.map(|at| number_of(values[at])) {
        Some(16) => 16,
        _ => 8,
    }
}

/// Offsets in the aperture, one for each page: some are taken, some are none.
fn targets(world: &mut World, op: &Op, values: &[Value], seed: u64) -> u64 {
    if seed == 0 {
        return 0;
    }
    let count = count_of(op, values, "length").min(256);
    let mut bytes = Vec::with_capacity(count * 8);
    for n in 0..count as u64 {
        let page = (seed * 7 + n * if seed % 5 == 0 { 0 } else { 1 }) % 1024;
        let offset = page * PAGE_SIZE as u64 + u64::from(seed % 97 == 0);
        bytes.extend_from_slice(&offset.to_ne_bytes());
    }
    world.targets.put("good", &bytes, 0, 0).address
}

fn resolve(world: &World, arg: &Arg, value: Value) -> u64 {
    let live = |list: &[u32], at: u8| list.get(usize::from(at) % list.len().max(1)).copied();
    match (arg.kind, value) {
        (Kind::Device, Value::Own(slot)) => {
            let assigned = world.boxes.get(usize::from(slot)).and_then(Option::as_ref);
            let index = world.worker % world.machine.devices.len().max(1);
            address(
                assigned.map(|assigned| assigned.address).or(world
                    .machine
                    .devices
                    .get(index)
                    .copied()),
            )
        }
        (Kind::Device, Value::Live(at)) => {
            let devices = &world.machine.devices;
            address(devices.get(usize::from(at) % devices.len().max(1)).copied())
        }
        (Kind::Region(more), Value::Own(slot)) => {
            let file = world.files.get(usize::from(slot)).and_then(Option::as_ref);
            u64::from(file.and_then(|file| file.region).map_or(0, |id| id + more))
        }
        (Kind::Region(more), Value::Live(at)) => {
            u64::from(live(&world.live.regions, at).map_or(0, |id| id + more))
        }
        (Kind::Window(more), Value::Live(at)) => {
            u64::from(live(&world.live.windows, at).map_or(0, |id| id + more))
        }
        (Kind::Aperture, Value::Live(at)) => {
            let apertures = &world.live.apertures;
            u64::from(
                apertures
                    .get(usize::from(at) % apertures.len().max(1))
                    .map_or(0, |(id, _)| id + 1),
            )
        }
        // What only this machine knows.
        (Kind::Pick(..), Value::Number(u64::MAX)) if arg.name == "cpu" => {
            world.machine.cpu.0.into()
        }
        (Kind::Pick(..), Value::Number(u64::MAX)) if arg.name == "microcode" => {
            world.machine.cpu.1.into()
        }
        (_, value) => number_of(value),
    }
}

/// Segment, bus, device and function as they lie in a structure.
fn address(address: Option<pagemove_uapi::PciAddress>) -> u64 {
    let Some(address) = address else {
        return 0xffff_ffff;
    };
    u64::from(address.segment) | u64::from(address.bus) << 16 | u64::from(address.devfn) << 24
}
