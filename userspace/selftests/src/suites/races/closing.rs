// SPDX-License-Identifier: GPL-2.0
//! Everything that a guest has is closed in any order, with moves running.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Result};
use pagemove_uapi::{Control, MoveRequest, MOVE_EVEN_IF_THERE};

use super::State;
use crate::bench::{self, Bench};
use pagemove_testkit::random::Random;
use pagemove_testkit::tap::{self, Case, Pass};

const PAGES: usize = 512;
const ORDERS: usize = 36;

/// What can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Device,
    Group,
    Container,
    File,
    Memory,
}

const PARTS: [Part; 5] = [
    Part::Device,
    Part::Group,
    Part::Container,
    Part::File,
    Part::Memory,
];

pub fn cases() -> Vec<Case<State>> {
    let mut cases: Vec<Case<State>> = (0..ORDERS)
        .map(|number| {
            Case::new(
                format!(
                    "closed in order {} of {ORDERS}, with moves running",
                    number + 1
                ),
                move |state: &mut State| {
                    close(&order(number, &mut state.random), &mut state.random.split())?;
                    state.log.check()?;
                    Ok(Pass)
                },
            )
        })
        .collect();
    cases.push(Case::new("all orders left no page", |_: &mut State| {
        bench::wait_for_no_pages(Duration::from_secs(20))?;
        Ok(Pass)
    }));
    cases
}

/// Each part is first at least once; otherwise any order.
fn order(number: usize, random: &mut Random) -> Vec<Part> {
    let mut parts = PARTS.to_vec();
    random.shuffle(&mut parts);
    if let Some(first) = PARTS.get(number) {
        parts.retain(|part| part != first);
        parts.insert(0, *first);
    }
    parts
}

fn close(order: &[Part], random: &mut Random) -> Result<()> {
    tap::note(&format!("{order:?}"));
    let Bench {
        assigned,
        region,
        control,
        device,
        nodes,
    } = Bench::open(PAGES)?;
    drop(control);
    let (mut device_file, mut group, mut container) = (
        Some(assigned.device),
        Some(assigned.group),
        Some(assigned.container),
    );
    let (mut map, mut file) = (Some(region.map), Some(region.control));
    let (stop, moved) = (AtomicBool::new(false), AtomicU64::new(0));
    let requests = [nodes.there, nodes.here].map(|node| MoveRequest {
        flags: MOVE_EVEN_IF_THERE,
        ..bench::request(device, bench::IOVA, PAGES, node)
    });
    let moving = thread::scope(|scope| {
        let mover = scope.spawn(|| keep_moving(&requests, &stop, &moved));
        // A mover that failed moves nothing, which is seen below.
        while moved.load(Ordering::Relaxed) == 0 && !mover.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        for part in order {
            thread::sleep(random.microseconds(30_000));
            match part {
                Part::Device => drop(device_file.take()),
                Part::Group => drop(group.take()),
                Part::Container => drop(container.take()),
                Part::File => drop(file.take()),
                Part::Memory => drop(map.take()),
            }
        }
        thread::sleep(Duration::from_millis(2));
        stop.store(true, Ordering::Relaxed);
        mover.join().expect("moving does not panic")
    });
    moving?;
    ensure!(
        moved.load(Ordering::Relaxed) > 0,
        "no page was moved before"
    );
    Ok(())
}

fn keep_moving(requests: &[MoveRequest; 2], stop: &AtomicBool, moved: &AtomicU64) -> Result<()> {
    let control = Control::open()?;
    for request in requests.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let report = control.move_pages(request, None);
        moved.fetch_add(report.pages_moved, Ordering::Relaxed);
        match bench::errno_of(&report) {
            // Whole; closing; closed; its memory unmapped; its region closed.
            0 | libc::EAGAIN | libc::ENOTCONN | libc::ENOENT | libc::ESTALE => {}
            _ => bail!("a move: {}", bench::describe(&report)),
        }
    }
    Ok(())
}
