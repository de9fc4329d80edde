// SPDX-License-Identifier: GPL-2.0
//! What is explored, with the numbers of states.

use crate::world::{Config, Op, Op::*};
use pagemove_peers::{Limits, Rule, Without};

pub type Scripts = &'static [&'static [Op]];

/// Both ask at once, once.
pub const ONE: Scripts = &[&[Send(1), Recv(1)], &[Send(0), Recv(0)]];
/// Both ask at once, and one sends two messages that have an order.
pub const BOTH: Scripts = &[&[Send(1), Send(1), Recv(1)], &[Send(0), Recv(0), Recv(0)]];
/// The same, but the second is sent when the other's has come.
pub const CROSS: Scripts = &[&[Send(1), Recv(1), Send(1)], &[Send(0), Recv(0), Recv(0)]];
/// One begins, the other answers.
pub const TALK: Scripts = &[&[Send(1), Recv(1), Send(1)], &[Recv(0), Send(0), Recv(0)]];
/// One sends.
pub const TWICE: Scripts = &[&[Send(1), Send(1)], &[Recv(0), Recv(0)]];
/// On and on, of three.
pub const LINE: Scripts = &[&[Send(1)], &[Recv(0), Send(2)], &[Recv(1)]];

pub struct Case {
    pub name: &'static str,
    pub config: Config,
    /// What has to be seen, beside an end.
    pub sights: &'static [&'static str],
    pub states: usize,
}

pub const fn case(
    name: &'static str,
    config: Config,
    sights: &'static [&'static str],
    states: usize,
) -> Case {
    Case {
        name,
        config,
        sights,
        states,
    }
}

pub const fn breaks(breaks: u8, config: Config) -> Config {
    Config { breaks, ..config }
}

pub const fn voids(voids: u8, config: Config) -> Config {
    Config { voids, ..config }
}

/// One message may be on its way between two ranks, so that each is acknowledged by itself.
pub const fn narrow(config: Config) -> Config {
    let limits = Limits {
        messages: 1,
        bytes: 1000,
    };
    Config { limits, ..config }
}

pub const fn without(rules: &'static [Rule], config: Config) -> Config {
    Config {
        without: Without::rules(rules),
        ..config
    }
}

pub const NO_NET: &[Rule] = &[Rule::Again];

/// Explored by `make check`.
pub fn standard() -> Vec<Case> {
    let new = Config::new;
    vec![
        case("cross-0+0", new(CROSS, &[0, 0]), &["crossed"], 96),
        case(
            "cross-1+1",
            new(CROSS, &[1, 1]),
            &["crossed", "met", "older", "early"],
            44_330,
        ),
        case(
            "both-1+1",
            new(BOTH, &[1, 1]),
            &["crossed", "met", "older", "early"],
            61_046,
        ),
        case(
            "twice-2+2",
            new(TWICE, &[2, 2]),
            &["met", "redirected", "early"],
            220_467,
        ),
        case(
            "both-1+1-no-net",
            without(NO_NET, new(BOTH, &[1, 1])),
            &["crossed", "met", "older", "early"],
            34_600,
        ),
        case(
            "line-1+1+1",
            new(LINE, &[1, 1, 1]),
            &["met", "redirected"],
            106_191,
        ),
        case(
            "narrow-1+1",
            narrow(new(TWICE, &[1, 1])),
            &["taken", "early"],
            2_610,
        ),
        case(
            "narrow-break-0+0",
            breaks(1, narrow(new(TWICE, &[0, 0]))),
            &["taken"],
            184,
        ),
        case(
            "narrow-break-1+1",
            breaks(1, narrow(new(TWICE, &[1, 1]))),
            &["taken", "unseen"],
            64_646,
        ),
        case(
            "one-break-1+0",
            breaks(1, new(ONE, &[1, 0])),
            &["unseen"],
            54_552,
        ),
        case(
            "one-break-0+1",
            breaks(1, new(ONE, &[0, 1])),
            &["unseen"],
            59_689,
        ),
        case(
            "twice-break-1+1",
            breaks(1, new(TWICE, &[1, 1])),
            &["unseen"],
            104_186,
        ),
        case(
            "both-breaks-0+0",
            breaks(2, new(ONE, &[0, 0])),
            &["unseen"],
            78_336,
        ),
        case(
            "one-void-1+1",
            voids(1, new(ONE, &[1, 1])),
            &["early"],
            89_136,
        ),
        case(
            "narrow-void-1+1",
            voids(1, narrow(new(TWICE, &[1, 1]))),
            &["taken", "early"],
            7_621,
        ),
        case(
            "twice-voids-0+2",
            voids(2, new(TWICE, &[0, 2])),
            &["early"],
            9_694,
        ),
    ]
}

/// A rule left out, and the property that has to find it.
pub struct Mutant {
    pub name: &'static str,
    pub kills: &'static str,
    pub config: Config,
}

const fn mutant(name: &'static str, kills: &'static str, config: Config) -> Mutant {
    Mutant {
        name,
        kills,
        config,
    }
}

/// R1 to R5 and the lines of figures are tried where nothing is sent again: that would hide
/// some of what they are there for.
pub fn mutants() -> Vec<Mutant> {
    let new = Config::new;
    let no_net = |config| without(NO_NET, config);
    let apart = |config: Config| Config {
        in_stream: false,
        ..config
    };
    vec![
        mutant(
            "R1-request-apart",
            "order",
            apart(no_net(new(CROSS, &[0, 0]))),
        ),
        mutant(
            "R1-request-apart-stuck",
            "arrives",
            apart(no_net(new(CROSS, &[0, 0]))),
        ),
        mutant(
            "R2-no-lower-rank",
            "order",
            without(&[Rule::Again, Rule::LowerRank], new(BOTH, &[0, 0])),
        ),
        mutant(
            "R3-older-granted",
            "order",
            without(&[Rule::Again, Rule::NoOlder], new(BOTH, &[1, 1])),
        ),
        mutant(
            "R4-own-answer-left",
            "order",
            without(&[Rule::Again, Rule::OwnAnswer], new(BOTH, &[1, 1])),
        ),
        mutant(
            "R5-marker-is-no-end",
            "arrives",
            without(&[Rule::Again, Rule::MarkersMeet], new(TWICE, &[1, 1])),
        ),
        mutant(
            "R6-older-counts",
            "order",
            without(&[Rule::NewerAlone], breaks(1, new(BOTH, &[1, 0]))),
        ),
        mutant(
            "R7-break-not-again",
            "arrives",
            without(&[Rule::Again], breaks(1, new(ONE, &[1, 0]))),
        ),
        mutant(
            "R7-void-not-again",
            "order",
            without(&[Rule::Again], voids(1, new(TWICE, &[0, 1]))),
        ),
        mutant(
            "R7-taken-not-again",
            "arrives",
            without(&[Rule::TakenAgain], breaks(1, narrow(new(TWICE, &[0, 0])))),
        ),
        mutant(
            "R8-told-early",
            "arrives",
            without(&[Rule::ByProgram], voids(1, narrow(new(TWICE, &[0, 1])))),
        ),
        mutant(
            "figure-6-no-line-6",
            "order",
            without(&[Rule::Again, Rule::Drain], new(TWICE, &[1, 1])),
        ),
        mutant(
            "figure-7-list-behind",
            "order",
            without(&[Rule::Again, Rule::ListInFront], new(TWICE, &[1, 1])),
        ),
    ]
}

/// The figures as they are written, and in how many steps they break.
pub struct Written {
    pub name: &'static str,
    pub scripts: Scripts,
    pub moves: &'static [u8],
    /// The property and the steps; none where nothing is found.
    pub breaks: Option<(&'static str, usize)>,
}

pub fn written() -> Vec<Written> {
    let written = |name, scripts, moves, breaks| Written {
        name,
        scripts,
        moves,
        breaks,
    };
    vec![
        written("one-moves-sender", TWICE, &[1, 0], None),
        written("one-moves-receiver", TWICE, &[0, 1], None),
        written("one-moves-talk", TALK, &[1, 0], None),
        written("both-ask", CROSS, &[0, 0], Some(("order", 15))),
        written("both-ask-one-moves", ONE, &[1, 0], Some(("arrives", 17))),
        written("both-move", TWICE, &[1, 1], Some(("arrives", 13))),
        written("both-move-talk", TALK, &[1, 1], Some(("arrives", 16))),
    ]
}
