// SPDX-License-Identifier: GPL-2.0
//! What the test programs have in common, whether they drive devices, ask the module or
//! look for its mistakes.

pub mod random;
pub mod slowness;
pub mod tap;
