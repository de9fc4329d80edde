// SPDX-License-Identifier: GPL-2.0
//! Programs that are ranks, each a process, exchange numbered messages while they are stopped into files and
//! taken up by other processes. Each mistake has to be missed.

mod common;

use common::exchange::{Host, Ranks};
use common::moves::{exchange, on_their_way, run, Figures, Plan, Random, Setup};
use pagemove_peers::driver::Prepared;
use std::time::Duration;

fn prepared() -> Prepared {
    Prepared::at("127.0.0.1:0").expect("a port")
}

/// Who says nothing for so long is stuck; with a mistake that is what is expected.
fn patience(mistake: Option<&str>) -> Duration {
    Duration::from_secs(if mistake.is_some() { 4 } else { 60 })
}

fn plan(programs: u16, moves: u64, mistake: Option<&'static str>) -> Plan {
    Plan {
        programs,
        moves,
        seed: 0x2545_f491_4f6c_dd1d,
        mistake,
        patience: patience(mistake),
    }
}

fn two(mistake: Option<&'static str>) -> Setup {
    Setup {
        programs: 2,
        mistake,
        patience: patience(mistake),
        hosts: vec![Host::this()],
        prepared: prepared(),
    }
}

#[test]
fn two_ranks_are_moved() {
    let figures = run(&plan(2, 20, None), vec![Host::this()], prepared()).expect("all has come");
    figures.print("2 ranks");
    assert!(figures.moves >= 20 && figures.carried > 0, "{figures:?}");
}

#[test]
fn four_ranks_are_moved() {
    let figures = run(&plan(4, 20, None), vec![Host::this()], prepared()).expect("all has come");
    figures.print("4 ranks");
    assert!(figures.moves >= 20 && figures.pairs > 0, "{figures:?}");
}

#[test]
fn messages_on_their_way_to_a_rank_that_moves_come() {
    let figures = on_their_way(two(None), "Deaf").expect("all has come");
    // Those of the burst, and what else was kept.
    assert!(figures.carried >= 16, "{figures:?}");
}

#[test]
fn what_is_left_out_of_a_move_is_missed() {
    for (mistake, moving) in [("List", "Deaf,List"), ("Drain", "Deaf,Drain")] {
        let moved = on_their_way(two(Some(mistake)), moving);
        let why = moved.expect_err(mistake);
        println!("# {mistake}: {why}");
    }
}

/// Processes that take a rank up die before they are the rank, with what was sent to them; then who has sent
/// it moves, too. Nobody sends until the rank is in its file, so that the process gets what is sent.
fn dies_before_it_is_the_rank(
    rounds: u64,
    mistake: Option<&'static str>,
) -> Result<Figures, String> {
    exchange(two(mistake), |ranks, is_over| {
        let mut figures = Figures::default();
        while figures.moves < rounds && ranks.hold(is_over) {
            ranks.stop(1)?;
            let usual = ranks.mistake.replace("TakenUp");
            ranks.restore(1, 0);
            ranks.mistake = usual;
            ranks.go_on();
            let (status, _) = ranks.wait(1, patience(None))?;
            assert!(!status.success(), "it was to die");
            ranks.stop(0)?;
            ranks.come_back(0)?;
            ranks.come_back(1)?;
            figures.moves += 1;
        }
        ranks.go_on();
        Ok(figures)
    })
}

#[test]
fn a_process_dies_before_it_is_the_rank() {
    let figures = dies_before_it_is_the_rank(8, None).expect("all has come");
    println!("# {} deaths, {} messages", figures.moves, figures.messages);
}

#[test]
fn what_is_kept_is_missed_if_it_is_left_out() {
    let why = dies_before_it_is_the_rank(1, Some("Kept")).expect_err("it is missed");
    println!("# Kept: {why}");
}

/// Rank 0 is stopped twice, with all messages of some rounds in between; then the first of its states is taken up.
fn takes_up_an_older_state(mistake: Option<&'static str>) -> Result<Figures, String> {
    exchange(two(mistake), |ranks, is_over| {
        let image = ranks.image(0);
        ranks.hold(is_over);
        ranks.stop(0)?;
        let older = std::fs::read(&image).expect("it is there");
        ranks.come_back(0)?;
        ranks.go_on();
        ranks.hold(is_over);
        ranks.stop(0)?;
        let newer = std::fs::read(&image).expect("it is there");
        std::fs::write(&image, &older).expect("written");
        let before = ranks.epoch(0);
        ranks.restore(0, 0);
        if ranks.taken_up(0, before).is_ok() {
            // The mistake: it goes on, and the others shall notice.
            ranks.go_on();
            ranks.hold(is_over);
            return Ok(Figures::default());
        }
        refused(ranks, 0, "an older state of rank 0");
        std::fs::write(&image, &newer).expect("written");
        ranks.come_back(0)?;
        ranks.go_on();
        // The same once more, while the rank goes on, by another name.
        let taken = ranks.again(0);
        let said = String::from_utf8_lossy(&taken.stderr).into_owned();
        assert_eq!(taken.status.code(), Some(4), "{said}");
        assert!(said.contains("an older state of rank 0"), "{said}");
        Ok(Figures::default())
    })
}

/// Asserts that the process of a rank has been refused.
fn refused(ranks: &mut Ranks, rank: u16, told: &str) {
    let (status, _) = ranks.wait(rank, patience(None)).expect("it ends");
    let said = ranks.said(rank);
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains(told), "{said:?} does not tell of {told:?}");
}

#[test]
fn an_older_state_is_refused() {
    takes_up_an_older_state(None).expect("all has come");
}

#[test]
fn an_older_state_would_be_noticed() {
    let why = takes_up_an_older_state(Some("Older")).expect_err("it is noticed");
    println!("# Older: {why}");
}

/// What is found after a process was killed within a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The state before, which nobody takes up any more: the rank is lost.
    Before,
    /// The state that was asked for; all has come.
    Asked,
    /// Neither.
    Torn,
}

/// Has rank 0 die within a checkpoint, at a place or after a time.
fn killed(place: Option<&'static str>, after: Duration) -> Found {
    let mut found = Found::Torn;
    let ended = exchange(two(None), |ranks, _| {
        ranks.stop(0)?;
        ranks.mistake = place;
        ranks.come_back(0)?;
        ranks.mistake = None;
        let mut asked = ranks.ask(0);
        let dead = match place {
            Some(_) => ranks.wait(0, patience(None)).map(drop),
            None => {
                std::thread::sleep(after);
                ranks.kill(0);
                Ok(())
            }
        };
        asked.wait().expect("it ends");
        dead?;
        let before = ranks.epoch(0);
        ranks.restore(0, 0);
        if ranks.taken_up(0, before).is_ok() {
            found = Found::Asked;
            return Ok(Figures::default());
        }
        let (status, _) = ranks.wait(0, patience(None)).expect("it ends");
        assert_eq!(status.code(), Some(4), "{}", ranks.said(0));
        let said = ranks.said(0);
        if said.contains("an older state of rank 0") {
            found = Found::Before;
        }
        Err(format!("the rank is lost: {said}"))
    });
    if found == Found::Torn {
        println!("# {ended:?}");
    }
    assert_eq!(ended.is_ok(), found == Found::Asked, "{ended:?}");
    found
}

#[test]
fn killed_within_a_checkpoint_it_is_the_state_before_or_the_one_asked_for() {
    assert_eq!(killed(Some("Left"), Duration::ZERO), Found::Before);
    assert_eq!(killed(Some("Drained"), Duration::ZERO), Found::Before);
    assert_eq!(killed(Some("Saved"), Duration::ZERO), Found::Asked);
    // The twin.
    assert_eq!(killed(Some("InPlace"), Duration::ZERO), Found::Torn);
}

#[test]
fn killed_at_random_within_a_checkpoint_it_is_never_torn() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut counts = [0, 0];
    for _ in 0..6 {
        match killed(None, Duration::from_micros(random.below(30_000))) {
            Found::Before => counts[0] += 1,
            Found::Asked => counts[1] += 1,
            Found::Torn => panic!("it is torn"),
        }
    }
    println!(
        "# the state before {}, the one asked for {}",
        counts[0], counts[1]
    );
}

/// Fifteen runs of 40 moves.
#[cfg(feature = "deep")]
#[test]
fn other_seeds() {
    for seed in 1..6u64 {
        for programs in [2, 3, 5] {
            let mut plan = plan(programs, 40, None);
            plan.seed = seed * 7919 + u64::from(programs);
            let figures = run(&plan, vec![Host::this()], prepared()).expect("all has come");
            figures.print(&format!("{programs} ranks"));
        }
    }
}
