// SPDX-License-Identifier: GPL-2.0

use super::*;
use pagemove_uapi::{FINDING_AD_SET, FORMAT_X86_64};

fn reply(question: &'static str, answer: Answer) -> Reply {
    Reply {
        question,
        answer,
        why: "30 of 30".to_string(),
    }
}

fn verdict(cpu: u32, findings: u32) -> Verdict {
    Verdict {
        format: FORMAT_X86_64,
        cpu,
        microcode: 7,
        findings,
        ..Verdict::default()
    }
}

#[test]
fn every_question_has_a_no_of_its_own_and_its_name() {
    let mut seen = 0;
    for question in Question::value_variants() {
        assert_eq!(seen & question.no(), 0, "{question:?}");
        seen |= question.no();
        let named = question.to_possible_value().unwrap();
        assert_eq!(named.get_name(), question.name());
        assert_eq!(no_to(question.name()), question.no());
    }
    assert_eq!(seen, 0x7ff << 16);
}

#[test]
fn a_no_is_kept_whatever_the_firmware_calls_the_unit() {
    let about = Verdict {
        registers: 0xfed9_0000,
        ..verdict(1, 0)
    };
    let of = |change: fn(&mut Verdict)| {
        let mut known = Verdict {
            findings: FINDING_NO_AD_SET,
            ..about
        };
        change(&mut known);
        earlier(&about, &[known], &[])
    };
    assert_eq!(
        of(|known| known.iommu[0] ^= 1),
        FINDING_NO_AD_SET,
        "renumbered"
    );
    assert_eq!(
        of(|known| known.registers += 4096),
        FINDING_NO_AD_SET,
        "moved"
    );
    assert_eq!(
        of(|known| known.flags ^= 1),
        FINDING_NO_AD_SET,
        "other devices"
    );
    assert_eq!(of(|known| (known.iommu[0], known.registers) = (1, 0)), 0);
    assert_eq!(of(|known| known.microcode ^= 1), 0);
}

#[test]
fn a_no_outweighs_a_later_yes() {
    for lucky in [Answer::Yes, Answer::NotSeen, Answer::CanNotTry] {
        let replies = vec![reply("ad-set", lucky), reply("walk-seen", Answer::Yes)];
        let recalled = recall(replies, FINDING_NO_AD_SET);
        assert_eq!(recalled[0].answer, Answer::No);
        assert!(recalled[0].why.contains("--forget ad-set"), "{recalled:?}");
        assert!(recalled[0].why.ends_with("30 of 30"), "{recalled:?}");
        assert_eq!(recalled[1].answer, Answer::Yes);
        // So that the next one hears of it.
        assert_eq!(of(&recalled), FINDING_NO_AD_SET);
    }
}

#[test]
fn noes_are_of_the_same_thing_and_forgotten_by_name() {
    let known = [
        verdict(1, FINDING_NO_AD_SET | FINDING_AD_SET),
        verdict(2, FINDING_NO_WALK_SEEN),
        verdict(1, FINDING_NO_AD_CAS),
    ];
    let about = verdict(1, 0);
    assert_eq!(
        earlier(&about, &known, &[]),
        FINDING_NO_AD_SET | FINDING_NO_AD_CAS
    );
    assert_eq!(
        earlier(&about, &known, &[Question::AdSet, Question::WalkSeen]),
        FINDING_NO_AD_CAS
    );
    let newer = Verdict {
        microcode: 8,
        ..about
    };
    assert_eq!(earlier(&newer, &known, &[]), 0);
}
