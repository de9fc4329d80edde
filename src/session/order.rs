// SPDX-License-Identifier: GPL-2.0
//! A batch that a session moves, and how the editor's thread does it.

use crate::device::hold::Hold;
use crate::host::spin::Spin;
use crate::host::task;
use crate::machine::passage::Passage;
use crate::machine::source::Source;
use crate::machine::KernelMachine;
use crate::region::backing::Sites;
use crate::session::editor::{EditorMachine, Memory};
use crate::session::seat::Seat;
use core::sync::atomic::{AtomicBool, Ordering};
use engine::rtm::{Absence, Editor, Either};
use engine::{
    reopen, sharing_table, AbortCounts, Attempt, Engine, Job, LeafSize, Method, PageMove,
    PageState, Policy, Progress, Run,
};
use kernel::sync::Arc;

/// Retries of a batch of several pages before it is tried in smaller pieces.
const TOGETHER: u32 = 2;
/// Attempts by `rtm` before `adbit` takes over, at most.
const BEFORE_FALLBACK: u32 = 8;

/// Which engines a batch may be moved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Methods {
    Only(Method),
    /// After some attempts by `rtm` that were aborted, `adbit`.
    RtmThenAdBit,
}

impl Methods {
    /// Returns that of the first attempts.
    pub(crate) const fn first(self) -> Method {
        match self {
            Self::Only(method) => method,
            Self::RtmThenAdBit => Method::Rtm,
        }
    }
}

/// A batch. Its owner waits while the editor's thread has it.
pub(crate) struct Order<'a> {
    pub(crate) pages: &'a mut [PageMove],
    pub(crate) sources: &'a [Source],
    pub(crate) sites: &'a Sites,
    pub(crate) aborts: &'a mut AbortCounts,
    pub(crate) hold: &'a Arc<Hold>,
    pub(crate) policy: Policy,
    pub(crate) methods: Methods,
    /// See [`EditorMachine::ats`].
    pub(crate) ats: bool,
    pub(crate) incoherent: bool,
    /// The owner's signals do not matter.
    pub(crate) deaf: bool,
    /// The owner has a signal.
    pub(crate) signal: &'a AtomicBool,
    /// The owner is to be frozen: no more retries.
    pub(crate) hurry: &'a AtomicBool,
    /// Of the call: where it is lasting, `rtm` is not tried any more.
    pub(crate) absence: &'a mut Absence,
    /// Out: the helper does not come back.
    pub(crate) stuck: bool,
    /// Out: a CPU of the session has gone. Pages that are left were not tried, or map START
    /// between two attempts.
    pub(crate) offline: bool,
    /// Out: `rtm` was given up, and nothing else may move the pages that are left.
    pub(crate) absent: bool,
}

impl Order<'_> {
    /// Moves the batch, in pieces that are as large as goes well.
    pub(crate) fn run(&mut self, seat: &Seat<'_>, memory: &mut Memory) {
        let mut at = 0;
        while at < self.pages.len() && !self.stuck && !self.offline {
            if self.absence.is_lasting() && !self.give_rtm_up() {
                return;
            }
            let rest = self.pages.get(at..).unwrap_or(&[]);
            let most = match self.methods.first() {
                Method::AdBit => rest.len(),
                Method::Rtm => sharing_table(rest).min(memory.sizer.size()),
            };
            let n = most.max(1).min(rest.len());
            if self.piece(at, n, seat, memory) {
                at = at.saturating_add(n);
            }
        }
    }

    /// Goes on without a helper. False: that is not possible.
    fn give_rtm_up(&mut self) -> bool {
        match self.methods {
            Methods::Only(Method::AdBit) => {}
            Methods::RtmThenAdBit => self.methods = Methods::Only(Method::AdBit),
            Methods::Only(Method::Rtm) => self.absent = true,
        }
        !self.absent
    }

    /// Returns how hard to try a piece: one of several pages, if `together`.
    fn policy_of(&self, together: bool) -> Policy {
        let mut policy = self.policy;
        if together {
            policy.retries = policy.retries.min(TOGETHER);
        }
        if self.hurry.load(Ordering::Relaxed) {
            policy.retries = 0;
        }
        if self.methods == Methods::RtmThenAdBit && !together {
            policy.fall_back_after = Some(BEFORE_FALLBACK.min(policy.retries / 2 + 1));
        }
        policy
    }

    /// Moves one piece. False: it has to be tried again, in smaller ones or by another engine.
    fn piece(&mut self, at: usize, n: usize, seat: &Seat<'_>, memory: &mut Memory) -> bool {
        let online = seat.take();
        if online.is_none() {
            self.offline = true;
            return false;
        }
        let by_rtm = self.methods.first() == Method::Rtm;
        let together = by_rtm && n > 1;
        let policy = self.policy_of(together);
        let range = at..at.saturating_add(n);
        let (Some(pages), Some(sources)) =
            (self.pages.get_mut(range.clone()), self.sources.get(range))
        else {
            return true;
        };
        let (attempts, aborts) = (attempts_of(pages), self.aborts.by_devices());
        let mut machine = EditorMachine {
            base: KernelMachine {
                hold: self.hold,
                sources,
                sites: self.sites,
                incoherent: self.incoherent,
                signal: Some(self.signal),
                is_home: self.deaf,
                no_preempt: None,
                passage: Passage::default(),
            },
            hold: self.hold,
            ats: self.ats,
            seat,
            online,
            memory,
            deadline: policy.deadline,
            without: policy.without,
            patience_until: 0,
            hurry: self.hurry,
            cut: false,
            flush: None,
            stuck: false,
            absence: &mut *self.absence,
            pause: 0,
            taken: false,
        };
        let mut job = Job {
            policy: &policy,
            pages,
            aborts: self.aborts,
        };
        match self.methods {
            Methods::Only(Method::AdBit) => drive::<Attempt>(&mut machine, &mut job),
            Methods::Only(Method::Rtm) => drive::<Editor>(&mut machine, &mut job),
            Methods::RtmThenAdBit => drive::<Either>(&mut machine, &mut job),
        }
        self.stuck = machine.stuck;
        self.offline = machine.online.is_none();
        machine.online = None;
        let over = self.stuck || engine::Machine::stop(&mut machine).is_some();
        if by_rtm {
            memory.sizer.learn(
                LeafSize::Page,
                attempts_of(pages).saturating_sub(attempts),
                self.aborts.by_devices().saturating_sub(aborts),
            );
        }
        if over || self.offline || policy.is_late(task::now()) {
            return true;
        }
        if by_rtm && self.absence.is_lasting() {
            // Retries that are over are those of `rtm`, or of the piece as a whole.
            let others = together || self.methods == Methods::RtmThenAdBit;
            let goes_on = others && reopen(pages) || has_open(pages);
            return !goes_on;
        }
        // A piece that aborts as a whole may be too much for the schedule or the cache.
        !together || !reopen(pages)
    }
}

/// Tells whether some are between two attempts.
fn has_open(pages: &[PageMove]) -> bool {
    pages.iter().any(|page| page.state() == PageState::Start)
}

fn attempts_of(pages: &[PageMove]) -> u64 {
    let attempts = pages.iter().map(|page| u64::from(page.attempts));
    attempts.fold(0, u64::saturating_add)
}

fn drive<'a, E: Engine<EditorMachine<'a>>>(machine: &mut EditorMachine<'a>, job: &mut Job<'_>) {
    let mut run = Run::<E>::new::<EditorMachine<'a>>(job.policy, job.pages);
    let mut spin = Spin::default();
    loop {
        match run.step(machine, job) {
            Progress::Done => return,
            Progress::More if machine.online.is_none() || machine.cut => return,
            Progress::More => spin = Spin::default(),
            Progress::Waiting if machine.base.no_preempt.is_some() => Spin::stay(),
            Progress::Waiting => spin.turn_or_nap(),
        }
    }
}
