// SPDX-License-Identifier: GPL-2.0
//! Asks the C compiler what a header says: a generated program prints each
//! constant, size, offset and sign.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::parse::Header;

#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    pub offset: usize,
    pub size: usize,
    /// None for an array: its elements have a sign, it has none.
    pub signed: Option<bool>,
}

#[derive(Default)]
pub struct Facts {
    pub constants: BTreeMap<String, String>,
    pub sizes: BTreeMap<String, usize>,
    /// By structure and member.
    pub members: BTreeMap<(String, String), Member>,
}

/// Compiles and runs the program, in a folder of its own.
pub fn run(include: &Path, header: &Header) -> Facts {
    let folder = tempfile::tempdir().expect("a folder for the program");
    let source = folder.path().join("probe.c");
    let program = folder.path().join("probe");
    std::fs::write(&source, program_text(header)).expect("the program can be written");
    let output = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(&source)
        .arg("-I")
        .arg(include)
        .output()
        .expect("a C compiler named cc and the kernel's user headers are needed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = Command::new(&program).output().expect("the program runs");
    assert!(output.status.success());
    facts(std::str::from_utf8(&output.stdout).expect("the program prints text"))
}

fn program_text(header: &Header) -> String {
    let mut text = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include <linux/pagemove.h>\n\
         static void number(const char *name, unsigned long long value) { printf(\"constant %s %llu\\n\", name, value); }\n\
         static void string(const char *name, const char *value) { printf(\"constant %s %s\\n\", name, value); }\n\
         #define CONSTANT(c) _Generic((c), char *: string, const char *: string, default: number)(#c, c)\n\
         #define SIGN(x) _Generic((x), __s32: 1, __u8: 0, __u16: 0, __u32: 0, __u64: 0, default: -1)\n\
         #define MEMBER(s, m) printf(\"member %s %s %zu %zu %d\\n\", #s, #m, offsetof(struct s, m), \\\n\
             sizeof(((struct s *)0)->m), SIGN(((struct s *)0)->m))\n\
         int main(void)\n{\n",
    );
    for name in &header.constants {
        writeln!(text, "CONSTANT({name});").unwrap();
    }
    for (name, members) in &header.structs {
        writeln!(
            text,
            "printf(\"size {name} %zu\\n\", sizeof(struct {name}));"
        )
        .unwrap();
        for member in members {
            writeln!(text, "MEMBER({name}, {member});").unwrap();
        }
    }
    text.push_str("return 0;\n}\n");
    text
}

fn facts(printed: &str) -> Facts {
    let mut facts = Facts::default();
    for line in printed.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["constant", name, value] => {
                facts.constants.insert(name.to_string(), value.to_string());
            }
            ["size", name, size] => {
                facts.sizes.insert(name.to_string(), size.parse().unwrap());
            }
            ["member", structure, name, offset, size, sign] => {
                let member = Member {
                    offset: offset.parse().unwrap(),
                    size: size.parse().unwrap(),
                    signed: match sign {
                        "1" => Some(true),
                        "0" => Some(false),
                        _ => None,
                    },
                };
                facts
                    .members
                    .insert((structure.to_string(), name.to_string()), member);
            }
            _ => panic!("the program printed {line:?}"),
        }
    }
    facts
}
