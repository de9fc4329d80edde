// SPDX-License-Identifier: GPL-2.0
//! Moves by `rtm` beside other work on the host: where the helper does not get its CPU the call
//! ends with EBUSY (cpus), and is made again for some time.

use std::time::{Duration, Instant};

use pagemove_testkit::slowness::slowness;
use pagemove_testkit::tap;
use pagemove_uapi::{MoveReport, PageResult, PAGE_ALREADY_THERE, PAGE_MOVED};

/// How long calls are made again.
const LONGEST: Duration = Duration::from_secs(60);

/// A report, and a result for each page.
pub type Answer = (MoveReport, Vec<PageResult>);

pub fn is_absence(report: &MoveReport) -> bool {
    report.error.is_some_and(|error| error.is_absence())
}

/// Makes a call again while its helper is absent. The answer is that of all calls together; how
/// many they were is printed, if one was not enough.
pub fn patiently(mut call: impl FnMut() -> Answer) -> Answer {
    let end = Instant::now() + LONGEST * slowness();
    let mut answer = call();
    let mut again = 0;
    while is_absence(&answer.0) && Instant::now() < end {
        again += 1;
        answer = merge(answer, call());
    }
    if again > 0 {
        tap::note(&format!(
            "the helper did not get its CPU: called {again} times more"
        ));
    }
    answer
}

/// What was moved by the first call is there for the second.
fn merge(before: Answer, after: Answer) -> Answer {
    let (mut report, mut results) = after;
    for (result, earlier) in results.iter_mut().zip(&before.1) {
        if (earlier.outcome, result.outcome) == (PAGE_MOVED, PAGE_ALREADY_THERE) {
            *result = *earlier;
            report.pages_there -= 1;
            report.pages_moved += 1;
        }
    }
    for (sum, count) in report.aborts.iter_mut().zip(before.0.aborts) {
        *sum += count;
    }
    (report, results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_uapi::{Call, Error, ABORT_LATE, PAGE_ABORTED, REASON_CPUS, REASON_STUCK};

    fn answer(outcomes: &[u8], errno: Option<(i32, u32)>) -> Answer {
        let count = |wanted: u8| outcomes.iter().filter(|it| **it == wanted).count() as u64;
        let mut report = MoveReport {
            pages_moved: count(PAGE_MOVED),
            pages_there: count(PAGE_ALREADY_THERE),
            pages_done: outcomes.len() as u64,
            error: errno.map(|(errno, reason)| Error::with_reason(Call::Move, errno, reason)),
            ..MoveReport::default()
        };
        report.aborts[usize::from(ABORT_LATE)] = count(PAGE_ABORTED);
        let result = |outcome: &u8| PageResult {
            outcome: *outcome,
            ..PageResult::default()
        };
        (report, outcomes.iter().map(result).collect())
    }

    fn played(answers: Vec<Answer>) -> (Answer, usize) {
        let mut left = answers.into_iter();
        let answer = patiently(|| left.next().expect("no more calls"));
        (answer, left.count())
    }

    #[test]
    fn pages_of_an_earlier_call_count() {
        let absent = Some((libc::EBUSY, REASON_CPUS));
        let (found, left) = played(vec![
            answer(&[PAGE_MOVED, PAGE_ABORTED], absent),
            answer(&[PAGE_ALREADY_THERE, PAGE_ABORTED], absent),
            answer(&[PAGE_ALREADY_THERE, PAGE_MOVED, PAGE_MOVED], None),
            answer(&[], None),
        ]);
        let (report, results) = found;
        assert_eq!((report.pages_moved, report.pages_there, left), (3, 0, 1));
        assert!(results.iter().all(|result| result.outcome == PAGE_MOVED));
        assert_eq!(report.aborts[usize::from(ABORT_LATE)], 2);
    }

    #[test]
    fn other_answers_are_given_at_once() {
        for errno in [(libc::EBUSY, REASON_STUCK), (libc::EINVAL, REASON_CPUS)] {
            let first = answer(&[PAGE_ABORTED], Some(errno));
            let (_, left) = played(vec![first, answer(&[], None)]);
            assert_eq!(left, 1);
        }
    }
}
