// SPDX-License-Identifier: GPL-2.0
//! The agents as they run: each in a thread of its own, on pipes, on sockets and under TLS.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::authority::Authority;
use super::rig::{Rig, PAGES};
use crate::drive::{run_source, run_target, TargetTerms};
use crate::failure::Failure;
use crate::message::Mode;
use crate::sim::pipe::pipe;
use crate::sim::{Side, World};
use crate::source::{self, Source};
use crate::target;
use crate::version::SPOKEN;
use crate::wire::{Plain, Tls, Wire};

struct Ran {
    a: Result<(), Failure>,
    a_report: source::Report,
    b: Result<(), Failure>,
    b_report: target::Report,
}

pub fn tcp() -> (Plain, Plain) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let one = TcpStream::connect(address).unwrap();
    let (two, _) = listener.accept().unwrap();
    (Plain::tcp(one).unwrap(), Plain::tcp(two).unwrap())
}

fn unix() -> (Plain, Plain) {
    let (one, two) = UnixStream::pair().unwrap();
    (Plain::unix(one).unwrap(), Plain::unix(two).unwrap())
}

fn tls() -> (Tls, Tls) {
    let authority = Authority::new();
    let (a, b) = (authority.identity("a"), authority.identity("b"));
    let (one, two) = tcp();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| Tls::server(two, &b).unwrap());
        let client = Tls::client(one, &a, "b").unwrap();
        (client, server.join().unwrap())
    })
}

/// Runs both agents in threads; `stop` ends A once this many pages are out.
fn run(
    world: &World,
    rig: Rig,
    stop: Option<usize>,
    (a_wire, b_wire): (&dyn Wire, &dyn Wire),
) -> Ran {
    let (kernel_a, kernel_b) = (world.a(), world.b());
    let (a_events, b_events) = (world.operator(Side::A), world.operator(Side::B));
    let stopped = || stop.is_some_and(|pages| world.state().order.len() >= pages);
    std::thread::scope(|scope| {
        let b = scope.spawn(|| {
            let terms = TargetTerms {
                versions: rig.b_speaks,
                post_copy: rig.post_copy,
            };
            run_target(b_wire, terms, &kernel_b, &b_events, &|| false)
        });
        let mut source = Source::new(rig.job(), &kernel_a, &a_events).unwrap();
        let a = run_source(a_wire, &mut source, SPOKEN, &stopped);
        let a_report = source.report();
        let (b_report, b) = b.join().unwrap();
        Ran {
            a,
            a_report,
            b,
            b_report,
        }
    })
}

fn all_wires(test: impl Fn((&dyn Wire, &dyn Wire))) {
    let (a, b) = pipe();
    test((&a, &b));
    let (a, b) = tcp();
    test((&a, &b));
    let (a, b) = unix();
    test((&a, &b));
    let (a, b) = tls();
    test((&a, &b));
}

#[test]
fn a_whole_migration() {
    for post_copy in [false, true] {
        all_wires(|wires| {
            let world = World::new(PAGES, 5);
            world.state().aborts_one_in = 5;
            let ran = run(&world, Rig::new(Mode::Out, post_copy), None, wires);
            assert_eq!((ran.a, ran.b), (Ok(()), Ok(())));
            assert_eq!((ran.a_report.moved, ran.b_report.arrived), (PAGES, PAGES));
            assert_eq!(world.check_out(), [""; 0]);
        });
    }
}

#[test]
fn pages_are_served_to_cpus_that_wait() {
    all_wires(|wires| {
        let world = World::new(PAGES, 5);
        // One that is in use for so long that CPUs are sure to want it.
        world.state().hot.insert(20, 5);
        let rig = Rig {
            batch: 1,
            ..Rig::new(Mode::Out, true)
        };
        let done = AtomicBool::new(false);
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut state = world.state();
                    if state.guest == crate::sim::Guest::B {
                        state.touch(20);
                    }
                    drop(state);
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
            let ran = run(&world, rig, None, wires);
            done.store(true, Ordering::Relaxed);
            ran
        });
        assert_eq!((ran.a, ran.b), (Ok(()), Ok(())));
        assert_eq!(world.check_out(), [""; 0]);
        let served = &ran.b_report.served;
        assert!(served.iter().any(|served| served.page == 20), "{served:?}");
        let orders: Vec<u32> = served.iter().map(|served| served.order).collect();
        assert_eq!(orders, (1..=served.len() as u32).collect::<Vec<_>>());
    });
}

#[test]
fn a_signal_ends_it_and_another_run_goes_on() {
    all_wires(|wires| {
        let world = World::new(PAGES, 5);
        let ran = run(&world, Rig::new(Mode::Out, false), Some(8), wires);
        assert_eq!(ran.a, Err(Failure::Stopped));
        assert_eq!(
            ran.b,
            Err(Failure::PeerStopped("by its operator".to_string()))
        );
        // While the guest runs on A nothing is told of what has moved.
        assert!(ran.a_report.moved > 0 && ran.b_report.arrived == 0);
        assert_eq!(world.check_always(), [""; 0]);
        let (a, b) = pipe();
        let ran = run(&world, Rig::new(Mode::Out, false), None, (&a, &b));
        assert_eq!((ran.a, ran.b), (Ok(()), Ok(())));
        assert_eq!(world.check_out(), [""; 0]);
    });
}

#[test]
fn a_peer_that_goes_away_is_noticed() {
    all_wires(|(a, b)| {
        let world = World::new(PAGES, 5);
        let kernel = world.a();
        let events = world.operator(Side::A);
        b.close();
        let job = Rig::new(Mode::Out, false).job();
        let mut source = Source::new(job, &kernel, &events).unwrap();
        let result = run_source(a, &mut source, SPOKEN, &|| false);
        assert!(matches!(result, Err(Failure::Connection(_))), "{result:?}");
        assert_eq!(world.check_home(), [""; 0]);
    });
}
