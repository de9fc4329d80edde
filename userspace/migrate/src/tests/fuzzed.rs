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
