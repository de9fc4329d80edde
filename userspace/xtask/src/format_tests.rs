// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn the_first_line_that_differs_is_counted_from_one() {
    assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
    assert_eq!(first_difference("a\nb\n", "a\n"), Some(2));
    assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    assert_eq!(first_difference("a\nb", "a\nb\n"), Some(2));
}

#[test]
fn what_is_built_and_what_is_others_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        "src/a.rs",
        "src/b.c",
        "src/b.mod.c",
        "src/c.h",
        "src/d.o",
        "third_party/x/lib.rs",
        "userspace/target/debug/x.rs",
        ".hidden/x.rs",
        "build/x.c",
        "Kbuild",
    ];
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let mut found = Vec::new();
    collect(dir.path(), Path::new(""), &mut found).unwrap();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let expected = [
        ("src/a.rs", Language::Rust),
        ("src/b.c", Language::C),
        ("src/c.h", Language::C),
    ];
    assert_eq!(
        found,
        expected.map(|(file, language)| (PathBuf::from(file), language))
    );
}
