// SPDX-License-Identifier: GPL-2.0
//! What has to hold in every state, and what has to be seen in some.

use crate::configs::Promises;
use crate::model::MoveModel;
use engine::{Abort, LeafSize, Outcome, PageMove, PageState};
use sim::{Broken, Place, State, Why, PAGES};

type Holds = fn(&MoveModel, &State) -> bool;

/// A property of every state.
pub struct Always {
    pub name: &'static str,
    pub about: &'static str,
    pub holds: Holds,
}

/// Something that is seen in some state, so that the check is not vacuous.
pub struct Sometimes {
    pub name: &'static str,
    pub holds: Holds,
}

fn unbroken(state: &State, what: Broken) -> bool {
    !state.world.broken.intersects(what)
}

/// On hardware that keeps its promises.
const SOUND: &[Always] = &[
    Always {
        name: "G1",
        about: "before the commit a DMA uses START, after it END, and reads what was written last",
        holds: |_, state| unbroken(state, Broken::G1),
    },
    Always {
        name: "G2",
        about: "at the commit END is START, byte for byte, with nothing on its way; in the end nothing is lost",
        holds: |_, state| unbroken(state, Broken::G2) && (!state.is_quiet() || nothing_lost(state)),
    },
    Always {
        name: "G5",
        about: "the verification reports no loss where there is none",
        holds: |_, state| no_false_loss(state),
    },
];

/// On any hardware.
const ANY: &[Always] = &[
    Always {
        name: "G3",
        about: "an aborted move leaves START mapped, with every bit of its entry",
        holds: |_, state| !state.is_done() || aborts_leave_start(state),
    },
    Always {
        name: "G4",
        about: "what is reported is what is mapped, for devices and for CPUs",
        holds: |_, state| !state.is_done() || reports_are_true(state),
    },
    Always {
        name: "bits",
        about: "no bit of an entry is lost: permissions, bits of others, a D that was set",
        holds: |_, state| !state.is_done() || bits_are_kept(state),
    },
    Always {
        name: "deadline",
        about: "no commit after the deadline was seen to pass",
        holds: |_, state| unbroken(state, Broken::DEADLINE),
    },
    Always {
        name: "once",
        about: "a slot is read at most once in a transaction",
        holds: |_, state| unbroken(state, Broken::SLOT_TWICE),
    },
    Always {
        name: "race",
        about:
            "the helper aborts a transaction only through a slot that it could not know to be due",
        holds: |_, state| unbroken(state, Broken::SLOT_RACED),
    },
    Always {
        name: "others",
        about: "an entry that somebody else has changed is left as it is",
        holds: |_, state| unbroken(state, Broken::OTHERS),
    },
    Always {
        name: "stop",
        about: "no commit after an order to stop was seen",
        holds: |_, state| unbroken(state, Broken::STOPPED),
    },
    Always {
        name: "back",
        about: "an attempt that is aborted leaves A and D set that it found set",
        holds: |_, state| unbroken(state, Broken::BACK),
    },
    Always {
        name: "freed",
        about: "nobody uses a page that was given back",
        holds: |_, state| unbroken(state, Broken::FREED),
    },
];

/// On hardware that breaks promises.
const BROKEN: &[Always] = &[Always {
    name: "G5",
    about: "a lost write is reported, never a move",
    holds: |_, state| !state.is_quiet() || losses_are_reported(state),
}];

/// What every path comes to. Without the steps that only wait no path has a circle:
/// accesses, ticks and attempts are counted.
pub const ENDS: Always = Always {
    name: "ends",
    about: "every move ends, whatever stalls",
    holds: |_, state| state.is_done(),
};

pub fn always(promises: Promises) -> Vec<&'static Always> {
    let first = match promises {
        Promises::Kept => SOUND,
        Promises::Broken => BROKEN,
        Promises::Undrained => &[],
    };
    // A device that holds an old translation uses START after it was given back,
    // and hardware that overwrites entries takes their bits: not the engine's doing.
    let by_hardware = ["freed", "bits", "G3"];
    let rest = ANY
        .iter()
        .filter(|it| promises == Promises::Kept || !by_hardware.contains(&it.name));
    first.iter().chain(rest).collect()
}

/// Pages whose leaf is the engine's alone: nobody else has changed it to what it is, or has
/// changed it after the commit.
fn own(state: &State) -> impl Iterator<Item = (usize, &PageMove)> {
    let world = &state.world;
    let is_own = |n: usize| world.foreign[n].is_none() && !world.disturbed[n];
    let pages = state.pages().iter().enumerate();
    pages.filter(move |(n, _)| is_own(*n))
}

/// A page that was not moved from a peer which has other memory now is lost with that.
fn nothing_lost(state: &State) -> bool {
    let gone = |page: &PageMove| state.world.peer_is_other && page.outcome() != Outcome::Moved;
    own(state).all(|(n, page)| state.is_whole(n) || gone(page))
}

fn losses_are_reported(state: &State) -> bool {
    own(state).all(|(n, page)| page.outcome() == Outcome::LostWrite || state.is_whole(n))
}

fn no_false_loss(state: &State) -> bool {
    let mut pages = state.pages().iter().enumerate();
    !pages.any(|(n, page)| page.outcome() == Outcome::LostWrite && !state.world.disturbed[n])
}

fn aborts_leave_start(state: &State) -> bool {
    own(state).all(|(n, page)| match page.outcome() {
        Outcome::Aborted(_) | Outcome::NotTried => state.mapped(n) == Some(Place::Start),
        Outcome::Moved | Outcome::LostWrite => true,
    })
}

fn reports_are_true(state: &State) -> bool {
    own(state).all(|(n, page)| {
        let mapped = state.mapped(n);
        let cpus = mapped == Some(state.world.cpu_maps[n]);
        match page.outcome() {
            Outcome::Moved => mapped == Some(Place::End) && cpus,
            Outcome::Aborted(_) | Outcome::NotTried => mapped == Some(Place::Start) && cpus,
            Outcome::LostWrite => cpus,
        }
    })
}

fn bits_are_kept(state: &State) -> bool {
    let world = &state.world;
    own(state).all(|(n, _)| world.entries[n] & world.needed[n] == world.needed[n])
}

/// Whether what was aborted is a chunk of which some pages were copied, and others not.
fn half_copied(state: &State) -> bool {
    let is_copied = |page: usize| state.world.memory.end[page].iter().all(|word| *word != 0);
    let is_aborted = |page: &PageMove| matches!(page.state(), PageState::Aborted(_));
    let (first, last) = (is_copied(0), is_copied(PAGES - 1));
    first
        && !last
        && state
            .pages()
            .iter()
            .any(|page| page.size() == LeafSize::Chunk && is_aborted(page))
}

fn aborted(state: &State, cause: Abort) -> bool {
    state
        .pages()
        .iter()
        .any(|page| page.state() == PageState::Aborted(cause))
}

macro_rules! sometimes {
    ($($name:ident = $text:literal, $holds:expr;)*) => {
        $(pub const $name: Sometimes = Sometimes { name: $text, holds: $holds };)*
    };
}

sometimes! {
    MOVED = "moved", |_, s| s.is_done() && s.pages().iter().all(|p| p.outcome() == Outcome::Moved);
    MOVED_AGAIN = "moved by a later attempt", |_, s| s.pages().iter().any(|p| p.outcome() == Outcome::Moved && p.attempts > 1);
    ONE_OF_TWO = "one of two pages moved", |_, s| s.is_done() && s.pages().iter().filter(|p| p.outcome() == Outcome::Moved).count() == 1;
    LATE = "aborted: late", |_, s| aborted(s, Abort::Late);
    TIMEOUT = "aborted: timeout", |_, s| aborted(s, Abort::Timeout);
    PTE_CHANGED = "aborted: pte changed", |_, s| aborted(s, Abort::PteChanged);
    INTERRUPT = "aborted: interrupt", |_, s| aborted(s, Abort::Interrupt);
    CAPACITY = "aborted: capacity", |_, s| aborted(s, Abort::Capacity);
    DEADLINE = "aborted: deadline", |_, s| aborted(s, Abort::Deadline);
    CANCELLED = "aborted: cancelled", |_, s| aborted(s, Abort::Cancelled);
    ACCESSED = "aborted: accessed", |_, s| aborted(s, Abort::Accessed);
    DIRTY = "aborted: dirty", |_, s| aborted(s, Abort::Dirty);
    OVERWRITTEN = "aborted: overwritten", |_, s| aborted(s, Abort::Overwritten);
    INVALIDATE = "aborted: invalidation failed", |_, s| aborted(s, Abort::Invalidate);
    DEVICE_GONE = "aborted: device gone", |_, s| aborted(s, Abort::DeviceGone);
    APERTURE = "aborted: aperture", |_, s| aborted(s, Abort::Aperture);
    IN_USE = "aborted: in use", |_, s| aborted(s, Abort::InUse);
    BY_WALK = "conflict with a walk", |_, s| s.world.why == Why::Walk;
    BY_DMA = "conflict with a DMA to a watched page", |_, s| s.world.why == Why::Dma;
    BY_SLOT = "slot raced", |_, s| s.world.why == Why::Slot;
    BY_SOFTWARE = "conflict with a change by software", |_, s| s.world.why == Why::Software;
    FALLBACK = "fallback taken, and moved by it", |_, s| matches!(s.run.attempt(), engine::rtm::Either::AdBit(_)) && s.pages().iter().any(|p| p.outcome() == Outcome::Moved);
    TOLERATED = "old bytes read before the second invalidation", |_, s| s.world.broken.contains(Broken::TOLERATED);
    LOST_AND_REPORTED = "lost and reported", |_, s| s.pages().iter().any(|p| p.outcome() == Outcome::LostWrite);
    LOST_IN_SILENCE = "lost in silence", |_, s| s.is_quiet() && !losses_are_reported(s);
    HALF_COPIED = "a chunk's copy given up half way", |_, s| s.is_done() && half_copied(s);
    UNSETTLED = "moved, but a device may hold START", |_, s| s.pages().iter().any(|p| p.outcome() == Outcome::Moved && !p.is_settled());
}
