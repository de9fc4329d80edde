// SPDX-License-Identifier: GPL-2.0
//! The table formats, walks and scans of tables of each, and chunks whose size changes.

mod formats;
mod sizes;
mod tables;
mod walks;
