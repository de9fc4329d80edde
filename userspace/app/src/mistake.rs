// SPDX-License-Identifier: GPL-2.0
//! Mistakes that a build for tests makes on purpose, and places at which it dies: a test that does not
//! notice is worth nothing. Other builds can not be asked for any.

/// Names the mistake, or the place, in builds with the feature `mutants`; more than one with a comma
/// between them.
const NAME: &str = "PAGEMOVE_APP_MISTAKE";

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Messages that came and were not taken are left out of the image.
    List,
    /// Messages that are kept for who has not taken them are left out of the image.
    Kept,
    /// Nobody waits for the ends of messages, and nothing is sent again.
    #[cfg(feature = "mutants")]
    Drain,
    /// No mistake: what is sent to a rank is on its way until it moves.
    #[cfg(feature = "mutants")]
    Deaf,
    /// A rank is taken up from whatever state.
    Older,
    /// A checkpoint is written into the file itself; the process dies in the middle.
    InPlace,
    /// A place of the program's memory is not looked at: it is where the memory begins.
    Place,
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The scheduler knows that the rank leaves.
    Left,
    /// All that was sent to it is there.
    Drained,
    /// Its state is in the file, and nobody was told.
    Saved,
    /// It has been sent messages, and is not the rank yet.
    TakenUp,
}

fn is_asked_for(name: &str) -> bool {
    cfg!(feature = "mutants")
        && std::env::var(NAME).is_ok_and(|it| it.split(',').any(|it| it == name))
}

impl Mistake {
    pub fn is_made(self) -> bool {
        is_asked_for(&format!("{self:?}"))
    }
}

impl Death {
    /// Returns whether it is to be here.
    pub fn is_near(self) -> bool {
        is_asked_for(&format!("{self:?}"))
    }

    /// Dies, if it is to be here.
    pub fn comes(self) {
        if self.is_near() {
            std::process::abort();
        }
    }
}
