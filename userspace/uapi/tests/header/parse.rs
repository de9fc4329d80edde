// SPDX-License-Identifier: GPL-2.0
//! The names that a header defines: enough of C for a header that has only
//! object-like macros and flat structures.

use std::collections::BTreeMap;

pub struct Header {
    /// Macros with a value, in their order.
    pub constants: Vec<String>,
    /// Members by structure, in their order.
    pub structs: BTreeMap<String, Vec<String>>,
}

pub fn header(text: &str) -> Header {
    let text = without_comments(text);
    Header {
        constants: constants(&text),
        structs: structs(&text),
    }
}

fn without_comments(text: &str) -> String {
    let mut rest = text;
    let mut bare = String::new();
    while let Some((before, after)) = rest.split_once("/*") {
        bare.push_str(before);
        rest = after.split_once("*/").expect("every comment ends").1;
    }
    bare.push_str(rest);
    bare
}

fn constants(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // The include guard has no value; PAGEMOVE_F(x) would be no constant.
        .filter(|words| words.len() > 1 && !words[0].contains('('))
        .map(|words| words[0].to_string())
        .collect()
}

fn structs(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((head, body_and_rest)) = rest.split_once('{') {
        let (body, after) = body_and_rest.split_once('}').expect("every brace closes");
        let mut words = head.split_whitespace().rev();
        let name = words.next().expect("a structure has a name");
        assert_eq!(words.next(), Some("struct"), "only structures have braces");
        found.insert(
            name.to_string(),
            body.split(';').flat_map(declared).collect(),
        );
        rest = after;
    }
    found
}

/// Returns the names that a line declares: `__u64 a[N], b` a and b, `struct s a` a.
fn declared(declaration: &str) -> Vec<String> {
    let declaration = declaration.trim();
    let declaration = declaration.strip_prefix("struct ").unwrap_or(declaration);
    let Some((_, names)) = declaration.split_once(char::is_whitespace) else {
        return Vec::new();
    };
    names
        .split(',')
        .map(|name| name.split('[').next().unwrap().trim().to_string())
        .collect()
}
