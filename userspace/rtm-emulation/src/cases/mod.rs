// SPDX-License-Identifier: GPL-2.0

mod aborts;
mod basics;
mod differential;
mod injection;
mod kernel;
mod nesting;
mod threads;

use crate::Test;

pub const ALL: [&[Test]; 7] = [
    kernel::TESTS,
    basics::TESTS,
    differential::TESTS,
    nesting::TESTS,
    aborts::TESTS,
    injection::TESTS,
    threads::TESTS,
];

pub fn check(good: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if good {
        Ok(())
    } else {
        Err(text())
    }
}
