// SPDX-License-Identifier: GPL-2.0
//! `pagemove qualify`: tries on this machine what no document answers, and sets the
//! verdict on which engines may move pages.

pub mod args;
pub mod command;

mod clock;
mod decide;
mod decide_sizes;
mod evidence;
mod faults;
mod list;
mod load;
mod moves;
mod noes;
mod promises;
mod report;
mod sizes;
mod store;
mod subject;
mod tables;
mod transactions;
mod trials;
