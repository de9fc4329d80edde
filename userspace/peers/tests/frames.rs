// SPDX-License-Identifier: GPL-2.0
//! Peers, images and files that say anything: nothing panics, nothing grows without bounds,
//! and who is told something impossible says so.

use pagemove_peers::{
    Endpoint, Found, Frame, Frames, Hello, Image, Kept, Limits, Message, Output, PeerImage, Rank,
    Refusal, Role, Scheduler, SchedulerFile, StreamId, Who, HEAD, MAX_BYTES,
};
use proptest::prelude::*;
use std::sync::Arc;

fn cases() -> u32 {
    let set = std::env::var("PAGEMOVE_FUZZ_CASES").ok();
    set.and_then(|cases| cases.parse().ok()).unwrap_or(1000)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const LIMITS: Limits = Limits {
    messages: 4,
    bytes: 64,
};

/// Small numbers mostly, so that something fits; now and then the ends of what there is.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..6, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1), 1 => any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0u32..3, 1 => Just(u32::MAX), 1 => any::<u32>()]
}

fn who() -> impl Strategy<Value = Who> {
    let rank = prop_oneof![12 => 0u16..3, 1 => any::<u16>()];
    (rank, small()).prop_map(|(rank, epoch)| Who { rank, epoch })
}

fn message() -> impl Strategy<Value = Message> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..20);
    (number(), any::<u32>(), bytes).prop_map(|(number, tag, bytes)| Message {
        number,
        tag,
        bytes: bytes.into(),
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    (who(), who(), small(), number()).prop_map(|(from, to, breaks, received)| Hello {
        from,
        to,
        breaks,
        received,
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        1 => hello().prop_map(Frame::Hello),
        1 => proptest::option::of(number()).prop_map(Frame::Welcome),
        1 => Just(Frame::Refuse(Refusal::Moved)),
        1 => Just(Frame::Refuse(Refusal::Old)),
        1 => Just(Frame::Refuse(Refusal::Yours)),
        1 => small().prop_map(|breaks| Frame::Refuse(Refusal::Again(breaks))),
        4 => message().prop_map(Frame::Data),
        1 => number().prop_map(Frame::Committed),
        1 => number().prop_map(Frame::Taken),
        1 => Just(Frame::Moving),
        1 => Just(Frame::End),
    ]
}

/// What a stranger's stream, or our own program, may do next.
#[derive(Clone, Debug)]
enum Event {
    /// A frame in the stream that is open, asked for, or in one that was never heard of.
    Open(Rank, Frame),
    Asked(Rank, Frame),
    Any(Who, Who, u32, Frame),
    /// A request that fits.
    Request(Rank, u32, u32, u64),
    Break(Rank),
    Send(Rank),
    Recv,
    Settle,
    Migrate,
    Resume,
    End,
    Restore(Image),
    Commit,
}

fn kept() -> impl Strategy<Value = Kept> {
    message().prop_map(|it| Kept::from(&it))
}

fn peer_image() -> impl Strategy<Value = PeerImage> {
    let retained = proptest::collection::vec(kept(), 0..4);
    let counts = (number(), number(), number());
    (
        small(),
        small(),
        any::<(bool, bool, bool)>(),
        counts,
        retained,
    )
        .prop_map(
            |(epoch, breaks, (doubt, broke, owes), (sent, received, told), retained)| PeerImage {
                epoch,
                breaks,
                doubt,
                broke,
                owes,
                sent,
                retained,
                received,
                told,
            },
        )
}

fn image() -> impl Strategy<Value = Image> {
    let peers = proptest::collection::vec(peer_image(), 2..4);
    let list = proptest::collection::vec((0u16..4, kept()), 0..4);
    (0u16..2, small(), peers, list).prop_map(|(rank, epoch, peers, list)| Image {
        rank,
        epoch,
        peers,
        list,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let other = || 1u16..3;
    prop_oneof![
        6 => (other(), frame()).prop_map(|(rank, frame)| Event::Open(rank, frame)),
        4 => (other(), frame()).prop_map(|(rank, frame)| Event::Asked(rank, frame)),
        2 => (who(), who(), small(), frame())
            .prop_map(|(a, b, breaks, frame)| Event::Any(a, b, breaks, frame)),
        4 => (other(), small(), small(), number())
            .prop_map(|(rank, epoch, breaks, received)| Event::Request(rank, epoch, breaks, received)),
        2 => other().prop_map(Event::Break),
        6 => (0u16..4).prop_map(Event::Send),
        3 => Just(Event::Recv),
        2 => Just(Event::Settle),
        1 => Just(Event::Migrate),
        1 => Just(Event::Resume),
        1 => Just(Event::End),
        1 => image().prop_map(Event::Restore),
        1 => Just(Event::Commit),
    ]
}

struct Anywhere;

impl Scheduler for Anywhere {
    fn look(&mut self, rank: Rank) -> Found {
        match rank {
            3 => Found::Ended,
            _ => Found::At(0),
        }
    }
}

fn apply(it: &mut Endpoint, event: Event, out: &mut Vec<Output>) {
    let me = it.me();
    let mut hear = |it: &mut Endpoint, stream: Option<StreamId>, frame| {
        let Some(stream) = stream else { return };
        if it.hear(stream, frame, out).is_err() {
            it.broken(stream, out);
        }
    };
    match event {
        Event::Open(rank, frame) => hear(it, it.stream(rank), frame),
        Event::Asked(rank, frame) => hear(it, it.asked(rank), frame),
        Event::Any(opener, target, breaks, frame) => {
            let stream = StreamId {
                opener,
                target,
                breaks,
            };
            hear(it, Some(stream), frame);
        }
        Event::Request(rank, epoch, breaks, received) => {
            let opener = Who { rank, epoch };
            let stream = StreamId {
                opener,
                target: me,
                breaks,
            };
            let hello = Hello {
                from: opener,
                to: me,
                breaks,
                received,
            };
            hear(it, Some(stream), Frame::Hello(hello));
        }
        Event::Break(rank) => {
            if let Some(stream) = it.stream(rank).or(it.asked(rank)) {
                it.broken(stream, out);
            }
        }
        Event::Send(dest) => {
            let _ = it.send(dest, 1, &Arc::from([7; 9]), &mut Anywhere, out);
        }
        Event::Recv => {
            let _ = it.recv(None, None, out);
        }
        Event::Settle => it.settle(&mut Anywhere, out),
        Event::Migrate => it.migrate(out),
        Event::Resume => it.resume(me.epoch.saturating_add(1)),
        Event::End => it.end(out),
        Event::Restore(image) => {
            let _ = it.restore(image, out);
        }
        Event::Commit => it.committed(out),
    }
}

fn chaos(mut it: Endpoint, events: Vec<Event>) -> Endpoint {
    for event in events {
        let mut out = Vec::new();
        let restores = matches!(event, Event::Restore(_));
        apply(&mut it, event, &mut out);
        assert!(out.len() < 64, "{out:?}");
        // Four messages of each rank, and what an image has brought.
        assert!(restores || it.waiting().0 <= 32, "{:?}", it.waiting());
    }
    it
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn frames_come_back(frames in proptest::collection::vec(frame(), 0..8), piece in 1usize..80) {
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.put(&mut bytes);
        }
        let mut reader = Frames::default();
        let mut back = Vec::new();
        for part in bytes.chunks(piece) {
            reader.feed(part);
            while let Some(frame) = reader.take().unwrap() {
                back.push(frame);
            }
        }
        prop_assert!(!reader.is_truncated());
        prop_assert_eq!(back, frames);
    }

    #[test]
    fn bytes_are_frames_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut reader = Frames::default();
        reader.feed(&bytes);
        while let Ok(Some(_)) = reader.take() {}
    }

    #[test]
    fn a_bit_flipped_is_harmless(frame in frame(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = Vec::new();
        frame.put(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut reader = Frames::default();
        reader.feed(&bytes);
        while let Ok(Some(_)) = reader.take() {}
    }

    #[test]
    fn peers_say_anything(events in proptest::collection::vec(event(), 0..60)) {
        chaos(Endpoint::new(0, 3, LIMITS), events);
    }

    #[test]
    fn to_a_process_that_is_nobody_yet(events in proptest::collection::vec(event(), 0..60)) {
        chaos(Endpoint::initialize(0, 3, 1, LIMITS), events);
    }

    #[test]
    fn images_of_strangers(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(image) = Image::from_bytes(&bytes) {
            let _ = Endpoint::initialize(0, 3, 1, LIMITS).restore(image, &mut Vec::new());
        }
    }

}

proptest! {
    // Each of them is written to a disk.
    #![proptest_config(ProptestConfig { cases: cases() / 20, ..config() })]

    #[test]
    fn files_of_strangers(bytes in proptest::collection::vec(any::<u8>(), 0..100), real in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        if real {
            SchedulerFile::open(&path, 3).unwrap();
            let mut old = std::fs::read(&path).unwrap();
            for (at, byte) in bytes.iter().enumerate().take(2) {
                let length = old.len();
                old[(at * 31 + usize::from(*byte)) % length] ^= byte | 1;
            }
            std::fs::write(&path, old).unwrap();
        } else {
            std::fs::write(&path, &bytes).unwrap();
        }
        let opened = SchedulerFile::open(&path, 3);
        prop_assert!(opened.is_err() || (real && bytes.is_empty()));
    }
}

/// Fuzzing would show nothing if no peer ever came far.
#[test]
fn peers_come_far() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut drained, mut open, mut heard, mut restored) = (0, 0, 0, 0);
    for _ in 0..3000 {
        let events = proptest::collection::vec(event(), 0..60);
        let events = events.new_tree(&mut runner).unwrap().current();
        let it = chaos(Endpoint::new(0, 3, LIMITS), events.clone());
        drained += usize::from(it.role() == Role::Drained);
        open += usize::from(it.stream(1).is_some());
        heard += usize::from(it.waiting().0 > 0);
        let it = chaos(Endpoint::initialize(0, 3, 1, LIMITS), events);
        restored += usize::from(it.role() == Role::Running);
    }
    println!("drained {drained}, open {open}, heard {heard}, the rank {restored}");
    assert!(drained > 100 && open > 30 && heard > 100 && restored > 100);
}

#[test]
fn a_length_is_refused_before_its_bytes_come() {
    for (kind, length) in [
        (4, MAX_BYTES + 13),
        (4, usize::MAX >> 33),
        (1, 65),
        (99, 65),
    ] {
        let mut reader = Frames::default();
        let mut head = vec![kind];
        head.extend((length as u32).to_le_bytes());
        assert_eq!(head.len(), HEAD);
        reader.feed(&head);
        assert!(reader.take().is_err(), "{kind} {length}");
    }
}
