// SPDX-License-Identifier: GPL-2.0
//! How a module is to be rewritten.

/// How a poll looks at the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// By an atomic load, which no compiler takes out of a loop. What runs.
    #[default]
    Atomic,
    /// By a plain load: for engines without atomics that execute what is written, such as
    /// interpreters.
    Plain,
    /// By a function that asks for a stop by itself after so many polls as the host has put into
    /// [`crate::control::TICKS`]: for tests.
    Counted,
}

/// A mistake to make on purpose: a test that does not find it is worth nothing.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// What a loop needs in its next turn is not looked at.
    LivenessWithoutLoops,
    /// The values of a frame are read in the reverse order.
    ValuesReversed,
    /// The lowest operand of the stack is not kept.
    OperandLeftOut,
    /// After a return from a function that has stopped the caller just goes on.
    ReturnNotLookedAt,
}

/// How a module is to be rewritten.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub poll: Poll,
    #[doc(hidden)]
    pub mistake: Option<Mistake>,
}
