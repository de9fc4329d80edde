// SPDX-License-Identifier: GPL-2.0
//! Loading the module: it is loaded and works, or it is not there at all.

use std::time::Duration;

use crate::complaints::COMPLAINTS;
use anyhow::{ensure, Context, Result};
use pagemove_testkit::module;
use pagemove_uapi::{errno, Control};

use super::fault::{self, Fired};
use super::sweep::{self, Table};
use pagemove_testkit::kernel_log::KernelLog;

/// More than loading has.
const MOST: u64 = 100;
const SAID: &str = "fault at load: ";

/// Sweeps loading, and returns how many calls have failed. Nobody may use the module.
pub fn sweep(table: &mut Table) -> Result<u64> {
    for n in 1..=MOST {
        unload()?;
        let mut log = KernelLog::from_now(COMPLAINTS)?;
        let loaded = module::try_to_load(&format!("fault={n}"))?;
        let fired = match loaded {
            Ok(()) => match fault::read()?.fired {
                // Where it was is freed after loading, so that it has no name any more.
                Some(fired) if fired.frames.is_empty() => fired_in(&log.lines()),
                fired => fired,
            },
            Err(_) => Some(fired_in(&log.lines()).context("it failed, and no call had failed")?),
        };
        let Some(fired) = fired else {
            ensure!(
                loaded.is_ok(),
                "call {n} is past the end, and yet it was not loaded"
            );
            fault::disarm()?;
            return Ok(n - 1);
        };
        table.add("insmod", &fired);
        judge(loaded, &fired).with_context(|| format!("call {n} failed ({})", fired.describe()))?;
    }
    anyhow::bail!("more than {MOST} calls")
}

fn judge(loaded: Result<(), i32>, fired: &Fired) -> Result<()> {
    match loaded {
        Ok(()) => {
            // What can not be bound is told to the log, and the module is loaded all the same.
            let of_a_device = fired.is_in("pagemove_probe") || fired.is_in("aperture_bind");
            ensure!(
                of_a_device || sweep::may_be_overcome(fired),
                "the failure was not told"
            );
            fault::disarm()?;
        }
        Err(number) => {
            ensure!(
                number == libc::ENOMEM,
                "insmod says {}",
                errno::name(number)
            );
            ensure!(
                !module::is_loaded(module::PAGEMOVE),
                "it is loaded all the same"
            );
            module::load_pagemove().context("loaded once more")?;
        }
    }
    ensure!(
        Control::open()?.info()?.test_build == 1,
        "it is loaded, and does not answer"
    );
    Ok(())
}

pub fn unload() -> Result<()> {
    if module::is_loaded(module::PAGEMOVE) {
        module::unload_pagemove(Duration::from_secs(20))?;
    }
    Ok(())
}

/// The last that the log tells of.
fn fired_in(lines: &[String]) -> Option<Fired> {
    let said = lines
        .iter()
        .rev()
        .find_map(|line| Some(line.split_once(SAID)?.1))?;
    let (call, frame) = said.split_once(" < ")?;
    let frame = frame.split('/').next().unwrap_or(frame);
    Some(Fired {
        call: call.to_string(),
        frames: vec![frame.to_string()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_which_call_it_was() {
        let lines = [
            "x".to_string(),
            "[1.0] pagemove: fault at load: misc_register < f+0x12/0x30 [pagemove]".to_string(),
        ];
        let fired = fired_in(&lines).unwrap();
        assert_eq!(
            (fired.call.as_str(), fired.frames[0].as_str()),
            ("misc_register", "f+0x12")
        );
        assert_eq!(fired_in(&lines[..1]), None);
    }
}
