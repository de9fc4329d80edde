// SPDX-License-Identifier: GPL-2.0
//! The threads of one connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::shared::{Job, Shared};
use crate::frame::Frames;
use crate::rules::Rule;
use crate::scheduler::Looked;
use crate::who::StreamId;

/// Bytes that are read or written at a time.
const PIECE: usize = 64 << 10;
/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(5);
/// What nobody has acknowledged for so long is lost.
const SILENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Makes a connection, in a thread of its own.
pub fn open(
    shared: &Arc<Shared>,
    stream: StreamId,
    handle: u64,
    place: Option<String>,
    jobs: Receiver<Job>,
) {
    let weak = Arc::downgrade(shared);
    thread::spawn(move || {
        let made = connect(&weak, stream, handle, place);
        let Some(shared) = weak.upgrade() else { return };
        let Some(socket) = made.filter(|socket| adopt(&shared, stream, handle, socket)) else {
            shared.lost(stream, handle);
            return;
        };
        let Ok(reader) = socket.try_clone() else {
            shared.lost(stream, handle);
            return;
        };
        let other = weak.clone();
        thread::spawn(move || read(&other, reader, stream, handle, Frames::default()));
        drop(shared);
        write(socket, &jobs);
    });
}

/// Tries until it is there, or the scheduler knows of another process.
fn connect(
    weak: &Weak<Shared>,
    stream: StreamId,
    handle: u64,
    place: Option<String>,
) -> Option<TcpStream> {
    let place = place?;
    if stream.breaks > 0 {
        // Whatever breaks it again and again is not to keep both ends busy.
        thread::sleep(FIRST_PAUSE);
    }
    let mut pause = FIRST_PAUSE;
    loop {
        let address = place.to_socket_addrs().ok()?.next()?;
        if let Ok(socket) = TcpStream::connect_timeout(&address, PATIENCE) {
            return Some(socket);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        let shared = weak.upgrade()?;
        {
            let inner = shared.lock();
            let gives_up = inner.moves && inner.endpoint.without.keeps(Rule::GiveUp);
            if gives_up || !inner.is_current(stream, handle) {
                return None;
            }
        }
        match shared.scheduler.look(stream.target.rank) {
            Ok(Looked::At(at)) if at.epoch != stream.target.epoch => return None,
            Ok(Looked::Ended) => return None,
            // It was somewhere before, and is in a file now.
            Ok(Looked::Absent) => return None,
            _ => {}
        }
    }
}

/// Puts the socket where it can be cut.
fn adopt(shared: &Shared, stream: StreamId, handle: u64, socket: &TcpStream) -> bool {
    set(socket);
    let mut inner = shared.lock();
    let connection = inner.connections.get_mut(&stream);
    match (connection, socket.try_clone()) {
        (Some(connection), Ok(clone)) if connection.handle == handle => {
            connection.socket = Some(clone);
            true
        }
        _ => false,
    }
}

pub fn set(socket: &TcpStream) {
    // Without them it is slower, or a dead host is noticed later.
    let _ = socket.set_nodelay(true);
    let raw = SockRef::from(socket);
    let _ = raw.set_keepalive(true);
    let _ = raw.set_tcp_user_timeout(Some(SILENCE));
}

pub fn write(mut socket: TcpStream, jobs: &Receiver<Job>) {
    let mut pending = Vec::new();
    while let Ok(job) = jobs.recv() {
        let mut closes = false;
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Write(bytes) => pending.extend_from_slice(&bytes),
                Job::Close => closes = true,
            }
            if !closes && pending.len() < PIECE {
                next = jobs.try_recv().ok();
            }
        }
        if socket.write_all(&pending).is_err() {
            // The reader sees the same.
            let _ = socket.shutdown(Shutdown::Both);
            return;
        }
        pending.clear();
        if closes {
            let _ = socket.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// Reads until the end, even when nothing counts any more: what was written to a socket that
/// is closed with something unread in it may not arrive.
pub fn read(
    weak: &Weak<Shared>,
    mut socket: TcpStream,
    stream: StreamId,
    handle: u64,
    mut frames: Frames,
) {
    let mut bytes = vec![0; PIECE];
    let mut counts = true;
    loop {
        let got = match socket.read(&mut bytes) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if !counts {
            continue;
        }
        frames.feed(&bytes[..got]);
        let Some(shared) = weak.upgrade() else { break };
        shared.wait_while_deaf();
        let mut heard = Vec::new();
        let wrong = loop {
            match frames.take() {
                Ok(Some(frame)) => heard.push(frame),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        counts = shared.heard(stream, handle, heard);
        if wrong {
            break;
        }
        if !counts {
            // It does not wait for ever for somebody who does not close.
            let _ = socket.set_read_timeout(Some(SILENCE));
        }
    }
    if let Some(shared) = weak.upgrade() {
        shared.lost(stream, handle);
    }
    let _ = socket.shutdown(Shutdown::Both);
}
