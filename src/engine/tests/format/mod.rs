// SPDX-License-Identifier: GPL-2.0
//! The table formats, walks and scans of tables of each, chunks whose size changes, and leaves of chunks.

mod formats;
mod sizes;
mod tables;
mod walks;
mod wholes;
