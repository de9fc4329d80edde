// SPDX-License-Identifier: GPL-2.0
//! An authority that gives hosts certificates.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::wire::tls::{Files, Identity};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    /// Returns the files of a host: its certificate, with this name, its key, and the authority.
    pub fn files(&self, host: &str) -> Files {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_string()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |name: String, text: String| -> PathBuf {
            let path = self.directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        Files {
            certificate: file(format!("{host}.pem"), certificate.pem()),
            key: file(format!("{host}.key"), key.serialize_pem()),
            authority: self.directory.path().join("ca.pem"),
        }
    }

    pub fn identity(&self, host: &str) -> Identity {
        Identity::read(&self.files(host)).unwrap()
    }
}
