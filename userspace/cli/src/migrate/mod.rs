// SPDX-License-Identifier: GPL-2.0
//! `migrate`, `plan`, `resume` and `receive`: a guest's memory goes to another host while its
//! devices keep running. Documentation/migration.md.

mod address;
pub mod args;
mod console;
mod endpoint;
mod plan;
mod receive;
mod report;
mod route;
mod source;
mod state;

pub use plan::plan;
pub use receive::receive;
pub use source::{migrate, resume};
