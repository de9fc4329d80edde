// SPDX-License-Identifier: GPL-2.0

use super::*;

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("pagemove-sync-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("from/src/deep")).unwrap();
    dir
}

#[test]
fn only_changes_are_written_and_leftovers_go() {
    let dir = scratch("changes");
    let (from, to) = (dir.join("from"), dir.join("to"));
    for file in ["Kbuild", "src/a.rs", "src/deep/b.c", "src/a.o"] {
        fs::write(from.join(file), file).unwrap();
    }
    copy(&from, &["Kbuild", "src"], &to).unwrap();
    assert!(!to.join("src/a.o").exists());
    fs::write(to.join("src/built.o"), "").unwrap();
    let before = fs::metadata(to.join("src/a.rs"))
        .unwrap()
        .modified()
        .unwrap();
    fs::remove_file(from.join("src/deep/b.c")).unwrap();
    fs::write(from.join("Kbuild"), "changed").unwrap();
    copy(&from, &["Kbuild", "src"], &to).unwrap();
    assert_eq!(
        fs::metadata(to.join("src/a.rs"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
    assert_eq!(fs::read_to_string(to.join("Kbuild")).unwrap(), "changed");
    assert!(!to.join("src/deep/b.c").exists());
    assert!(to.join("src/built.o").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let dir = scratch("missing");
    let error = copy(&dir.join("from"), &["nothing.rs"], &dir.join("to")).unwrap_err();
    assert!(error.to_string().contains("nothing.rs"), "{error}");
    fs::remove_dir_all(dir).unwrap();
}
