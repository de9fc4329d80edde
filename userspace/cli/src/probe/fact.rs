// SPDX-License-Identifier: GPL-2.0
//! What is known, or why it is not: nothing in a report is guessed.

use serde::{Deserialize, Serialize};

/// In JSON the value itself, or `{"unknown": "why"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact<T> {
    // Tried first when a report is read back. No value here looks like the other,
    // which on its part would take a list of one text.
    Known(T),
    Unknown(Unknown),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    pub unknown: String,
}

pub use Fact::Known;

impl<T> Fact<T> {
    pub fn unknown(why: impl Into<String>) -> Self {
        Fact::Unknown(Unknown {
            unknown: why.into(),
        })
    }

    pub fn known(&self) -> Option<&T> {
        match self {
            Known(value) => Some(value),
            Fact::Unknown(_) => None,
        }
    }

    /// Returns why it is not known.
    pub fn why(&self) -> Option<&str> {
        match self {
            Known(_) => None,
            Fact::Unknown(unknown) => Some(&unknown.unknown),
        }
    }

    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Known(value) => Known(value),
            Fact::Unknown(unknown) => Fact::Unknown(unknown.clone()),
        }
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Known(value) => Known(f(value)),
            Fact::Unknown(unknown) => Fact::Unknown(unknown),
        }
    }

    pub fn and_then<U>(self, f: impl FnOnce(T) -> Fact<U>) -> Fact<U> {
        match self {
            Known(value) => f(value),
            Fact::Unknown(unknown) => Fact::Unknown(unknown),
        }
    }
}

impl<T: PartialEq> Fact<T> {
    pub fn is(&self, value: &T) -> bool {
        self.known() == Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_one_text_is_no_reason() {
        let fact: Fact<Vec<String>> = serde_json::from_str(r#"["text"]"#).unwrap();
        assert_eq!(fact, Known(vec!["text".to_string()]));
    }

    #[test]
    fn json_is_the_value_or_the_reason() {
        let json = |fact: &Fact<Option<bool>>| serde_json::to_string(fact).unwrap();
        for (fact, text) in [
            (Known(Some(true)), "true"),
            (Known(None), "null"),
            (Fact::unknown("needs root"), r#"{"unknown":"needs root"}"#),
        ] {
            assert_eq!(json(&fact), text);
            assert_eq!(
                serde_json::from_str::<Fact<Option<bool>>>(text).unwrap(),
                fact
            );
        }
    }
}
