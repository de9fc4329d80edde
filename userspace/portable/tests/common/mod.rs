// SPDX-License-Identifier: GPL-2.0
//! What the tests of the rewrite share: programs, engines, and moves between these.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod engine;
pub mod interpreter;
pub mod programs;
pub mod second;
pub mod sweep;
