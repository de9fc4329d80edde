// SPDX-License-Identifier: GPL-2.0
//! What is wrong with an image, or with its file.

use crate::encode::VERSION;
use std::fmt;
use std::io;
use std::path::PathBuf;

#[derive(Debug)]
pub enum Error {
    /// It does not begin as an image does.
    NoImage,
    /// It is of another version.
    Version(u32),
    /// It ends early, goes on behind its end, or the table of its parts is damaged.
    Damaged(&'static str),
    /// The checksum of a part is not that of what is in it.
    Checksum(&'static str),
    /// A part is whole, and what it says can not be.
    Nonsense(&'static str, String),
    /// It is too large to be written.
    TooLarge(&'static str),
    /// The system refused something.
    System(PathBuf, &'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoImage => f.write_str("this is no image of an application"),
            Error::Version(version) => write!(
                f,
                "this image is of version {version}, and this program knows versions 1 to {VERSION}"
            ),
            Error::Damaged(what) => write!(f, "this image is damaged: {what}"),
            Error::Checksum(part) => {
                write!(
                    f,
                    "this image is damaged: the checksum of its {part} is another one"
                )
            }
            Error::Nonsense(part, what) => write!(f, "the {part} of this image can not be: {what}"),
            Error::TooLarge(what) => write!(f, "{what} is too large for an image"),
            Error::System(path, what, error) => {
                write!(f, "{}: it can not be {what}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::System(_, _, error) => Some(error),
            _ => None,
        }
    }
}
