// SPDX-License-Identifier: GPL-2.0
//! From what was seen to answers, and from these to a verdict on each engine. No
//! answer without evidence: what was not seen permits nothing.

use pagemove_uapi::{
    engine_number, mask_of, text, Method, FINDING_AD_CAS, FINDING_AD_FIRST, FINDING_AD_SET,
    FINDING_A_SEEN, FINDING_CLEAN_WALKS, FINDING_MERGE_LIVE, FINDING_SPLIT_LIVE,
    FINDING_VALID_CHANGE, FINDING_WALK_SEEN, FINDING_WATCH_SEEN, REASON_FORMAT,
};

use super::decide_sizes::{merge_live, split_live};
use super::evidence::{
    Attempts, Clean, Evidence, Landings, Marks, Moves, Race, Trial, Watch, Watches, Windows,
};
use super::noes;
use super::promises::Promises;

/// Events without an exception that it takes to believe in a rule: with 95 % confidence
/// fewer than 3 of 30 would be exceptions.
pub const ENOUGH: u64 = 30;
/// How many events an answer on transactions takes, or on leaves that change their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Transactions that a DMA has to meet, none of them unnoticed.
    pub met: u64,
    /// Splits and merges, and DMAs meanwhile, none of them with an exception.
    pub rounds: u64,
}

impl Demand {
    /// Returns what shows with 95 % confidence that less than this percentage goes unnoticed, by the
    /// rule of three.
    pub fn of(percent: f64, rounds: u64) -> Self {
        let met = (300.0 / percent).ceil() as u64;
        Self {
            met: met.max(ENOUGH),
            rounds: rounds.max(ENOUGH),
        }
    }
}

/// Updates that have to meet swaps: an emulator overwrites few of them.
pub const ENOUGH_UPDATES: u64 = 300;
/// DMAs that have to mark an entry whose frame is being swapped: about half of those by an IOMMU that ORs
/// marks go astray.
pub const ENOUGH_MARKED: u64 = 300;
/// Pages that have to be moved under load.
pub const ENOUGH_MOVES: u64 = 100;
/// By how many standard deviations something has to be more frequent under load.
const DEVIATIONS: f64 = 3.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// Tried, but too little happened.
    NotSeen,
    CanNotTry,
}

impl Answer {
    pub fn name(self) -> &'static str {
        match self {
            Answer::Yes => "yes",
            Answer::No => "no",
            Answer::NotSeen => "not-seen",
            Answer::CanNotTry => "can-not-be-tried",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub question: &'static str,
    pub answer: Answer,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub engine: Method,
    pub allowed: bool,
    pub why: Vec<String>,
}

/// What the evidence comes to.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub replies: Vec<Reply>,
    pub rulings: Vec<Ruling>,
    /// PAGEMOVE_FINDING_*, the noes among them.
    pub findings: u32,
    /// Mask of PAGEMOVE_ENGINE_*
    pub engines: u32,
}

pub const DRAINS: &str = "drains";
pub const SNOOPS: &str = "snoops";
pub const MOVES_ADBIT: &str = "valid-change-adbit";
pub const MOVES_RTM: &str = "valid-change-rtm";
pub const SPLIT_LIVE: &str = "split-live";
pub const MERGE_LIVE: &str = "merge-live";

/// Every question with its finding; the two on moves have one together.
const FINDINGS: &[(&str, u32)] = &[
    ("ad-set", FINDING_AD_SET),
    ("ad-first", FINDING_AD_FIRST),
    ("clean-walks", FINDING_CLEAN_WALKS),
    ("ad-cas", FINDING_AD_CAS),
    ("watch-seen", FINDING_WATCH_SEEN),
    ("walk-seen", FINDING_WALK_SEEN),
    ("a-seen", FINDING_A_SEEN),
    (MOVES_ADBIT, FINDING_VALID_CHANGE),
    (MOVES_RTM, FINDING_VALID_CHANGE),
    (SPLIT_LIVE, FINDING_SPLIT_LIVE),
    (MERGE_LIVE, FINDING_MERGE_LIVE),
];

/// Judges by what was seen now, and by the noes of before (PAGEMOVE_FINDING_NO_*).
pub fn judge(evidence: &Evidence, earlier: u32, demand: Demand) -> Judgement {
    let replies = noes::recall(answer(evidence, demand), earlier);
    let findings = FINDINGS
        .iter()
        .filter(|(question, _)| is_yes(&replies, question))
        .fold(noes::of(&replies), |found, (_, finding)| found | finding);
    let rule = |method: &Method| match method {
        Method::AdBit => rule_adbit(&replies),
        Method::Rtm => rule_rtm(&replies),
    };
    let rulings: Vec<Ruling> = Method::ALL.iter().map(rule).collect();
    let allowed = rulings.iter().filter(|ruling| ruling.allowed);
    let engines = mask_of(allowed.map(|ruling| engine_number(ruling.engine)));
    Judgement {
        replies,
        rulings,
        findings,
        engines,
    }
}

/// Answers each question by the evidence.
fn answer(evidence: &Evidence, demand: Demand) -> Vec<Reply> {
    let walks_seen = |windows: &Windows| walks_seen(windows, demand);
    vec![
        reply(DRAINS, &evidence.promises, drains),
        reply(SNOOPS, &evidence.promises, snoops),
        reply("ad-set", &evidence.marks, ad_set),
        reply("ad-first", &evidence.landings, ad_first),
        reply("clean-walks", &evidence.clean, clean_walks),
        reply("ad-cas", &evidence.race, ad_cas),
        reply("watch-seen", &evidence.watch, watch_seen),
        reply("walk-seen", &evidence.walks, walks_seen),
        reply("a-seen", &evidence.marked_walks, walks_seen),
        reply(MOVES_ADBIT, &evidence.moves_adbit, nothing_lost),
        reply(MOVES_RTM, &evidence.moves_rtm, nothing_lost),
        reply(SPLIT_LIVE, &evidence.sizes, |sizes| {
            split_live(sizes, demand)
        }),
        reply(MERGE_LIVE, &evidence.sizes, |sizes| {
            merge_live(sizes, demand)
        }),
    ]
}

/// Returns whether moves by `rtm` can be tried at all.
pub fn notices_walks(walks: &Trial<Windows>, demand: Demand) -> bool {
    matches!(walks, Trial::Seen(windows) if walks_seen(windows, demand).0 == Answer::Yes)
}

fn reply<T>(
    question: &'static str,
    trial: &Trial<T>,
    answer: impl Fn(&T) -> (Answer, String),
) -> Reply {
    let (answer, why) = match trial {
        Trial::Seen(seen) => answer(seen),
        // That the tables have no such bits is an answer.
        Trial::Refused(REASON_FORMAT) if question == "ad-set" => (Answer::No, words(REASON_FORMAT)),
        Trial::Refused(reason) => (Answer::CanNotTry, words(*reason)),
        Trial::Pointless(why) => (Answer::CanNotTry, (*why).to_string()),
    };
    Reply {
        question,
        answer,
        why,
    }
}

fn words(reason: u32) -> String {
    text::reason(reason).map_or_else(
        || format!("the module says reason {reason}"),
        |text| text.help.to_string(),
    )
}

fn drains(promises: &Promises) -> (Answer, String) {
    let registers = format!("CAP is {:#x}", promises.cap);
    match promises.drains() {
        true => (Answer::Yes, format!("{registers}: DWD and DRD are set")),
        false => (
            Answer::No,
            format!("{registers}: DWD or DRD is not set, so that an invalidation need not wait for DMA that is under way"),
        ),
    }
}

fn snoops(promises: &Promises) -> (Answer, String) {
    let registers = format!("ECAP is {:#x}", promises.ecap);
    match promises.snoops() {
        true => (Answer::Yes, format!("{registers}: SC is set")),
        false => (
            Answer::No,
            format!("{registers}: SC is not set, so that a device may write around the caches, where a copy does not see it"),
        ),
    }
}

fn ad_set(marks: &Marks) -> (Answer, String) {
    let Marks {
        reads,
        reads_set_a,
        writes,
        writes_set_d,
    } = *marks;
    let why = format!("{reads_set_a} of {reads} device reads set A, {writes_set_d} of {writes} device writes set A and D");
    let all = reads_set_a == reads && writes_set_d == writes;
    match (all, reads > 0 && writes > 0) {
        (_, false) => (Answer::NotSeen, why),
        (true, true) => {
            let bound = below(reads.min(writes));
            let why = format!("{why}. Fewer than {bound} of accesses set none (95 % confidence)");
            (Answer::Yes, why)
        }
        (false, true) => (Answer::No, why),
    }
}

fn ad_first(landings: &Landings) -> (Answer, String) {
    let Landings {
        tried,
        seen,
        marked,
    } = *landings;
    let why = format!(
        "{tried} device writes; {seen} were seen to land, and {marked} of these had set A and D by then"
    );
    match (seen > marked, seen >= ENOUGH) {
        (true, _) => (Answer::No, why),
        (false, false) => (Answer::NotSeen, why),
        (false, true) => {
            let bound = below(seen);
            let why = format!("{why}. Fewer than {bound} set them later (95 % confidence)");
            (Answer::Yes, why)
        }
    }
}

fn clean_walks(clean: &Clean) -> (Answer, String) {
    let why = format!(
        "{} of {} device writes after a device read set D",
        clean.writes_set_d, clean.tried
    );
    let answer = match clean.tried {
        0 => Answer::NotSeen,
        tried if tried == clean.writes_set_d => {
            let bound = below(tried);
            let why = format!("{why}. Fewer than {bound} do not (95 % confidence)");
            return (Answer::Yes, why);
        }
        _ => Answer::No,
    };
    (answer, why)
}

fn ad_cas(race: &Race) -> (Answer, String) {
    let why = format!(
        "{} of {} swaps were overwritten, with {} updates of A or D and {} DMAs meanwhile; {} of {} DMAs \
         went to another frame than the one that they marked, {} swaps of frames were overwritten",
        race.swaps_lost, race.swaps, race.updates, race.dmas, race.astray, race.marked, race.undone
    );
    if race.swaps_lost + race.undone + race.astray > 0 {
        (Answer::No, why)
    } else if race.updates < ENOUGH_UPDATES || race.marked < ENOUGH_MARKED {
        (Answer::NotSeen, why)
    } else {
        let bound = below(race.marked);
        (
            Answer::Yes,
            format!("{why}. Fewer than {bound} of such DMAs do (95 % confidence)"),
        )
    }
}

fn watch_seen(watch: &Watch) -> (Answer, String) {
    let Watch {
        loaded,
        quiet,
        dmas,
    } = *watch;
    let why = format!(
        "{} of {} transactions that had read the page were aborted ({} with the conflict bit) \
         while {dmas} DMAs wrote it; without DMA {} of {} ({})",
        loaded.aborted, loaded.tried, loaded.conflicts, quiet.aborted, quiet.tried, quiet.conflicts
    );
    let conflicts = |watches: Watches| (watches.conflicts, watches.tried);
    let aborted = |watches: Watches| (watches.aborted, watches.tried);
    let by_bit = is_caused(conflicts(loaded), conflicts(quiet));
    let answer = if by_bit || is_caused(aborted(loaded), aborted(quiet)) {
        Answer::Yes
    } else if dmas < ENOUGH || quiet.tried < ENOUGH {
        Answer::NotSeen
    } else {
        Answer::No
    };
    (answer, why)
}

fn walks_seen(windows: &Windows, demand: Demand) -> (Answer, String) {
    let Windows {
        loaded,
        quiet,
        dmas,
        dmas_lost,
    } = *windows;
    let lost = loaded.lost + dmas_lost;
    let told = |attempts: &Attempts| {
        format!(
            "in {} calls {} conflicts, {} aborts without a status, {} with pages moved, {} aborted \
             otherwise",
            attempts.tried,
            attempts.conflicts,
            attempts.unexplained,
            attempts.committed,
            attempts.other
        )
    };
    let why = format!(
        "with {dmas} DMAs {}; without DMA {}. Lost: {} found by the module, {dmas_lost} by their \
         bytes",
        told(&loaded),
        told(&quiet),
        loaded.lost
    );
    if lost > 0 {
        return (Answer::No, why);
    }
    match met_because(loaded, quiet) {
        Some(met) if quiet.committed > 0 => {
            let why = format!("{why}. {}", bound(met));
            match met >= demand.met {
                true => (Answer::Yes, why),
                false => (
                    Answer::NotSeen,
                    format!("{why}: {} are asked for", demand.met),
                ),
            }
        }
        _ => (Answer::NotSeen, why),
    }
}

/// Returns in how many calls a transaction was aborted by a DMA: none, if as many are without DMA.
pub fn met_because(loaded: Attempts, quiet: Attempts) -> Option<u64> {
    let conflicts = |attempts: Attempts| (attempts.conflicts, attempts.windows());
    let all = |attempts: Attempts| {
        (
            attempts.conflicts + attempts.unexplained,
            attempts.windows(),
        )
    };
    [conflicts, all]
        .iter()
        .find(|rate| is_caused(rate(loaded), rate(quiet)))
        .map(|rate| rate(loaded).0)
}

fn nothing_lost(moves: &Moves) -> (Answer, String) {
    let Moves {
        moved,
        met,
        unexplained,
        other,
        absent,
        lost,
        dmas,
        dmas_lost,
        device_errors,
        faults,
    } = *moves;
    let given_up = match absent {
        0 => String::new(),
        calls => format!(", {calls} calls given up for a helper without a CPU"),
    };
    let why = format!(
        "{moved} page moves, {met} aborts by DMA, {unexplained} without a status and {other} by \
         other causes{given_up}, with {dmas} DMAs. \
         Lost: {lost} found by the module, {dmas_lost} by their bytes. Device errors {device_errors}, \
         IOMMU faults {faults}"
    );
    if moves.wrong() > 0 {
        (Answer::No, why)
    } else if moved >= ENOUGH_MOVES && met + unexplained >= ENOUGH {
        (Answer::Yes, format!("{why}. {}", bound(met + unexplained)))
    } else {
        (Answer::NotSeen, why)
    }
}

/// Returns whether something happens because of the load: (times, of how many) with and without.
/// The difference of two proportions against its standard deviation, were they equal.
fn is_caused(loaded: (u64, u64), quiet: (u64, u64)) -> bool {
    if loaded.0 < ENOUGH || quiet.1 < ENOUGH {
        return false;
    }
    let (loaded_n, quiet_n) = (loaded.1 as f64, quiet.1 as f64);
    let difference = loaded.0 as f64 / loaded_n - quiet.0 as f64 / quiet_n;
    let both = (loaded.0 + quiet.0) as f64 / (loaded_n + quiet_n);
    let deviation = (both * (1.0 - both) * (1.0 / loaded_n + 1.0 / quiet_n)).sqrt();
    difference > 0.0 && difference >= DEVIATIONS * deviation
}

/// Bounds a probability by the rule of three: of `n` events none was an exception.
fn bound(n: u64) -> String {
    format!(
        "Fewer than {} of such DMAs go unnoticed (95 % confidence)",
        below(n)
    )
}

/// Returns below which part exceptions are.
fn below(n: u64) -> String {
    let tenths = 3000_u64.div_ceil(n.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn find<'a>(replies: &'a [Reply], question: &str) -> Option<&'a Reply> {
    replies.iter().find(|reply| reply.question == question)
}

fn is_yes(replies: &[Reply], question: &str) -> bool {
    find(replies, question).is_some_and(|reply| reply.answer == Answer::Yes)
}

/// Returns why an answer that an engine needs is not there.
fn missing(replies: &[Reply], question: &str) -> Option<String> {
    let reply = find(replies, question).filter(|reply| reply.answer != Answer::Yes)?;
    Some(format!(
        "{question} is {}: {}",
        reply.answer.name(),
        reply.why
    ))
}

/// Returns what the IOMMU says of itself that no engine can do without.
fn broken_promises(replies: &[Reply]) -> Vec<String> {
    let is_no =
        |question: &&str| find(replies, question).is_some_and(|reply| reply.answer == Answer::No);
    let noes = [DRAINS, SNOOPS];
    let noes = noes.iter().filter(|question| is_no(question));
    noes.filter_map(|question| missing(replies, question))
        .collect()
}

fn rule_adbit(replies: &[Reply]) -> Ruling {
    let mut why = broken_promises(replies);
    why.extend(
        ["ad-set", "ad-first", MOVES_ADBIT]
            .iter()
            .filter_map(|question| missing(replies, question)),
    );
    let allowed = why.is_empty();
    let terms = if is_yes(replies, "ad-cas") {
        "moves may go without verification: ad-cas is yes"
    } else {
        "every move has to be verified: ad-cas is not yes"
    };
    Ruling {
        engine: Method::AdBit,
        allowed,
        why: if allowed {
            vec![terms.to_string()]
        } else {
            why
        },
    }
}

fn rule_rtm(replies: &[Reply]) -> Ruling {
    let walks = is_yes(replies, "walk-seen");
    let marked = is_yes(replies, "a-seen") && is_yes(replies, "ad-first");
    let mut why = broken_promises(replies);
    if !walks && !marked {
        why.extend(missing(replies, "walk-seen"));
        why.extend(missing(replies, "a-seen"));
        why.extend(missing(replies, "ad-first"));
    }
    why.extend(missing(replies, MOVES_RTM));
    why.dedup_by(|a, b| reason_of(a) == reason_of(b));
    let allowed = why.is_empty();
    let terms = if walks {
        "A is left as it is: walk-seen is yes"
    } else {
        "A is cleared before each move: walk-seen is not yes, a-seen and ad-first are"
    };
    Ruling {
        engine: Method::Rtm,
        allowed,
        why: if allowed {
            vec![terms.to_string()]
        } else {
            why
        },
    }
}

/// Returns what follows the question and its answer.
fn reason_of(why: &str) -> &str {
    why.split_once(": ").map_or(why, |(_, reason)| reason)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
