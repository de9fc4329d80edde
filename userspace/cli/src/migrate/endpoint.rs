// SPDX-License-Identifier: GPL-2.0
//! Sockets: listening, accepting and connecting, and who is at the other end.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::stat::{umask, Mode};
use nix::unistd::geteuid;
use pagemove_migrate::wire::tls::Identity;
use pagemove_migrate::wire::{Plain, Tls, Wire};

use super::address::{self, Address};

/// How long the other host may take to answer at all.
const CONNECTING: Duration = Duration::from_secs(10);

/// A socket that others connect to.
pub enum Listener {
    Unix(UnixListener, SocketFile),
    /// With an identity under TLS, else in the clear.
    Tcp(TcpListener, Option<Identity>),
}

/// Somebody who has connected.
pub struct Caller {
    /// Who it is, for people.
    pub name: String,
    /// Or why there is no talking to it.
    pub wire: Result<Box<dyn Wire>, String>,
}

impl Listener {
    /// Listens. An identity is there for TLS and only for it.
    pub fn open(address: &Address, identity: Option<Identity>) -> Result<Self, String> {
        let why = |error: io::Error| format!("can not listen on {address}: {error}");
        match address {
            Address::Unix(path) => {
                let (listener, file) = listen_here(path).map_err(why)?;
                Ok(Listener::Unix(listener, file))
            }
            Address::Tls(place) | Address::Tcp(place) => {
                let addresses = address::resolve(place)?;
                let listener = TcpListener::bind(&addresses[..]).map_err(why)?;
                Ok(Listener::Tcp(listener, identity))
            }
        }
    }

    /// Returns what `--to` takes to get here.
    pub fn address(&self) -> Result<Address, String> {
        match self {
            Listener::Unix(_, file) => Ok(Address::Unix(file.0.clone())),
            Listener::Tcp(listener, identity) => {
                let local = listener.local_addr().map_err(|error| error.to_string())?;
                Ok(match identity {
                    Some(_) => Address::Tls(local.to_string()),
                    None => Address::Tcp(local.to_string()),
                })
            }
        }
    }

    /// Takes one who has connected; there has to be one.
    pub fn accept(&self) -> io::Result<Caller> {
        match self {
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                let (uid, pid) = who(&stream)?;
                let wire = allowed(uid).and_then(|()| boxed(Plain::unix(stream)));
                let name = format!("process {pid} of user {uid}");
                Ok(Caller { name, wire })
            }
            Listener::Tcp(listener, identity) => {
                let (stream, peer) = listener.accept()?;
                let wire = match identity {
                    None => boxed(Plain::tcp(stream)),
                    Some(own) => {
                        boxed(Plain::tcp(stream).and_then(|plain| Tls::server(plain, own)))
                    }
                };
                let name = peer.to_string();
                Ok(Caller { name, wire })
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Unix(listener, _) => listener.as_fd(),
            Listener::Tcp(listener, _) => listener.as_fd(),
        }
    }
}

/// Connects. An identity is there for TLS and only for it. An error is a sentence.
pub fn connect(address: &Address, identity: Option<&Identity>) -> Result<Box<dyn Wire>, String> {
    let wire = match (address, identity) {
        (Address::Unix(path), _) => UnixStream::connect(path)
            .map_err(|error| error.to_string())
            .and_then(|stream| {
                let (uid, _) = who(&stream).map_err(|error| error.to_string())?;
                allowed(uid)?;
                boxed(Plain::unix(stream))
            }),
        (Address::Tls(place), Some(own)) => {
            tcp(place).and_then(|plain| boxed(Tls::client(plain, own, address::host_of(place))))
        }
        (Address::Tcp(place), _) => tcp(place).and_then(|plain| boxed(Ok(plain))),
        (Address::Tls(_), None) => Err("there is no certificate to show".to_string()),
    };
    wire.map_err(|why| format!("{address}: {why}: is `pagemove receive` running there?"))
}

fn boxed(wire: io::Result<impl Wire + 'static>) -> Result<Box<dyn Wire>, String> {
    match wire {
        Ok(wire) => Ok(Box::new(wire)),
        Err(error) => Err(error.to_string()),
    }
}

/// Connects to the first address of HOST:PORT that answers.
fn tcp(place: &str) -> Result<Plain, String> {
    let mut problem = String::new();
    for address in address::resolve(place)? {
        match TcpStream::connect_timeout(&address, CONNECTING).and_then(Plain::tcp) {
            Ok(plain) => return Ok(plain),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(problem)
}

/// Returns user and process at the other end, as the kernel says.
fn who(stream: &UnixStream) -> io::Result<(u32, i32)> {
    let found = getsockopt(stream, PeerCredentials)?;
    Ok((found.uid(), found.pid()))
}

/// Returns whether a user may be at the other end: root, or who runs this.
fn allowed(uid: u32) -> Result<(), String> {
    match uid == 0 || uid == geteuid().as_raw() {
        true => Ok(()),
        false => Err(format!(
            "user {uid} is at the other end: only root may be, so let ssh forward the socket as root"
        )),
    }
}

/// The file of a socket, which goes with it.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at a file that nobody but root, or who runs this, can open.
fn listen_here(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    remove_stale(path)?;
    // From the first moment on: there is one thread yet.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    Ok((listener?, SocketFile(path.to_path_buf())))
}

/// Removes the file of a socket that nobody listens at any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "there is a file that is no socket",
            ))
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            ErrorKind::AddrInUse,
            "another `pagemove receive` listens there: end it, or choose another path",
        )),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
