// SPDX-License-Identifier: GPL-2.0
//! Virtual machines that boot the stock kernel and run one program.

pub mod accel;
pub mod command;
pub mod console;
pub mod cpus;
pub mod fate;
pub mod initramfs;
pub mod job;
pub mod kernel;
pub mod kmod;
pub mod pair;
pub mod profile;
pub mod qemu;
pub mod ram;
pub mod rtm;
pub mod run;
