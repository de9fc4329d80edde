// SPDX-License-Identifier: GPL-2.0
//! The engine `adbit`, and what both engines share, on a machine with one page.

mod interleavings;
mod parts;
mod refusals;
mod sim;
mod wholes;
