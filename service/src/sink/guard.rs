//! The guard against internal addresses: a webhook reaches the public internet, or a network that was allowed.

use crate::config::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of a host that may be called.
pub(super) async fn resolve(url: &reqwest::Url, allow: &[Network]) -> Result<Vec<SocketAddr>, String> {
    let host = url.host_str().ok_or("the url has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().ok_or("the url has no port")?;
    let found = tokio::net::lookup_host((host, port)).await.map_err(|e| format!("{host}: {e}"))?;
    let all: Vec<SocketAddr> = found.collect();
    let good: Vec<SocketAddr> = all
        .iter()
        .copied()
        .filter(|a| is_public(a.ip()) || allow.iter().any(|n| n.contains(a.ip())))
        .collect();
    match (good.is_empty(), all.first()) {
        (false, _) => Ok(good),
        (true, Some(address)) => Err(format!(
            "{host} is the internal address {}; `webhooks.allow` lists networks that may be called",
            address.ip()
        )),
        (true, None) => Err(format!("{host} has no address")),
    }
}

/// True for addresses of the public internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let segments = ip.segments();
    // Global unicast is 2000::/3; of it not Teredo, 6to4 (they hide an IPv4 address) and documentation.
    let global = segments[0] & 0xe000 == 0x2000;
    let hidden =
        segments[0] == 0x2002 || (segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0xdb8));
    global && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_not_public() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
