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
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            return Err(Error::input("there is no certificate in the PEM text"));
        }
        Ok(Authorities(certificates))
    }
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
