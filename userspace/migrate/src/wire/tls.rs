// SPDX-License-Identifier: GPL-2.0
//! Bytes that nobody else can read or change, over TCP, between two hosts that have certificates of
//! the same authority. TLS 1.3 alone, by rustls.

use std::fmt::Display;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};
use rustls::{ServerConfig, ServerConnection};

use super::{Heard, Plain, Wire};

/// How long a peer may take until both know each other.
const GREETING: Duration = Duration::from_secs(10);

/// Files of a host's own, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those between it and the authority's.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificates of the authority that peers have to have theirs from.
    pub authority: PathBuf,
}

/// Who this host is, and by whom it knows others.
pub struct Identity {
    provider: Arc<CryptoProvider>,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: Arc<RootCertStore>,
}

impl Identity {
    /// Reads it from files. An error is a sentence that names the file.
    pub fn read(files: &Files) -> std::result::Result<Self, String> {
        let certificates = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| of_file(&files.key, "a private key", error))?;
        let mut authority = RootCertStore::empty();
        for certificate in self::certificates(&files.authority)? {
            authority
                .add(certificate)
                .map_err(|error| of_file(&files.authority, "an authority's certificate", error))?;
        }
        Ok(Self {
            provider: Arc::new(ring::default_provider()),
            certificates,
            key,
            authority: Arc::new(authority),
        })
    }

    fn client(&self) -> std::result::Result<ClientConfig, rustls::Error> {
        ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&self.authority))
            .with_client_auth_cert(self.certificates.clone(), self.key.clone_key())
    }

    fn server(&self) -> std::result::Result<ServerConfig, String> {
        let (authority, provider) = (Arc::clone(&self.authority), Arc::clone(&self.provider));
        // Whoever shows no certificate is refused.
        let verifier = WebPkiClientVerifier::builder_with_provider(authority, provider)
            .build()
            .map_err(|error| error.to_string())?;
        ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(self.certificates.clone(), self.key.clone_key())
            })
            .map_err(|error| error.to_string())
    }

    /// Returns why this can not be used, before anybody has connected.
    pub fn check(&self) -> std::result::Result<(), String> {
        self.client().map_err(|error| error.to_string())?;
        self.server().map(drop)
    }
}

fn certificates(file: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let what = "a certificate";
    let all = CertificateDer::pem_file_iter(file).map_err(|error| of_file(file, what, error))?;
    let all: std::result::Result<Vec<_>, _> = all.collect();
    let all = all.map_err(|error| of_file(file, what, error))?;
    match all.is_empty() {
        true => Err(of_file(file, what, "there is none in it")),
        false => Ok(all),
    }
}

fn of_file(file: &Path, what: &str, error: impl Display) -> String {
    format!("{}: no {what} in PEM: {error}", file.display()).replace("no a", "no")
}

/// A connection that both ends have proved to be of the authority.
pub struct Tls {
    socket: Plain,
    /// Whoever holds it may write to the socket, and read what is there.
    state: Mutex<Connection>,
}

impl Tls {
    /// Connects to a host of this name, which its certificate has to have.
    pub fn client(socket: Plain, identity: &Identity, host: &str) -> Result<Self> {
        let name = ServerName::try_from(host.to_string())
            .map_err(|_| broken(format!("{host} is no name that a certificate can have")))?;
        let config = identity.client().map_err(broken)?;
        let state = ClientConnection::new(Arc::new(config), name).map_err(broken)?;
        Self::greet(socket, state.into())
    }

    /// Answers a host that has connected.
    pub fn server(socket: Plain, identity: &Identity) -> Result<Self> {
        let config = identity.server().map_err(broken)?;
        let state = ServerConnection::new(Arc::new(config)).map_err(broken)?;
        Self::greet(socket, state.into())
    }

    fn greet(socket: Plain, mut state: Connection) -> Result<Self> {
        let start = Instant::now();
        while state.is_handshaking() {
            flush(&mut state, &socket)?;
            let left = GREETING.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    "TLS: the peer says nothing",
                ));
            }
            if state.is_handshaking() && socket.wait(left)? && !read(&mut state, &socket)? {
                return Err(broken("the peer hung up: it may not take this certificate"));
            }
        }
        flush(&mut state, &socket)?;
        let state = Mutex::new(state);
        Ok(Self { socket, state })
    }

    fn state(&self) -> MutexGuard<'_, Connection> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(error: impl Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("TLS: {error}"))
}

/// Sends what the connection has to send.
fn flush(state: &mut Connection, socket: &Plain) -> Result<()> {
    let mut socket = socket;
    while state.wants_write() {
        state.write_tls(&mut socket)?;
    }
    Ok(())
}

/// Reads what has come, of which there has to be something. Returns whether it was not the end.
fn read(state: &mut Connection, socket: &Plain) -> Result<bool> {
    let mut source = socket;
    match state.read_tls(&mut source) {
        Ok(0) => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
        Err(error) => return Err(error),
    }
    let processed = state.process_new_packets().map(drop).map_err(broken);
    // What the peer is told of it, the reason of a refusal among it.
    let told = flush(state, socket);
    processed.and(told)?;
    Ok(true)
}

impl Wire for Tls {
    fn send(&self, bytes: &[u8]) -> Result<()> {
        let mut state = self.state();
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = state.writer().write(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            flush(&mut state, &self.socket)?;
        }
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8], timeout: Duration) -> Result<Heard> {
        if let Some(heard) = decrypted(&mut self.state(), buffer)? {
            return Ok(heard);
        }
        // Without the lock, so that others can send meanwhile.
        if !self.socket.wait(timeout)? {
            return Ok(Heard::Nothing);
        }
        let mut state = self.state();
        let goes_on = read(&mut state, &self.socket)?;
        match decrypted(&mut state, buffer)? {
            Some(heard) => Ok(heard),
            None if goes_on => Ok(Heard::Nothing),
            None => Ok(Heard::End),
        }
    }

    fn hang_up(&self) {
        let mut state = self.state();
        state.send_close_notify();
        let _ = flush(&mut state, &self.socket);
        self.socket.hang_up();
    }

    fn close(&self) {
        self.socket.close();
    }
}

/// Returns what has come already; none where that is nothing.
fn decrypted(state: &mut Connection, buffer: &mut [u8]) -> Result<Option<Heard>> {
    match state.reader().read(buffer) {
        Ok(0) => Ok(Some(Heard::End)),
        Ok(count) => Ok(Some(Heard::Bytes(count))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        // It has hung up without a word, which frames notice where it matters.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Some(Heard::End)),
        Err(error) => Err(error),
    }
}
