//! One line of a reply: chat-ui's `MessageUpdate`.

use super::object::{Json, Read, object, read};
use super::update::{Update, reported, unexpected};
use crate::error::{Error, Result};
use crate::reply::{End, Event, Token};

/// The update of a line, if it has one.
pub(super) fn update(line: &[u8]) -> Result<Option<Update>> {
    // Filler spaces follow the final answer and may precede the next line.
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    match str::from_utf8(line).ok().and_then(read::<MessageUpdate>) {
        Some(MessageUpdate {
            kind: UpdateType::Missing,
            ..
        }) => Err(unexpected(line)),
        Some(message) => message.update(),
        None if is_of_unknown_type(line) => Ok(None),
        None => Err(unexpected(line)),
    }
}

fn is_of_unknown_type(line: &[u8]) -> bool {
    let typed = str::from_utf8(line).ok().and_then(read::<TypeOnly>);
    typed.is_some_and(|typed| matches!(typed.kind, UpdateType::Unknown))
}

/// The fields that matter, of all types of lines.
#[derive(Default)]
struct MessageUpdate {
    kind: UpdateType,
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
enum UpdateType {
    Stream,
    FinalAnswer,
    Status,
    Title,
    Reasoning,
    /// A tool, a file, or something else that is not text.
    Unknown,
    #[default]
    Missing,
}

impl MessageUpdate {
    fn update(self) -> Result<Option<Update>> {
        let event = match self.kind {
            UpdateType::Stream => self.token.map(text_token),
            UpdateType::Reasoning => self
                .token
                .map(unpadded)
                .or(self.status)
                .map(Event::Reasoning),
            UpdateType::Title => self.title.map(Event::Title),
            UpdateType::FinalAnswer => return Ok(Some(self.last())),
            UpdateType::Status => match self.status.as_deref() {
                Some("error") => return Err(self.failure()),
                Some("title") => self.message.map(Event::Title),
                _ => None,
            },
            UpdateType::Unknown | UpdateType::Missing => None,
        };
        Ok(event.map(|event| Update {
            event: Some(event),
            ..Update::default()
        }))
    }

    fn last(self) -> Update {
        let text = self.text.unwrap_or_default();
        if self.interrupted {
            return Update {
                interrupted: Some(text.into()),
                ..Update::default()
            };
        }
        Update {
            end: Some(Box::new(End {
                text,
                details: None,
            })),
            ..Update::default()
        }
    }

    fn failure(self) -> Error {
        let error = reported(self.message.as_deref().unwrap_or("an error without words"));
        match self.status_code {
            Some(status) => error.with_status(status),
            None => error,
        }
    }
}

pub(super) fn text_token(text: String) -> Event {
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

/// The type alone, of a line that has something else where other types have a text.
#[derive(Default)]
struct TypeOnly {
    kind: UpdateType,
}

object!(TypeOnly { "type" => kind });

object!(MessageUpdate {
    "type" => kind,
    "token" => token,
    "text" => text,
    "interrupted" => interrupted,
    "status" => status,
    "message" => message,
    "statusCode" => status_code,
    "title" => title,
});

impl Read for UpdateType {
    fn read(&mut self, json: &mut Json) -> Option<()> {
        *self = match &*json.string()? {
            "stream" => UpdateType::Stream,
            "finalAnswer" => UpdateType::FinalAnswer,
            "status" => UpdateType::Status,
            "title" => UpdateType::Title,
            "reasoning" => UpdateType::Reasoning,
            _ => UpdateType::Unknown,
        };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Step};

    fn event(line: &str) -> Option<Event> {
        let update = update(line.as_bytes()).unwrap()?;
        assert!(!update.is_last(), "{line}");
        Some(update.event.expect(line))
    }

    fn text(text: &str) -> Event {
        text_token(text.to_owned())
    }

    #[test]
    fn a_token_is_its_text_without_the_padding_and_all_else_that_is_in_it() {
        let tokens = [
            (r#"{"type":"stream","token":"tok0 tok1"}"#, "tok0 tok1"),
            (r#"{"type":"stream","token":"a\u0000\u0000\u0000"}"#, "a"),
            (r#"{"type":"stream","token":" b \u0000"}"#, " b "),
            (
                r#"{"type":"stream","token":" nul:\u0000.\u0000"}"#,
                " nul:\0.",
            ),
            (r#"{"type":"stream","token":"\n\u0000"}"#, "\n"),
            (r#"{"token":"\ud83d\ude00","type":"stream"}"#, "😀"),
            (r#"{"type":"stream","token":"👩‍💻\u0000"}"#, "👩\u{200d}💻"),
            (r#"{"type":"stream","token":"<think>"}"#, "<think>"),
            (r#"{"type":"stream","token":"\u0000\u0000"}"#, ""),
            (
                r#"{"type":"stream","token":"over_sixteen_units"}"#,
                "over_sixteen_units",
            ),
            (r#"{"type":"stream","token":"x","later":{"a":[1,2]}}"#, "x"),
        ];
        for (line, expected) in tokens {
            assert_eq!(event(line), Some(text(expected)), "{line}");
        }
        // Nothing is said of what it is to the model.
        let Some(Event::Token(token)) = event(tokens[0].0) else {
            panic!("it is one")
        };
        assert_eq!(
            (token.id, token.logprob, token.special),
            (None, None, false)
        );
    }

    #[test]
    fn the_last_line_has_the_whole_text_unless_it_was_interrupted() {
        let ends = [
            (
                r#"{"type":"finalAnswer","text":" a b","interrupted":false}"#,
                " a b",
            ),
            // So say the older servers.
            (r#"{"type":"finalAnswer","text":"a\nb"}"#, "a\nb"),
            (
                r#"{"type":"finalAnswer","text":"","interrupted":false}"#,
                "",
            ),
            (r#"{"type":"finalAnswer","interrupted":null}"#, ""),
        ];
        for (line, text) in ends {
            let update = update(line.as_bytes()).unwrap().unwrap();
            let end = update.end.as_ref().expect(line);
            assert_eq!((&*end.text, &end.details), (text, &None), "{line}");
            assert!(update.is_last() && update.interrupted.is_none() && update.event.is_none());
        }
        let line = br#"{"type":"finalAnswer","text":"a","interrupted":true}"#;
        let update = update(line).unwrap().unwrap();
        assert!(update.is_last() && update.interrupted.is_some());
        assert_eq!((update.end, update.event), (None, None));
    }

    #[test]
    fn filler_and_ends_of_lines_around_a_line_change_nothing() {
        let line = r#"{"type":"stream","token":" a "}"#;
        let filler = " ".repeat(4096);
        for line in [
            format!("{filler}{line}"),
            format!("{line}{filler}"),
            format!("\t{line}\r"),
        ] {
            assert_eq!(event(&line), Some(text(" a ")), "{line}");
        }
        for nothing in ["", " ", &filler, "\r"] {
            assert_eq!(event(nothing), None);
        }
    }

    #[test]
    fn titles_and_thoughts_are_events_of_their_own() {
        let title = |text: &str| Some(Event::Title(text.to_owned()));
        let thought = |text: &str| Some(Event::Reasoning(text.to_owned()));
        let events = [
            (
                r#"{"type":"title","title":"Fake title"}"#,
                title("Fake title"),
            ),
            (
                r#"{"type":"status","status":"title","message":"💬 x"}"#,
                title("💬 x"),
            ),
            (r#"{"type":"title","title":null}"#, None),
            (
                r#"{"type":"reasoning","subtype":"stream","token":"Hm"}"#,
                thought("Hm"),
            ),
            (
                r#"{"type":"reasoning","subtype":"stream","token":"a\u0000"}"#,
                thought("a"),
            ),
            (
                r#"{"type":"reasoning","subtype":"status","status":"Done in 2s."}"#,
                thought("Done in 2s."),
            ),
            (r#"{"type":"reasoning","subtype":"unheard-of"}"#, None),
        ];
        for (line, expected) in events {
            assert_eq!(event(line), expected, "{line}");
        }
    }

    #[test]
    fn what_says_nothing_to_a_reader_is_passed_over() {
        for line in [
            r#"{"type":"status","status":"started"}"#,
            r#"{"type":"status","status":"keepAlive"}"#,
            r#"{"type":"status","status":"finished"}"#,
            r#"{"type":"status","status":"converting","message":"x"}"#,
            r#"{"type":"status"}"#,
            r#"{"type":"stream","token":null}"#,
            r#"{"type":"tool","subtype":"call","uuid":"u","call":{"name":"n","parameters":{}}}"#,
            r#"{"type":"tool","subtype":"error","uuid":"u","message":"no such tool"}"#,
            r#"{"type":"file","name":"a.png","sha":"00","mime":"image/png"}"#,
            r#"{"type":"webSearch","subtype":"sources","message":"x","sources":[{"title":"t"}]}"#,
            r#"{"type":"routerMetadata","route":"r","model":"m"}"#,
            r#"{"type":"elicitation","request":{"message":"?"}}"#,
            // Of types to come, which may have anything where others have a text.
            r#"{"type":"x","token":7,"text":[],"status":{},"message":{"a":1},"title":false}"#,
            r#"{"message":{"type":"stream"},"interrupted":"yes","statusCode":"many","type":"y"}"#,
        ] {
            assert_eq!(event(line), None, "{line}");
        }
    }

    #[test]
    fn an_error_is_told_in_the_servers_words_and_with_its_status() {
        let errors = [
            (
                r#"{"type":"status","status":"error","message":"fake mid-stream failure"}"#,
                "fake mid-stream failure",
                None,
            ),
            (
                r#"{"type":"status","status":"error","message":"429 slow\ndown","statusCode":429}"#,
                "429 slow down",
                Some(429),
            ),
            (
                r#"{"type":"status","status":"error","message":"x","statusCode":null}"#,
                "x",
                None,
            ),
            (
                r#"{"type":"status","status":"error"}"#,
                "an error without words",
                None,
            ),
        ];
        for (line, words, status) in errors {
            let error = update(line.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Generation, "{line}");
            assert_eq!(
                (error.step(), error.status()),
                (Step::ReadReply, status),
                "{line}"
            );
            assert_eq!(error.server_message(), Some(words), "{line}");
            assert!(error.ends_the_generation(), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_of_a_reply_is_foreign() {
        for line in [
            "nonsense",
            "[DONE]",
            "data:{}",
            "[]",
            "7",
            "null",
            "{}",
            r#"{"token":"x"}"#,
            r#"{"type":null,"token":"x"}"#,
            r#"{"type":7,"token":"x"}"#,
            r#"{"type":"stream","token":7}"#,
            r#"{"type":"stream","token":"x""#,
            r#"{"type":"stream","token":"x"} {"type":"stream"}"#,
        ] {
            let error = update(line.as_bytes()).unwrap_err();
            assert_eq!(
                (error.kind(), error.step()),
                (ErrorKind::Protocol, Step::ReadReply),
                "{line}"
            );
            assert!(!error.ends_the_generation(), "{line}");
        }
        let no_text = update(b"{\"type\":\"stream\",\"token\":\"\xff\"}").unwrap_err();
        assert_eq!(no_text.kind(), ErrorKind::Protocol);
    }
}
