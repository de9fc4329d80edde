// SPDX-License-Identifier: GPL-2.0
//! What runs on this host: commands that take long tell of themselves in a directory, and `status`,
//! `cancel` and `wait` read there. Each has a file there, named after it and replaced as a whole,
//! and an empty one that gets its exit code. Who waits has that open, so that nothing has to stay
//! for anybody.

mod announcement;
pub mod args;
mod directory;
mod end;
mod process;
mod status;
#[cfg(test)]
mod testing;
mod told;

pub use announcement::Running;
pub use end::{cancel, wait};
pub use status::status;
pub use told::Work;

/// Below that of notes of migrations, which is root's alone, too: both end with the host.
pub const DIRECTORY: &str = "/run/pagemove/running";
