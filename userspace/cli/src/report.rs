// SPDX-License-Identifier: GPL-2.0
//! How results and errors are printed.

use pagemove_uapi::{errno, text, Error, REASON_NONE};
use serde::Serialize;

/// An error as JSON has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    pub call: &'static str,
    pub errno: String,
    pub number: i32,
    /// Null where the kernel gave none.
    pub reason: Option<String>,
    pub message: String,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self {
            call: error.call.name(),
            errno: errno::name(error.errno),
            number: error.errno,
            reason: (error.reason != REASON_NONE)
                .then(|| text::name_or_number(text::REASONS, error.reason)),
            message: error.message(),
        }
    }
}

/// Prints one document on standard output.
pub fn json(value: &impl Serialize) {
    println!(
        "{}",
        serde_json::to_string_pretty(value).expect("reports are plain data")
    );
}

/// Prints one line of a stream of documents.
pub fn json_line(value: &impl Serialize) {
    println!(
        "{}",
        serde_json::to_string(value).expect("reports are plain data")
    );
}

/// Prints an error that ended the command before there was anything to report.
pub fn error(error: &Error, as_json: bool) {
    if as_json {
        json(&serde_json::json!({ "error": ErrorReport::from(error) }));
    }
    eprintln!("pagemove: {error}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use pagemove_uapi::{Call, REASON_LARGE_LEAF};

    #[test]
    fn errors_as_json() {
        let error = Error::with_reason(Call::Move, libc::EOPNOTSUPP, REASON_LARGE_LEAF);
        let report = serde_json::to_value(ErrorReport::from(&error)).unwrap();
        assert_eq!(report["call"], "move");
        assert_eq!(report["errno"], "EOPNOTSUPP");
        assert_eq!(report["number"], libc::EOPNOTSUPP);
        assert_eq!(report["reason"], "large-leaf");
        assert!(report["message"]
            .as_str()
            .unwrap()
            .contains("smaller pieces"));
        let plain = serde_json::to_value(ErrorReport::from(&Error::new(Call::Info, 5))).unwrap();
        assert!(plain["reason"].is_null());
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
