// SPDX-License-Identifier: GPL-2.0
//! A module from a file, rewritten if it was not.

use crate::exit::{Exit, Failure};
use pagemove_portable::{rewrite, Options, Points, Poll, Portable};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// A rewritten module.
pub struct Module {
    pub wasm: Vec<u8>,
    pub points: Points,
    /// SHA-256 of `wasm`: what an image is for.
    pub sum: [u8; 32],
}

/// Rewrites a module for the engine that is here: it counts polls.
pub fn rewrite_for_engine(wasm: &[u8], path: &Path) -> Result<Portable, Failure> {
    let options = Options {
        poll: Poll::Counted,
        ..Options::default()
    };
    rewrite(wasm, options).map_err(Failure::of(Exit::Unsupported, path.display()))
}

pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(Failure::of(
        Exit::System,
        format!("reading {}", path.display()),
    ))
}

impl Module {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let wasm = read(path)?;
        let points =
            Points::of_module(&wasm).map_err(Failure::of(Exit::Unsupported, path.display()))?;
        let (wasm, points) = match points {
            Some(points) => (wasm, points),
            None => {
                let portable = rewrite_for_engine(&wasm, path)?;
                (portable.wasm, portable.points)
            }
        };
        let sum = Sha256::digest(&wasm).into();
        Ok(Module { wasm, points, sum })
    }
}
