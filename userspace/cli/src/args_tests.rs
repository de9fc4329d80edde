// SPDX-License-Identifier: GPL-2.0

use pagemove_uapi::text;

use super::*;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(line.split(' '))
}

#[test]
fn every_engine_of_the_module_has_its_name_here() {
    for method in Method::ALL {
        let engine = Engine::from(*method);
        assert_eq!(engine.number(), engine_number(*method));
        let value = engine.to_possible_value().expect("it is not hidden");
        assert_eq!(value.get_name(), text::of_engine(*method).name);
    }
}

#[test]
fn definition_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn help_names_every_exit_code() {
    let help = Args::command().render_long_help().to_string();
    for code in crate::exit::Exit::ALL {
        assert!(
            help.contains(&format!("\n  {}  ", code as u8)),
            "{code:?} is not in the help"
        );
    }
}

#[test]
fn wrong_lines_of_probe_are_told_apart() {
    let is = |line: &str| is_probe(line.split(' ').map(OsString::from));
    for line in ["probe nic", "probe --frob", "--json probe 0:3.0 extra"] {
        assert!(is(&format!("pagemove {line}")), "{line}");
    }
    for line in ["info probe", "frob probe", "move --device probe"] {
        assert!(!is(&format!("pagemove {line}")), "{line}");
    }
}

#[test]
fn json_may_stand_anywhere() {
    assert!(parse("pagemove --json info").unwrap().json);
    assert!(parse("pagemove info --json").unwrap().json);
}

#[test]
fn one_form_at_a_time() {
    for line in [
        "pagemove --json stats --openmetrics",
        "pagemove stats --openmetrics --json",
        "pagemove map --json --svg -",
    ] {
        let error = parse(line).unwrap().checked().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{line}");
        assert!(error.to_string().contains("'--json'"), "{error}");
    }
    for line in [
        "pagemove stats --openmetrics",
        "pagemove stats --json",
        "pagemove map --svg -",
        "pagemove map --json",
    ] {
        assert!(parse(line).unwrap().checked().is_ok(), "{line}");
    }
}
