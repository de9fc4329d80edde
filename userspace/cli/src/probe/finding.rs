// SPDX-License-Identifier: GPL-2.0
//! Why an engine can not work, may not, or does not yet; each with what helps.

use serde::{Deserialize, Serialize};

/// Ordered as they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It can not work as the machine is booted and built now.
    Blocker,
    /// Whether it can was not to be found out.
    Unknown,
    /// It can, once this has been done.
    Step,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A name that stays the same from version to version.
    pub code: String,
    pub kind: Kind,
    pub what: String,
    pub fix: String,
}

impl Finding {
    pub fn blocker(code: &str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(code, Kind::Blocker, what, fix)
    }

    pub fn unknown(code: &str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(code, Kind::Unknown, what, fix)
    }

    pub fn step(code: &str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(code, Kind::Step, what, fix)
    }

    fn new(code: &str, kind: Kind, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code: code.to_string(),
            kind,
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// Ordered from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    NotPossible,
    Unknown,
    Possible,
}

impl Verdict {
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let worst = |finding: &Finding| match finding.kind {
            Kind::Blocker => Verdict::NotPossible,
            Kind::Unknown => Verdict::Unknown,
            Kind::Step => Verdict::Possible,
        };
        let verdicts = findings.into_iter().map(worst);
        verdicts.min().unwrap_or(Verdict::Possible)
    }

    pub fn words(self) -> &'static str {
        match self {
            Verdict::NotPossible => "not possible",
            Verdict::Unknown => "unknown",
            Verdict::Possible => "possible",
        }
    }
}

/// What helps where only the rights to read are missing.
pub const RUN_AS_ROOT: &str = "run this program as root";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides() {
        let blocker = Finding::blocker("", "", "");
        let unknown = Finding::unknown("", "", "");
        let step = Finding::step("", "", "");
        assert_eq!(Verdict::of([]), Verdict::Possible);
        assert_eq!(Verdict::of([&step]), Verdict::Possible);
        assert_eq!(Verdict::of([&step, &unknown]), Verdict::Unknown);
        assert_eq!(
            Verdict::of([&unknown, &blocker, &step]),
            Verdict::NotPossible
        );
    }
}
