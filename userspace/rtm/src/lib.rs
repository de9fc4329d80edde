// SPDX-License-Identifier: GPL-2.0
//! The hardware transaction in user space: on a CPU with RTM as it is, on another
//! x86-64 CPU with the instructions of RTM emulated by signal handlers.

pub mod bad;
pub mod case;
pub mod cost;
pub mod cpu;
pub mod emulator;
pub mod event;
pub mod pages;
pub mod reference;
pub mod scene;
