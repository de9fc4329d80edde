// SPDX-License-Identifier: GPL-2.0
//! How results and errors are printed: Documentation/json.md.

use pagemove_migrate::failure::Failure;
use pagemove_uapi::{errno, text, Error, REASON_NONE};
use serde::Serialize;

use crate::output::{self, say};

/// Of all documents. Grows when a member changes its meaning or goes; new ones may come at any time.
pub const SCHEMA: u32 = 1;

/// An error as JSON has it, the same in every document.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// Whose: `kernel`, `usage`, `host` and others.
    pub kind: &'static str,
    /// The call to the kernel; null, as the three below, where it was none.
    pub call: Option<&'static str>,
    pub errno: Option<String>,
    pub number: Option<i32>,
    /// Null also where the kernel gave none.
    pub reason: Option<String>,
    /// Of the page that it is about; null where it is about none.
    pub iova: Option<String>,
    pub message: String,
}

impl ErrorReport {
    /// Makes an error that no call to the kernel ended with.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            call: None,
            errno: None,
            number: None,
            reason: None,
            iova: None,
            message: message.into(),
        }
    }
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self {
            kind: "kernel",
            call: Some(error.call.name()),
            errno: Some(errno::name(error.errno)),
            number: Some(error.errno),
            reason: (error.reason != REASON_NONE)
                .then(|| text::name_or_number(text::REASONS, error.reason)),
            iova: error.iova.map(|iova| format!("{iova:#x}")),
            message: error.message(),
        }
    }
}

impl From<&Failure> for ErrorReport {
    fn from(failure: &Failure) -> Self {
        let kind = match failure {
            Failure::Connection(_) => "connection",
            Failure::Refused(_)
            | Failure::Peer(_)
            | Failure::PeerStopped(_)
            | Failure::Wrong(_) => "peer",
            Failure::Host(error) if error.kernel.is_some() => "kernel",
            Failure::Host(_) => "host",
            Failure::Hook(_) => "hook",
            Failure::State(_) => "state",
            Failure::Busy(_) | Failure::Later(..) => "busy",
            Failure::Deadline => "deadline",
            Failure::Stopped => "stopped",
        };
        let kernel = match failure {
            Failure::Host(error) | Failure::Later(_, error) => error.kernel.as_ref(),
            _ => None,
        };
        let told = match kernel {
            Some(error) => Self::from(error),
            None => Self::new(kind, ""),
        };
        let message = match failure {
            Failure::Host(_) if kernel.is_some() => told.message,
            _ => failure.to_string(),
        };
        Self {
            kind,
            message,
            ..told
        }
    }
}

/// A document: what it is about, and by which rules it is written.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// Prints one document as a result.
pub fn json(body: &impl Serialize) {
    let text = serde_json::to_string_pretty(&Document {
        schema: SCHEMA,
        body,
    });
    output::result(&(text.expect("reports are plain data") + "\n"));
}

/// Prints one line of a stream of documents.
pub fn json_line(body: &impl Serialize) {
    let text = serde_json::to_string(&Document {
        schema: SCHEMA,
        body,
    });
    output::result(&(text.expect("reports are plain data") + "\n"));
}

/// Prints an error that ended the command before there was anything to report. `words`: it, for
/// people.
pub fn failure(error: ErrorReport, words: &str, as_json: bool) {
    if as_json {
        json(&serde_json::json!({ "error": error }));
    }
    say!("{words}");
}

/// Prints an error of the kernel's in the same way.
pub fn error(error: &Error, as_json: bool) {
    failure(error.into(), &error.to_string(), as_json);
}

/// Columns of text, left-aligned, two spaces apart.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Checks that Documentation/json.md names every member of a document.
#[cfg(test)]
pub fn expect_documented(json: &serde_json::Value) {
    /// Members whose own members are names of the kernel's.
    const BY_NAME: [&str; 2] = ["aborts", "engines"];
    let page = include_str!("../../../Documentation/json.md");
    match json {
        serde_json::Value::Array(all) => all.iter().for_each(expect_documented),
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                assert!(
                    page.contains(&format!("`{name}`")),
                    "{name} is not in json.md"
                );
                if !(value.is_object() && BY_NAME.contains(&name.as_str())) {
                    expect_documented(value);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_migrate::host::{HostError, Trouble};
    use pagemove_uapi::{Call, REASON_LARGE_LEAF};

    #[test]
    fn errors_as_json() {
        let error = Error::with_reason(Call::Move, libc::EOPNOTSUPP, REASON_LARGE_LEAF);
        let report = serde_json::to_value(ErrorReport::from(&error.at(Some(0xa0000)))).unwrap();
        assert_eq!(report["kind"], "kernel");
        assert_eq!(report["call"], "move");
        assert_eq!(report["errno"], "EOPNOTSUPP");
        assert_eq!(report["number"], libc::EOPNOTSUPP);
        assert_eq!(report["reason"], "large-leaf");
        assert_eq!(report["iova"], "0xa0000");
        assert!(report["message"].as_str().unwrap().contains("split-live"));
        let plain = serde_json::to_value(ErrorReport::from(&Error::new(Call::Info, 5))).unwrap();
        assert!(plain["reason"].is_null() && plain["iova"].is_null());
        expect_documented(&serde_json::json!({ "schema": SCHEMA, "error": report }));
    }

    #[test]
    fn every_kind_of_error_is_documented() {
        let page = include_str!("../../../Documentation/json.md");
        let text = || String::from("x");
        for failure in [
            Failure::Connection(text()),
            Failure::Refused(text()),
            Failure::Host(HostError::new(Trouble::Failed, "x")),
            Failure::Hook(text()),
            Failure::State(text()),
            Failure::Busy(1),
            Failure::Deadline,
            Failure::Stopped,
        ] {
            let kind = ErrorReport::from(&failure).kind;
            assert!(page.contains(&format!("`{kind}`")), "{kind}");
        }
    }

    #[test]
    fn failures_of_migrations_keep_what_the_kernel_said() {
        let error = Error::new(Call::Move, libc::ENOENT).at(Some(0xa0000));
        for (failure, kind) in [
            (Failure::Host(HostError::from(error)), "kernel"),
            (Failure::Later(3, HostError::from(error)), "busy"),
        ] {
            let report = ErrorReport::from(&failure);
            assert_eq!(
                (report.kind, report.errno.as_deref()),
                (kind, Some("ENOENT"))
            );
            assert_eq!(report.iova.as_deref(), Some("0xa0000"));
        }
        let report = ErrorReport::from(&Failure::Deadline);
        assert_eq!((report.kind, report.errno), ("deadline", None));
    }

    #[test]
    fn tables_align() {
        let rows = [
            vec!["a".to_string(), "bb".to_string()],
            vec!["ccc".to_string(), "d".to_string()],
        ];
        assert_eq!(table(&rows), "a    bb\nccc  d\n");
        assert_eq!(table(&[]), "");
    }
}
