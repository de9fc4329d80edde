// SPDX-License-Identifier: GPL-2.0
//! An image in a file, which is complete or absent.
//!
//! It is written under another name in the same directory, made durable, and only then renamed: at every
//! instant the file's name means the old image, or the new one, or nothing if there was none.

use crate::decode::decode;
use crate::disk::{Disk, System};
use crate::encode::encode;
use crate::error::Error;
use crate::image::Image;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;

/// Puts an image into a file of the host, in place of the one that is there.
pub fn save(image: &Image, path: &Path) -> Result<(), Error> {
    save_to(&mut System, image, path)
}

/// Puts an image into a file of a disk.
pub fn save_to(disk: &mut impl Disk, image: &Image, path: &Path) -> Result<(), Error> {
    let pieces = encode(image)?;
    let other = name_beside(path);
    let written = write(disk, &other, pieces.iter().map(|piece| &piece[..]));
    if written.is_err() {
        // It failed before; what is left of it is in nobody's way.
        let _ = disk.remove(&other);
    }
    written?;
    disk.rename(&other, path)
        .map_err(|error| told(path, "renamed to", error))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    disk.sync_directory(directory)
        .map_err(|error| told(directory, "made durable", error))
}

fn write<'p>(
    disk: &mut impl Disk,
    path: &Path,
    pieces: impl Iterator<Item = &'p [u8]>,
) -> Result<(), Error> {
    let mut file = disk
        .create(path)
        .map_err(|error| told(path, "made", error))?;
    let mut pending = Vec::new();
    for piece in pieces.flat_map(|piece| piece.chunks(PIECE)) {
        if pending.len() + piece.len() > PIECE {
            disk.write(&mut file, &pending)
                .map_err(|error| told(path, "written", error))?;
            pending.clear();
        }
        pending.extend_from_slice(piece);
    }
    disk.write(&mut file, &pending)
        .map_err(|error| told(path, "written", error))?;
    disk.sync(&mut file)
        .map_err(|error| told(path, "made durable", error))
}

/// Returns the name under which a file is written. It is one for each file: whoever saves to the same file at
/// the same time has to agree with the other anyway, and what a crash has left is overwritten.
fn name_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn told(path: &Path, what: &'static str, error: std::io::Error) -> Error {
    Error::System(path.to_path_buf(), what, error)
}

/// Reads an image from a file of the host.
pub fn load(path: &Path) -> Result<Image, Error> {
    let bytes = fs::read(path).map_err(|error| told(path, "read", error))?;
    decode(&bytes)
}
