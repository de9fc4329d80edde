// SPDX-License-Identifier: GPL-2.0
//! VMs that run a guest of KVM on emulated CPUs. Now and then QEMU's emulation of SVM fails at a change
//! between the two worlds: it finds nothing in page tables that are as they were, and the guest inside, or the VM
//! itself, ends or hangs. It does so with the stock driver and no move, too, and mostly while the guest inside boots
//! (`linux-boots-stock` counts it; Documentation/testing.md). So a VM that has not come to its
//! first result is begun again, and everybody is told. What happens after a result is judged; but a CPU of the guest inside
//! that has shut down, as after a triple fault, has to do so twice in a row: so rarely as the emulation fails that is no chance, and
//! pages that went wrong would show in the words that the guest looks at, long before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::suite::Guest;
use crate::vm::accel::Accel;
use crate::vm::run::{self, Outcome, Vm};

/// How often a VM is begun at most.
const TIMES: u32 = 3;

/// What the suite says of such a guest.
const SHUT_DOWN: &str = "# the guest is shutdown: ";

/// By when the first result has to be there: a guest inside boots in 15 to 70 s, beside busy loops in
/// three times as long; and it gives up by itself before.
const FIRST_RESULT: Duration = Duration::from_secs(360);

/// Returns by when the first result of such a VM has to be there; of others it is not watched.
pub fn first_result(guest: &Guest, accel: Accel) -> Option<Duration> {
    may_fail(guest, accel).then_some(FIRST_RESULT)
}

fn may_fail(guest: &Guest, accel: Accel) -> bool {
    guest.kernel_inside && accel == Accel::Tcg
}

/// Returns of a VM's registers those that say where its CPUs were.
pub fn places(registers: &str) -> String {
    let says = |line: &&str| {
        ["CPU#", "RIP=", "EIP=", "GS =", "CR0="]
            .iter()
            .any(|word| line.starts_with(word))
    };
    registers
        .lines()
        .filter(says)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Runs a VM, and returns what became of it and why it was begun again.
pub fn run(vm: &Vm, guest: &Guest, logs: &Path) -> Result<(Outcome, Vec<String>)> {
    let times = if may_fail(guest, vm.accel) { TIMES } else { 1 };
    repeat(times, logs, || run::run(vm, logs))
}

fn repeat(
    times: u32,
    logs: &Path,
    mut boot: impl FnMut() -> Result<Outcome>,
) -> Result<(Outcome, Vec<String>)> {
    let mut remarks = Vec::new();
    for attempt in 1..times {
        let outcome = boot()?;
        let has_shut_down = attempt == 1 && outcome.output.contains(SHUT_DOWN);
        let what = match (outcome.never_began(), has_shut_down) {
            (true, _) => "before the first result",
            (_, true) => "the guest inside shut down, which counts if it does so again",
            _ => return Ok((outcome, remarks)),
        };
        let kept = keep(logs, attempt)?;
        remarks.push(format!(
            "begun again, attempt {attempt} of {times}: {:?} after {:.0} s, {what} \
             (emulated SVM); logs: {}",
            outcome.end,
            outcome.wall.as_secs_f64(),
            kept.display()
        ));
        let places = places(&outcome.registers);
        remarks.extend(places.lines().map(String::from));
    }
    Ok((boot()?, remarks))
}

/// Keeps the logs of an attempt that was not the last, and returns where.
fn keep(logs: &Path, attempt: u32) -> Result<PathBuf> {
    let mut name = logs.file_name().unwrap_or_default().to_os_string();
    name.push(format!("-attempt-{attempt}"));
    let kept = logs.with_file_name(name);
    if kept.exists() {
        fs::remove_dir_all(&kept).with_context(|| format!("removing {}", kept.display()))?;
    }
    fs::rename(logs, &kept).with_context(|| format!("keeping {}", kept.display()))?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::run::End;

    #[test]
    fn of_the_registers_only_places_are_shown() {
        let registers =
            "(qemu) info registers -a\n\nCPU#0\nRAX=1 RBX=2\nRIP=ffffffff RFL=2\nGS =0000 0\n\n";
        assert_eq!(places(registers), "CPU#0\nRIP=ffffffff RFL=2\nGS =0000 0\n");
        assert_eq!(places(""), "");
    }

    /// Boots that end one after the other as `ends` says, each with logs of its own.
    fn repeated(times: u32, ends: &[(End, &str)]) -> (Outcome, usize, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("t");
        let mut ends = ends.iter();
        let (outcome, remarks) = repeat(times, &logs, || {
            fs::create_dir(&logs)?;
            let (end, output) = ends.next().expect("one boot too many");
            Ok(Outcome::made_up(*end, output))
        })
        .unwrap();
        (outcome, ends.len(), remarks)
    }

    #[test]
    fn a_vm_without_a_result_is_begun_again() {
        let silent = "TAP version 13\n1..2\n# it boots\n";
        let good = (End::Status(0), "1..1\nok 1\n");
        let ends = [(End::Died, silent), (End::TimedOut, silent), good];
        let (outcome, left, remarks) = repeated(3, &ends);
        assert_eq!((outcome.end, left), (End::Status(0), 0));
        assert_eq!(remarks.len(), 2);
        assert!(
            remarks[1].contains("attempt 2 of 3: TimedOut"),
            "{remarks:?}"
        );
    }

    #[test]
    fn a_guest_that_shuts_down_counts_the_second_time() {
        let down = "1..2\nok 1 - it boots\nnot ok 2 - moves\n# the guest is shutdown: round 1\n";
        let good = (End::Status(0), "1..1\nok 1\n");
        let (outcome, _, remarks) = repeated(3, &[(End::Status(1), down), good]);
        assert_eq!((outcome.end, remarks.len()), (End::Status(0), 1));
        let twice = [(End::Status(1), down), (End::Status(1), down)];
        let (outcome, _, remarks) = repeated(3, &twice);
        assert_eq!((outcome.end, remarks.len()), (End::Status(1), 1));
    }

    #[test]
    fn the_last_attempt_is_judged_whatever_it_is() {
        let (outcome, left, remarks) = repeated(2, &[(End::Died, ""), (End::Died, "")]);
        assert_eq!((outcome.end, left, remarks.len()), (End::Died, 0, 1));
    }

    #[test]
    fn what_fails_after_a_result_is_judged_and_so_is_what_says_why() {
        for (end, output) in [
            (End::TimedOut, "1..2\nok 1 - it boots\n"),
            (End::Died, "1..2\nnot ok 1 - it boots\n"),
            (End::Died, "Bail out! no memory\n"),
            (End::Status(1), ""),
        ] {
            let (outcome, _, remarks) = repeated(3, &[(end, output)]);
            assert_eq!(outcome.end, end);
            assert!(remarks.is_empty());
        }
    }

    #[test]
    fn without_an_emulated_guest_inside_nothing_is_begun_again() {
        let (outcome, _, remarks) = repeated(1, &[(End::Died, "")]);
        assert_eq!((outcome.end, remarks.len()), (End::Died, 0));
    }
}
