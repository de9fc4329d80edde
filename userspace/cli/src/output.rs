// SPDX-License-Identifier: GPL-2.0
//! Where words go: results to standard output, all else to standard error. What a command did is
//! told even where standard output takes nothing, for it can not be asked for again.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints a line for people: `say!("what {happened}")`.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::output::line(format_args!($($words)*))
    };
}
pub(crate) use say;

/// Standard output has failed.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Returns whether a result could not be written: [`crate::exit::Exit::Unwritten`].
pub fn is_unwritten() -> bool {
    UNWRITTEN.load(Ordering::Relaxed)
}

/// Prints a result, which ends with a line feed; on standard error where it can not be written.
pub fn result(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    drop(out);
    if let Err(error) = written {
        unwritten(text, &error);
    }
}

fn unwritten(text: &str, error: &io::Error) {
    UNWRITTEN.store(true, Ordering::Relaxed);
    say!("standard output can not be written ({error}): what belongs there follows");
    raw(text);
}

/// Does what [`say!`] says.
pub fn line(words: Arguments<'_>) {
    raw(&format!("pagemove: {words}\n"));
}

/// Writes to standard error. Where that fails there is nobody left to be told.
fn raw(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
