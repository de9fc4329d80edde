// SPDX-License-Identifier: GPL-2.0
//! Why a module is not rewritten.

use std::fmt;

/// Why a module is not rewritten.
#[derive(Debug)]
pub enum Error {
    /// It is no valid module, or uses an extension that is refused as a whole.
    Invalid(wasmparser::Error),
    /// It is valid, and has something that a stop could not keep.
    Unsupported {
        /// What it is, such as an instruction's name.
        what: String,
        /// Why it can not be kept.
        why: &'static str,
        /// The function that it is in, if it is in one.
        function: Option<u32>,
        /// Where it is in the module, in bytes.
        offset: u64,
    },
    /// It is valid, but an index or a number in it is too large for this crate.
    TooLarge(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(error) => write!(f, "this is no module that can be rewritten: {error}"),
            Error::Unsupported {
                what,
                why,
                function,
                offset,
            } => {
                write!(f, "{what} at offset {offset:#x}")?;
                if let Some(function) = function {
                    write!(f, " (function {function})")?;
                }
                write!(f, " is not supported: {why}")
            }
            Error::TooLarge(what) => write!(f, "this module has too many {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<wasmparser::Error> for Error {
    fn from(error: wasmparser::Error) -> Self {
        Error::Invalid(error)
    }
}
