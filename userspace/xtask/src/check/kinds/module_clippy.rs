// SPDX-License-Identifier: GPL-2.0
//! Clippy on the module, by the kernel's own make: its lints and those of Kbuild, each an error.

use crate::check::setup::Setup;
use crate::judge::tap::{Point, Status};
use crate::judge::verdict::Verdict;
use crate::module::{self, Variant};
use crate::root::image::Flavour;
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Judges each variant of the module as one result, whose notes are what was found.
pub fn run(setup: &Setup) -> Result<(Verdict, String)> {
    let mut verdict = Verdict::default();
    let mut log = String::new();
    for variant in [Variant::Ship, Variant::Test] {
        let (root, image) = (setup.root()?, setup.image(Flavour::Stock)?);
        let mut command = module::clippy(setup.place, root, image, variant)?;
        let output = command.stdin(Stdio::null()).output()?;
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let name = variant.name();
        let work = root
            .dir()
            .join(module::clippy_dir(setup.place, image, variant));
        verdict.points.push(match output.status.success() {
            true if !was_clippy(&work) => {
                Point::new(format!("{name}: make has not asked clippy"), Status::Failed)
            }
            true => Point::new(format!("{name}: no lint objects"), Status::Passed),
            false => Point {
                notes: found(&text),
                ..Point::new(format!("{name}: a lint objects"), Status::Failed)
            },
        });
        log += &text;
    }
    Ok((verdict, log))
}

/// Returns whether the crates were compiled by clippy, as kbuild noted. rustc knows none of its lints,
/// and is silent about that.
fn was_clippy(work: &Path) -> bool {
    let commands = ["src/.main.o.cmd", "src/engine/.lib.o.cmd"];
    commands.iter().all(|file| {
        let noted = fs::read_to_string(work.join(file)).unwrap_or_default();
        noted.contains("clippy-driver")
    })
}

/// Returns what rustc says is wrong, each with the line that follows, where it is.
fn found(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let wrong = lines.windows(2).filter(|pair| pair[0].starts_with("error"));
    wrong
        .map(|pair| format!("{} {}", pair[0], pair[1].trim_start()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustc_compiled_is_not_clippys() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!was_clippy(dir.path()));
        fs::create_dir_all(dir.path().join("src/engine")).unwrap();
        let put = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        put("src/.main.o.cmd", "savedcmd_src/main.o := clippy-driver -D");
        put(
            "src/engine/.lib.o.cmd",
            "savedcmd_src/engine/lib.o := rustc",
        );
        assert!(!was_clippy(dir.path()));
        put(
            "src/engine/.lib.o.cmd",
            "savedcmd_src/engine/lib.o := clippy-driver",
        );
        assert!(was_clippy(dir.path()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let text = "  CLIPPY x\nerror: missing a safety comment\n  --> /x/a.rs:3:9\n   |\n\
                    error: aborting due to 1 previous error\n\n";
        assert_eq!(
            found(text),
            [
                "error: missing a safety comment --> /x/a.rs:3:9",
                "error: aborting due to 1 previous error ",
            ]
        );
    }
}
