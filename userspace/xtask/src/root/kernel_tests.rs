// SPDX-License-Identifier: GPL-2.0

use super::*;

const SERIES: Series = pin::SUPPORTED[0];

fn release(patch: u32) -> String {
    format!("{}.{patch}{}", SERIES.name(), pin::FLAVOUR)
}

fn rows(patch: u32, without: &str) -> String {
    let version = format!("{}.{patch}-1", SERIES.name());
    let names = candidates(SERIES, &[release(patch)]);
    let rows = names
        .iter()
        .filter(|name| !name.starts_with(without) || without.is_empty());
    rows.map(|name| format!(" {name} | {version} | somewhere\n"))
        .collect()
}

#[test]
fn only_the_series_and_the_flavour_in_numeric_order() {
    let names = [9, 12, 11]
        .map(|patch| format!("linux-headers-{}\n", release(patch)))
        .concat();
    let noise = format!(
        "linux-headers-{0}.12+deb13-cloud-amd64\nlinux-headers-{0}.12+deb13-common\n",
        SERIES.name()
    );
    let other = format!(
        "linux-headers-1.1.99{}\nlinux-image-{}\n",
        pin::FLAVOUR,
        release(99)
    );
    assert_eq!(
        releases(SERIES, &(names + &noise + &other)),
        [release(9), release(11), release(12)]
    );
}

#[test]
fn the_newest_complete_one_is_chosen() {
    let all = [release(9), release(12)];
    let table = rows(9, "") + &rows(12, "");
    assert_eq!(choose(SERIES, &all, &table).unwrap().release, release(12));
    for missing in [
        "linux-source",
        "linux-binary",
        "linux-modules",
        "linux-base",
        "linux-headers",
    ] {
        let table = rows(9, "") + &rows(12, missing);
        assert_eq!(
            choose(SERIES, &all, &table).unwrap().release,
            release(9),
            "without {missing}"
        );
    }
}

#[test]
fn source_of_another_version_does_not_count() {
    let newer = rows(12, "linux-source")
        + &format!("{} | {}.11-1 | x\n", source_package(SERIES), SERIES.name());
    let error = choose(SERIES, &[release(12)], &newer)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no complete kernel"), "{error}");
}

#[test]
fn what_is_downloaded_names_the_version() {
    let kernel = choose(SERIES, &[release(9)], &rows(9, "")).unwrap();
    assert!(kernel
        .packages()
        .iter()
        .all(|name| name.ends_with(&format!("={}.9-1", SERIES.name()))));
    assert_eq!(kernel.packages().len(), 5);
}
