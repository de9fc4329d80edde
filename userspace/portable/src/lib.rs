// SPDX-License-Identifier: GPL-2.0
//! Rewrites WebAssembly modules so that a running program can be stopped and taken up elsewhere.
//!
//! WebAssembly's locals and operand stack are registers without a number: each machine maps them
//! to its own, and so nobody outside of the compiled code knows where a value is. A rewritten
//! module knows it by itself. At *polls* (headers of loops, entries of functions) it looks at one
//! word of a memory of its own; where that asks for a stop, the function stores what is needed
//! to go on in that memory, as a *frame*, and returns, and so do its callers. The frames
//! mean the same to every engine on every machine. To go on, the exported function is called
//! again: each function takes its frame and jumps to where it was. Nothing is executed twice, and
//! nothing is compiled.
//!
//! - [`rewrite`] makes a [`Portable`] of a module; what it can not rewrite it refuses by name.
//! - [`control`] says what lies where in the memory of frames, for hosts.
//! - [`Points`] knows each point at which a program can stand, so that frames of a stranger can be
//!   checked before they are used.

#![forbid(unsafe_code)]

mod body;
mod calls;
pub mod control;
mod distance;
mod emit;
mod error;
mod helpers;
mod labels;
mod live;
mod module;
mod operators;
mod options;
mod output;
mod points;
mod rewrite;
mod unroll;

pub use distance::Distance;
pub use error::Error;
pub use options::{Mistake, Options, Poll};
pub use points::{Kind, Point, Points, BROKEN};
pub use rewrite::{rewrite, Portable};
