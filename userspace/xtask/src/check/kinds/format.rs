// SPDX-License-Identifier: GPL-2.0
//! Whether every source file is formatted.

use crate::check::setup::Setup;
use crate::format::{self, Language};
use crate::judge::tap::Status;
use crate::judge::verdict::Verdict;
use anyhow::Result;

/// Judges each language as one result, and each file that is not formatted as one more.
pub fn run(setup: &Setup) -> Result<Verdict> {
    let sources = format::sources(setup.place, setup.root()?)?;
    let mut verdict = Verdict::default();
    for language in Language::ALL {
        let name = language.formatter();
        let files = || sources.iter().filter(|one| one.language == language);
        let mut wrong = 0;
        for source in files() {
            if let Some(line) = source.wrong_line() {
                wrong += 1;
                let file = source.file.display();
                verdict.fail(format!(
                    "{file}:{line}: not as {name} makes it (`make fmt`)"
                ));
            }
        }
        if wrong == 0 {
            let count = files().count();
            verdict.add(
                format!("{count} files are as {name} makes them"),
                Status::Passed,
            );
        }
    }
    Ok(verdict)
}
