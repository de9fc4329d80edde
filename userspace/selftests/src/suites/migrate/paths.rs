// SPDX-License-Identifier: GPL-2.0
//! The ways from one agent to the other: a socket of this host, and TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use pagemove_testkit::tap::Case;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{case, Hosts, Nothing, Receiver};

const DIRECTORY: &str = "/tmp/certificates";

pub fn cases() -> Vec<Case<Nothing>> {
    vec![
        case(
            "by itself receive listens at a socket for root alone",
            socket,
        ),
        case("under TLS: out and back", encrypted),
        case(
            "under TLS: a host of another authority gets nowhere",
            stranger,
        ),
    ]
}

fn socket() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let receiver = Receiver::at(None, hosts.b.id, &["--once"])?;
    ensure!(
        receiver.address == "/run/pagemove/receive.sock",
        "it listens at {}",
        receiver.address
    );
    let mode = fs::metadata(&receiver.address)?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "mode {mode:o}");
    let path = receiver.address.clone();
    hosts.run("migrate", &path, &[])?.expect(0)?;
    hosts.check_out(1)?;
    ensure!(receiver.end()?.code == 0);
    ensure!(!Path::new(&path).exists(), "the socket stays");
    let receiver = Receiver::at(None, hosts.b.id, &["--once"])?;
    hosts.run("migrate", &path, &["--back"])?.expect(0)?;
    ensure!(receiver.end()?.code == 0);
    hosts.check_home(1)
}

/// Makes an authority, and certificates of it for the hosts a and b.
fn certify(name: &str) -> Result<[Vec<String>; 2]> {
    let directory = Path::new(DIRECTORY).join(name);
    fs::create_dir_all(&directory)?;
    let mut params = CertificateParams::new([])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let write = |name: &str, text: String| -> Result<String> {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path.display().to_string())
    };
    let authority = write("ca.pem", issuer.pem())?;
    let certify = |host: &str| -> Result<Vec<String>> {
        let key = KeyPair::generate()?;
        let names = [host.to_string(), "127.0.0.1".to_string()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let certificate = write(&format!("{host}.pem"), certificate.pem())?;
        let key = write(&format!("{host}.key"), key.serialize_pem())?;
        let flags = ["--tls-cert", &certificate, "--tls-key", &key];
        let all = flags.into_iter().chain(["--tls-ca", &authority]);
        Ok(all.map(str::to_string).collect())
    };
    Ok([certify("a")?, certify("b")?])
}

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn receiver(hosts: &Hosts, files: &[String]) -> Result<Receiver> {
    let more = [&texts(files)[..], &["--once"]].concat();
    Receiver::at(Some("tls:127.0.0.1:0"), hosts.b.id, &more)
}

fn encrypted() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let [a, b] = certify("ours")?;
    let out = receiver(&hosts, &b)?;
    let to = out.address.clone();
    ensure!(to.starts_with("tls:127.0.0.1:"), "{to}");
    hosts.run("migrate", &to, &texts(&a))?.expect(0)?;
    ensure!(out.end()?.code == 0);
    hosts.check_out(1)?;
    home(&mut hosts, &a, &b)
}

fn home(hosts: &mut Hosts, a: &[String], b: &[String]) -> Result<()> {
    let home = receiver(hosts, b)?;
    let more = [&texts(a)[..], &["--back"]].concat();
    hosts
        .run("migrate", &home.address.clone(), &more)?
        .expect(0)?;
    ensure!(home.end()?.code == 0);
    hosts.check_home(1)
}

fn stranger() -> Result<()> {
    let mut hosts = Hosts::open()?;
    let ([a, b], [other, _]) = (certify("ours")?, certify("theirs")?);
    let out = receiver(&hosts, &b)?;
    let to = out.address.clone();
    let refused = hosts.run("migrate", &to, &texts(&other))?;
    refused.expect(3)?;
    ensure!(refused.errors.contains("TLS: "), "{}", refused.errors);
    ensure!(!hosts.is_noted(), "it is noted");
    // It was a stranger, so the receiver goes on for who is none.
    hosts.run("migrate", &to, &texts(&a))?.expect(0)?;
    let received = out.end()?;
    ensure!(received.code == 0, "{}", received.errors);
    hosts.check_out(1)?;
    // What stays out keeps the module.
    home(&mut hosts, &a, &b)
}
