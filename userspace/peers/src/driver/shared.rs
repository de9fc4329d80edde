// SPDX-License-Identifier: GPL-2.0
//! What the threads of a process share.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::connection;
use crate::endpoint::{Endpoint, Found, Output, Role, Scheduler};
use crate::file::SchedulerFile;
use crate::frame::Frame;
use crate::scheduler::Looked;
use crate::who::{Rank, StreamId, Who};

/// What a connection's writer has to do.
pub enum Job {
    Write(Vec<u8>),
    /// Everything is written: nothing more comes.
    Close,
}

/// A stream's connection. It is made anew where one of the same name has broken.
pub struct Connection {
    pub handle: u64,
    pub jobs: Sender<Job>,
    /// None until it is there.
    pub socket: Option<TcpStream>,
}

pub struct Inner {
    pub endpoint: Endpoint,
    pub connections: HashMap<StreamId, Connection>,
    pub places: HashMap<Who, String>,
    pub last_handle: u64,
    /// Somebody wants it to stand.
    pub moves: bool,
    pub closed: bool,
    /// A build for tests: see `Prepared::deaf`.
    deaf: bool,
}

pub struct Shared {
    inner: Mutex<Inner>,
    pub changed: Condvar,
    pub scheduler: SchedulerFile,
}

/// The scheduler's file, and where the processes are that it names.
pub struct Look<'s> {
    pub file: &'s SchedulerFile,
    pub places: &'s mut HashMap<Who, String>,
}

impl Scheduler for Look<'_> {
    fn look(&mut self, rank: Rank) -> Found {
        match self.file.look(rank) {
            Ok(Looked::At(at)) => {
                let epoch = at.epoch;
                self.places.retain(|who, _| who.rank != rank);
                self.places.insert(Who { rank, epoch }, at.place);
                Found::At(epoch)
            }
            Ok(Looked::Ended) => Found::Ended,
            // Who is not there yet, or can't be read at the moment, is asked for again later.
            Ok(Looked::Absent) | Err(_) => Found::Later,
        }
    }
}

impl Shared {
    pub fn new(endpoint: Endpoint, scheduler: SchedulerFile, deaf: bool) -> Arc<Self> {
        let inner = Inner {
            endpoint,
            connections: HashMap::new(),
            places: HashMap::new(),
            last_handle: 0,
            moves: false,
            closed: false,
            deaf,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            scheduler,
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when what has come may be looked at.
    pub fn wait_while_deaf(&self) {
        let is_deaf = |inner: &mut Inner| {
            inner.deaf && !inner.closed && inner.endpoint.role() == Role::Running
        };
        drop(self.changed.wait_while(self.lock(), is_deaf));
    }

    /// Does what the state machine wants done.
    pub fn perform(self: &Arc<Self>, inner: &mut Inner, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Open(stream) => {
                    let place = inner.places.get(&stream.target).cloned();
                    let (handle, jobs) = inner.add(stream, None);
                    connection::open(self, stream, handle, place, jobs);
                }
                Output::Write(stream, frame) => inner.write(stream, &frame),
                Output::Close(stream) => {
                    if let Some(connection) = inner.connections.remove(&stream) {
                        let _ = connection.jobs.send(Job::Close);
                    }
                }
                Output::Drop(stream) => inner.cut(stream),
            }
        }
        self.changed.notify_all();
    }

    /// Looks after what may be lost.
    pub fn settle(self: &Arc<Self>, inner: &mut Inner) {
        let mut out = Vec::new();
        let file = &self.scheduler;
        let places = &mut inner.places;
        inner.endpoint.settle(&mut Look { file, places }, &mut out);
        if !out.is_empty() {
            self.perform(inner, out);
        }
    }

    /// Frames have come in a connection; returns whether it goes on.
    pub fn heard(self: &Arc<Self>, stream: StreamId, handle: u64, frames: Vec<Frame>) -> bool {
        let mut inner = self.lock();
        let mut out = Vec::new();
        for frame in frames {
            if !inner.is_current(stream, handle) {
                return false;
            }
            let heard = inner.endpoint.hear(stream, frame, &mut out);
            self.perform(&mut inner, std::mem::take(&mut out));
            if heard.is_err() {
                drop(inner);
                self.lost(stream, handle);
                return false;
            }
        }
        true
    }

    /// A connection has ended.
    pub fn lost(self: &Arc<Self>, stream: StreamId, handle: u64) {
        let mut inner = self.lock();
        if !inner.is_current(stream, handle) {
            return;
        }
        inner.cut(stream);
        let mut out = Vec::new();
        inner.endpoint.broken(stream, &mut out);
        self.perform(&mut inner, out);
        self.settle(&mut inner);
    }
}

impl Inner {
    pub fn add(
        &mut self,
        stream: StreamId,
        socket: Option<TcpStream>,
    ) -> (u64, std::sync::mpsc::Receiver<Job>) {
        self.cut(stream);
        let (jobs, receiver) = std::sync::mpsc::channel();
        self.last_handle += 1;
        let handle = self.last_handle;
        let connection = Connection {
            handle,
            jobs,
            socket,
        };
        self.connections.insert(stream, connection);
        (handle, receiver)
    }

    pub fn is_current(&self, stream: StreamId, handle: u64) -> bool {
        let connection = self.connections.get(&stream);
        connection.is_some_and(|connection| connection.handle == handle)
    }

    /// What is written is bounded: messages by the limits of the state machine, all else by what
    /// there is to be said.
    fn write(&mut self, stream: StreamId, frame: &Frame) {
        if let Some(connection) = self.connections.get(&stream) {
            let mut bytes = Vec::new();
            frame.put(&mut bytes);
            // Its writer has ended if the connection has: the reader tells.
            let _ = connection.jobs.send(Job::Write(bytes));
        }
    }

    /// Ends a connection, whatever is in it.
    pub fn cut(&mut self, stream: StreamId) {
        if let Some(connection) = self.connections.remove(&stream) {
            if let Some(socket) = connection.socket {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}
