// SPDX-License-Identifier: GPL-2.0
//! The emulation of hardware transactions in the test VM, as programs in it use it:
//! counters, aborts and delays at chosen instructions. `tests/rtm-emulation/control.h`
//! defines the interface and says what each command means.

pub mod control;
pub mod counter;
pub mod symbols;
pub mod transaction;

pub use control::{Absent, Control, Filter};
pub use counter::Counter;
