// SPDX-License-Identifier: GPL-2.0
//! Where the other host's agent is, and how it is talked to.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where `receive` listens by itself.
pub const SOCKET: &str = "/run/pagemove/receive.sock";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket of this host, for root alone; ssh forwards it to another one.
    Unix(PathBuf),
    /// HOST:PORT, encrypted, both ends with certificates.
    Tls(String),
    /// HOST:PORT in the clear.
    Tcp(String),
}

impl FromStr for Address {
    type Err = String;

    /// Reads a path, `tls:HOST:PORT` or `tcp:HOST:PORT`, an IPv6 address in brackets.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("tls:") {
            return host_and_port(rest).map(Address::Tls);
        }
        if let Some(rest) = text.strip_prefix("tcp:") {
            return host_and_port(rest).map(Address::Tcp);
        }
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if Path::new(path).is_absolute() {
            return Ok(Address::Unix(path.into()));
        }
        Err(format!(
            "'{text}' does not say how to get there: write the path of a socket, such as {SOCKET}, \
             which ssh -L forwards; tls:HOST:PORT, with certificates; or tcp:HOST:PORT to go in the \
             clear"
        ))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Tls(address) => write!(f, "tls:{address}"),
            Address::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let wrong =
        || format!("'{text}' is no address: write HOST:PORT, such as 10.0.0.2:7177 or [::1]:7177");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    if host.is_empty() || (host.contains([':', '[', ']']) && !bracketed) {
        return Err(wrong());
    }
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    port.parse::<u16>()
        .map_err(|_| format!("'{port}' is no port: give one up to 65535"))?;
    Ok(text.to_string())
}

/// Reads an address that one can connect to.
pub fn parse_peer(text: &str) -> Result<Address, String> {
    let address = text.parse()?;
    match &address {
        Address::Tls(place) | Address::Tcp(place) if place.ends_with(":0") => Err(format!(
            "'{text}' has port 0: give the one that the other host listens on"
        )),
        _ => Ok(address),
    }
}

/// Returns the name of HOST:PORT that a certificate has to have.
pub fn host_of(place: &str) -> &str {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Returns all addresses of HOST:PORT.
pub fn resolve(place: &str) -> Result<Vec<SocketAddr>, String> {
    let found = place.to_socket_addrs();
    let all: Vec<SocketAddr> = found
        .map_err(|error| format!("{place} can not be resolved: {error}"))?
        .collect();
    if all.is_empty() {
        return Err(format!("{place} has no address"));
    }
    Ok(all)
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
