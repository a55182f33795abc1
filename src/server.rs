//! Information that a server gives about itself.

use std::fmt;

use crate::text::one_line;

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// chat-ui up to 0.6, of 2023: H2O.ai's public chat.
    ChatUiClassic,
    /// chat-ui from 0.8 to the newest.
    ChatUi,
    /// h2oGPTe, H2O.ai's present product. It requires an
    /// [API key](crate::ClientBuilder::api_key).
    H2ogpte,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::ChatUiClassic => "chat-ui-classic",
            Protocol::ChatUi => "chat-ui",
            Protocol::H2ogpte => "h2ogpte",
        })
    }
}

/// A model that a server offers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// The id for [`ClientBuilder::model`](crate::ClientBuilder::model).
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// The server's description.
    pub description: Option<String>,
}

/// A conversation on the server: see
/// [`Client::list_conversations`](crate::Client::list_conversations).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConversationSummary {
    /// The id for [`Client::resume`](crate::Client::resume).
    pub id: String,
    /// The title that the server gave it.
    pub title: String,
    /// Its model, if the server lists it.
    pub model: Option<String>,
}

/// The result of [`Client::server_info`](crate::Client::server_info). `Display` describes the
/// server in plain sentences.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The URL, without user and password.
    pub url: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The models, the server's default first. Empty if it does not list them.
    pub models: Vec<Model>,
    /// The model that this client asks.
    pub model: String,
    /// True if the server considers itself an https server although the URL says http.
    pub expects_https: bool,
}

impl fmt::Display for ServerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.protocol {
            Protocol::ChatUiClassic => "a classic chat-ui",
            Protocol::ChatUi => "a chat-ui",
            Protocol::H2ogpte => "an h2oGPTe",
        };
        write!(f, "{} is {kind} server.", self.url)?;
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
            write!(f, " It considers itself an https server; requests say so.")?;
        }
        Ok(())
    }
}
