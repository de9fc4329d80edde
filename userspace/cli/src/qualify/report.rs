// SPDX-License-Identifier: GPL-2.0
//! What was found, for people and for programs.

use std::path::PathBuf;

use pagemove_uapi::{text, PciAddress, Verdict};
use serde::Serialize;
use serde_json::{json, Value};

use super::decide::{Judgement, Reply, Ruling};
use super::evidence::{Evidence, Trial};
use super::list::{self, VerdictReport};
use crate::{output, report};

/// What became of the verdict.
pub struct Outcome {
    /// It counts in the loaded module.
    pub set: bool,
    pub stored: Option<PathBuf>,
}

pub struct Found {
    pub address: PciAddress,
    pub kind: &'static str,
    pub verdict: Verdict,
    pub judgement: Judgement,
    pub evidence: Evidence,
    pub outcome: Outcome,
}

impl Found {
    pub fn print(&self, as_json: bool) {
        if as_json {
            report::json(&self.json());
        } else {
            output::result(&self.text());
        }
    }

    fn text(&self) -> String {
        let verdict = VerdictReport::from(&self.verdict);
        let mut text = format!(
            "{} ({}, {}), IOMMU {} (registers {}), tables {}, CPU {}, microcode {}\n\n",
            self.address,
            self.kind,
            list::devices(verdict.ats),
            verdict.iommu,
            verdict.registers.as_deref().unwrap_or("not known"),
            verdict.format,
            verdict.cpu,
            verdict.microcode
        );
        for reply in &self.judgement.replies {
            text += &format!(
                "{}: {}\n    {}\n",
                reply.question,
                reply.answer.name(),
                reply.why
            );
        }
        text.push('\n');
        for ruling in &self.judgement.rulings {
            let word = if ruling.allowed {
                "allowed"
            } else {
                "not allowed"
            };
            text += &format!("engine {}: {word}\n", engine(ruling));
            for why in &ruling.why {
                text += &format!("    {why}\n");
            }
        }
        text + &format!("\n{}\n", self.outcome.sentence())
    }

    fn json(&self) -> Value {
        let judgement = &self.judgement;
        json!({
            "device": self.address.to_string(),
            "kind": self.kind,
            "verdict": VerdictReport::from(&self.verdict),
            "questions": judgement.replies.iter().map(|reply| self.question(reply)).collect::<Vec<_>>(),
            "engines": judgement.rulings.iter().map(|ruling| json!({
                "engine": engine(ruling),
                "allowed": ruling.allowed,
                "why": ruling.why,
            })).collect::<Vec<_>>(),
            "set": self.outcome.set,
            "stored": self.outcome.stored,
        })
    }

    fn question(&self, reply: &Reply) -> Value {
        json!({
            "question": reply.question,
            "answer": reply.answer.name(),
            "why": reply.why,
            "evidence": numbers(&self.evidence, reply.question),
        })
    }
}

impl Outcome {
    fn sentence(&self) -> String {
        match (self.set, &self.stored) {
            (false, _) => "The module goes by what it knew before.".to_string(),
            (true, None) => {
                "The module goes by this verdict until it is unloaded (--store keeps it)."
                    .to_string()
            }
            (true, Some(file)) => format!(
                "The module goes by this verdict now and, from {}, whenever it is loaded.",
                file.display()
            ),
        }
    }
}

fn engine(ruling: &Ruling) -> String {
    text::of_engine(ruling.engine).name.to_string()
}

/// Returns the numbers as JSON; null where nothing could be tried.
fn numbers(evidence: &Evidence, question: &str) -> Value {
    fn of<T: Serialize>(trial: &Trial<T>) -> Value {
        match trial {
            Trial::Seen(seen) => json!(seen),
            Trial::Refused(_) | Trial::Pointless(_) => Value::Null,
        }
    }
    match question {
        super::decide::DRAINS | super::decide::SNOOPS => of(&evidence.promises),
        "ad-set" => of(&evidence.marks),
        "ad-first" => of(&evidence.landings),
        "clean-walks" => of(&evidence.clean),
        "ad-cas" => of(&evidence.race),
        "watch-seen" => of(&evidence.watch),
        "walk-seen" => of(&evidence.walks),
        "a-seen" => of(&evidence.marked_walks),
        super::decide::MOVES_ADBIT => of(&evidence.moves_adbit),
        super::decide::MOVES_RTM => of(&evidence.moves_rtm),
        super::decide::SPLIT_LIVE | super::decide::MERGE_LIVE => of(&evidence.sizes),
        _ => Value::Null,
    }
}
