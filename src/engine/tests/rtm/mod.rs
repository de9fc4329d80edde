// SPDX-License-Identifier: GPL-2.0
//! The engine `rtm`, editor and helper together, on a bench that goes wrong on order.

mod aborts;
mod absence;
mod accessed;
mod bench;
mod drive;
mod finish;
mod helper;
mod measured;
mod moves;
mod wholes;
