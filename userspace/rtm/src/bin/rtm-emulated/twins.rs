// SPDX-License-Identifier: GPL-2.0
//! Single steps that leave one out are not what the assembly does: the comparison
//! has to notice each.

use crate::compare::{draw, same, stepped};
use crate::{Bench, Outcome, Test};
use engine::Steps;

pub fn tests() -> Vec<Test> {
    let left_out = [
        ("the compare", Steps::COMPARE),
        ("the fence", Steps::FENCE),
        ("the late check", Steps::LATE_CHECK),
        ("the deadline", Steps::DEADLINE),
        ("reading a slot once", Steps::SLOT_ONCE),
        ("the generation", Steps::GENERATION),
        ("giving up after the last slot", Steps::TIMEOUT),
    ];
    let test = |(what, step): (&str, Steps)| -> Test {
        let name = format!("left out, found: {what}");
        (name, Box::new(move |bench: &mut Bench| found(bench, step)))
    };
    left_out.into_iter().map(test).collect()
}

fn found(bench: &mut Bench, without: Steps) -> Outcome {
    for number in 0..bench.cases {
        let case = draw(bench, number);
        let wrong = stepped(bench, &case, without);
        if same(bench, &case, &wrong).is_err() {
            return Ok(());
        }
    }
    Err(format!("{} plans show no difference", bench.cases))
}
