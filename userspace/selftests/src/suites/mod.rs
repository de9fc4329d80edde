// SPDX-License-Identifier: GPL-2.0
//! The suites: one program each.

pub mod aperture;
pub mod asleep;
pub mod bad_input;
pub mod blame;
pub mod cli;
pub mod fail_nth;
pub mod formats;
pub mod handed;
pub mod kill9;
pub mod life;
pub mod lifecycle;
pub mod limits;
pub mod linux;
pub mod maps;
pub mod memfd;
pub mod migrate;
pub mod ntb;
pub mod offers;
pub mod probe;
pub mod qemu;
pub mod qualify;
pub mod races;
pub mod readme;
pub mod regions;
pub mod rtm;
