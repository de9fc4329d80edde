// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn every_kind_of_loss_makes_a_status_unclean() {
    let account = Account::default();
    assert!(account.status().is_clean());
    for counter in [
        &account.lost,
        &account.stale,
        &account.corrupt,
        &account.unfinished,
        &account.cpu_lost,
        &account.medium_stale,
        &account.medium_lost,
    ] {
        let before = account.status().losses();
        counter.add(1);
        assert_eq!(account.status().losses(), before + 1);
    }
    assert!(!account.status().is_clean());
}

#[test]
fn a_failed_storm_is_not_clean() {
    let account = Account::default();
    account.fail("the controller has failed".into());
    let status = account.status();
    assert!(!status.is_clean());
    assert!(status
        .describe_losses()
        .contains("the controller has failed"));
}

#[test]
fn a_status_survives_its_json() {
    let account = Account::default();
    account.dmas_read.add(5);
    account.event("page 3".into());
    let text = serde_json::to_string(&account.status()).unwrap();
    let back: Status = serde_json::from_str(&text).unwrap();
    assert_eq!((back.dmas(), back.events.len()), (5, 1));
}

#[test]
fn the_rate_is_that_of_the_interval() {
    let earlier = Status {
        seconds: 10.0,
        dmas_read: 1000,
        ..Default::default()
    };
    let later = Status {
        seconds: 12.0,
        dmas_read: 2000,
        dmas_written: 1000,
        ..Default::default()
    };
    assert_eq!(later.rate_since(&earlier), 1000.0);
}
