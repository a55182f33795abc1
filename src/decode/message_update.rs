//! One line of a reply: chat-ui's `MessageUpdate`.

use super::object::{Raw, first_field, read_object};
use super::surrogates::into_string;
use super::update::{Context, Update, failure, reported, text_token, unexpected, unreadable};
use crate::error::Result;
use crate::reply::Event;

/// The fields that matter, of all types of lines.
#[derive(Default)]
struct MessageUpdate<'a> {
    kind: Raw<'a>,
    token: Raw<'a>,
    text: Raw<'a>,
    interrupted: Raw<'a>,
    status: Raw<'a>,
    message: Raw<'a>,
    title: Raw<'a>,
}

/// The types of lines that matter. A tool, a file and others are not text.
const TYPES: [&[u8]; 6] = [b"stream", b"status", b"reasoning", b"title", b"finalAnswer", b"error"];

/// Reads a line: see [`Decoder`](super::Decoder).
pub(super) fn read(line: &[u8], context: &mut Context) -> Result<Option<Update>> {
    let Some(message) = MessageUpdate::read(line) else {
        return unreadable(line);
    };
    let Some(kind) = message.kind.bytes() else {
        return reported(line).map_or(Ok(None), Err);
    };
    // The older servers also send headings of their own with the reasoning.
    let is_heading = *kind == *b"reasoning" && message.token.is_null();
    if is_heading || !TYPES.contains(&&*kind) {
        return Ok(None);
    }
    if *kind == *b"error" || *kind == *b"status" && message.status.is("error") {
        return Err(failure(line));
    }
    let update = message.update(&kind, context);
    update.map(Some).ok_or_else(|| unexpected(line))
}

/// Returns whether a line that begins like this does not matter: a comment, or a type that is not
/// text.
pub(super) fn is_skipped(beginning: &[u8]) -> bool {
    let is_comment = beginning.trim_ascii_start().starts_with(b":");
    let kind = first_field(beginning, r#""type""#).and_then(Raw::bytes);
    is_comment || kind.is_some_and(|kind| !TYPES.contains(&&*kind))
}

impl<'a> MessageUpdate<'a> {
    fn read(line: &'a [u8]) -> Option<MessageUpdate<'a>> {
        let mut message = MessageUpdate::default();
        read_object(line, |json| {
            if json.has_key(r#""type""#) {
                message.kind = json.value()?;
            } else if json.has_key(r#""token""#) {
                message.token = json.value()?;
            } else if json.has_key(r#""text""#) {
                message.text = json.value()?;
            } else if json.has_key(r#""interrupted""#) {
                message.interrupted = json.value()?;
            } else if json.has_key(r#""status""#) {
                message.status = json.value()?;
            } else if json.has_key(r#""message""#) {
                message.message = json.value()?;
            } else if json.has_key(r#""title""#) {
                message.title = json.value()?;
            } else {
                json.other()?;
            }
            Some(())
        })?;
        Some(message)
    }

    /// Returns the update, or `None` if its text is not a string.
    fn update(&self, kind: &[u8], context: &mut Context) -> Option<Update> {
        let event = match kind {
            b"finalAnswer" => return self.last(),
            b"stream" if self.token.is_null() => None,
            b"stream" => {
                let text = context.halves.join(unpadded(self.token)?)?;
                Some(text_token(text))
            }
            b"reasoning" => unpadded(self.token).and_then(into_string).map(Event::Reasoning),
            b"title" => self.title.text().map(Event::Title),
            _ if self.status.is("title") => self.message.text().map(Event::Title),
            _ => None,
        };
        Some(Update { event, ..Update::default() })
    }

    fn last(&self) -> Option<Update> {
        let text = match self.text {
            text if text.is_null() => String::new(),
            text => text.text()?,
        };
        let is_interrupted = self.interrupted.is_true();
        Some(Update { is_interrupted, ..Update::last(text, None) })
    }
}

/// Each token is padded to a fixed length at least, so that nobody can tell them apart by it.
fn unpadded(token: Raw) -> Option<Vec<u8>> {
    let mut text = token.bytes()?.into_owned();
    let padding = text.iter().rev().take_while(|&&byte| byte == 0).count();
    text.truncate(text.len() - padding);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;
    use crate::error::{ErrorKind, Step};

    /// The update of a line, if it has one.
    fn update(line: &[u8]) -> Result<Option<Update>> {
        let mut decoder = Decoder::chat_ui();
        let line = [line, b"\n"].concat();
        let mut reader = line.as_slice();
        while decoder.fill(&mut reader).unwrap() > 0 {}
        decoder.next()
    }

    fn event(line: &str) -> Option<Event> {
        let update = update(line.as_bytes()).unwrap()?;
        assert!(!update.is_last(), "{line}");
        Some(update.event.expect(line))
    }

    fn text(text: &str) -> Event {
        text_token(text.to_owned())
    }

    #[test]
    fn tokens_lose_only_their_padding() {
        let tokens = [
            (r#"{"type":"stream","token":"tok0 tok1"}"#, "tok0 tok1"),
            (r#"{"type":"stream","token":"a\u0000\u0000\u0000"}"#, "a"),
            (r#"{"type":"stream","token":" b \u0000"}"#, " b "),
            (r#"{"type":"stream","token":" nul:\u0000.\u0000"}"#, " nul:\0."),
            (r#"{"type":"stream","token":"\n\u0000"}"#, "\n"),
            (r#"{"token":"\ud83d\ude00","type":"stream"}"#, "😀"),
            (r#"{"type":"stream","token":"👩‍💻\u0000"}"#, "👩\u{200d}💻"),
            (r#"{"type":"stream","token":"<think>"}"#, "<think>"),
            (r#"{"type":"stream","token":"\u0000\u0000"}"#, ""),
            (r#"{"type":"stream","token":"over_sixteen_units"}"#, "over_sixteen_units"),
            (r#"{"type":"stream","token":"x","later":{"a":[1,2]}}"#, "x"),
        ];
        for (line, expected) in tokens {
            assert_eq!(event(line), Some(text(expected)), "{line}");
        }
        // Nothing is said of what it is to the model.
        let Some(Event::Token(token)) = event(tokens[0].0) else { panic!("it is one") };
        assert_eq!((token.id, token.logprob, token.special), (None, None, false));
    }

    #[test]
    fn the_last_line_has_the_whole_text_unless_it_was_interrupted() {
        let ends = [
            (r#"{"type":"finalAnswer","text":" a b","interrupted":false}"#, " a b"),
            // So say the older servers.
            (r#"{"type":"finalAnswer","text":"a\nb"}"#, "a\nb"),
            (r#"{"type":"finalAnswer","text":"","interrupted":false}"#, ""),
            (r#"{"type":"finalAnswer","interrupted":null}"#, ""),
        ];
        for (line, text) in ends {
            let update = read(line.as_bytes(), &mut Context::default()).unwrap().unwrap();
            let end = update.end.as_ref().expect(line);
            assert_eq!((&*end.text, &end.details), (text, &None), "{line}");
            assert!(!update.is_interrupted && update.event.is_none());
        }
        let line = br#"{"type":"finalAnswer","text":"a","interrupted":true}"#;
        let update = read(line, &mut Context::default()).unwrap().unwrap();
        assert!(update.is_last() && update.is_interrupted && update.event.is_none());
    }

    #[test]
    fn filler_and_line_endings_are_ignored() {
        let line = r#"{"type":"stream","token":" a "}"#;
        let filler = " ".repeat(4096);
        for line in [format!("{filler}{line}"), format!("{line}{filler}"), format!("\t{line}\r")] {
            assert_eq!(event(&line), Some(text(" a ")), "{line}");
        }
        for nothing in ["", " ", &filler, "\r"] {
            assert_eq!(event(nothing), None);
        }
    }

    #[test]
    fn titles_and_reasoning_are_separate_events() {
        let title = |text: &str| Some(Event::Title(text.to_owned()));
        let reasoning = |text: &str| Some(Event::Reasoning(text.to_owned()));
        let events = [
            (r#"{"type":"title","title":"Fake title"}"#, title("Fake title")),
            (r#"{"type":"status","status":"title","message":"💬 x"}"#, title("💬 x")),
            (r#"{"type":"title","title":null}"#, None),
            (r#"{"type":"reasoning","subtype":"stream","token":"Hm"}"#, reasoning("Hm")),
            (r#"{"type":"reasoning","subtype":"stream","token":"a\u0000"}"#, reasoning("a")),
            (r#"{"type":"reasoning","subtype":"status","status":"Done in 2s."}"#, None),
            (r#"{"type":"reasoning","subtype":"unheard-of"}"#, None),
        ];
        for (line, expected) in events {
            assert_eq!(event(line), expected, "{line}");
        }
    }

    #[test]
    fn irrelevant_updates_are_skipped() {
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

    /// The events other than tokens, of a reader that wants them.
    fn other_events(mut decoder: Decoder, mut bytes: &[u8]) -> Vec<Event> {
        decoder.read_metadata();
        let mut events = Vec::new();
        loop {
            while let Some(update) = decoder.next().unwrap() {
                events.extend(update.event.filter(|event| event.text().is_none()));
            }
            if decoder.fill(&mut bytes).unwrap() == 0 {
                return events;
            }
        }
    }

    fn other(kind: &str, json: Option<&str>) -> Event {
        Event::Other { kind: kind.to_owned(), json: json.map(str::to_owned) }
    }

    #[test]
    fn what_is_no_part_of_the_text_is_another_event() {
        let lines = [
            (r#"{"type":"tool","subtype":"call","uuid":"u"}"#, "tool"),
            (r#"{"type":"routerMetadata","route":"r","model":"m"}"#, "routerMetadata"),
            (r#"{"later":{"type":"x"},"type":"from-the-future","text":7}"#, "from-the-future"),
            (r#"{"type":"reasoning","subtype":"status","status":"Done in 2s."}"#, "reasoning"),
            (r#"{"type":"a\n\ud83d","x":"é"}"#, "a\n\u{fffd}"),
            (r#"{"type":7}"#, ""),
            (r#"{"sources":[{"title":"t"}]}"#, ""),
        ];
        for (line, kind) in lines {
            let bytes = format!(" {line} \n");
            let events = other_events(Decoder::chat_ui(), bytes.as_bytes());
            assert_eq!(events, [other(kind, Some(line))], "{line}");
            assert_eq!(event(line), None, "{line}");
            let events = other_events(Decoder::tgi(), format!("data:{line}\n\n").as_bytes());
            assert_eq!(events, [other(kind, Some(line))], "{line}");
            let events = other_events(Decoder::h2ogpte(), bytes.as_bytes());
            assert_eq!(events, [other(kind, Some(line))], "{line}");
        }
        for line in [
            r#"{"type":"status","status":"keepAlive"}"#,
            r#"{"type":"status","status":"started"}"#,
            r#"{"type":"stream","token":null}"#,
            r#"{"type":"stream","token":"x"}"#,
            "null",
            "{}",
            "[]",
            ": x",
            "",
        ] {
            let events = other_events(Decoder::chat_ui(), format!("{line}\n").as_bytes());
            assert_eq!(events, [], "{line}");
        }
    }

    #[test]
    fn a_long_object_is_named_and_left_out() {
        const LONGEST: usize = 1 << 20;
        let begin = r#"{"type":"tool","output":""#;
        let next = r#"{"type":"title","title":"t"}"#;
        // The length of the line, and how much of it is white space.
        for (length, space) in [(LONGEST, 0), (LONGEST + 1, 0), (LONGEST + 1, 99), (3 << 20, 0)] {
            let rest = "x".repeat(length - space - begin.len() - 2);
            let line = format!("{}{begin}{rest}\"}}", " ".repeat(space));
            assert_eq!(line.len(), length);
            let events = other_events(Decoder::chat_ui(), format!("{line}\n{next}\n").as_bytes());
            let json = (length <= LONGEST).then_some(line.as_str());
            let title = Event::Title("t".to_owned());
            assert!(events == [other("tool", json), title], "{length}: {}", events.len());
        }
        // A line may be longer after a long text.
        let text = "x".repeat(LONGEST);
        let line = format!("{begin}{text}\"}}");
        let token = format!(r#"{{"type":"stream","token":"{}"}}"#, &text[..LONGEST - 99]);
        let events = other_events(Decoder::chat_ui(), format!("{token}\n{line}\n").as_bytes());
        assert_eq!(events, [other("tool", None)]);
    }

    #[test]
    fn an_error_has_the_servers_words_and_status() {
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
            (r#"{"type":"status","status":"error","message":"x","statusCode":null}"#, "x", None),
            (r#"{"type":"status","status":"error"}"#, "an error without words", None),
            (
                r#"{"type":"status","status":"error","message":{"error":{"message":"x"}}}"#,
                "x",
                None,
            ),
            (r#"{"type":"error","error":{"message":"x","code":"502"}}"#, "x", Some(502)),
            (r#"{"detail":"x","code":42900000}"#, "x", None),
        ];
        for (line, words, status) in errors {
            let error = update(line.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Generation, "{line}");
            assert_eq!((error.step(), error.status()), (Step::ReadReply, status), "{line}");
            assert_eq!(error.server_message(), Some(words), "{line}");
            assert!(error.ends_the_generation(), "{line}");
        }
    }

    #[test]
    fn a_line_with_unknown_text_is_an_error() {
        for line in [
            "nonsense",
            "data:{}",
            r#"{"type":"stream","token":7}"#,
            r#"{"type":"stream","token":"x""#,
            r#"{"type":"stream","token":"x"} {"type":"stream"}"#,
            r#"{"type":"finalAnswer","text":{}}"#,
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

    #[test]
    fn an_unknown_line_is_quoted_if_nothing_else_comes() {
        for line in [
            "[]",
            "7",
            r#"{"token":"x"}"#,
            r#"{"type":null,"token":"x"}"#,
            r#"{"type":7,"token":"x"}"#,
            r#"{"type":"message_start","message":{"id":"x"}}"#,
        ] {
            for begin in ["", "{\"type\":\"status\",\"status\":\"started\"}\n"] {
                let bytes = format!("{begin}: hello\nnull\n{line}\n{{}}\n");
                let mut decoder = Decoder::chat_ui();
                decoder.fill(&mut bytes.as_bytes()).unwrap();
                assert_eq!(decoder.next().unwrap(), None, "{line}");
                assert_eq!(decoder.finish().unwrap(), None, "{line}");
                let (error, has_begun) = (decoder.unfinished(), !begin.is_empty());
                assert_eq!(error.kind() == ErrorKind::Truncated, has_begun, "{line}");
                assert_eq!(error.to_string().ends_with(line), !has_begun, "{error}");
            }
        }
    }
}
