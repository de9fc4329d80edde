// SPDX-License-Identifier: GPL-2.0
//! What the engine's own work costs; userspace/rtm/tests/limits.rs says what it may cost.

use criterion::{criterion_group, criterion_main, BatchSize, Criterion, Throughput};
use engine::Policy;
use pagemove_rtm::cost::{batch, poll};
use std::hint::black_box;

const POLLS: u64 = 1000;

fn polls(criterion: &mut Criterion) {
    let schedule = poll::schedule();
    let mut group = criterion.benchmark_group("poll");
    group.throughput(Throughput::Elements(POLLS));
    group.bench_function("rdtsc", |bencher| bencher.iter(|| poll::raw(POLLS)));
    group.bench_function("transaction", |bencher| {
        bencher.iter(|| poll::transaction(black_box(&schedule), POLLS));
    });
    group.bench_function("slot_at", |bencher| {
        bencher.iter(|| poll::slot_at(black_box(&schedule), POLLS));
    });
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let policy = Policy::new(0);
    let fresh = batch::pages();
    let mut memory = batch::Memory::new();
    let mut group = criterion.benchmark_group("batch of 512");
    group.throughput(Throughput::Elements(batch::PAGES as u64));
    for (name, commits) in [("committed", true), ("aborted", false)] {
        memory.commits = commits;
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || fresh.clone(),
                |pages| batch::plan_and_settle(&mut memory, &policy, pages),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(costs, polls, batches);
criterion_main!(costs);
