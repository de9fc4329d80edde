// SPDX-License-Identifier: GPL-2.0
//! `make sign KDIR=…` signs what `make KDIR=…` builds, by the program of that kernel tree.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const MAGIC: &str = "~Module signature appended~\n";

/// As the kernel's, but that it signs nothing: it keeps what it was told.
const SIGN_FILE: &str = "#!/bin/sh\n\
    echo \"$@\" >\"$(dirname \"$0\")/told\"\n\
    echo '~Module signature appended~' >>\"$4\"\n";

fn sign(checkout: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("--cache")
        .arg(checkout.join("no-cache"))
        .args(["sign", "--key", "key.pem", "--cert", "cert.pem"])
        .args(more)
        .current_dir(checkout)
        .output()
        .unwrap()
}

#[test]
fn a_tree_signs_what_was_built_against_it() {
    let checkout = tempfile::tempdir().unwrap();
    let checkout = checkout.path().canonicalize().unwrap();
    for dir in ["userspace/xtask", "build", "tree/scripts", "bare"] {
        fs::create_dir_all(checkout.join(dir)).unwrap();
    }
    for file in ["userspace/xtask/Cargo.toml", "key.pem", "cert.pem"] {
        fs::write(checkout.join(file), "").unwrap();
    }
    let (other, built) = (
        checkout.join("build/pagemove.ko"),
        checkout.join("pagemove.ko"),
    );
    fs::write(&other, "of the build root\n").unwrap();
    fs::write(&built, "of the tree\n").unwrap();
    let program = checkout.join("tree/scripts/sign-file");
    fs::write(&program, SIGN_FILE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

    let none = sign(&checkout, &["--kdir", "bare"]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(
        !none.status.success() && said.contains("bare/scripts/sign-file"),
        "{said}"
    );

    let done = sign(&checkout, &["--kdir", "tree"]);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(fs::read_to_string(&built).unwrap().ends_with(MAGIC));
    assert_eq!(fs::read_to_string(&other).unwrap(), "of the build root\n");
    let told = fs::read_to_string(checkout.join("tree/scripts/told")).unwrap();
    let path = |name: &str| checkout.join(name).display().to_string();
    let wanted = [
        "sha256".to_string(),
        path("key.pem"),
        path("cert.pem"),
        path("pagemove.ko"),
    ];
    assert_eq!(told.trim(), wanted.join(" "));
    // The build root, which is gigabytes, was not asked for.
    assert!(!checkout.join("no-cache").exists());
}
