// SPDX-License-Identifier: GPL-2.0
//! The kernels of both hosts, as far as the agents talk to them.

use std::time::Duration;

use pagemove_uapi::{Call, REASON_CPUS};

use super::{Side, State, World};
use crate::host::{
    HostError, Moves, Outcome, PageState, Place, SourceHost, TargetHost, Trouble, Want, Wants,
};
use crate::span::{Run, PAGE};

fn dead() -> HostError {
    HostError::new(Trouble::Failed, "the agent is dead")
}

/// What a call by `rtm` ends with whose helper gets no CPU: the first page was tried in vain.
fn absent() -> Moves {
    let error = pagemove_uapi::Error::with_reason(Call::Move, libc::EBUSY, REASON_CPUS);
    Moves {
        outcomes: vec![Outcome::Aborted],
        aborts: [("late".to_string(), 20)].into(),
        error: Some(error.into()),
    }
}

#[derive(Clone, Copy, Debug)]
pub struct KernelA<'a>(pub(super) &'a World);

impl KernelA<'_> {
    /// Makes a call: counted, perhaps the agent's last one, and perhaps without its effect.
    fn call<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, HostError> {
        call(self.0, Side::A, effect)
    }

    fn moves(&self, run: Run, one: impl Fn(&mut State, u32, usize) -> Outcome) -> Moves {
        let result = self.call(|state| {
            let mut moves = Moves::default();
            if let Some(left) = state.absent_calls.checked_sub(1) {
                state.absent_calls = left;
                return absent();
            }
            for (n, page) in run.pages().enumerate() {
                state.asked(page);
                let outcome = one(state, page, n);
                if outcome == Outcome::Aborted {
                    *moves.aborts.entry("dirty".to_string()).or_default() += 1;
                }
                moves.outcomes.push(outcome);
            }
            moves
        });
        result.unwrap_or_else(|error| Moves {
            error: Some(error),
            ..Moves::default()
        })
    }
}

fn call<T>(
    world: &World,
    side: Side,
    effect: impl FnOnce(&mut State) -> T,
) -> Result<T, HostError> {
    let mut state = world.state();
    if state.dies(side, false) {
        return Err(dead());
    }
    let result = effect(&mut state);
    if state.dies(side, true) {
        return Err(dead());
    }
    Ok(result)
}

fn stays_in_use(state: &mut State, page: u32) -> bool {
    if let Some(left) = state.hot.get_mut(&page).filter(|left| **left > 0) {
        *left -= 1;
        return true;
    }
    state.aborts_one_in > 0 && state.random(state.aborts_one_in) == 0
}

impl SourceHost for KernelA<'_> {
    fn places(&self, run: Run) -> Result<Vec<Place>, HostError> {
        self.call(|state| {
            let place = |page: u32| match state.out[page as usize] {
                Some(offset) => Place::Out(offset),
                None => Place::Home,
            };
            run.pages().map(place).collect()
        })
    }

    fn is_gone(&self) -> Result<bool, HostError> {
        self.call(|state| state.region_gone)
    }

    fn aperture_length(&self) -> Result<u64, HostError> {
        self.call(|state| state.frames.len() as u64 * PAGE)
    }

    fn used(&self, run: Run) -> Result<Vec<bool>, HostError> {
        self.call(|state| {
            run.pages().for_each(|page| state.asked(page));
            let is_used = |page: u32| state.busy_pages.contains(&page);
            run.pages().map(is_used).collect()
        })
    }

    fn move_out(&self, run: Run, targets: &[u64], _most: Duration) -> Moves {
        self.moves(run, |state, page, n| {
            let index = page as usize;
            let target = targets[n];
            if state.out[index] == Some(target) {
                return Outcome::There;
            }
            if stays_in_use(state, page) {
                return Outcome::Aborted;
            }
            let frame = State::frame_at(target);
            let fits = state.pages[index].offered && state.pages[index].frame == Some(frame);
            if !fits || state.frames[frame].page != Some(index) {
                state.violation(format!("page {page} went to a frame that is not for it"));
            }
            let bytes = state.read_a(index);
            state.frames[frame].bytes = bytes;
            state.out[index] = Some(target);
            state.order.push(page);
            Outcome::There
        })
    }

    fn move_home(&self, run: Run, _most: Duration) -> Moves {
        self.moves(run, |state, page, _| {
            let index = page as usize;
            if state.out[index].is_none() {
                return Outcome::There;
            }
            if stays_in_use(state, page) {
                return Outcome::Aborted;
            }
            if state.guest == super::Guest::B {
                state.violation(format!("page {page} went home under the guest on B"));
            }
            state.home[index] = state.read_a(index);
            state.out[index] = None;
            Outcome::There
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct KernelB<'a>(pub(super) &'a World);

impl KernelB<'_> {
    fn call<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, HostError> {
        call(self.0, Side::B, effect)
    }

    /// Returns what CPUs wait for, without waiting for more.
    pub fn wanted_now(&self) -> Result<Wants, HostError> {
        self.call(|state| {
            let want = |(page, since_ns): (&u32, &u64)| Want {
                page: *page,
                since_ns: *since_ns,
            };
            Wants {
                seen: state.wants,
                now: state.waiting.iter().map(want).collect(),
            }
        })
    }
}

impl TargetHost for KernelB<'_> {
    fn region_pages(&self) -> Result<u32, HostError> {
        self.call(|state| state.pages.len() as u32)
    }

    fn states(&self, run: Run) -> Result<Vec<PageState>, HostError> {
        self.call(|state| {
            let one = |page: u32| PageState {
                offered: state.pages[page as usize].offered,
                awaited: state.pages[page as usize].awaited,
            };
            run.pages().map(one).collect()
        })
    }

    fn offer(&self, run: Run, awaited: bool) -> Result<Vec<u64>, HostError> {
        self.call(|state| {
            let one = |page: u32| offer_page(state, page as usize, awaited);
            run.pages().map(one).collect()
        })
    }

    fn arrive(&self, run: Run) -> Result<(), HostError> {
        self.call(|state| {
            for page in run.pages() {
                let index = page as usize;
                if state.out[index].is_none() {
                    state.violation(format!("page {page} arrived before it had moved"));
                }
                state.pages[index].awaited = false;
                if state.waiting.remove(&page).is_some() {
                    state.touch(page);
                }
            }
        })
    }

    fn retract(&self, run: Run) -> Result<(), HostError> {
        self.call(|state| {
            for page in run.pages() {
                let index = page as usize;
                if state.out[index].is_some() && !state.region_gone {
                    state.violation(format!("page {page} was retracted under A's device"));
                }
                state.pages[index].offered = false;
                state.pages[index].awaited = false;
                state.waiting.remove(&page);
            }
        })
    }

    fn wanted(&self, seen: u64, timeout: Duration) -> Result<Wants, HostError> {
        // As long as the time is not over, or something new is wanted.
        let start = std::time::Instant::now();
        while self.0.state().wants <= seen && start.elapsed() < timeout {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.wanted_now()
    }

    fn now_ns(&self) -> u64 {
        self.0.state().clock_ns
    }
}

/// Offers a page, whose frame stays its own once it has one.
fn offer_page(state: &mut State, page: usize, awaited: bool) -> u64 {
    state.asked(page as u32);
    let frame = match state.pages[page].frame {
        Some(frame) => frame,
        None => {
            let free: Vec<usize> = (0..state.frames.len())
                .filter(|frame| state.frames[*frame].page.is_none())
                .collect();
            let frame = free[state.random(free.len() as u64) as usize];
            state.frames[frame].page = Some(page);
            frame
        }
    };
    let it = &mut state.pages[page];
    it.frame = Some(frame);
    it.awaited |= awaited && !it.offered;
    it.offered = true;
    frame as u64 * PAGE
}
