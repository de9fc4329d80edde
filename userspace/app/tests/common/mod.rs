// SPDX-License-Identifier: GPL-2.0
//! What the tests of the program share.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod exchange;
pub mod mg;
pub mod moves;
pub mod place;
#[path = "../../../portable/tests/common/programs.rs"]
pub mod programs;
