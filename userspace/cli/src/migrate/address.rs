// SPDX-License-Identifier: GPL-2.0
//! Where the other host listens.

use std::net::{SocketAddr, ToSocketAddrs};

/// Reads `HOST:PORT`, an IPv6 address in brackets.
pub fn parse(text: &str) -> Result<String, String> {
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

/// Reads `HOST:PORT` with a port that one can connect to.
pub fn parse_peer(text: &str) -> Result<String, String> {
    let address = parse(text)?;
    if address.ends_with(":0") {
        return Err(format!(
            "'{text}' has port 0: give the one that the other host listens on"
        ));
    }
    Ok(address)
}

/// Returns all addresses of a name.
pub fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    let found = address.to_socket_addrs();
    let all: Vec<SocketAddr> = found
        .map_err(|error| format!("{address} can not be resolved: {error}"))?
        .collect();
    if all.is_empty() {
        return Err(format!("{address} has no address"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong_ones() {
        for right in [
            "localhost:7177",
            "127.0.0.1:1",
            "[::1]:65535",
            "host-b.lan:0",
        ] {
            assert_eq!(parse(right).as_deref(), Ok(right));
        }
        for wrong in [
            "",
            "host",
            ":7177",
            "host:",
            "host:x",
            "host:+1",
            "host:65536",
            "::1:7177",
            "[]:1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse_peer("host:0").is_err());
        assert_eq!(resolve("127.0.0.1:7177").unwrap().len(), 1);
    }
}
