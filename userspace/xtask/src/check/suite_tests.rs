// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::vm::profile::Profiles;
use std::path::PathBuf;

const TWO: &str = r#"
[[test]]
name = "host-a"
about = "x"
cargo = ["test"]
[[test]]
name = "vm-b"
about = "x"
group = "deep"
[test.vm]
profile = "vtd"
argv = ["true"]
"#;

fn names(groups: &[Group], pattern: Option<&str>) -> Vec<String> {
    let suite = Suite::parse(TWO).unwrap();
    suite.select(groups, pattern).unwrap().iter().map(|test| test.name.clone()).collect()
}

#[test]
fn groups_select_and_a_pattern_overrides_them() {
    assert_eq!(names(&[Group::Check], None), ["host-a"]);
    assert_eq!(names(&[Group::Check, Group::Deep], None), ["host-a", "vm-b"]);
    assert_eq!(names(&[Group::Check], Some("vm")), ["vm-b"]);
}

#[test]
fn nothing_selected_is_an_error() {
    let suite = Suite::parse(TWO).unwrap();
    assert!(suite.select(&[Group::Check], Some("nonsense")).is_err());
    assert!(suite.select(&[Group::Demo], None).is_err());
}

#[test]
fn patterns() {
    for (pattern, name, expected) in [
        ("soak", "vm-soak-nvme", true),
        ("soak", "vm-edu", false),
        ("vm-*", "vm-soak", true),
        ("vm-*", "host-vm-x", false),
        ("*-nvme", "vm-soak-nvme", true),
        ("vm*so*nvme", "vm-soak-nvme", true),
        ("vm*xx*nvme", "vm-soak-nvme", false),
        ("*", "anything", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_test_is_of_one_kind_and_named_once() {
    assert!(Suite::parse(&TWO.replace("vm-b", "host-a")).is_err());
    assert!(Suite::parse("[[test]]\nname = \"a\"\nabout = \"x\"\n").is_err());
    assert!(Suite::parse("[[test]]\nname = \"a\"\nabout = \"x\"\nhost = []\nbinary = true\n").is_err());
    assert!(Suite::parse("[[test]]\nname = \"a\"\nabout = \"x\"\ntap = []\nhost = []\n").is_err());
    assert!(Suite::parse("[[test]]\nname = \"a\"\nabout = \"x\"\ntap = []\n").is_ok());
}

#[test]
fn the_kernel_source_is_for_cargo_only() {
    let suite = Suite::parse(&TWO.replace("cargo = [\"test\"]", "cargo = [\"test\"]\nkernel_source = true")).unwrap();
    assert_eq!(suite.all().iter().map(|test| test.kernel_source).collect::<Vec<_>>(), [true, false]);
    assert!(Suite::parse(&TWO.replace("cargo = [\"test\"]", "binary = true\nkernel_source = true")).is_err());
}

/// The lists that are really used name only what exists.
#[test]
fn the_lists_agree() {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let profiles = Profiles::read(&tests.join("profiles.toml")).unwrap();
    for (name, profile) in profiles.iter() {
        assert!(!profile.about.is_empty() && profile.cpus as usize >= profile.nodes.len(), "{name}");
    }
    for test in Suite::read(&tests.join("tests.toml")).unwrap().all() {
        assert!(!test.about.is_empty() && !test.about.contains('\n'), "{}", test.name);
        let Some(guest) = &test.vm else { continue };
        profiles.get(&guest.profile).unwrap();
        assert!(!guest.argv.is_empty(), "{}", test.name);
        for script in &guest.scripts {
            assert!(tests.join("guest").join(script).is_file(), "{}: {script}", test.name);
        }
    }
}
