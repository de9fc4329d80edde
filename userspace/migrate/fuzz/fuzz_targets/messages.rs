// SPDX-License-Identifier: GPL-2.0
//! Both agents, with peers that say anything in any order.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pagemove_migrate::sim::chaos::hear_messages(bytes);
});
