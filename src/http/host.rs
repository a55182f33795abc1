//! A server's host: decides whether a proxy is used for it.

use std::net::IpAddr;

#[derive(Clone, PartialEq)]
pub(super) enum Host {
    /// In lower case, without a final dot.
    Name(String),
    Address(IpAddr),
}

impl Host {
    pub(super) fn new(host: &str) -> Host {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let bare = bare.trim_end_matches('.').to_ascii_lowercase();
        match bare.parse::<IpAddr>() {
            Ok(address) => Host::Address(address.to_canonical()),
            Err(_) => Host::Name(bare),
        }
    }

    /// Returns whether connections to it stay on this machine.
    pub(super) fn is_on_this_machine(&self) -> bool {
        match self {
            Host::Address(address) => address.is_loopback() || address.is_unspecified(),
            Host::Name(name) => is_within(name, "localhost"),
        }
    }

    /// Returns whether it is in a list of hosts, separated by commas or spaces. A name includes its
    /// subdomains. Ports are ignored.
    pub(super) fn is_one_of(&self, hosts: &str) -> bool {
        let mut hosts = hosts.split([',', ' ']);
        hosts.any(|host| {
            let host = host.trim_start_matches("*.").trim_start_matches('.');
            match (self, Host::new(without_port(host))) {
                (_, Host::Name(all)) if all == "*" => true,
                (Host::Name(name), Host::Name(domain)) => is_within(name, &domain),
                (own, other) => *own == other,
            }
        })
    }
}

/// Returns whether `name` is `domain` or a subdomain of it.
fn is_within(name: &str, domain: &str) -> bool {
    let rest = name.strip_suffix(domain).filter(|_| !domain.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Removes a port behind a name, an IPv4 address, or an IPv6 address in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((before, _)) if before.ends_with(']') || !before.contains(':') => before,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_recognised_by_name_and_by_address() {
        for host in [
            "localhost",
            "localhost.",
            "a.LOCALHOST",
            "127.9.9.9",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(Host::new(host).is_on_this_machine(), "{host}");
        }
        for host in [
            "localhost.example.org",
            "mylocalhost",
            "10.0.0.1",
            "128.0.0.1",
            "[::2]",
            "127.0.0.1.example.org",
        ] {
            assert!(!Host::new(host).is_on_this_machine(), "{host}");
        }
    }

    #[test]
    fn a_name_in_a_list_includes_its_subdomains() {
        for (host, list) in [
            ("chat.example.org", "chat.example.org"),
            ("chat.example.org", "other , EXAMPLE.org,"),
            ("chat.example.org", ".example.org"),
            ("chat.example.org", "*.example.org"),
            ("chat.example.org.", "example.org."),
            ("chat.example.org", "*"),
            ("10.0.0.1", "10.0.0.1"),
            ("[fd00::1]", "fd00::1"),
            ("[fd00::1]", "[fd00::1]"),
            ("[fd00::1]", "fd00:0:0:0:0:0:0:1"),
            ("[fd00::1]", "[fd00::1]:3000"),
            ("chat.example.org", "chat.example.org:3000"),
            ("chat.example.org", "other example.org"),
        ] {
            assert!(Host::new(host).is_one_of(list), "{host} {list}");
        }
        for (host, list) in [
            ("chat.example.org", ""),
            ("chat.example.org", " , ."),
            ("chat.example.org", "ample.org"),
            ("chat.example.org", "chat.example.org.uk"),
            ("example.org", "chat.example.org"),
            ("10.0.0.1", "10.0.0.10"),
        ] {
            assert!(!Host::new(host).is_one_of(list), "{host} {list}");
        }
    }
}
