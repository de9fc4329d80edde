// SPDX-License-Identifier: GPL-2.0
//! Who gets a connection under TLS, and what others see of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::authority::Authority;
use super::threads::tcp;
use crate::wire::tls::{Files, Identity};
use crate::wire::{Heard, Plain, Tls, Wire};

const MOMENT: Duration = Duration::from_secs(5);

/// Returns what both ends get, A's before it has heard anything.
fn meet(a: &Identity, name: &str, b: &Identity) -> (std::io::Result<Tls>, std::io::Result<Tls>) {
    let (one, two) = tcp();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| Tls::server(two, b));
        (Tls::client(one, a, name), server.join().unwrap())
    })
}

#[test]
fn hosts_of_one_authority_get_together() {
    let authority = Authority::new();
    let (a, b) = (authority.identity("a"), authority.identity("b"));
    let (client, server) = meet(&a, "b", &b);
    let (client, server) = (client.unwrap(), server.unwrap());
    // More than one record holds.
    let text = vec![7u8; 100_000];
    client.send(&text).unwrap();
    client.hang_up();
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match server.receive(&mut buffer, MOMENT).unwrap() {
            Heard::Bytes(count) => heard.extend_from_slice(&buffer[..count]),
            Heard::Nothing => {}
            Heard::End => break,
        }
    }
    assert_eq!(heard, text);
}

#[test]
fn a_host_of_another_authority_is_refused_by_both() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (client, server) = meet(&theirs.identity("a"), "b", &ours.identity("b"));
    assert!(client.is_err() && server.is_err());
    // One that believes us, but has its certificate from elsewhere.
    let stranger = Files {
        authority: ours.files("x").authority,
        ..theirs.files("a")
    };
    let (_, server) = meet(
        &Identity::read(&stranger).unwrap(),
        "b",
        &ours.identity("b"),
    );
    let error = server.err().expect("it was let in").to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[test]
fn a_host_of_another_name_is_refused() {
    let authority = Authority::new();
    let (a, c) = (authority.identity("a"), authority.identity("c"));
    let (client, _) = meet(&a, "b", &c);
    let error = client.err().expect("it was believed").to_string();
    assert!(
        error.contains("NotValidForName") || error.contains("not valid for name"),
        "{error}"
    );
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let authority = Authority::new();
    let b = authority.identity("b");
    let (one, two) = tcp();
    let server = std::thread::spawn(move || Tls::server(two, &b).err());
    let mut roots = rustls::RootCertStore::empty();
    let files = authority.files("x");
    let ca = rustls::pki_types::pem::PemObject::from_pem_file(&files.authority);
    roots.add(ca.unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("b").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let _ = client.complete_io(&mut &one);
    let error = server.join().unwrap().expect("it was let in").to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn who_speaks_no_tls_is_refused() {
    let authority = Authority::new();
    let b = authority.identity("b");
    let (one, two) = tcp();
    let server = std::thread::spawn(move || Tls::server(two, &b).err());
    one.send(b"pagemove\0\x01\0\x02 and so on, in the clear")
        .unwrap();
    let error = server.join().unwrap().expect("it was let in").to_string();
    assert!(error.starts_with("TLS: "), "{error}");
}

/// Forwards a connection, and keeps what both sides say.
fn tapped() -> (TcpStream, TcpStream, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accept = || listener.accept().unwrap().0;
    let (one, one_inside) = (connect(), accept());
    let (two_inside, two) = (connect(), accept());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pairs = [(&one_inside, &two_inside), (&two_inside, &one_inside)];
    for (from, to) in pairs {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let seen = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                seen.lock().unwrap().extend_from_slice(&buffer[..count]);
                to.write_all(&buffer[..count]).unwrap();
            }
        });
    }
    (one, two, seen)
}

#[test]
fn what_is_said_can_not_be_read_on_the_way() {
    const SECRET: &[u8] = b"a page of the guest";
    let authority = Authority::new();
    let (a, b) = (authority.identity("a"), authority.identity("b"));
    for encrypted in [false, true] {
        let (one, two, seen) = tapped();
        let (one, two) = (Plain::tcp(one).unwrap(), Plain::tcp(two).unwrap());
        let (from, to): (Box<dyn Wire>, Box<dyn Wire + Send>) = match encrypted {
            false => (Box::new(one), Box::new(two)),
            true => std::thread::scope(|scope| {
                let server = scope.spawn(|| Tls::server(two, &b).unwrap());
                let client = Tls::client(one, &a, "b").unwrap();
                (
                    Box::new(client) as Box<dyn Wire>,
                    Box::new(server.join().unwrap()) as Box<dyn Wire + Send>,
                )
            }),
        };
        from.send(SECRET).unwrap();
        let mut buffer = [0; 64];
        let mut heard = Heard::Nothing;
        while heard == Heard::Nothing {
            heard = to.receive(&mut buffer, MOMENT).unwrap();
        }
        assert_eq!(heard, Heard::Bytes(SECRET.len()));
        let seen = seen.lock().unwrap();
        let shows = seen.windows(SECRET.len()).any(|part| part == SECRET);
        // Without encryption the tap does see it.
        assert_eq!(shows, !encrypted);
    }
}

#[test]
fn files_that_are_none_are_named() {
    let authority = Authority::new();
    let good = authority.files("a");
    for wrong in [
        Files {
            key: good.authority.clone(),
            ..good.clone()
        },
        Files {
            certificate: good.key.clone(),
            ..good.clone()
        },
        Files {
            authority: "/no/such/file.pem".into(),
            ..good.clone()
        },
    ] {
        let error = Identity::read(&wrong).err().expect("it was taken");
        assert!(error.contains(".pem") || error.contains(".key"), "{error}");
    }
}
