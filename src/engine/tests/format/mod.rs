// SPDX-License-Identifier: GPL-2.0
//! The table formats, and walks and scans of tables of each.

mod formats;
mod tables;
mod walks;
