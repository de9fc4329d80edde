// SPDX-License-Identifier: GPL-2.0
//! What builds for tests have beside what is shipped.

#[cfg(pagemove_test)]
pub(crate) mod arenas;
mod bug;
mod gates;
#[cfg(pagemove_test)]
pub(crate) mod marker;
#[cfg(pagemove_test)]
pub(crate) mod posted;
pub(crate) mod sabotage;
mod unit;
