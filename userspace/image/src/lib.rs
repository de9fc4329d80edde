// SPDX-License-Identifier: GPL-2.0
//! The state of an application that stands, as pure data.
//!
//! An [`Image`] is all that another engine, on whatever machine, needs to go on: frames, globals, memories,
//! the files that are open, messages that came and were not taken, and times. It holds no address, no
//! descriptor and no register: files are a path and an offset, times are differences, memories begin at
//! zero.
//!
//! [`encode`] and [`decode`] are its only format, for files and for other hosts. What is decoded may be a
//! stranger's: everything is checked before any of it is used, each part by its checksum,
//! and nothing is allocated that was not sent. [`save`] puts an image into a file, which is the old one or
//! the new one at every instant, whenever the machine stops.

#![forbid(unsafe_code)]

mod check;
mod decode;
mod disk;
mod encode;
mod error;
mod image;
mod memory;
mod messages;
mod part;
mod save;

pub use decode::decode;
pub use disk::{Disk, System};
pub use encode::{encode, VERSION};
pub use error::Error;
pub use image::{Access, File, Global, Image, Program, Times, Value};
pub use memory::{Memory, Run, PAGE};
pub use messages::{Message, Messages, Peer, MOST_BYTES, MOST_RANKS};
pub use save::{load, save, save_to};
