// SPDX-License-Identifier: GPL-2.0
//! `make clean` in a checkout that was built in every way: what is left are the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a checkout has, as far as `make clean` could hit it.
const SOURCES: &[&str] = &[
    "Makefile",
    "Kbuild",
    "src/main.rs",
    "src/shim/vfio.c",
    "src/ntb/Kbuild",
    "tests/ntb/control.h",
    "userspace/Cargo.toml",
    "userspace/Cargo.lock",
    "userspace/one/Cargo.toml",
    "userspace/one/src/lib.rs",
    "userspace/migrate/fuzz/Cargo.toml",
];

/// What make, Kbuild (with KDIR=) and cargo leave.
const MADE: &[&str] = &[
    "build/pagemove.ko",
    "build/logs/module.log",
    "third_party/spin/src/lib.rs",
    "pagemove.ko",
    "pagemove.mod",
    "pagemove.mod.c",
    ".pagemove.ko.cmd",
    "modules.order",
    ".Module.symvers.cmd",
    "Module.symvers",
    "src/main.o",
    "src/.main.o.cmd",
    "src/.main.o.d",
    "src/engine/libengine.rmeta",
    "src/ntb/pagemove_ntb.ko",
    "userspace/migrate/fuzz/target/debug/messages",
];

const WORKSPACE: &str = "[workspace]\nmembers = [\"one\"]\nresolver = \"3\"\n";
const PACKAGE: &str = "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";

fn write(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Returns every file below a directory.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path)),
        }
    }
    found
}

fn run(checkout: &Path, cache: &Path, program: &str, args: &[&str]) {
    let status = Command::new(program)
        .args(args)
        .current_dir(checkout)
        .env("XDG_CACHE_HOME", cache)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_BUILD_DIR")
        .env_remove("MAKEFLAGS")
        .status()
        .unwrap();
    assert!(status.success(), "{program} {args:?}: {status}");
}

#[test]
fn make_clean_leaves_the_sources_and_nothing_else() {
    let scratch = std::env::temp_dir().join(format!("pagemove-clean-{}", std::process::id()));
    let _ = fs::remove_dir_all(&scratch);
    let (checkout, cache) = (scratch.join("checkout"), scratch.join("cache"));
    for path in SOURCES.iter().chain(MADE) {
        write(&checkout, path, "");
    }
    let makefile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Makefile");
    // cargo builds something small, by the Makefile's own settings.
    let build =
        "\nbuild-one:\n\tcargo build --quiet --offline --manifest-path userspace/Cargo.toml\n";
    let text = fs::read_to_string(makefile).unwrap() + build;
    write(&checkout, "Makefile", &text);
    write(&checkout, "userspace/Cargo.toml", WORKSPACE);
    write(&checkout, "userspace/one/Cargo.toml", PACKAGE);
    write(&cache, "pagemove/build-root/bin/sh", "");
    run(&checkout, &cache, "make", &["build-one"]);
    assert!(checkout.join("userspace/target").exists());
    run(&checkout, &cache, "make", &["clean"]);

    let sources = SOURCES.iter().map(|path| checkout.join(path)).collect();
    assert_eq!(files(&checkout), sources);
    // What is not of a checkout stays.
    let root = cache.join("pagemove/build-root/bin/sh");
    assert_eq!(files(&cache), BTreeSet::from([root]));
    fs::remove_dir_all(scratch).unwrap();
}
