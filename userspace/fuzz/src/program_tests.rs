// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn a_program_is_read_as_it_was_written() {
    let mut random = Random::new(3);
    let mut before = Program::default();
    for _ in 0..500 {
        let program = Program::choose(&mut random).mutate(&before, &mut random);
        assert_eq!(Program::parse(&program.to_string()).unwrap(), program);
        assert!(program.0.len() <= LONGEST);
        before = program;
    }
}

#[test]
fn a_seed_makes_the_same_programs() {
    let make = |seed| {
        let mut random = Random::new(seed);
        (0..20)
            .map(|_| Program::choose(&mut random).to_string())
            .collect::<String>()
    };
    assert_eq!(make(9), make(9));
    assert_ne!(make(9), make(10));
}

#[test]
fn every_call_is_drawn() {
    let mut random = Random::new(1);
    let mut seen = vec![false; OPS.len()];
    (0..200_000).for_each(|_| seen[draw_op(&mut random)] = true);
    let never: Vec<_> = OPS
        .iter()
        .zip(seen)
        .filter(|(_, seen)| !seen)
        .map(|(op, _)| op.name)
        .collect();
    assert!(never.is_empty(), "{never:?}");
}

#[test]
fn errors_name_the_line() {
    let error = format!(
        "{:#}",
        Program::parse("open file=2\n\nfly file=2\n").unwrap_err()
    );
    assert_eq!(error, "line 3: there is no call 'fly'");
    assert!(Program::parse("open sesame").is_err());
    assert!(Program::parse("open file=x").is_err());
    assert!(Program::parse("open door=1").is_err());
    assert!(Program::parse("# nothing\n").unwrap().0.is_empty());
}
