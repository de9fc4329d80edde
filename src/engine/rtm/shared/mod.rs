// SPDX-License-Identifier: GPL-2.0
//! What the editor and the helper share: the mailbox by which they hand the data of
//! an attempt to each other, and the slots, which are signal 2.

mod generation;
mod mailbox;
mod slots;
mod sync;

pub use generation::Generation;
pub use mailbox::{Command, Mailbox};
pub use slots::{Slots, OFFSETS};
pub use sync::{Orderings, Shipped};
