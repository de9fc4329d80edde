// SPDX-License-Identifier: GPL-2.0
//! Evidence of machines that are right, wrong in one thing, or silent: what is
//! permitted there.

use super::*;
use crate::qualify::evidence::Sizes;
use pagemove_uapi::{
    FINDING_NO_AD_CAS, FINDING_NO_AD_FIRST, FINDING_NO_AD_SET, FINDING_NO_A_SEEN,
    FINDING_NO_MOVES_ADBIT, FINDING_NO_MOVES_RTM, FINDING_NO_SPLIT_LIVE, FINDING_NO_WALK_SEEN,
    REASON_ATS, REASON_NO_RTM,
};

const NOTHING: u32 = 0;
/// What is no no.
const ALL_YES: u32 = 0x77f;
const ADBIT: u32 = 1 << pagemove_uapi::ENGINE_ADBIT;
const RTM: u32 = 1 << pagemove_uapi::ENGINE_RTM;

const QUIET: Attempts = Attempts {
    tried: 100,
    committed: 95,
    conflicts: 0,
    unexplained: 1,
    other: 4,
    lost: 0,
};

/// What [`windows`] satisfies.
const DEMAND: Demand = Demand {
    met: 290,
    rounds: 1000,
};

fn judged(evidence: &Evidence, earlier: u32) -> Judgement {
    judge(evidence, earlier, DEMAND)
}

fn windows() -> Windows {
    Windows {
        loaded: Attempts {
            tried: 1000,
            committed: 600,
            conflicts: 290,
            unexplained: 10,
            other: 100,
            lost: 0,
        },
        quiet: QUIET,
        dmas: 5000,
        dmas_lost: 0,
    }
}

fn moves() -> Moves {
    Moves {
        moved: 4000,
        met: 880,
        unexplained: 20,
        other: 20,
        absent: 0,
        lost: 0,
        dmas: 9000,
        dmas_lost: 0,
        device_errors: 0,
        faults: 0,
    }
}

fn sizes() -> Sizes {
    Sizes {
        splits: 1200,
        merges: 1200,
        met: 1000,
        dmas: 3000,
        reads: 300,
        ..Sizes::default()
    }
}

/// Returns a machine on which everything is as one would like it.
fn good() -> Evidence {
    Evidence {
        promises: Trial::Seen(Promises {
            cap: 3 << 54,
            ecap: 1 << 7,
        }),
        marks: Trial::Seen(Marks {
            reads: 30,
            reads_set_a: 30,
            writes: 30,
            writes_set_d: 30,
        }),
        landings: Trial::Seen(Landings {
            tried: 50,
            seen: 30,
            marked: 30,
        }),
        clean: Trial::Seen(Clean {
            tried: 30,
            writes_set_d: 30,
        }),
        race: Trial::Seen(Race {
            swaps: 1_000_000,
            updates: 8000,
            swaps_lost: 0,
            dmas: 8000,
            undone: 0,
            marked: 300,
            astray: 0,
        }),
        watch: Trial::Seen(Watch {
            loaded: Watches {
                tried: 1000,
                aborted: 900,
                conflicts: 880,
                late: 0,
            },
            quiet: Watches {
                tried: 200,
                aborted: 2,
                conflicts: 0,
                late: 0,
            },
            dmas: 2000,
        }),
        walks: Trial::Seen(windows()),
        marked_walks: Trial::Seen(windows()),
        moves_adbit: Trial::Seen(moves()),
        moves_rtm: Trial::Seen(moves()),
        sizes: Trial::Seen(sizes()),
    }
}

/// Returns a machine without RTM.
fn no_rtm() -> Evidence {
    Evidence {
        watch: Trial::Refused(REASON_NO_RTM),
        walks: Trial::Refused(REASON_NO_RTM),
        marked_walks: Trial::Refused(REASON_NO_RTM),
        moves_rtm: Trial::Refused(REASON_NO_RTM),
        ..good()
    }
}

fn lossy() -> Windows {
    let mut windows = windows();
    windows.loaded.lost = 1;
    windows
}

fn answers(evidence: &Evidence) -> Vec<&'static str> {
    let judgement = judged(evidence, 0);
    let asked = |reply: &&Reply| ![DRAINS, SNOOPS].contains(&reply.question);
    judgement
        .replies
        .iter()
        .filter(asked)
        .map(|reply| reply.answer.name())
        .collect()
}

fn why(evidence: &Evidence, engine: Method) -> String {
    let rulings = judged(evidence, 0).rulings;
    let ruling = rulings.iter().find(|ruling| ruling.engine == engine);
    ruling.expect("every engine has a ruling").why.join("; ")
}

#[test]
fn a_good_machine_may_do_everything() {
    let judgement = judged(&good(), 0);
    assert_eq!(judgement.engines, ADBIT | RTM);
    assert_eq!(judgement.findings, ALL_YES, "all of them");
    assert!(answers(&good()).iter().all(|answer| *answer == "yes"));
}

#[test]
fn one_no_of_before_outweighs_what_is_good_now() {
    for (earlier, engines) in [
        (FINDING_NO_AD_SET, RTM),
        (FINDING_NO_MOVES_ADBIT, RTM),
        (FINDING_NO_MOVES_RTM, ADBIT),
        (FINDING_NO_WALK_SEEN, ADBIT | RTM),
        (FINDING_NO_WALK_SEEN | FINDING_NO_A_SEEN, ADBIT),
    ] {
        let judgement = judged(&good(), earlier);
        assert_eq!(judgement.engines, engines, "{earlier:#x}");
        // It is kept, and the finding is not there beside its no.
        assert_eq!(judgement.findings & !ALL_YES, earlier);
        let single = judgement.findings & !FINDING_VALID_CHANGE;
        assert_eq!(single & (judgement.findings >> 16), 0);
    }
}

#[test]
fn without_rtm_its_questions_can_not_be_tried() {
    assert_eq!(
        answers(&no_rtm())[4..],
        [
            "can-not-be-tried",
            "can-not-be-tried",
            "can-not-be-tried",
            "yes",
            "can-not-be-tried",
            "yes",
            "yes"
        ]
    );
    assert_eq!(judged(&no_rtm(), 0).engines, ADBIT);
    assert!(why(&no_rtm(), Method::Rtm).contains("tsx=on"));
}

#[test]
fn tables_without_a_and_d_are_an_answer_and_nothing_for_adbit() {
    let evidence = Evidence {
        marks: Trial::Refused(REASON_FORMAT),
        landings: Trial::Refused(REASON_FORMAT),
        clean: Trial::Refused(REASON_FORMAT),
        race: Trial::Refused(REASON_FORMAT),
        marked_walks: Trial::Refused(REASON_FORMAT),
        moves_adbit: Trial::Refused(REASON_FORMAT),
        ..good()
    };
    assert_eq!(
        answers(&evidence)[..4],
        [
            "no",
            "can-not-be-tried",
            "can-not-be-tried",
            "can-not-be-tried"
        ]
    );
    assert_eq!(judged(&evidence, 0).engines, RTM, "walks are seen");
    let lost = Evidence {
        walks: Trial::Seen(lossy()),
        moves_rtm: Trial::Pointless("walks are not seen"),
        ..evidence
    };
    assert_eq!(judged(&lost, 0).engines, NOTHING);
    assert_eq!(
        judged(&lost, 0).findings & ALL_YES,
        FINDING_WATCH_SEEN | FINDING_SPLIT_LIVE | FINDING_MERGE_LIVE
    );
}

#[test]
fn one_lost_write_forbids() {
    for spoil in [
        |moves: &mut Moves| moves.lost = 1,
        |moves: &mut Moves| moves.dmas_lost = 1,
        |moves: &mut Moves| moves.device_errors = 1,
        |moves: &mut Moves| moves.faults = 1,
    ] {
        let mut spoiled = moves();
        spoil(&mut spoiled);
        let adbit = Evidence {
            moves_adbit: Trial::Seen(spoiled),
            ..good()
        };
        assert_eq!(judged(&adbit, 0).engines, RTM);
        assert!(why(&adbit, Method::AdBit).starts_with("valid-change-adbit is no:"));
        let rtm = Evidence {
            moves_rtm: Trial::Seen(spoiled),
            ..good()
        };
        assert_eq!(judged(&rtm, 0).engines, ADBIT);
    }
    let both = Evidence {
        walks: Trial::Seen(lossy()),
        marked_walks: Trial::Seen(lossy()),
        ..good()
    };
    assert_eq!(judged(&both, 0).engines, ADBIT);
}

#[test]
fn a_walk_that_is_seen_only_when_it_stores_is_enough() {
    let evidence = Evidence {
        walks: Trial::Seen(lossy()),
        ..good()
    };
    let judgement = judged(&evidence, 0);
    assert_eq!(judgement.engines, ADBIT | RTM);
    assert_eq!(judgement.findings & FINDING_WALK_SEEN, 0);
    assert_ne!(judgement.findings & FINDING_A_SEEN, 0);
    assert!(why(&evidence, Method::Rtm).contains("A is cleared"));
    assert!(
        notices_walks(&evidence.marked_walks, DEMAND) && !notices_walks(&evidence.walks, DEMAND)
    );
}

#[test]
fn a_dma_whose_bytes_are_missing_counts_as_one_that_the_module_found() {
    let evidence = Evidence {
        walks: Trial::Seen(Windows {
            dmas_lost: 1,
            ..windows()
        }),
        ..good()
    };
    assert_eq!(answers(&evidence)[5], "no");
}

#[test]
fn what_was_not_seen_permits_nothing() {
    let silent = Windows {
        loaded: QUIET,
        dmas: 0,
        ..windows()
    };
    let evidence = Evidence {
        promises: good().promises,
        marks: Trial::Seen(Marks::default()),
        landings: Trial::Seen(Landings::default()),
        clean: Trial::Seen(Clean::default()),
        race: Trial::Seen(Race {
            swaps: 1000,
            updates: 3,
            ..Race::default()
        }),
        watch: Trial::Seen(Watch::default()),
        walks: Trial::Seen(silent),
        marked_walks: Trial::Seen(silent),
        moves_adbit: Trial::Seen(Moves {
            met: 3,
            unexplained: 0,
            ..moves()
        }),
        moves_rtm: Trial::Seen(Moves {
            moved: 3,
            ..moves()
        }),
        sizes: Trial::Seen(Sizes::default()),
    };
    assert!(answers(&evidence)
        .iter()
        .all(|answer| *answer == "not-seen"));
    let judgement = judged(&evidence, 0);
    assert_eq!((judgement.engines, judgement.findings), (NOTHING, 0));
}

#[test]
fn engines_need_no_leaf_that_changes_its_size() {
    let lossy = Sizes {
        dmas_lost: 1,
        ..sizes()
    };
    let both = FINDING_SPLIT_LIVE | FINDING_MERGE_LIVE;
    for (trial, answer, noes) in [
        (Trial::Pointless("no huge page"), "can-not-be-tried", 0),
        (Trial::Refused(REASON_ATS), "can-not-be-tried", 0),
        (Trial::Seen(Sizes::default()), "not-seen", 0),
        (Trial::Seen(lossy), "no", both << 16),
    ] {
        let evidence = Evidence {
            sizes: trial,
            ..good()
        };
        assert_eq!(answers(&evidence)[9..], [answer, answer]);
        let judgement = judged(&evidence, 0);
        assert_eq!(judgement.engines, ADBIT | RTM);
        assert_eq!(judgement.findings & (both | both << 16), noes);
        // A no of before stays, and that alone.
        let later = judged(&good(), FINDING_NO_SPLIT_LIVE);
        assert_eq!(
            later.findings & (both | both << 16),
            FINDING_NO_SPLIT_LIVE | FINDING_MERGE_LIVE
        );
    }
}

#[test]
fn calls_without_a_helper_are_shown_and_decide_nothing() {
    for (moved, expected) in [(4000, Answer::Yes), (3, Answer::NotSeen)] {
        let seen = Moves {
            moved,
            absent: 7,
            ..moves()
        };
        let (answer, why) = nothing_lost(&seen);
        assert_eq!(answer, expected);
        assert!(why.contains("7 calls given up"), "{why}");
    }
    let (_, why) = nothing_lost(&moves());
    assert!(!why.contains("given up"), "{why}");
}

#[test]
fn aborts_that_are_as_frequent_without_dma_prove_nothing() {
    let mut windows = windows();
    windows.quiet.conflicts = 20;
    let watch = Watch {
        loaded: Watches {
            tried: 1000,
            aborted: 100,
            conflicts: 0,
            late: 0,
        },
        quiet: Watches {
            tried: 100,
            aborted: 9,
            conflicts: 0,
            late: 0,
        },
        dmas: 4000,
    };
    let evidence = Evidence {
        walks: Trial::Seen(windows),
        watch: Trial::Seen(watch),
        ..good()
    };
    assert_eq!(answers(&evidence)[4..6], ["no", "not-seen"]);
}

#[test]
fn a_control_without_a_commit_proves_nothing() {
    let mut windows = windows();
    windows.quiet.committed = 0;
    let evidence = Evidence {
        walks: Trial::Seen(windows),
        ..good()
    };
    assert_eq!(answers(&evidence)[5], "not-seen");
}

#[test]
fn one_access_without_its_mark_is_a_no() {
    for marks in [
        Marks {
            reads: 30,
            reads_set_a: 29,
            writes: 30,
            writes_set_d: 30,
        },
        Marks {
            reads: 30,
            reads_set_a: 30,
            writes: 30,
            writes_set_d: 0,
        },
    ] {
        let evidence = Evidence {
            marks: Trial::Seen(marks),
            ..good()
        };
        assert_eq!(judged(&evidence, 0).engines, RTM);
    }
}

/// No swap of an ignored bit is overwritten by an IOMMU that ORs its marks.
#[test]
fn a_dma_beside_its_mark_asks_for_verification() {
    let of = |marked, astray, undone| {
        let Trial::Seen(race) = good().race else {
            panic!("there is a race");
        };
        let evidence = Evidence {
            race: Trial::Seen(Race {
                marked,
                astray,
                undone,
                ..race
            }),
            ..good()
        };
        judged(&evidence, 0).findings & (FINDING_AD_CAS | FINDING_NO_AD_CAS)
    };
    assert_eq!(of(300, 0, 0), FINDING_AD_CAS);
    assert_eq!(of(300, 1, 0), FINDING_NO_AD_CAS);
    assert_eq!(of(300, 0, 1), FINDING_NO_AD_CAS);
    assert_eq!(of(299, 0, 0), 0);
}

#[test]
fn an_overwritten_swap_asks_for_verification_and_no_more() {
    let evidence = Evidence {
        race: Trial::Seen(Race {
            swaps: 10,
            updates: 5,
            swaps_lost: 1,
            dmas: 9,
            ..Race::default()
        }),
        clean: Trial::Seen(Clean {
            tried: 30,
            writes_set_d: 29,
        }),
        ..good()
    };
    let judgement = judged(&evidence, 0);
    assert_eq!(judgement.engines, ADBIT | RTM);
    assert_eq!(
        judgement.findings & (FINDING_AD_CAS | FINDING_CLEAN_WALKS),
        0
    );
    assert!(why(&evidence, Method::AdBit).contains("verified"));
    assert!(why(&good(), Method::AdBit).contains("without verification"));
}

/// The rule of the module: src/verdict.rs refuses a verdict that breaks it.
#[test]
fn findings_support_the_engines() {
    let machines = [
        good(),
        no_rtm(),
        Evidence {
            walks: Trial::Seen(lossy()),
            ..good()
        },
        Evidence {
            moves_adbit: Trial::Seen(Moves::default()),
            ..good()
        },
        Evidence {
            moves_rtm: Trial::Seen(Moves::default()),
            ..no_rtm()
        },
    ];
    for judgement in machines.iter().map(|evidence| judged(evidence, 0)) {
        let has = |findings: u32| judgement.findings & findings == findings;
        let adbit = has(FINDING_AD_SET | FINDING_AD_FIRST | FINDING_VALID_CHANGE);
        let rtm = (has(FINDING_WALK_SEEN) || has(FINDING_A_SEEN | FINDING_AD_FIRST))
            && has(FINDING_VALID_CHANGE);
        assert!(adbit || judgement.engines & ADBIT == 0, "{judgement:?}");
        assert!(rtm || judgement.engines & RTM == 0, "{judgement:?}");
    }
}

#[test]
fn marks_that_come_after_the_access_forbid_what_looks_at_them() {
    let landed = |seen, marked| Evidence {
        landings: Trial::Seen(Landings {
            tried: 400,
            seen,
            marked,
        }),
        ..good()
    };
    let answer = |evidence: &Evidence| {
        let judgement = judged(evidence, 0);
        find(&judgement.replies, "ad-first").map(|reply| reply.answer)
    };
    assert_eq!(answer(&landed(30, 30)), Some(Answer::Yes));
    assert_eq!(answer(&landed(29, 29)), Some(Answer::NotSeen));
    assert_eq!(answer(&landed(300, 299)), Some(Answer::No));
    assert_eq!(answer(&landed(1, 0)), Some(Answer::No));
    for late in [landed(300, 299), landed(29, 29)] {
        assert!(why(&late, Method::AdBit).contains("ad-first"));
        assert_eq!(judged(&late, 0).engines, RTM, "walk-seen needs no marks");
        let only_marks = Evidence {
            walks: Trial::Seen(lossy()),
            ..late
        };
        assert_eq!(judged(&only_marks, 0).engines, NOTHING);
    }
    let later = judged(&good(), FINDING_NO_AD_FIRST);
    assert_eq!(later.engines, RTM, "a no of before");
}

#[test]
fn a_cause_is_more_than_chance() {
    for (loaded, quiet, caused) in [
        ((30, 1000), (0, 1000), true),
        ((29, 1000), (0, 1000), false),
        ((30, 1000), (0, 29), false),
        ((30, 1000), (0, 30), false),
        ((159, 1265), (15, 300), true),
        ((159, 1265), (30, 300), false),
        ((100, 1000), (300, 1000), false),
        ((100, 100), (0, 100), true),
        ((100, 100), (100, 100), false),
    ] {
        assert_eq!(is_caused(loaded, quiet), caused, "{loaded:?} {quiet:?}");
    }
}

#[test]
fn the_bound_is_the_rule_of_three() {
    assert!(bound(30).contains("10.0 %"));
    assert!(bound(900).contains("0.4 %"));
}

#[test]
fn what_the_iommu_does_not_promise_forbids_every_engine() {
    for (cap, ecap, question) in [(1 << 54, 1 << 7, DRAINS), (3 << 54, 0, SNOOPS)] {
        let evidence = Evidence {
            promises: Trial::Seen(Promises { cap, ecap }),
            ..good()
        };
        assert_eq!(judged(&evidence, 0).engines, NOTHING);
        for engine in [Method::AdBit, Method::Rtm] {
            let why = why(&evidence, engine);
            assert!(why.starts_with(&format!("{question} is no: ")), "{why}");
        }
    }
    // Of AMD's nothing can be read.
    let evidence = Evidence {
        promises: Trial::Pointless("no register"),
        ..good()
    };
    assert_eq!(judged(&evidence, 0).engines, ADBIT | RTM);
}

#[test]
fn too_few_walks_are_not_seen() {
    for (met, answer) in [(289, Answer::NotSeen), (290, Answer::Yes)] {
        let mut windows = windows();
        (windows.loaded.conflicts, windows.loaded.committed) = (met, 890 - met);
        let (found, why) = walks_seen(&windows, DEMAND);
        assert_eq!(found, answer, "{why}");
        assert!(why.contains("95 % confidence"), "{why}");
    }
}

#[test]
fn the_demand_is_the_rule_of_three_turned_round() {
    for (percent, met) in [(0.1, 3000), (10.0, 30), (1.0, 300), (0.001, 300_000)] {
        assert_eq!(Demand::of(percent, 30).met, met);
    }
}

/// An answer that means "never" says how rare an exception can be.
#[test]
fn a_yes_of_counts_has_a_bound() {
    for reply in judged(&good(), 0).replies {
        let by_count = ![DRAINS, SNOOPS, "watch-seen"].contains(&reply.question);
        let has_bound = reply.why.contains("95 % confidence");
        assert_eq!(has_bound, by_count, "{reply:?}");
    }
}
