// SPDX-License-Identifier: GPL-2.0
//! Everything that decodes what a peer sends.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pagemove_migrate::sim::chaos::hear_bytes(bytes));
