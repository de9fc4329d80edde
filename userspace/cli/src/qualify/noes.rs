// SPDX-License-Identifier: GPL-2.0
//! What was seen to be otherwise before, on the same CPU, microcode, IOMMU, devices and format: one no
//! outweighs every later yes, for what a machine does now and then it may not have done this time.
//! It is given up by name alone.

use clap::ValueEnum;
use pagemove_uapi::{
    Verdict, FINDING_NO_AD_CAS, FINDING_NO_AD_FIRST, FINDING_NO_AD_SET, FINDING_NO_A_SEEN,
    FINDING_NO_CLEAN_WALKS, FINDING_NO_MERGE_LIVE, FINDING_NO_MOVES_ADBIT, FINDING_NO_MOVES_RTM,
    FINDING_NO_SPLIT_LIVE, FINDING_NO_WALK_SEEN, FINDING_NO_WATCH_SEEN,
};

use super::decide::{Answer, Reply, MERGE_LIVE, MOVES_ADBIT, MOVES_RTM, SPLIT_LIVE};

/// A question, as `--forget` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Question {
    AdSet,
    AdFirst,
    CleanWalks,
    AdCas,
    WatchSeen,
    WalkSeen,
    ASeen,
    ValidChangeAdbit,
    ValidChangeRtm,
    SplitLive,
    MergeLive,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Question::AdSet => "ad-set",
            Question::AdFirst => "ad-first",
            Question::CleanWalks => "clean-walks",
            Question::AdCas => "ad-cas",
            Question::WatchSeen => "watch-seen",
            Question::WalkSeen => "walk-seen",
            Question::ASeen => "a-seen",
            Question::ValidChangeAdbit => MOVES_ADBIT,
            Question::ValidChangeRtm => MOVES_RTM,
            Question::SplitLive => SPLIT_LIVE,
            Question::MergeLive => MERGE_LIVE,
        }
    }

    /// Returns the finding that says no.
    fn no(self) -> u32 {
        match self {
            Question::AdSet => FINDING_NO_AD_SET,
            Question::AdFirst => FINDING_NO_AD_FIRST,
            Question::CleanWalks => FINDING_NO_CLEAN_WALKS,
            Question::AdCas => FINDING_NO_AD_CAS,
            Question::WatchSeen => FINDING_NO_WATCH_SEEN,
            Question::WalkSeen => FINDING_NO_WALK_SEEN,
            Question::ASeen => FINDING_NO_A_SEEN,
            Question::ValidChangeAdbit => FINDING_NO_MOVES_ADBIT,
            Question::ValidChangeRtm => FINDING_NO_MOVES_RTM,
            Question::SplitLive => FINDING_NO_SPLIT_LIVE,
            Question::MergeLive => FINDING_NO_MERGE_LIVE,
        }
    }
}

/// Returns whether two verdicts are about the same.
pub fn same(a: &Verdict, b: &Verdict) -> bool {
    let about = |of: &Verdict| (of.iommu, of.registers, of.flags, machine(of));
    about(a) == about(b)
}

/// Returns whether what was seen of one may be true of the other: one unit by its name or by its registers, whatever
/// the firmware has changed of these, and whichever devices have shown it.
fn is_related(a: &Verdict, b: &Verdict) -> bool {
    let is_unit = a.iommu == b.iommu || a.registers != 0 && a.registers == b.registers;
    is_unit && machine(a) == machine(b)
}

/// What verdicts on one unit have to have in common.
fn machine(verdict: &Verdict) -> (u32, u32, u32) {
    (verdict.format, verdict.cpu, verdict.microcode)
}

/// Returns the noes of all verdicts on what may be the same, without those that are to be forgotten.
pub fn earlier<'v>(
    about: &Verdict,
    known: impl IntoIterator<Item = &'v Verdict>,
    forget: &[Question],
) -> u32 {
    let forgotten = forget.iter().fold(0, |all, question| all | question.no());
    let related = known
        .into_iter()
        .filter(|verdict| is_related(verdict, about));
    related.fold(0, |noes, verdict| noes | verdict.findings) & all() & !forgotten
}

fn all() -> u32 {
    let questions = Question::value_variants().iter();
    questions.fold(0, |all, question| all | question.no())
}

/// Returns the answers with those of before: a no stays.
pub fn recall(replies: Vec<Reply>, earlier: u32) -> Vec<Reply> {
    let stays = |reply: &Reply| earlier & no_to(reply.question) != 0 && reply.answer != Answer::No;
    let recalled = |reply: Reply| match stays(&reply) {
        false => reply,
        true => Reply {
            why: format!(
                "a no was seen here before, which one {} does not undo (--forget {} does); now: {}",
                reply.answer.name(),
                reply.question,
                reply.why
            ),
            answer: Answer::No,
            ..reply
        },
    };
    replies.into_iter().map(recalled).collect()
}

/// Returns the findings that say no.
pub fn of(replies: &[Reply]) -> u32 {
    let noes = replies.iter().filter(|reply| reply.answer == Answer::No);
    noes.fold(0, |all, reply| all | no_to(reply.question))
}

/// Returns the finding that says no to a question; none of an unknown one.
fn no_to(question: &str) -> u32 {
    let questions = Question::value_variants().iter();
    let its = questions.filter(|its| its.name() == question);
    its.fold(0, |no, question| no | question.no())
}

#[cfg(test)]
#[path = "noes_tests.rs"]
mod tests;
