// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::vm::pair;
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
    suite
        .select(groups, pattern)
        .unwrap()
        .iter()
        .map(|test| test.name.clone())
        .collect()
}

#[test]
fn groups_select_and_a_pattern_overrides_them() {
    assert_eq!(names(&[Group::Check], None), ["host-a"]);
    assert_eq!(
        names(&[Group::Check, Group::Deep], None),
        ["host-a", "vm-b"]
    );
    assert_eq!(names(&[Group::Check], Some("vm")), ["vm-b"]);
}

#[test]
fn whole_words_of_names_come_before_parts_of_words() {
    let names = ["deb", "deb-more", "debug-twin", "a-deb"];
    let test = |name| format!("[[test]]\nname = {name:?}\nabout = \"x\"\nhost = [\"true\"]\n");
    let suite = Suite::parse(&names.map(test).concat()).unwrap();
    let select = |pattern| {
        let tests = suite.select(&[Group::Check], Some(pattern)).unwrap();
        tests
            .iter()
            .map(|test| test.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(select("deb"), ["deb", "deb-more", "a-deb"]);
    assert_eq!(select("debu"), ["debug-twin"]);
    assert_eq!(select("deb*"), ["deb", "deb-more", "debug-twin"]);
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
    assert!(
        Suite::parse("[[test]]\nname = \"a\"\nabout = \"x\"\nhost = []\nown = \"format\"\n")
            .is_err()
    );
    assert!(Suite::parse("[[test]]\nname = \"a\"\nabout = \"x\"\ntap = []\nhost = []\n").is_err());
    assert!(Suite::parse("[[test]]\nname = \"a\"\nabout = \"x\"\ntap = []\n").is_ok());
}

#[test]
fn the_kernel_source_is_for_cargo_only() {
    let suite = Suite::parse(&TWO.replace(
        "cargo = [\"test\"]",
        "cargo = [\"test\"]\nkernel_source = true",
    ))
    .unwrap();
    assert_eq!(
        suite
            .all()
            .iter()
            .map(|test| test.kernel_source)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert!(Suite::parse(&TWO.replace(
        "cargo = [\"test\"]",
        "own = \"format\"\nkernel_source = true"
    ))
    .is_err());
    assert!(Suite::parse(
        &TWO.replace("cargo = [\"test\"]", "own = \"format\"\nbuild_root = true")
    )
    .is_err());
}

const PAIR: &str = r#"
[[test]]
name = "pair"
about = "x"
[test.vm]
profile = "host-a"
argv = ["true"]
[test.vm.peer]
profile = "host-b"
argv = ["false"]
timeout = 7
params = ["x=1"]
"#;

#[test]
fn a_peer_is_a_guest() {
    let suite = Suite::parse(PAIR).unwrap();
    let guests: Vec<_> = suite.all()[0].guests().collect();
    assert_eq!(
        guests
            .iter()
            .map(|guest| guest.profile.as_str())
            .collect::<Vec<_>>(),
        ["host-a", "host-b"]
    );
    assert_eq!((guests[0].timeout, guests[1].timeout), (200, 7));
    assert_eq!(
        Suite::parse(TWO)
            .unwrap()
            .all()
            .iter()
            .map(|test| test.guests().count())
            .collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn what_is_said_of_a_pair_is_said_of_its_first_vm() {
    for line in [
        "red = \"x\"",
        "busy = true",
        "[test.vm.peer.peer]\nprofile = \"x\"\nargv = []",
    ] {
        assert!(Suite::parse(&format!("{PAIR}{line}\n")).is_err(), "{line}");
    }
    let first = "profile = \"host-a\"\n";
    assert!(Suite::parse(&PAIR.replace(first, &format!("{first}busy = true\n"))).is_err());
    assert!(Suite::parse(&PAIR.replace(first, &format!("{first}red = \"x\"\n"))).is_ok());
}

#[test]
fn kernels_that_look_for_mistakes_get_no_twins_of_others() {
    let fits = |more: &str| {
        let text = TWO.replace("profile = \"vtd\"", &format!("profile = \"vtd\"\n{more}"));
        let suite = Suite::parse(&text).unwrap();
        let mut test = suite
            .all()
            .iter()
            .find(|test| test.vm.is_some())
            .unwrap()
            .clone();
        test.group = if more.contains("kasan = ") {
            Group::Deep
        } else {
            Group::Check
        };
        [Flavour::Stock, Flavour::Kasan, Flavour::Kcsan].map(|kernel| test.is_for(kernel))
    };
    assert_eq!(fits(""), [true, true, false]);
    assert_eq!(fits("kcsan = true"), [true, true, true]);
    assert_eq!(fits("kasan = true"), [true, true, false]);
    assert_eq!(fits("kasan = false"), [true, false, false]);
    assert_eq!(fits("red = \"x\""), [true, false, false]);
    assert_eq!(fits("red = \"x\"\nkernel = \"kasan\""), [true, true, false]);
}

/// The lists that are really used name only what exists.
#[test]
fn the_lists_agree() {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let profiles = Profiles::read(&tests.join("profiles.toml")).unwrap();
    for (name, profile) in profiles.iter() {
        assert!(
            !profile.about.is_empty() && profile.cpus as usize >= profile.nodes.len(),
            "{name}"
        );
    }
    for test in Suite::read(&tests.join("tests.toml")).unwrap().all() {
        assert!(
            !test.about.is_empty() && !test.about.contains('\n'),
            "{}",
            test.name
        );
        for guest in test.guests() {
            profiles.get(&guest.profile).unwrap();
            assert!(!guest.argv.is_empty(), "{}", test.name);
            for script in &guest.scripts {
                assert!(
                    tests.join("guest").join(script).is_file(),
                    "{}: {script}",
                    test.name
                );
            }
        }
        let hosts: Vec<_> = test
            .guests()
            .map(|guest| profiles.get(&guest.profile).unwrap())
            .collect();
        match hosts[..] {
            [one, other] => pair::check(one, other).unwrap(),
            [one] => assert!(!one.needs_peer(), "{} has no peer", test.name),
            _ => {}
        }
    }
}

/// Of a kernel that is not the default one only a few tests are repeated: what depends on it most.
#[test]
fn few_tests_run_on_each_series() {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let suite = Suite::read(&tests.join("tests.toml")).unwrap();
    let repeated: Vec<_> = suite.all().iter().filter(|test| test.each_series).collect();
    assert!((5..20).contains(&repeated.len()));
    assert!(repeated.iter().all(|test| test.group == Group::Check));
    let uses_kernel = |test: &Test| test.vm.is_some() || test.own.is_some() || test.kernel_source;
    assert!(repeated.into_iter().all(uses_kernel));
}
