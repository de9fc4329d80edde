// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn the_archive_is_picked_not_security_nor_another_vendor() {
    let targets = "http://a/cloud\tstable\tmain\tVendor\n\
                   http://b/debian-security\tbookworm-security\tmain\tDebian\n\
                   http://c/debian\tbookworm-updates\tmain\tDebian\n\
                   http://c/debian\tbookworm\tcontrib\tDebian\n\
                   http://d/debian\tbookworm\tmain\tDebian\n";
    assert_eq!(pick(targets), Some("http://d/debian"));
}

#[test]
fn another_distribution_has_no_debian_mirror() {
    assert_eq!(
        pick("http://a/ubuntu\tnoble\tmain\tUbuntu\nhttp://a/ubuntu\tnoble\tuniverse\tUbuntu\n"),
        None
    );
    assert_eq!(pick(""), None);
}

#[test]
fn proxies_are_taken_over_and_empty_ones_are_not() {
    let dump =
        "Acquire \"\";\nAcquire::http::Proxy \"http://p:1/\";\nAcquire::https::Proxy \"\";\n\
                Acquire::http::Proxy::internal \"DIRECT\";\nAcquire::http::Pipeline \"0\";\n";
    let expected = [
        "Acquire::http::Proxy \"http://p:1/\"",
        "Acquire::http::Proxy::internal \"DIRECT\"",
    ];
    assert_eq!(proxies(dump), expected);
}
