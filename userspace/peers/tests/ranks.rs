// SPDX-License-Identifier: GPL-2.0
//! Ranks over TCP that send each other numbered messages while they move at random, and while
//! their connections are cut. Each looks at the number of each message that it gets.

use pagemove_peers::driver::{Error, Node, Prepared};
use pagemove_peers::{Image, Limits, Rank, Rule, SchedulerFile, Without};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Random enough, and the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[derive(Default)]
struct Counts {
    moves: AtomicU64,
    withdrawn: AtomicU64,
    cuts: AtomicU64,
    received: AtomicU64,
    stopped_us: AtomicU64,
}

struct Plan {
    of: Rank,
    /// Messages from each rank to each other.
    messages: u64,
    /// Moves of each rank.
    moves: u64,
    /// Of so many messages one is followed by a cut, if any.
    cut_every: Option<u64>,
    limits: Limits,
}

fn limits() -> Limits {
    Limits {
        messages: 64,
        bytes: 64 << 10,
    }
}

/// A rank's program: what it knows moves with it.
struct Program {
    sent: Vec<u64>,
    got: Vec<u64>,
}

fn prepared() -> Prepared {
    Prepared::at("127.0.0.1:0").unwrap()
}

/// Moves a rank to a new process, or one that dies before it is the rank.
fn migrate(file: &SchedulerFile, node: Node, plan: &Plan, counts: &Counts, dies: bool) -> Node {
    let rank = node.rank();
    let next = prepared();
    let begun = Instant::now();
    let epoch = file.begin(rank, node.epoch(), next.place()).unwrap();
    let next = next
        .initialize(file.clone(), rank, epoch, plan.limits)
        .unwrap();
    let image = node.stop(LIMIT).unwrap();
    // It goes as bytes, as it would to another host.
    let bytes = image.to_bytes().unwrap();
    if dies {
        drop(next);
        node.resume().unwrap();
        counts.withdrawn.fetch_add(1, Ordering::Relaxed);
        return node;
    }
    next.restore(Image::from_bytes(&bytes).unwrap()).unwrap();
    next.commit().unwrap();
    let took = begun.elapsed().as_micros() as u64;
    counts.stopped_us.fetch_max(took, Ordering::Relaxed);
    counts.moves.fetch_add(1, Ordering::Relaxed);
    next
}

fn run_rank(path: &Path, rank: Rank, plan: &Plan, counts: &Counts) {
    let file = SchedulerFile::open(path, plan.of).unwrap();
    let mut node = prepared().join(file.clone(), rank, plan.limits).unwrap();
    let others: Vec<Rank> = (0..plan.of).filter(|it| *it != rank).collect();
    let mut random = Random(0x9e37_79b9 + u64::from(rank) * 7919);
    let of = usize::from(plan.of);
    let mut program = Program {
        sent: vec![0; of],
        got: vec![0; of],
    };
    let total = plan.messages * others.len() as u64;
    let steps = 2 * total;
    let every = steps / (plan.moves + 1);
    let mut due = if plan.moves > 0 {
        every / 2 + random.next(every)
    } else {
        u64::MAX
    };
    let mut done = 0;
    let mut moved = 0;
    let checked = |program: &mut Program, it: pagemove_peers::Received| {
        let number = u64::from_le_bytes(it.message.bytes[..8].try_into().unwrap());
        let got = &mut program.got[usize::from(it.from)];
        *got += 1;
        assert_eq!(number, *got, "rank {rank} from {}", it.from);
        counts.received.fetch_add(1, Ordering::Relaxed);
    };
    let mut last = (done, Instant::now());
    while done < steps {
        if last.0 != done {
            last = (done, Instant::now());
        }
        let stuck = last.1.elapsed() > LIMIT;
        assert!(!stuck, "{done} of {steps}: {}", node.describe());
        if done >= due && moved < plan.moves {
            moved += 1;
            due = done.max(moved * every) + random.next(every.max(1));
            let dies = random.next(8) == 0;
            node = migrate(&file, node, plan, counts, dies);
            if dies {
                node = migrate(&file, node, plan, counts, false);
            }
            last.1 = Instant::now();
        }
        let open: Vec<Rank> = others
            .iter()
            .copied()
            .filter(|it| program.sent[usize::from(*it)] < plan.messages)
            .collect();
        let received: u64 = program.got.iter().sum();
        if let Some(it) = node.try_recv(None, None) {
            checked(&mut program, it);
            done += 1;
        } else if !open.is_empty() && random.next(16) != 0 {
            let dest = open[random.next(open.len() as u64) as usize];
            let sent = &mut program.sent[usize::from(dest)];
            let mut bytes = (*sent + 1).to_le_bytes().to_vec();
            bytes.resize(8 + random.next(200) as usize, rank as u8);
            if node
                .send_within(dest, 0, &bytes, Duration::from_millis(2))
                .unwrap()
            {
                *sent += 1;
                done += 1;
                if plan.cut_every.is_some_and(|every| random.next(every) == 0) {
                    node.cut(dest);
                    counts.cuts.fetch_add(1, Ordering::Relaxed);
                }
            }
        } else if received < total {
            match node.recv_within(None, None, Duration::from_millis(2)) {
                Ok(Some(it)) => {
                    checked(&mut program, it);
                    done += 1;
                }
                Ok(None) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    node.end(LIMIT).unwrap();
}

fn run(plan: Plan) -> (Counts, Duration) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler");
    let counts = Counts::default();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for rank in 0..plan.of {
            let (path, plan, counts) = (&path, &plan, &counts);
            scope.spawn(move || run_rank(path, rank, plan, counts));
        }
    });
    let took = begun.elapsed();
    let file = SchedulerFile::open(&path, plan.of).unwrap();
    assert!(file.read().unwrap().all_ended());
    let wanted = plan.messages * u64::from(plan.of) * u64::from(plan.of - 1);
    let received = counts.received.load(Ordering::Relaxed);
    println!(
        "{} ranks, {received} messages, {} moves and {} taken back, {} cuts, {took:.1?}; \
         longest move {} us; lost {}, doubled 0, out of order 0",
        plan.of,
        counts.moves.load(Ordering::Relaxed),
        counts.withdrawn.load(Ordering::Relaxed),
        counts.cuts.load(Ordering::Relaxed),
        counts.stopped_us.load(Ordering::Relaxed),
        wanted - received,
    );
    assert_eq!(received, wanted);
    (counts, took)
}

#[test]
fn two_ranks_without_a_move() {
    run(Plan {
        of: 2,
        messages: 5000,
        moves: 0,
        cut_every: None,
        limits: Limits::USUAL,
    });
}

#[test]
fn eight_ranks_that_move() {
    let (counts, _) = run(Plan {
        of: 8,
        messages: 500,
        moves: 3,
        cut_every: None,
        limits: limits(),
    });
    assert_eq!(counts.moves.load(Ordering::Relaxed), 24);
}

#[test]
fn eight_ranks_that_move_while_connections_are_cut() {
    let (counts, _) = run(Plan {
        of: 8,
        messages: 300,
        moves: 2,
        cut_every: Some(200),
        limits: limits(),
    });
    assert!(counts.cuts.load(Ordering::Relaxed) > 10);
}

/// 200 moves.
#[cfg(feature = "deep")]
#[test]
fn a_million_messages() {
    let (counts, _) = run(Plan {
        of: 8,
        messages: 17_858,
        moves: 25,
        cut_every: None,
        limits: limits(),
    });
    assert_eq!(counts.moves.load(Ordering::Relaxed), 200);
}

#[test]
fn who_has_ended_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = SchedulerFile::open(&directory.path().join("scheduler"), 2).unwrap();
    let a = prepared().join(file.clone(), 0, limits()).unwrap();
    let b = prepared().join(file.clone(), 1, limits()).unwrap();
    a.send(1, 7, b"last words").unwrap();
    a.end(LIMIT).unwrap();
    drop(a);
    let it = b.recv(Some(0), Some(7)).unwrap();
    assert_eq!(&it.message.bytes[..], b"last words");
    assert!(matches!(b.send(0, 0, b"?"), Err(Error::Terminated)));
    b.end(LIMIT).unwrap();
}

#[test]
fn a_rank_is_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let file = SchedulerFile::open(&directory.path().join("scheduler"), 2).unwrap();
    let a = prepared().join(file.clone(), 0, limits()).unwrap();
    assert!(matches!(
        prepared().join(file.clone(), 0, limits()),
        Err(Error::Denied(_))
    ));
    // Both the old and the new process want to be the rank: one is told no.
    let next = prepared();
    let epoch = file.begin(0, a.epoch(), next.place()).unwrap();
    let next = next.initialize(file.clone(), 0, epoch, limits()).unwrap();
    let image = a.stop(LIMIT).unwrap();
    next.restore(image).unwrap();
    a.resume().unwrap();
    assert!(matches!(next.commit(), Err(Error::Denied(_))));
    assert_eq!(file.read().unwrap().holder(0).unwrap().epoch, a.epoch());
}

/// Sixteen mebibytes are sent, and at once the other one moves: most are on their way then. Returns
/// whether what comes to the new process is not all, or not in order.
fn loses(without: Without) -> bool {
    const COUNT: u64 = 64;
    let limits = Limits {
        messages: 2 * COUNT as usize,
        bytes: 64 << 20,
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scheduler");
    let file = SchedulerFile::open(&path, 2).unwrap();
    let new = || prepared().without(without);
    let a = new().join(file.clone(), 0, limits).unwrap();
    let b = new().join(file.clone(), 1, limits).unwrap();
    a.send(1, 0, b"they are connected").unwrap();
    b.recv(Some(0), None).unwrap();
    let next = new();
    let epoch = file.begin(1, b.epoch(), next.place()).unwrap();
    let next = next.initialize(file, 1, epoch, limits).unwrap();
    let mut bytes = vec![0; 256 << 10];
    for number in 1..=COUNT {
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        a.send(1, 0, &bytes).unwrap();
    }
    let image = b.stop(LIMIT).unwrap();
    if next.restore(image).is_err() {
        return true;
    }
    next.commit().unwrap();
    (1..=COUNT).any(|number| {
        let limit = match without == Without::NOTHING {
            true => LIMIT,
            // It is on its way to nowhere.
            false => Duration::from_secs(1),
        };
        let it = next.recv_within(Some(0), None, limit).unwrap();
        it.is_none_or(|it| it.message.bytes[..8] != number.to_le_bytes())
    })
}

/// With the ends of messages left out, and nothing sent again, the same has to lose something.
#[test]
fn who_does_not_wait_for_ends_loses_messages() {
    assert!(!loses(Without::NOTHING));
    // All may have come before the other one moves, where its reader has a CPU and this thread has none.
    let end = Instant::now() + LIMIT;
    let mistake = Without::rules(&[Rule::Drain, Rule::Again]);
    while !loses(mistake) {
        assert!(Instant::now() < end, "it is not missed");
    }
}

/// Has a rank move that has just asked one which was to be taken up from a file by a process that has died;
/// returns whether it can.
fn moves_while_another_is_away(without: Without) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let file = SchedulerFile::open(&directory.path().join("scheduler"), 2).unwrap();
    let first = prepared().without(without);
    let first = first.join(file.clone(), 0, limits()).unwrap();
    // Nobody listens there, and nobody else will.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let place = socket.local_addr().unwrap().as_socket().unwrap();
    let place = place.to_string();
    file.join(1, &place).unwrap();
    file.leave(1, 0).unwrap();
    file.take_up(1, 0, &place).unwrap();
    let limit = Duration::from_millis(50);
    assert!(!first.send_within(1, 0, b"x", limit).unwrap());
    // Without the rule it never ends.
    let limit = match without == Without::NOTHING {
        true => LIMIT,
        false => Duration::from_secs(2),
    };
    match first.stop(limit) {
        Ok(_) => true,
        Err(Error::Late) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_rank_moves_while_another_is_in_a_file() {
    assert!(moves_while_another_is_away(Without::NOTHING));
    assert!(!moves_while_another_is_away(Without::rules(&[
        Rule::GiveUp
    ])));
}

#[test]
fn what_is_looked_at_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = SchedulerFile::open(&directory.path().join("scheduler"), 2).unwrap();
    let first = prepared().join(file.clone(), 0, limits()).unwrap();
    let second = prepared().join(file, 1, limits()).unwrap();
    assert_eq!(second.look_within(Some(0), None, Duration::ZERO), None);
    first.send(1, 7, b"seven").unwrap();
    first.send(1, 8, b"no").unwrap();
    assert_eq!(second.look_within(None, Some(8), LIMIT), Some((0, 8, 2)));
    for _ in 0..2 {
        assert_eq!(second.look_within(Some(0), None, LIMIT), Some((0, 7, 5)));
    }
    assert_eq!(second.waiting(), (2, 7));
    let taken = second.try_recv(None, None).unwrap();
    assert_eq!(&taken.message.bytes[..], b"seven");
    assert!(!second.has_ended(0));
}
