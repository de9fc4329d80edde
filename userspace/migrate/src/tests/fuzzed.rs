// SPDX-License-Identifier: GPL-2.0
//! Peers that say anything: both agents have to end with a reason, whatever comes, and to
//! leave every page where it is accounted for. `fuzz/` does the same by coverage, for longer.

use proptest::prelude::*;

use crate::sim::chaos;

fn cases() -> u32 {
    let set = std::env::var("PAGEMOVE_FUZZ_CASES").ok();
    set.and_then(|cases| cases.parse().ok()).unwrap_or(2000)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        chaos::hear_bytes(&bytes);
    }

    #[test]
    fn messages(bytes in proptest::collection::vec(0u8..40, 0..300)) {
        chaos::hear_messages(&bytes);
    }
}

/// Fuzzing would show nothing if no peer ever came far.
#[test]
fn peers_come_far() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let words = proptest::collection::vec(0u8..40, 0..300);
    let depths: Vec<chaos::Depth> = (0..20_000)
        .map(|_| words.new_tree(&mut runner).expect("a vector").current())
        .map(|bytes| chaos::hear_messages(&bytes))
        .collect();
    let count = |is: fn(&chaos::Depth) -> bool| depths.iter().filter(|depth| is(depth)).count();
    for (what, found) in [
        ("pages came", count(|depth| depth.arrived > 0)),
        ("B was done", count(|depth| depth.target_done)),
        ("A moved", count(|depth| depth.moved > 0)),
        ("A was done", count(|depth| depth.source_done)),
    ] {
        assert!(found >= 500, "{what} in {found} of 20,000 cases");
    }
}
