// SPDX-License-Identifier: GPL-2.0

use super::*;

/// Returns why the other VM is ended at once, and why after a while.
fn after(results: &[Result<Outcome>]) -> (Option<Why>, Option<Why>) {
    let fate = Fate::default();
    results.iter().for_each(|result| fate.note(result));
    let now = Instant::now();
    (fate.due(now), fate.due(now + GRACE))
}

#[test]
fn a_vm_that_ended_well_ends_no_other() {
    assert_eq!(after(&[]), (None, None));
    assert_eq!(
        after(&[Ok(Outcome::made_up(End::Status(0), ""))]),
        (None, None)
    );
}

#[test]
fn a_vm_that_failed_ends_the_other() {
    for (end, why) in [(End::Died, Why::Died), (End::TimedOut, Why::TimedOut)] {
        assert_eq!(
            after(&[Ok(Outcome::made_up(end, ""))]),
            (Some(why), Some(why))
        );
    }
    assert_eq!(
        after(&[Err(anyhow::anyhow!("no QEMU"))]).0,
        Some(Why::Broken)
    );
}

#[test]
fn a_program_that_failed_leaves_the_other_some_time() {
    assert_eq!(
        after(&[Ok(Outcome::made_up(End::Status(1), ""))]),
        (None, Some(Why::Failed(1)))
    );
}

#[test]
fn the_first_reason_counts() {
    let ends = [End::Died, End::Stopped(Why::Died), End::TimedOut];
    assert_eq!(
        after(&ends.map(|end| Ok(Outcome::made_up(end, "")))).1,
        Some(Why::Died)
    );
}
