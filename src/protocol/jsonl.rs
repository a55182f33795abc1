//! What a current server says in a reply, line by line of JSON.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, Visitor};

use super::Frame;
use super::object::object;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::http::{glimpse, one_line};
use crate::reply::{End, Event, Token};

/// What a line of the reply says; none if it says nothing, or something that is not known here.
pub(super) fn frame(line: &[u8]) -> Result<Option<Frame>> {
    // After the last text come filler spaces; they may stand before what follows.
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let said = str::from_utf8(line).ok();
    match said.and_then(|line| serde_json::from_str::<Said>(line).ok()) {
        Some(Said {
            kind: Kind::None, ..
        }) => Err(foreign(line)),
        Some(said) => said.frame(),
        None if is_of_unknown_type(line) => Ok(None),
        None => Err(foreign(line)),
    }
}

fn is_of_unknown_type(line: &[u8]) -> bool {
    serde_json::from_slice::<Typed>(line).is_ok_and(|typed| matches!(typed.kind, Kind::Unknown))
}

/// The fields of a line that matter, whatever its type; one that is null is absent.
#[derive(Default)]
struct Said {
    kind: Kind,
    token: Option<String>,
    text: Option<String>,
    interrupted: bool,
    status: Option<String>,
    message: Option<String>,
    status_code: Option<u16>,
    title: Option<String>,
}

/// The type of a line.
#[derive(Clone, Copy, Default)]
enum Kind {
    Stream,
    FinalAnswer,
    Status,
    Title,
    Reasoning,
    /// Of tools, files and such, which are no text.
    Unknown,
    #[default]
    None,
}

impl Said {
    fn frame(self) -> Result<Option<Frame>> {
        let event = match self.kind {
            Kind::Stream => self.token.map(text_token),
            Kind::Reasoning => self
                .token
                .map(unpadded)
                .or(self.status)
                .map(Event::Reasoning),
            Kind::Title => self.title.map(Event::Title),
            Kind::FinalAnswer => return Ok(Some(self.last())),
            Kind::Status => match self.status.as_deref() {
                Some("error") => return Err(self.failure()),
                Some("title") => self.message.map(Event::Title),
                _ => None,
            },
            Kind::Unknown | Kind::None => None,
        };
        Ok(event.map(|event| Frame {
            event: Some(event),
            ..Frame::default()
        }))
    }

    fn last(self) -> Frame {
        let end = End {
            text: self.text.unwrap_or_default(),
            details: None,
        };
        Frame {
            event: None,
            end: (!self.interrupted).then_some(end),
            stopped: self.interrupted,
        }
    }

    fn failure(self) -> Error {
        let words = one_line(self.message.as_deref().unwrap_or("an error without words"));
        let error = Error::new(
            ErrorKind::Generation,
            Step::Reply,
            format!("the server reported: {words}"),
        )
        .with_server_message(words);
        match self.status_code {
            Some(status) => error.with_status(status),
            None => error,
        }
    }
}

fn text_token(text: String) -> Event {
    Event::Token(Token {
        text: unpadded(text),
        ..Token::default()
    })
}

/// Each token is padded to a fixed length at least, so that nobody can tell them apart by it.
fn unpadded(mut text: String) -> String {
    text.truncate(text.trim_end_matches('\0').len());
    text
}

fn foreign(line: &[u8]) -> Error {
    let line = glimpse(line);
    let message = format!("a line is not what such a server says: {line}");
    Error::new(ErrorKind::Protocol, Step::Reply, message)
}

/// The type alone, of a line that has something else where other types have a text.
#[derive(Default)]
struct Typed {
    kind: Kind,
}

object!(Typed { "type" => kind });

object!(Said {
    "type" => kind,
    "token" => token,
    "text" => text,
    "interrupted" => interrupted,
    "status" => status,
    "message" => message,
    "statusCode" => status_code,
    "title" => title,
});

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_str(Name)
    }
}

struct Name;

impl Visitor<'_> for Name {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the type of a line")
    }

    fn visit_str<E>(self, name: &str) -> Result<Kind, E> {
        Ok(match name {
            "stream" => Kind::Stream,
            "finalAnswer" => Kind::FinalAnswer,
            "status" => Kind::Status,
            "title" => Kind::Title,
            "reasoning" => Kind::Reasoning,
            _ => Kind::Unknown,
        })
    }
}
