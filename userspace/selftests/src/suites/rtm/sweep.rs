// SPDX-License-Identifier: GPL-2.0
//! An abort at every instruction of the transaction, one after another.

use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use pagemove_uapi::{ENGINE_RTM, PAGE_ABORTED};

use super::{emulation, is_intact, move_over};
use crate::bench;
use crate::rig::Rig;
use crate::tap::{self, Case, Pass, Skip};

/// Pages of the batch that is aborted: more entries, more instructions.
const TOGETHER: usize = 4;
/// Instructions behind the first poll that are tried one by one; the loop repeats itself.
const BEYOND: u64 = 64;

pub fn main() -> ExitCode {
    if !emulation::is_present() {
        return tap::skip_all("transactions are not emulated here, so none can be aborted at will");
    }
    let mut rig = match Rig::open(8) {
        Ok(rig) => rig,
        Err(error) => return tap::fail_all(&error),
    };
    let cases = vec![
        Case::new(
            "one entry: aborted at each instruction, nothing has happened each time",
            |rig: &mut Rig| sweep(rig, 1),
        ),
        Case::new(
            "four entries: aborted at each instruction, nothing has happened each time",
            |rig: &mut Rig| sweep(rig, TOGETHER),
        ),
        Case::new("afterwards pages move", |rig: &mut Rig| {
            move_over(rig, 0, 0).map(|()| Pass)
        }),
    ];
    tap::run(&mut rig, cases)
}
