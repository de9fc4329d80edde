// SPDX-License-Identifier: GPL-2.0
//! The ABI of `/dev/pagemove` for user space: the mirror of the header, safe
//! wrappers for every ioctl, and words for every number the kernel answers.
//!
//! `unsafe` is confined to [`control`].

extern crate pagemove_abi as abi;

#[path = "../../../src/numbers.rs"]
mod numbers;

pub mod address;
pub mod control;
pub mod cpu;
pub mod errno;
pub mod error;
pub mod text;
pub mod window;

pub use abi::*;
pub use address::PciAddress;
pub use control::{
    raw_ioctl, Control, ExperimentReport, ExperimentRequest, Heard, MoveReport, MoveRequest,
    OfferReport,
};
pub use engine::{Format, Method};
pub use error::{Call, Error};
pub use numbers::*;
