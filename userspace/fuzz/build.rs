// SPDX-License-Identifier: GPL-2.0
//! Puts the corpus of tests/fuzz/corpus/ into the program: the guest has no other files.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    let folder =
        Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../tests/fuzz/corpus");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(&folder).expect("tests/fuzz/corpus can be listed");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut source = String::from("pub const CORPUS: &[(&str, &str)] = &[\n");
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let file = file.canonicalize().unwrap();
        writeln!(
            source,
            "({name:?}, include_str!({:?})),",
            file.display().to_string()
        )
        .unwrap();
    }
    source.push_str("];\n");
    let target = Path::new(&env::var("OUT_DIR").unwrap()).join("corpus.rs");
    fs::write(target, source).expect("the corpus can be written");
}
