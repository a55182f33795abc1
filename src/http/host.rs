//! A server's host: decides whether a proxy is used for it.

use std::net::IpAddr;

#[derive(Clone, PartialEq)]
pub(super) enum Host {
    /// In small letters and without a dot at its end.
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

    /// Whether a connection to it cannot leave the machine.
    pub(super) fn is_on_this_machine(&self) -> bool {
        match self {
            Host::Address(address) => address.is_loopback() || address.is_unspecified(),
            Host::Name(name) => is_within(name, "localhost"),
        }
    }

    /// Whether it is one of these, with commas or spaces between them; a name stands for what is below it too. A port is
    /// passed over.
    pub(super) fn is_one_of(&self, hosts: &str) -> bool {
        let mut hosts = hosts.split([',', ' ']);
        hosts.any(|host| {
            let host = host.trim_start_matches("*.").trim_start_matches('.');
            match (self, Host::new(without_port(host))) {
                (_, Host::Name(all)) if all == "*" => true,
                (Host::Name(name), Host::Name(above)) => is_within(name, &above),
                (own, other) => *own == other,
            }
        })
    }
}

/// Whether this is the name, or one below it.
fn is_within(name: &str, above: &str) -> bool {
    let rest = name.strip_suffix(above).filter(|_| !above.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What is before the port, if there is one: behind a name, an address of numbers, or brackets.
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
    fn a_name_in_a_list_stands_for_what_is_below_it() {
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
