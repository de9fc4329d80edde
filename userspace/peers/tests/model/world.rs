// SPDX-License-Identifier: GPL-2.0
//! The protocol's own code as processes, streams between them, and a scheduler: every order
//! in which things can happen.

use pagemove_peers::{
    Endpoint, Found, Frame, Limits, Looked, Output, Rank, Refusal, Role, Scheduler, StreamId,
    Table, Who, Without, Wrong,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a program does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Send(Rank),
    Recv(Rank),
}

/// What has to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Both have asked.
    Crossed,
    /// Who moves has refused.
    Redirected,
    /// Somebody older was refused.
    Older,
    /// Somebody was told of a break that he has not seen.
    Unseen,
    /// Both move, and their markers are on their way at once.
    Met,
    /// Messages have come to a process that is not the rank yet.
    Early,
    /// A message was acknowledged.
    Taken,
}

impl Sight {
    pub const ALL: [(Sight, &'static str); 7] = [
        (Sight::Crossed, "crossed"),
        (Sight::Redirected, "redirected"),
        (Sight::Older, "older"),
        (Sight::Unseen, "unseen"),
        (Sight::Met, "met"),
        (Sight::Early, "early"),
        (Sight::Taken, "taken"),
    ];
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What each rank's program does.
    pub scripts: &'static [&'static [Op]],
    /// How often each rank moves, at any time.
    pub moves: &'static [u8],
    /// Streams that break, all together, at any time.
    pub breaks: u8,
    /// New processes that die before they are the rank, all together.
    pub voids: u8,
    pub limits: Limits,
    pub without: Without,
    /// R1: requests travel in the streams that they ask for.
    pub in_stream: bool,
}

impl Config {
    pub const fn new(scripts: &'static [&'static [Op]], moves: &'static [u8]) -> Self {
        Self {
            scripts,
            moves,
            breaks: 0,
            voids: 0,
            limits: Limits {
                messages: 8,
                bytes: 1000,
            },
            without: Without::NOTHING,
            in_stream: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Opener,
    Target,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Side::Opener => Side::Target,
            Side::Target => Side::Opener,
        }
    }

    fn who(self, stream: StreamId) -> Who {
        match self {
            Side::Opener => stream.opener,
            Side::Target => stream.target,
        }
    }
}

/// Frames on their way to one side of a stream. `apart` is for requests and answers where
/// they travel apart from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Way {
    pub stream: StreamId,
    pub to: Side,
    pub apart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The program's next call.
    Call(Rank),
    /// What is in doubt is looked after.
    Settle(Rank),
    Deliver(Way),
    Migrate(Rank),
    Transfer(Rank),
    Commit(Rank),
    /// The new process dies before it is the rank.
    Die(Rank),
    /// The old process takes the move back.
    Withdraw(Rank),
    Break(StreamId),
    Notice(StreamId, Side),
}

/// A rank, whichever process is it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    pub next: usize,
    /// What was received: from whom, and which.
    pub log: Vec<(Rank, u64)>,
    pub sent: Vec<u64>,
    pub moves: u8,
    /// The state has arrived at the new process.
    pub restored: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub processes: BTreeMap<Who, Endpoint>,
    /// Later names of processes that are the rank again.
    pub names: BTreeMap<Who, Who>,
    pub programs: Vec<Program>,
    pub table: Table,
    pub ways: BTreeMap<Way, VecDeque<Frame>>,
    /// Broken streams whose end has not been noticed on that side.
    pub broken: BTreeSet<(StreamId, Side)>,
    pub breaks: u8,
    pub voids: u8,
    pub wrong: Option<Wrong>,
}

struct Look<'t>(&'t Table);

impl Scheduler for Look<'_> {
    fn look(&mut self, rank: Rank) -> Found {
        match self.0.look(rank) {
            Ok(Looked::At(at)) => Found::At(at.epoch),
            _ => Found::Ended,
        }
    }
}

impl World {
    pub fn new(config: &Config) -> Self {
        let of = config.scripts.len() as Rank;
        let mut table = Table::new(of).unwrap();
        let mut processes = BTreeMap::new();
        for rank in 0..of {
            let epoch = table.join(rank, "x").unwrap();
            let new = Endpoint::new(rank, of, config.limits).knowing_all();
            processes.insert(Who { rank, epoch }, new.without(config.without));
        }
        let program = |&moves: &u8| Program {
            next: 0,
            log: Vec::new(),
            sent: vec![0; of.into()],
            moves,
            restored: false,
        };
        Self {
            processes,
            names: BTreeMap::new(),
            programs: config.moves.iter().map(program).collect(),
            table,
            ways: BTreeMap::new(),
            broken: BTreeSet::new(),
            breaks: config.breaks,
            voids: config.voids,
            wrong: None,
        }
    }

    fn ranks(&self) -> impl Iterator<Item = Rank> {
        0..self.programs.len() as Rank
    }

    /// The process that is the rank.
    fn now(&self, rank: Rank) -> Who {
        let epoch = self.table.holder(rank).expect("nobody ends here").epoch;
        self.key(Who { rank, epoch })
    }

    /// Processes have the name that they began with; one that is the rank again has another
    /// since then, and is found at the same place.
    fn key(&self, who: Who) -> Who {
        self.names.get(&who).copied().unwrap_or(who)
    }

    fn process(&mut self, who: Who) -> Option<&mut Endpoint> {
        let key = self.key(who);
        self.processes.get_mut(&key)
    }

    fn next(&self, rank: Rank) -> Option<Who> {
        match self.table.look(rank) {
            Ok(Looked::At(at)) => Some(Who {
                rank,
                epoch: at.epoch,
            })
            .filter(|who| self.key(*who) != self.now(rank)),
            _ => None,
        }
    }

    /// Who has died has none.
    fn role(&self, who: Who) -> Option<Role> {
        self.processes.get(&who).map(Endpoint::role)
    }

    /// Ranks that move.
    pub fn moving(&self) -> impl Iterator<Item = Rank> + '_ {
        self.ranks().filter(|rank| self.next(*rank).is_some())
    }

    pub fn new_lives(&self, rank: Rank) -> bool {
        let next = self.next(rank);
        next.is_some_and(|next| self.processes.contains_key(&next))
    }

    /// The old process dies; its state has gone.
    pub fn old_dies(&mut self, rank: Rank) {
        let now = self.now(rank);
        for stream in self.streams() {
            if stream.target == now {
                self.broken.insert((stream, Side::Opener));
            }
        }
        self.processes.remove(&now);
        self.ways.retain(|way, _| way.to.who(way.stream) != now);
    }

    pub fn can(&self, config: &Config, action: Action) -> bool {
        let mut actions = Vec::new();
        self.actions(config, &mut actions);
        actions.contains(&action)
    }

    /// Streams that somebody uses or waits for.
    fn streams(&self) -> BTreeSet<StreamId> {
        let known = |it: &Endpoint| {
            let both = |rank| [it.stream(rank), it.asked(rank)];
            (0..it.of()).flat_map(both).flatten().collect::<Vec<_>>()
        };
        self.processes.values().flat_map(known).collect()
    }

    pub fn actions(&self, config: &Config, to: &mut Vec<Action>) {
        if self.wrong.is_some() {
            return;
        }
        for rank in self.ranks() {
            let program = &self.programs[usize::from(rank)];
            let now = self.now(rank);
            match (self.role(now), self.next(rank)) {
                (Some(Role::Running), _) => {
                    if program.next < config.scripts[usize::from(rank)].len() {
                        to.push(Action::Call(rank));
                    }
                    if self.ranks().any(|other| self.processes[&now].doubts(other)) {
                        to.push(Action::Settle(rank));
                    }
                    if program.moves > 0 {
                        to.push(Action::Migrate(rank));
                    }
                }
                // The old process is not needed any more.
                (None, Some(_)) if program.restored => to.push(Action::Commit(rank)),
                (Some(Role::Drained), Some(next)) => to.push(match program.restored {
                    _ if !self.processes.contains_key(&next) => Action::Withdraw(rank),
                    false => Action::Transfer(rank),
                    true => Action::Commit(rank),
                }),
                _ => {}
            }
            if self.voids > 0 && self.new_lives(rank) {
                to.push(Action::Die(rank));
            }
        }
        to.extend(self.ways.keys().map(|way| Action::Deliver(*way)));
        if self.breaks > 0 {
            to.extend(self.streams().into_iter().map(Action::Break));
        }
        to.extend(
            self.broken
                .iter()
                .map(|(it, side)| Action::Notice(*it, *side)),
        );
    }

    pub fn apply(&mut self, config: &Config, action: Action) {
        let mut out = Vec::new();
        let who = match action {
            Action::Call(rank) => self.call(config, rank, &mut out),
            Action::Settle(rank) => {
                let now = self.now(rank);
                let process = self.processes.get_mut(&now).unwrap();
                process.settle(&mut Look(&self.table), &mut out);
                now
            }
            Action::Deliver(way) => self.deliver(way, &mut out),
            Action::Migrate(rank) => {
                let now = self.now(rank);
                let mine = self.processes[&now].me().epoch;
                let epoch = self.table.begin(rank, mine, "x").unwrap();
                let of = self.table.of();
                let new = Endpoint::initialize(rank, of, epoch, config.limits);
                let new = new.without(config.without);
                self.processes.insert(Who { rank, epoch }, new);
                self.programs[usize::from(rank)].moves -= 1;
                self.processes.get_mut(&now).unwrap().migrate(&mut out);
                now
            }
            Action::Transfer(rank) => {
                let (now, next) = (self.now(rank), self.next(rank).unwrap());
                let image = self.processes[&now].image().unwrap();
                self.programs[usize::from(rank)].restored = true;
                let process = self.processes.get_mut(&next).unwrap();
                self.wrong = process.restore(image, &mut out).err();
                next
            }
            Action::Commit(rank) => {
                let (now, next) = (self.now(rank), self.next(rank).unwrap());
                self.table.commit(rank, next.epoch).unwrap();
                self.programs[usize::from(rank)].restored = false;
                if let Some(old) = self.processes.get_mut(&now) {
                    old.ended();
                }
                self.processes.get_mut(&next).unwrap().committed(&mut out);
                next
            }
            Action::Die(rank) => {
                self.die(rank);
                return;
            }
            Action::Withdraw(rank) => self.withdraw(rank),
            Action::Break(stream) => {
                self.breaks -= 1;
                self.broken.insert((stream, Side::Opener));
                self.broken.insert((stream, Side::Target));
                return;
            }
            Action::Notice(stream, side) => {
                self.broken.remove(&(stream, side));
                for apart in [false, true] {
                    let to = side;
                    self.ways.remove(&Way { stream, to, apart });
                }
                let who = side.who(stream);
                if let Some(process) = self.process(who) {
                    process.broken(stream, &mut out);
                }
                who
            }
        };
        for output in out {
            self.put(config, who, output);
        }
    }

    fn call(&mut self, config: &Config, rank: Rank, out: &mut Vec<Output>) -> Who {
        let who = self.now(rank);
        let program = &mut self.programs[usize::from(rank)];
        let process = self.processes.get_mut(&who).unwrap();
        let done = match config.scripts[usize::from(rank)][program.next] {
            Op::Send(dest) => {
                let number = program.sent[usize::from(dest)] + 1;
                let bytes = Arc::from(number.to_le_bytes());
                let sent = process.send(dest, 0, &bytes, &mut Look(&self.table), out);
                if sent.is_ok() {
                    program.sent[usize::from(dest)] = number;
                }
                sent.is_ok()
            }
            Op::Recv(src) => match process.recv(Some(src), None, out) {
                Some(it) => {
                    let bytes = it.message.bytes[..].try_into().unwrap();
                    program.log.push((src, u64::from_le_bytes(bytes)));
                    true
                }
                None => false,
            },
        };
        program.next += usize::from(done);
        who
    }

    fn deliver(&mut self, way: Way, out: &mut Vec<Output>) -> Who {
        let queue = self.ways.get_mut(&way).unwrap();
        let frame = queue.pop_front().unwrap();
        if queue.is_empty() {
            self.ways.remove(&way);
        }
        let who = way.to.who(way.stream);
        if let Some(process) = self.process(who) {
            let wrong = process.hear(way.stream, frame, out).err();
            self.wrong = wrong;
        }
        who
    }

    /// The new process is gone, and all its streams with it.
    fn die(&mut self, rank: Rank) {
        let next = self.next(rank).unwrap();
        self.voids -= 1;
        self.programs[usize::from(rank)].restored = false;
        let streams = self.streams();
        self.processes.remove(&next);
        for stream in streams {
            for side in [Side::Opener, Side::Target] {
                if side.other().who(stream) == next {
                    self.broken.insert((stream, side));
                }
            }
        }
        self.ways.retain(|way, _| way.to.who(way.stream) != next);
    }

    /// Who asks the dead process meanwhile tries it again until the scheduler knows of another;
    /// here that is one attempt, which ends then.
    fn withdraw(&mut self, rank: Rank) -> Who {
        let now = self.now(rank);
        for stream in self.streams() {
            if stream.target.rank == rank && self.process(stream.target).is_none() {
                self.broken.insert((stream, Side::Opener));
            }
        }
        let process = self.processes.get_mut(&now).unwrap();
        let epoch = self.table.withdraw(rank, process.me().epoch).unwrap();
        process.resume(epoch);
        self.names.insert(Who { rank, epoch }, now);
        now
    }

    fn put(&mut self, config: &Config, from: Who, output: Output) {
        match output {
            Output::Open(_) | Output::Close(_) => {}
            Output::Drop(stream) => {
                let to = self.side(from, stream);
                for apart in [false, true] {
                    self.ways.remove(&Way { stream, to, apart });
                }
                self.broken.remove(&(stream, to));
                if self.process(to.other().who(stream)).is_some() {
                    self.broken.insert((stream, to.other()));
                }
            }
            Output::Write(stream, frame) => {
                let mine = self.side(from, stream);
                let to = mine.other();
                if self.broken.contains(&(stream, mine)) {
                    return;
                }
                if self.process(to.who(stream)).is_none() {
                    let target = to.who(stream);
                    let look = self.table.look(target.rank);
                    if !matches!(look, Ok(Looked::At(at)) if at.epoch == target.epoch) {
                        // Who asks sees that the scheduler knows of another.
                        self.broken.insert((stream, mine));
                    }
                    return;
                }
                let request = matches!(
                    frame,
                    Frame::Hello(_) | Frame::Welcome(_) | Frame::Refuse(_)
                );
                let apart = request && !config.in_stream;
                let way = Way { stream, to, apart };
                self.ways.entry(way).or_default().push_back(frame);
            }
        }
    }

    fn side(&self, who: Who, stream: StreamId) -> Side {
        match stream.opener.rank == who.rank {
            true => Side::Opener,
            false => Side::Target,
        }
    }

    /// Nothing can happen any more.
    pub fn is_still(&self, config: &Config) -> bool {
        if !self.ways.is_empty() || !self.broken.is_empty() {
            return false;
        }
        let mut actions = Vec::new();
        self.actions(config, &mut actions);
        actions.into_iter().all(|action| {
            let mut next = self.clone();
            next.apply(config, action);
            next == *self
        })
    }

    pub fn is_done(&self, config: &Config) -> bool {
        let done = |(n, program): (usize, &Program)| program.next == config.scripts[n].len();
        self.programs.iter().enumerate().all(done)
            && self.programs.iter().all(|program| program.moves == 0)
            && self
                .ranks()
                .all(|rank| self.role(self.now(rank)) == Some(Role::Running))
    }

    fn is_on_its_way(&self, wanted: impl Fn(&Frame) -> bool) -> bool {
        self.ways.values().flatten().any(wanted)
    }

    /// Returns whether this is to be seen here, so that a check is not vacuous.
    pub fn shows(&self, sight: Sight) -> bool {
        match sight {
            Sight::Crossed => self.is_on_its_way(|it| matches!(it, Frame::Refuse(Refusal::Yours))),
            Sight::Redirected => {
                self.is_on_its_way(|it| matches!(it, Frame::Refuse(Refusal::Moved)))
            }
            Sight::Older => self.is_on_its_way(|it| matches!(it, Frame::Refuse(Refusal::Old))),
            Sight::Unseen => {
                self.is_on_its_way(|it| matches!(it, Frame::Refuse(Refusal::Again(_))))
            }
            Sight::Met => self.ways.iter().any(|(way, frames)| {
                let to = way.to.other();
                let back = self.ways.get(&Way { to, ..*way });
                let marks = |frames: &VecDeque<Frame>| frames.contains(&Frame::Moving);
                marks(frames) && back.is_some_and(marks)
            }),
            Sight::Early => self
                .processes
                .values()
                .any(|it| it.role() == Role::Initializing && it.waiting().0 > 0),
            Sight::Taken => self.is_on_its_way(|it| matches!(it, Frame::Taken(_))),
        }
    }

    /// What was received is what was sent, in order, so far.
    pub fn is_ordered(&self) -> bool {
        let ordered = |program: &Program| {
            self.ranks().all(|from| {
                let from_it = program.log.iter().filter(|(rank, _)| *rank == from);
                from_it.map(|(_, number)| *number).eq(1..=program
                    .log
                    .iter()
                    .filter(|(rank, _)| *rank == from)
                    .count() as u64)
            })
        };
        self.programs.iter().all(ordered) && !matches!(self.wrong, Some(Wrong::Order { .. }))
    }

    pub fn is_sane(&self) -> bool {
        matches!(self.wrong, None | Some(Wrong::Order { .. }))
    }

    /// Each rank is one process at most.
    pub fn is_single(&self) -> bool {
        let runs = |rank: Rank| {
            let of_rank = self.processes.values().filter(|it| it.me().rank == rank);
            of_rank.filter(|it| it.role() == Role::Running).count()
        };
        self.ranks().all(|rank| runs(rank) <= 1)
    }
}
