//! A server's host, by which it is told whether a proxy is to be used.

use std::net::{IpAddr, Ipv4Addr};

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
        let address = bare.parse::<IpAddr>().ok();
        match address.or_else(|| short_address(&bare).map(IpAddr::V4)) {
            Some(address) => Host::Address(address.to_canonical()),
            None => Host::Name(bare),
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

/// An address with fewer than four numbers, the last of which fills the rest, or with numbers that are not decimal: the
/// system takes these too.
fn short_address(host: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    let room = 32_usize.checked_sub(8 * first.len())?;
    let fits = u64::from(*last) < 1 << room && first.iter().all(|number| *number <= 0xff);
    let shifted = first
        .iter()
        .zip([24, 16, 8])
        .map(|(number, shift)| number << shift);
    (fits && room > 0).then(|| Ipv4Addr::from_bits(last | shifted.sum::<u32>()))
}

/// Decimal, octal behind a 0, or hexadecimal behind 0x.
fn number(part: &str) -> Option<u32> {
    let (digits, radix) = match part.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    let has_sign = digits.starts_with(['+', '-']);
    u32::from_str_radix(digits, radix)
        .ok()
        .filter(|_| !has_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_by_name_and_by_number() {
        for host in [
            "localhost",
            "localhost.",
            "a.LOCALHOST",
            "127.9.9.9",
            "127.1",
            "0x7f.1",
            "0177.0.0.1",
            "2130706433",
            "0.0.0.0",
            "0",
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
            "10.1",
            "128.0.0.1",
            "[::2]",
            "127.0.0.1.example.org",
            "127.0.0.0.1",
            "0x",
            "999999999999",
            "383.0.0.1",
            "256.0.0.0",
            "+127.1",
            "127.0x+1",
            "0x1000000.0",
            "127.16777216",
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
