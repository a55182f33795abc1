//! What a server says about itself.

use std::fmt;

use crate::http::one_line;

/// What a server speaks, by its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// chat-ui up to 0.6, of 2023: what H2O.ai ran for the public.
    Classic,
    /// chat-ui from 0.8 up to today's.
    Current,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Classic => "classic",
            Protocol::Current => "current",
        })
    }
}

/// A model that a server offers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// What it is asked for by: see [`ClientBuilder::model`](crate::ClientBuilder::model).
    pub id: String,
    /// What people are shown.
    pub name: String,
    /// What the server says about it.
    pub description: Option<String>,
}

/// A conversation that is on the server: see [`Client::conversations`](crate::Client::conversations).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// What it is taken up with: see [`Client::resume`](crate::Client::resume).
    pub id: String,
    /// What the server calls it.
    pub title: String,
    /// The model that it is with, if the server says so.
    pub model: Option<String>,
}

/// What [`Client::check`](crate::Client::check) found out. `Display` says it in plain sentences.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Where the server is, without user and password.
    pub url: String,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The models that it offers, the first being its own default; none if it does not list them.
    pub models: Vec<Model>,
    /// The model that this client asks.
    pub model: String,
    /// Whether the server takes itself for an https one although it is spoken to over http.
    pub expects_https: bool,
}

impl fmt::Display for ServerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is a {} chat-ui server.", self.url, self.protocol)?;
        match self.models.as_slice() {
            [] => write!(f, " It does not list its models.")?,
            [only] => write!(f, " It offers one model, {}.", one_line(&only.id))?,
            models => {
                let ids: Vec<String> = models.iter().map(|model| one_line(&model.id)).collect();
                write!(f, " It offers {} models: {}.", ids.len(), ids.join(", "))?;
            }
        }
        write!(f, " This client asks {}.", one_line(&self.model))?;
        if self.expects_https {
            write!(f, " It takes itself for an https server; requests say so.")?;
        }
        Ok(())
    }
}
