// SPDX-License-Identifier: GPL-2.0
//! The adaptive controller of `rtm`: bounds, directions, extremes, convergence.
//! How good its times are is measured in the crate sim, on simulated attempts.

use crate::rtm::{Bounds, Controller, Controllers, Sample, Times, MAX_SLOTS};
use crate::LeafSize;

/// 1 GHz: a tick is a ns.
const BOUNDS: Bounds = Bounds::for_tsc(1_000_000);

fn committed(phase1: u64, phase2: u64) -> Sample {
    Sample::Committed {
        phase1: Some(phase1),
        phase2,
    }
}

/// What an attempt with these phases ends in, where nothing else happens.
fn outcome(times: &Times, phase1: u64, phase2: u64) -> Sample {
    if phase1 > times.lead {
        Sample::Late { phase1 }
    } else if phase2 > times.wait() {
        Sample::Timeout { phase2 }
    } else {
        committed(phase1, phase2)
    }
}

fn after(attempts: usize, phase1: u64, phase2: u64) -> Controller {
    let mut controller = Controller::new(BOUNDS);
    for _ in 0..attempts {
        let sample = outcome(&controller.times(), phase1, phase2);
        controller.learn(sample);
    }
    controller
}

fn keeps(bounds: &Bounds, times: &Times) -> bool {
    let within = |limits: (u64, u64), ticks: u64| limits.0 <= ticks && ticks <= limits.1;
    within(bounds.lead(), times.lead)
        && within(bounds.wait(), times.wait())
        && within(bounds.interval(), times.interval)
        && (1..=MAX_SLOTS).contains(&times.slots)
        && times.first_slot >= 1
}

/// Numbers without an order, of all sizes (SplitMix64).
fn scattered(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |n: u64| {
        let mut z = (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = z ^ (z >> 31);
        mixed >> (mixed % 61)
    })
}

fn any_sample(kind: u64, ticks: u64, other: u64) -> Sample {
    match kind % 6 {
        0 => committed(ticks, other),
        1 => Sample::Committed {
            phase1: None,
            phase2: ticks,
        },
        2 => Sample::Late { phase1: ticks },
        3 => Sample::Timeout { phase2: ticks },
        4 => Sample::Raced { phase2: ticks },
        _ => Sample::Other,
    }
}

#[test]
fn limits_that_can_not_be_kept_are_refused() {
    assert!(Bounds::new((1, 9), (1, 9), (1, 9)).is_some());
    assert!(Bounds::new((0, 9), (1, 9), (1, 9)).is_none());
    assert!(Bounds::new((9, 1), (1, 9), (1, 9)).is_none());
    assert!(Bounds::new((1, 9), (1, 1 << 32), (1, 1 << 31)).is_none());
    assert!(Bounds::new((1, 9), (1, 630), (1, 10)).is_some());
    assert!(
        Bounds::new((1, 9), (1, 631), (1, 10)).is_none(),
        "64 slots reach 630 ticks"
    );
}

#[test]
fn limits_for_any_clock_can_be_kept() {
    for khz in [
        0,
        1,
        1_000,
        1_001,
        1_999_999,
        2_500_000,
        1_000_000_000,
        u64::MAX,
    ] {
        let limits = Bounds::for_tsc(khz);
        assert_eq!(
            Bounds::new(limits.lead(), limits.wait(), limits.interval()),
            Some(limits)
        );
        assert!(
            keeps(&limits, &Controller::new(limits).times()),
            "{khz} kHz"
        );
    }
    assert_eq!(BOUNDS.lead(), (200, 100_000));
}

#[test]
fn times_keep_their_limits_whatever_is_measured() {
    let limits = [
        BOUNDS,
        Bounds::new((1, 1), (1, 1), (1, 1)).unwrap(),
        Bounds::new((100, 100), (100, 100), (60, 60)).unwrap(),
        Bounds::new((7, 4_000_000_000), (7, 4_000_000_000), (1, 70_000_000)).unwrap(),
        Bounds::new(
            (1, 4_294_967_295),
            (4_294_967_295, 4_294_967_295),
            (68_174_085, 4_294_967_295),
        )
        .unwrap(),
    ];
    for (seed, bounds) in limits.iter().enumerate() {
        let mut controller = Controller::new(*bounds);
        let mut numbers = scattered(seed as u64);
        let mut next = || numbers.next().unwrap_or(0);
        for n in 0..20_000 {
            let (kind, ticks, other) = (next(), next(), next());
            // Rows of one kind reach further than a mixture.
            let kind = if n % 1000 < 300 { n / 1000 } else { kind };
            controller.learn(any_sample(kind, ticks, other));
            assert!(
                keeps(bounds, &controller.times()),
                "{:?}",
                controller.times()
            );
        }
    }
}

#[test]
fn extreme_measures_do_no_harm() {
    for ticks in [0, 1, u64::MAX - 1, u64::MAX] {
        for kind in 0..6 {
            let mut controller = Controller::new(BOUNDS);
            for _ in 0..600 {
                controller.learn(any_sample(kind, ticks, ticks));
                assert!(keeps(&BOUNDS, &controller.times()));
            }
            // It finds back to what is usual; what it thinks of a cache line, slowly.
            for _ in 0..4000 {
                let sample = outcome(&controller.times(), 1000, 3000);
                controller.learn(sample);
            }
            let times = controller.times();
            assert!(
                times.lead < 1300 && times.wait() < 5000,
                "{ticks} {kind}: {times:?}"
            );
        }
    }
}

/// Runs any samples and calls `judge` with the times before and after each.
fn watch(mut judge: impl FnMut(&Sample, &Times, &Times)) {
    for seed in 0..4 {
        let mut controller = Controller::new(BOUNDS);
        let mut numbers = scattered(seed);
        let mut next = || numbers.next().unwrap_or(0);
        for _ in 0..10_000 {
            let sample = any_sample(next(), next() % 20_000, next() % 20_000);
            let before = controller.times();
            controller.learn(sample);
            judge(&sample, &before, &controller.times());
        }
    }
}

#[test]
fn an_abort_never_shortens_what_was_too_short() {
    watch(|sample, before, after| match sample {
        Sample::Late { .. } => assert!(after.lead >= before.lead),
        Sample::Timeout { .. } => assert!(after.wait() >= before.wait(), "{before:?} {after:?}"),
        Sample::Raced { .. } => assert!(after.interval >= before.interval),
        Sample::Committed { .. } | Sample::Other => {}
    });
}

/// The twin of the test above: the same samples do shorten each of them, by commits.
#[test]
fn commits_do_shorten() {
    let mut shorter = (0, 0, 0);
    watch(|sample, before, after| {
        if matches!(sample, Sample::Committed { .. }) {
            shorter.0 += u32::from(after.lead < before.lead);
            shorter.1 += u32::from(after.wait() < before.wait());
            shorter.2 += u32::from(after.interval < before.interval);
        }
    });
    assert!(
        shorter.0 > 0 && shorter.1 > 0 && shorter.2 > 0,
        "{shorter:?}"
    );
}

#[test]
fn late_attempts_lengthen_the_lead_more_and_more() {
    let mut controller = after(500, 1000, 3000);
    let mut steps = std::vec::Vec::new();
    for _ in 0..6 {
        let before = controller.times().lead;
        controller.learn(Sample::Late { phase1: 50_000 });
        steps.push(controller.times().lead - before);
    }
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    assert!(steps[5] > 16 * steps[0], "{steps:?}");
}

#[test]
fn timeouts_lengthen_the_wait_more_and_more() {
    let mut controller = after(500, 1000, 3000);
    let before = controller.times().wait();
    for _ in 0..8 {
        controller.learn(Sample::Timeout { phase2: 60_000 });
    }
    assert!(controller.times().wait() > 3 * before);
}

/// The helper stalls after it has read the clock, so its measure shows nothing.
#[test]
fn timeouts_lengthen_the_wait_though_phase_2_was_short() {
    let mut controller = after(500, 1000, 3000);
    let before = controller.times().wait();
    let mut steps = std::vec::Vec::new();
    for _ in 0..6 {
        let wait = controller.times().wait();
        controller.learn(Sample::Timeout { phase2: 3000 });
        steps.push(controller.times().wait() - wait);
    }
    assert!(
        steps.windows(2).all(|pair| pair[0] <= pair[1]) && steps[5] > 4 * steps[0],
        "{steps:?}"
    );
    for _ in 0..4000 {
        let sample = outcome(&controller.times(), 1000, 3000);
        controller.learn(sample);
    }
    assert!(controller.times().wait() < 2 * before);
}

#[test]
fn commits_shorten_down_to_what_is_measured() {
    let start = Controller::new(BOUNDS).times();
    for (phase1, phase2) in [(400, 1500), (1000, 3000), (7000, 2000), (3000, 90_000)] {
        let times = after(1000, phase1, phase2).times();
        assert!(
            times.lead >= phase1 && times.lead <= phase1 + phase1 / 7,
            "{times:?}"
        );
        assert!(
            times.wait() >= phase2 && times.wait() <= phase2 + phase2 / 3,
            "{times:?}"
        );
        assert!(times.lead < start.lead && times.wait() < start.wait());
    }
}

#[test]
fn a_wait_that_a_few_timeouts_lengthened_becomes_short_again() {
    let mut controller = after(500, 1000, 3000);
    for _ in 0..6 {
        controller.learn(Sample::Timeout { phase2: 20_000 });
    }
    let lengthened = controller.times().wait();
    for _ in 0..4000 {
        let sample = outcome(&controller.times(), 1000, 3000);
        controller.learn(sample);
    }
    let wait = controller.times().wait();
    assert!(lengthened > 6000 && wait < 4000, "{lengthened} {wait}");
}

/// The twin of the test above but one: where nothing is learned nothing is shortened.
#[test]
fn without_measures_the_start_is_kept() {
    let controller = after(0, 1000, 3000);
    assert_eq!(controller.times(), Controller::new(BOUNDS).times());
    assert!(controller.times().lead > 10 * 1000 && controller.times().wait() > 10 * 3000);
}

#[test]
fn a_sudden_change_is_followed_within_sixty_attempts() {
    for (phase1, phase2) in [(5000, 15_000), (250, 800)] {
        let mut controller = after(2000, 1000, 3000);
        for _ in 0..60 {
            let sample = outcome(&controller.times(), phase1, phase2);
            controller.learn(sample);
        }
        let times = controller.times();
        assert!(
            times.lead >= phase1 && times.lead <= phase1 + phase1 / 4,
            "{times:?}"
        );
        assert!(
            times.wait() >= phase2 && times.wait() <= phase2 + phase2 / 2,
            "{times:?}"
        );
    }
}

#[test]
fn races_move_the_slots_apart() {
    let mut controller = after(500, 1000, 3000);
    // A cache line takes 2000 ticks now: whatever is set is read too early.
    for _ in 0..20 {
        let times = controller.times();
        let phase2 = times.first_slot.saturating_sub(1);
        controller.learn(Sample::Raced { phase2 });
    }
    for n in 0..20 {
        let times = controller.times();
        let phase2 = times.first_slot + (n % 4) * times.interval;
        controller.learn(Sample::Raced { phase2 });
    }
    assert!(
        controller.times().interval > 2000,
        "{:?}",
        controller.times()
    );
}

#[test]
fn a_start_that_never_commits_for_dma_becomes_shorter() {
    let start = Controller::new(BOUNDS).times();
    let mut controller = Controller::new(BOUNDS);
    for _ in 0..40 {
        controller.learn(Sample::Other);
    }
    let times = controller.times();
    assert!(times.lead < start.lead / 10 && times.wait() < start.wait() / 10);
    assert!(keeps(&BOUNDS, &times));
    // The twin: what is known to be needed is kept.
    let mut controller = Controller::new(BOUNDS);
    controller.learn(Sample::Late { phase1: 90_000 });
    let lead = controller.times().lead;
    for _ in 0..40 {
        controller.learn(Sample::Other);
    }
    assert_eq!(controller.times().lead, lead);
}

#[test]
fn without_phase_1_the_slots_are_learned_all_the_same() {
    let mut controller = Controller::new(BOUNDS);
    for _ in 0..1000 {
        controller.learn(Sample::Committed {
            phase1: None,
            phase2: 3000,
        });
    }
    let times = controller.times();
    assert_eq!(times.lead, Controller::new(BOUNDS).times().lead);
    assert!(times.wait() < 4000, "{times:?}");
}

#[test]
fn what_never_fits_is_refused_but_for_one_in_32() {
    let longest = BOUNDS.wait().1;
    let mut controller = Controller::new(BOUNDS);
    assert!(!controller.is_too_long());
    controller.learn(Sample::Timeout {
        phase2: 2 * longest,
    });
    for _ in 0..3 {
        let refused = (0..32).filter(|_| controller.is_too_long()).count();
        assert_eq!(refused, 31);
        // The one that was made.
        controller.learn(Sample::Timeout {
            phase2: 2 * longest,
        });
    }
    // The load is gone: the one that is made shows it, and others follow.
    for _ in 0..8 {
        controller.learn(committed(100, longest / 2));
    }
    assert!(!controller.is_too_long());
}

#[test]
fn what_fits_is_not_refused() {
    for phase2 in [1, 1_000, BOUNDS.wait().1 / 2, BOUNDS.wait().1] {
        let mut controller = after(100, 100, phase2);
        assert!(!controller.is_too_long(), "{phase2}");
    }
}

#[test]
fn each_size_has_times_of_its_own() {
    let mut both = Controllers::new(BOUNDS);
    let (page, chunk) = (LeafSize::Page, LeafSize::Chunk);
    for _ in 0..100 {
        for (size, phase2) in [(page, 2_000), (chunk, 200_000)] {
            let sample = outcome(&both.of(size).times(), 300, phase2);
            both.of_mut(size).learn(sample);
        }
    }
    let (short, long) = (both.of(page).times(), both.of(chunk).times());
    assert!(short.wait() < 10_000, "{short:?}");
    assert!(
        long.first_slot > 100_000 && long.wait() >= 200_000,
        "{long:?}"
    );
    // The twin: one for both finds a wait that is too long for pages.
    let mut one = Controller::new(BOUNDS);
    for n in 0..200 {
        let phase2 = if n % 2 == 0 { 2_000 } else { 200_000 };
        let sample = outcome(&one.times(), 300, phase2);
        one.learn(sample);
    }
    assert!(one.times().wait() > 10_000);
}
