// SPDX-License-Identifier: GPL-2.0
//! What builds for tests have beside what is shipped.

#[cfg(pagemove_test)]
pub(crate) mod arenas;
mod bug;
mod gates;
#[cfg(pagemove_test)]
pub(crate) mod marker;
#[cfg(pagemove_test)]
mod paths;
#[cfg(pagemove_test)]
pub(crate) mod posted;
mod pretence;
pub(crate) mod sabotage;
#[cfg(pagemove_test)]
pub(crate) mod spare;
mod unit;

/// Does what an ioctl asks for that only builds for tests have.
#[cfg(pagemove_test)]
pub(crate) fn command(command: u32, argument: usize) -> kernel::error::Result {
    match command {
        arenas::COMMAND => arenas::command(argument),
        paths::COMMAND => paths::command(argument),
        _ => Err(kernel::error::code::ENOTTY),
    }
}
