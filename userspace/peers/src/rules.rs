// SPDX-License-Identifier: GPL-2.0
//! Rules that a build for tests can leave out, one at a time. Documentation/messages.md says
//! what each is there for; R1, that a request travels in the stream that it asks for, is how
//! streams are made, and is left out by the model's network.

/// A rule of the protocol, where the figures of the patent leave something open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// R2: both ask: the stream of the lower rank counts.
    LowerRank,
    /// R3: who is older than the one known is refused.
    NoOlder,
    /// R4: who moves waits for the answer to what it asked.
    OwnAnswer,
    /// R5: a marker of one that moves, too, is its end of messages.
    MarkersMeet,
    /// R6: the stream of a newer incarnation takes the place of the older one's, of which
    /// nothing counts from then on.
    NewerAlone,
    /// R7: what may have been lost with a stream, or with a process that never became the
    /// rank, is sent again.
    Again,
    /// R7, of acknowledgements.
    TakenAgain,
    /// R8: what is told to be taken was taken by the program.
    ByProgram,
    /// Figure 6, line 6: who moves waits for the ends of messages.
    Drain,
    /// Figure 7, line 3: the list that comes from the old process is put in front.
    ListInFront,
    /// Who moves gives a request up that has reached nobody: a rank may be in a file.
    GiveUp,
}

/// The rules that are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Without(u16);

impl Without {
    pub const NOTHING: Self = Self(0);

    #[cfg(any(test, feature = "mutants"))]
    pub const fn rules(rules: &[Rule]) -> Self {
        let mut set = 0;
        let mut n = 0;
        while n < rules.len() {
            set |= 1 << rules[n] as u16;
            n += 1;
        }
        Self(set)
    }

    /// Returns whether a rule is kept; shipped builds have no way to say that it is not.
    pub fn keeps(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u16 == 0
    }
}
