// SPDX-License-Identifier: GPL-2.0

use super::*;

const FILE: &str = r#"
[part.base]
machine = "q35"
nodes = [1, 2]
devices = ["iommu"]
[part.disk]
devices = ["disk"]
disks = [{ node = "d0" }]
[profile.a]
about = "a"
like = ["base", "disk"]
devices = ["card"]
[profile.b]
about = "b"
like = ["a"]
machine = "other"
nodes = [3]
devices = ["more"]
"#;

fn expanded(name: &str) -> Table {
    profiles(FILE).unwrap()[name].clone()
}

/// Returns why the file is refused once `from` has become `to`.
fn refusal(from: &str, to: &str) -> String {
    assert!(FILE.contains(from));
    let error = profiles(&FILE.replace(from, to)).unwrap_err();
    format!("{error:#}")
}

#[test]
fn lists_grow_in_the_order_in_which_parts_are_named() {
    let expected = r#"
        about = "a"
        machine = "q35"
        nodes = [1, 2]
        devices = ["iommu", "disk", "card"]
        disks = [{ node = "d0" }]
    "#;
    assert_eq!(expanded("a"), toml::from_str(expected).unwrap());
}

#[test]
fn the_last_one_said_is_taken() {
    let expected = r#"
        about = "b"
        machine = "other"
        nodes = [3]
        devices = ["iommu", "disk", "card", "more"]
        disks = [{ node = "d0" }]
    "#;
    assert_eq!(expanded("b"), toml::from_str(expected).unwrap());
}

#[test]
fn what_a_profile_is_about_it_says_itself() {
    let text = FILE.replace("about = \"b\"\n", "");
    assert!(!profiles(&text).unwrap()["b"].contains_key("about"));
}

#[test]
fn a_parent_that_is_nowhere_is_named() {
    let text = refusal("\"base\", \"disk\"", "\"base\", \"disc\"");
    assert!(text.contains("like disc, which is nowhere"), "{text}");
}

#[test]
fn a_circle_is_named() {
    let text = refusal("[part.base]", "[part.base]\nlike = [\"b\"]");
    assert!(text.contains("is like itself"), "{text}");
    let text = refusal("like = [\"a\"]", "like = [\"b\"]");
    assert!(text.contains("b is like itself: b -> b"), "{text}");
}

#[test]
fn a_part_is_taken_once() {
    let text = refusal("like = [\"a\"]", "like = [\"a\", \"disk\"]");
    assert!(text.contains("like disk twice"), "{text}");
}

#[test]
fn a_part_that_nobody_uses_is_named() {
    let text = refusal("\"base\", \"disk\"", "\"base\"");
    assert!(text.contains("no profile is made of part disk"), "{text}");
}

#[test]
fn a_name_is_that_of_one_thing() {
    let text = refusal("[profile.b]", "[profile.disk]");
    assert!(text.contains("disk is a part and a profile"), "{text}");
}

#[test]
fn like_is_a_list() {
    let text = refusal("like = [\"a\"]", "like = \"a\"");
    assert!(text.contains("`like` of b"), "{text}");
}
