// SPDX-License-Identifier: GPL-2.0
//! Steps in words.

use engine::rtm::{Duty, Either, Instruction, Phase};
use engine::{Finish, Part, Round, Stage};
use sim::{Action, Op, Place, State, Why};

/// What one step did: who, what, and what changed by it.
pub fn step(before: &State, action: Action, after: &State) -> String {
    let text = match action {
        Action::Editor => format!("editor: {}", editor(before, after)),
        Action::Helper => format!("helper: {}", helper(before, after)),
        Action::Proceed { device } => {
            format!(
                "device {device}: {}",
                device_step(before.world.devices[device].op)
            )
        }
        other => format!("{other}"),
    };
    let mut changes = changes(before, after);
    if changes.is_empty() {
        return text;
    }
    changes.insert(0, String::new());
    text + &changes.join("  -> ")
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Start => "START",
        Place::End => "END",
    }
}

fn changes(before: &State, after: &State) -> Vec<String> {
    let mut all = Vec::new();
    let (was, is) = (&before.world, &after.world);
    for page in 0..after.pages().len() {
        if was.entries[page] != is.entries[page] {
            let to = after.mapped(page).map_or("nothing", place);
            all.push(format!("entry {page} maps {to} ({:#x})", is.entries[page]));
        }
        for (unit, (was, is)) in was.iotlbs.iter().zip(&is.iotlbs).enumerate() {
            let cached = is[page].map(|cached| place(cached.place));
            if was[page] != is[page] {
                all.push(match cached {
                    Some(to) => format!("IOTLB {unit} has page {page}: {to}"),
                    None => format!("IOTLB {unit} forgets page {page}"),
                });
            }
        }
        for (n, device) in is.devices.iter().enumerate() {
            if device.tlb[page] != was.devices[n].tlb[page] {
                all.push(match device.tlb[page] {
                    Some(cached) => format!("device {n} has page {page}: {}", place(cached.place)),
                    None => format!("device {n} forgets page {page}"),
                });
            }
        }
    }
    if was.clock != is.clock {
        all.push(format!("the clock says {}", is.clock));
    }
    if was.why != is.why && is.why != Why::Nothing {
        all.push(format!("the transaction is aborted: {}", why(is.why)));
    }
    if was.broken != is.broken {
        all.push(format!("seen: {:?}", is.broken.difference(was.broken)));
    }
    all
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Nothing => "by itself",
        Why::Walk => "a walk touched an entry",
        Why::Dma => "a DMA wrote to a watched page",
        Why::Cpu => "another CPU wrote to a watched page",
        Why::Software => "another CPU changed an entry",
        Why::Slot => "the helper set a slot that was read already",
        Why::Interrupt => "an interrupt",
        Why::Capacity => "the cache is too small",
    }
}

fn editor(before: &State, after: &State) -> String {
    let outcome = || {
        let all: Vec<_> = after
            .pages()
            .iter()
            .map(|page| format!("{:?}", page.outcome()))
            .collect();
        all.join(", ")
    };
    match before.run.stage() {
        Stage::Hold => "holds other CPUs back".into(),
        Stage::Release if after.is_done() => {
            format!("lets other CPUs go on and reports: {}", outcome())
        }
        Stage::Release => format!("lets other CPUs go on ({}), will try again", outcome()),
        Stage::Done => "has nothing to do".into(),
        Stage::Attempt => match before.run.attempt() {
            Either::Rtm(it) => rtm_step(before, after, it.phase()),
            Either::AdBit(it) => adbit_step(before, it.phase()),
        },
    }
}

fn rtm_step(before: &State, after: &State, phase: Phase) -> String {
    match phase {
        Phase::Read(n) => format!("reads entry {n}"),
        Phase::Post => match &after.world.mail.request {
            Some(request) => {
                let it = &request.schedule;
                format!(
                    "posts: phase 1 until {}, signal 1 at {}, {} slots from {} every {}",
                    it.late, it.signal1, it.slots, it.start, it.interval,
                )
            }
            None => "gives up before the post".into(),
        },
        Phase::AwaitReady => "looks whether the helper is ready".into(),
        Phase::Transact => transaction(before, after),
        Phase::Cancel => "tells the helper that its work is not needed".into(),
        Phase::AwaitReport => "looks for the helper's report".into(),
        Phase::Restore(n) => {
            format!("gives A of entry {n} back, if it was cleared; reports the abort")
        }
        Phase::Finish(finish) => finish_step(finish),
        Phase::Done => "has nothing to do".into(),
    }
}

fn transaction(before: &State, after: &State) -> String {
    let world = &before.world;
    let next = world
        .tx
        .as_ref()
        .map_or(Instruction::Begin, |tx| tx.steps.next());
    if world.tx.as_ref().is_some_and(|tx| tx.doomed.is_some()) {
        return "finds itself behind XBEGIN: aborted".into();
    }
    let text = match next {
        Instruction::Begin => "XBEGIN".into(),
        Instruction::Watch(n, _) => format!("reads START {n} into the read set"),
        Instruction::Compare(n) => format!("compares entry {n}"),
        Instruction::Store(n) => format!("stores entry {n}; the store is in the store buffer"),
        Instruction::Fence => "MFENCE: the stores are in the write set".into(),
        Instruction::LateCheck => format!("late check at {}", world.clock),
        Instruction::Poll(_) => format!("polls the clock: {}", world.clock),
        Instruction::Read(n) => format!("reads slot {n}: {}", world.slots[n as usize]),
        Instruction::Commit => "XEND: committed".into(),
    };
    let aborts = after.world.tx.is_none() && next != Instruction::Commit;
    text + if aborts { ", XABORT" } else { "" }
}

fn adbit_step(before: &State, phase: engine::Phase) -> String {
    use engine::Phase as P;
    match phase {
        P::Clear(n) => format!("clears A and D of entry {n}"),
        P::Invalidate => "queues an invalidation".into(),
        P::AwaitInvalidation => "waits for the invalidation".into(),
        P::Look { page, .. } => format!("looks at entry {page}, whether to go on"),
        P::Copy { page, part, .. } => copies(page, part),
        P::Publish(n) => format!("reads END {n} back"),
        P::Commit(n) => format!(
            "swaps entry {n} ({:#x})",
            before.world.entries[usize::from(n)]
        ),
        P::Restore(n) => format!("gives A and D of entry {n} back, if it was not swapped"),
        P::Finish(finish) => finish_step(finish),
        P::Done => "has nothing to do".into(),
    }
}

/// A chunk is the first in its batch, and its pieces are the pages.
fn copies(page: u16, part: Part) -> String {
    format!("copies part {} of page {}", part.part, page + part.piece)
}

fn finish_step(finish: Finish) -> String {
    match finish {
        Finish::Invalidate(Round::Committed) => "queues the invalidation after the commit".into(),
        Finish::Invalidate(Round::Reverted) => "queues one more: an entry maps START again".into(),
        Finish::Await(_) => "waits for the invalidation".into(),
        Finish::Verify(_, n) => format!("verifies page {n}"),
    }
}

fn helper(before: &State, after: &State) -> String {
    let clock = before.world.clock;
    let text = match before.helper.duty() {
        Duty::Idle => "sees the request".into(),
        Duty::Take => "is ready".into(),
        Duty::AwaitSignal1 => format!("waits for signal 1 at {clock}"),
        Duty::Invalidate => "queues the invalidation".into(),
        Duty::AwaitInvalidation => "waits for the invalidation".into(),
        Duty::Copy { page, part, .. } => copies(page, part),
        Duty::PutSum(n, _) => format!("keeps the sum of page {n}"),
        Duty::Publish(n) => format!("reads END {n} back"),
        Duty::Clock => format!("reads the clock: {clock}"),
        Duty::Signal { slot, .. } => format!("sets slot {slot}"),
        Duty::Report(end) => format!("reports: {end:?}"),
    };
    match after.helper.duty() {
        Duty::Report(end) if !matches!(before.helper.duty(), Duty::Signal { .. }) => {
            format!("{text}, gives up: {end:?}")
        }
        _ => text,
    }
}

fn device_step(op: Op) -> String {
    let verb = |write: bool| if write { "write" } else { "read" };
    match op {
        Op::Idle => "is idle".into(),
        Op::Descend { page, .. } => format!("upper levels are read for page {page}"),
        Op::Walk { page, write, .. } => format!("entry {page} is read for a {}", verb(write)),
        Op::Update { page, .. } => format!("A and D of entry {page} are set, by what was read"),
        Op::Flying {
            page,
            write,
            place: to,
        } => format!("its {} of page {page} reaches {}", verb(write), place(to)),
    }
}
