// SPDX-License-Identifier: GPL-2.0
//! The description for syzkaller says what the header says: every ioctl, every constant that
//! it names, every member with its place and size.

#[path = "../../uapi/tests/header/parse.rs"]
mod parse;
#[path = "../../uapi/tests/header/probe.rs"]
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Of the file of stored verdicts, which no call takes.
const NO_CALL: &str = "pagemove_verdict_file";
/// Constants of others that the description uses.
const OTHERS: [(&str, u64); 3] = [
    ("AT_FDCWD", -100i64 as u64),
    ("O_RDWR", 2),
    ("MAP_SHARED", 1),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn header() -> parse::Header {
    parse::header(&read("include/uapi/linux/pagemove.h"))
}

fn description() -> String {
    read("tests/syzkaller/dev_pagemove.txt")
}

fn constants() -> BTreeMap<String, u64> {
    constants_of(&read("tests/syzkaller/dev_pagemove.txt.const"))
}

fn constants_of(text: &str) -> BTreeMap<String, u64> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("arches"));
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.to_string(), value.parse().unwrap()))
        .collect()
}

/// Structures with their members, as name and type.
fn structs(text: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut found: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut now = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_suffix(" {") {
            now = Some(name.to_string());
        } else if line == "}" {
            now = None;
        } else if let Some(name) = &now {
            let mut words = line.split('\t').filter(|word| !word.is_empty());
            let member = (
                words.next().unwrap().to_string(),
                words.next().unwrap().to_string(),
            );
            found.entry(name.clone()).or_default().push(member);
        }
    }
    found
}

struct Types {
    structs: BTreeMap<String, Vec<(String, String)>>,
    resources: BTreeMap<String, String>,
    constants: BTreeMap<String, u64>,
}

impl Types {
    fn new(text: &str, constants: BTreeMap<String, u64>) -> Self {
        let resources = text
            .lines()
            .filter_map(|line| line.strip_prefix("resource ")?.split_once('['));
        let resources = resources.map(|(name, rest)| {
            (
                name.to_string(),
                rest.split(']').next().unwrap().to_string(),
            )
        });
        Self {
            structs: structs(text),
            resources: resources.collect(),
            constants,
        }
    }

    /// Bytes of a type.
    fn size(&self, text: &str) -> usize {
        let (name, arguments) = match text.split_once('[') {
            Some((name, rest)) => (
                name,
                split(rest.strip_suffix(']').unwrap_or_else(|| panic!("{text}"))),
            ),
            None => (text, Vec::new()),
        };
        match name {
            "int8" => 1,
            "int16" => 2,
            "int32" => 4,
            "int64" | "ptr64" => 8,
            "const" | "flags" | "len" | "bytesize" => self.size(&arguments[1]),
            "array" => self.size(&arguments[0]) * self.count(&arguments[1]),
            name => match (self.resources.get(name), self.structs.get(name)) {
                (Some(base), _) => self.size(base),
                (_, Some(members)) => members.iter().map(|(_, text)| self.size(text)).sum(),
                _ => panic!("there is no type {name}"),
            },
        }
    }

    fn count(&self, text: &str) -> usize {
        text.parse()
            .unwrap_or_else(|_| self.constants[text] as usize)
    }

    /// Name, offset and size of each member. Nothing is padded.
    fn members(&self, name: &str) -> Vec<(String, usize, usize)> {
        let mut offset = 0;
        let members = self.structs[name].iter().map(|(member, text)| {
            let size = self.size(text);
            offset += size;
            (member.clone(), offset - size, size)
        });
        members.collect()
    }
}

/// At the commas outside brackets.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_string()).collect()
}

#[test]
fn every_member_is_where_the_header_puts_it() {
    let (header, text) = (header(), description());
    let facts = probe::run(&repository().join("include/uapi"), &header);
    let types = Types::new(&text, constants());
    let described: BTreeSet<&String> = types.structs.keys().collect();
    let expected: BTreeSet<&String> = header
        .structs
        .keys()
        .filter(|name| *name != NO_CALL)
        .collect();
    assert_eq!(described, expected);
    for name in expected {
        let members: Vec<_> = header.structs[name]
            .iter()
            .map(|member| {
                let fact = &facts.members[&(name.clone(), member.clone())];
                (member.clone(), fact.offset, fact.size)
            })
            .collect();
        assert_eq!(types.members(name), members, "{name}");
        assert_eq!(types.size(name), facts.sizes[name], "{name}");
    }
}

#[test]
fn every_ioctl_is_described_with_its_number() {
    let (header, text) = (header(), description());
    let requests = header
        .constants
        .iter()
        .filter(|name| name.starts_with("PAGEMOVE_IOC_") && *name != "PAGEMOVE_IOC_TYPE");
    let expected: BTreeSet<String> = requests.cloned().collect();
    let mut described = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("ioctl$")) {
        let name = line.split('(').next().unwrap();
        assert!(line.contains(&format!("cmd const[{name}]")), "{line}");
        let argument = line
            .rsplit_once("arg ptr[inout, ")
            .unwrap()
            .1
            .trim_end_matches("])");
        assert!(header.structs.contains_key(argument), "{line}");
        described.insert(name.to_string());
    }
    assert_eq!(described, expected);
}

#[test]
fn constants_have_the_values_of_the_header() {
    let facts = probe::run(&repository().join("include/uapi"), &header());
    let constants = constants();
    for (name, value) in &constants {
        let other = OTHERS
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.to_string());
        let expected = other.or_else(|| facts.constants.get(name).cloned());
        assert_eq!(Some(value.to_string()), expected, "{name}");
    }
    let text = description();
    let bare: String = text
        .lines()
        .filter(|line| !line.starts_with(['#', 'i']))
        .map(|line| format!("{line}\n"))
        .collect();
    let all: String = bare
        + &text
            .lines()
            .filter(|line| line.starts_with("ioctl$"))
            .collect::<String>();
    let words = all.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let used: BTreeSet<&str> = words
        .filter(|word| {
            word.chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        })
        .filter(|word| word.contains('_') && !word.starts_with('_'))
        .collect();
    let listed: BTreeSet<&str> = constants.keys().map(String::as_str).collect();
    assert_eq!(used, listed);
}

/// The comparison itself: what is wrong is found.
#[test]
fn a_member_that_is_missing_or_shorter_moves_the_others() {
    let constants: BTreeMap<String, u64> = constants_of("# x\narches = amd64\nN = 3\n");
    let types = |text: &str| Types::new(text, constants.clone()).members("s");
    let whole = "resource id[int32]: 1\ns {\n\ta\tbytesize[parent, int32]\n\tb\tid\n\tc\tarray[int64, N]\n\td\tptr64[out, array[int8], opt]\n}\n";
    let name = |name: &str, offset, size| (name.to_string(), offset, size);
    assert_eq!(
        types(whole),
        [
            name("a", 0, 4),
            name("b", 4, 4),
            name("c", 8, 24),
            name("d", 32, 8)
        ]
    );
    assert_ne!(types(&whole.replace("\tb\tid\n", "")), types(whole));
    assert_ne!(types(&whole.replace("int64, N", "int32, N")), types(whole));
}
