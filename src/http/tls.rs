//! Who has to vouch for a server that is spoken to over https.

use std::fmt;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, Result};

/// The certificates of authorities.
#[derive(Clone)]
pub(crate) struct Authorities(Vec<Certificate<'static>>);

impl Authorities {
    /// Those in a text of PEM; what else is in it is passed over.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Authorities> {
        let unfit = || Error::input("the certificates cannot be read as PEM");
        let mut certificates = Vec::new();
        for item in parse_pem(pem) {
            let item = item.map_err(|error| unfit().with_source(error))?;
            if let PemItem::Certificate(certificate) = item {
                if !is_whole(certificate.der()) {
                    return Err(Error::input("a certificate in the PEM text is broken"));
                }
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            return Err(Error::input("there is no certificate in the PEM text"));
        }
        Ok(Authorities(certificates))
    }
}

/// Whether it is a sequence of as many bytes as it says, and begins with one, as certificates do: anything else would be
/// passed over later.
fn is_whole(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    let (length, content) = match *der {
        [SEQUENCE, length @ 0..=0x7f, ref content @ ..]
        | [SEQUENCE, 0x81, length, ref content @ ..] => (usize::from(length), content),
        [SEQUENCE, 0x82, high, low, ref content @ ..] => {
            (usize::from(u16::from_be_bytes([high, low])), content)
        }
        _ => return false,
    };
    content.len() == length && content.first() == Some(&SEQUENCE)
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

pub(super) fn config(authorities: Option<Authorities>) -> TlsConfig {
    let roots = match authorities {
        Some(Authorities(certificates)) => RootCerts::from(certificates),
        None => RootCerts::PlatformVerifier,
    };
    TlsConfig::builder().root_certs(roots).build()
}
