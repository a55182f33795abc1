//! The certificates that an https server is verified against.

use std::fmt;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, Result};

/// Root certificates that replace those of the system.
#[derive(Clone)]
pub(crate) struct RootCertificates(Vec<Certificate<'static>>);

impl RootCertificates {
    /// Reads the certificates of a PEM file. Other items in it, such as keys, are ignored.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<RootCertificates> {
        let mut certificates = Vec::new();
        for item in parse_pem(pem) {
            let item = item.map_err(|error| {
                Error::invalid_input("the root certificates are not PEM").with_source(error)
            })?;
            if let PemItem::Certificate(certificate) = item {
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            return Err(Error::invalid_input("the root certificates contain no certificate"));
        }
        Ok(RootCertificates(certificates))
    }
}

impl fmt::Debug for RootCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

/// The TLS configuration with these certificates, or with the system's.
pub(super) fn config(roots: Option<RootCertificates>) -> TlsConfig {
    let roots = match roots {
        Some(RootCertificates(certificates)) => RootCerts::from(certificates),
        None => RootCerts::PlatformVerifier,
    };
    TlsConfig::builder().root_certs(roots).build()
}
