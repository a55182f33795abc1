//! Splits a reply's text into reasoning and answer. It sees tokens only, and no server.
//!
//! Reasoning is what comes between `<think>` and `</think>` before the answer, more than once if
//! the model thinks again before it answers. White space before the first tag, and
//! between a thought and what follows, is dropped; white space inside the tags is reasoning.
//! From the answer's first character on, tags are text.

use std::collections::VecDeque;
use std::mem;

use crate::reply::{Event, Token};

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Between two thoughts.
const BETWEEN: &str = "\n\n";

/// The maximum white space before the first tag, in bytes: enough for any model.
const MAX_SPACE: usize = 64;

pub(crate) struct Thinking {
    state: State,
    /// What has been split and is still to be taken.
    ready: VecDeque<Event>,
}

enum State {
    /// Before the answer. The tokens of this text are held: it may be the beginning of a tag.
    Before { text: String, held: Vec<Token>, has_thought: bool },
    /// Between the tags. So many bytes of a closing tag have come.
    Inside { closing: usize },
    /// In the answer, which passes through.
    After,
}

impl State {
    fn before(has_thought: bool) -> State {
        State::Before { text: String::new(), held: Vec::new(), has_thought }
    }
}

impl Thinking {
    pub(crate) fn new() -> Thinking {
        Thinking { state: State::before(false), ready: VecDeque::new() }
    }

    /// Adds the next token that is text. The part of it that is neither a tag nor reasoning stays a
    /// token, with its id and probability.
    pub(crate) fn add(&mut self, mut token: Token) {
        let mut all = mem::take(&mut token.text);
        if let State::Inside { closing } = &mut self.state {
            all.insert_str(0, &CLOSE[..mem::take(closing)]);
        }
        let mut rest = all.as_str();
        while !rest.is_empty() {
            match &mut self.state {
                State::After => {
                    rest.clone_into(&mut token.text);
                    self.ready.push_back(Event::Token(token));
                    return;
                }
                State::Inside { closing } => {
                    if let Some((thought, after)) = rest.split_once(CLOSE) {
                        rest = after;
                        self.state = State::before(true);
                        self.reason(thought);
                        continue;
                    }
                    let is_closing = |length: &usize| rest.ends_with(&CLOSE[..*length]);
                    *closing = (1..CLOSE.len()).rev().find(is_closing).unwrap_or(0);
                    let thought = &rest[..rest.len() - *closing];
                    self.reason(thought);
                    return;
                }
                State::Before { text, held, has_thought } => {
                    let has_thought = *has_thought;
                    if !held.is_empty() {
                        text.push_str(rest);
                    } else if has_thought {
                        rest = rest.trim_start();
                    }
                    if rest.is_empty() {
                        return;
                    }
                    // Only what is held is copied: a long text may have many tags.
                    let whole = if held.is_empty() { rest } else { text.as_str() };
                    let begin = whole.trim_start();
                    let may_be_tag = OPEN.starts_with(begin);
                    let may_follow = whole.len() - begin.len() <= MAX_SPACE;
                    if let Some(after) = begin.strip_prefix(OPEN).filter(|_| may_follow) {
                        rest = &rest[rest.len() - after.len()..];
                        self.state = State::Inside { closing: 0 };
                        self.reason(if has_thought { BETWEEN } else { "" });
                        continue;
                    }
                    if held.is_empty() {
                        rest.clone_into(text);
                    }
                    rest.clone_into(&mut token.text);
                    held.push(token);
                    if !(may_be_tag && may_follow) {
                        self.finish();
                    }
                    return;
                }
            }
        }
    }

    /// Ends the reasoning where it is. What was held for the rest of a tag is ready then.
    pub(crate) fn finish(&mut self) {
        match mem::replace(&mut self.state, State::After) {
            State::Before { held, .. } => self.ready.extend(held.into_iter().map(Event::Token)),
            State::Inside { closing } => self.reason(&CLOSE[..closing]),
            State::After => {}
        }
    }

    /// The next event that is ready.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Returns whether everything that follows is the answer, and nothing is left to be taken.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::After) && self.ready.is_empty()
    }

    fn reason(&mut self, thought: &str) {
        if !thought.is_empty() {
            self.ready.push_back(Event::Reasoning(thought.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reasoning and the answer of a reply that comes in these pieces.
    fn split<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let mut thinking = Thinking::new();
        let (mut reasoning, mut answer) = (String::new(), String::new());
        let mut take = |thinking: &mut Thinking| {
            while let Some(event) = thinking.next() {
                match event {
                    Event::Reasoning(thought) => {
                        assert_eq!(answer, "", "reasoning comes before the answer");
                        assert!(!thought.is_empty());
                        reasoning.push_str(&thought);
                    }
                    Event::Token(token) => {
                        assert!(!token.text.is_empty());
                        answer.push_str(&token.text);
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        for text in pieces.into_iter().filter(|text| !text.is_empty()) {
            thinking.add(Token { text: text.to_owned(), ..Token::default() });
            take(&mut thinking);
        }
        thinking.finish();
        take(&mut thinking);
        assert!(thinking.is_over());
        (reasoning, answer)
    }

    /// Replies with their reasoning and their answer.
    const REPLIES: [(&str, &str, &str); 25] = [
        ("<think>a b</think>c d", "a b", "c d"),
        ("<think>\na\n</think>\n\n c\n", "\na\n", "c\n"),
        ("\n <think>a</think>c", "a", "c"),
        ("<think></think>c", "", "c"),
        ("<think>\n\n</think>\n\nc", "\n\n", "c"),
        ("<think>a</think>\n<think>b</think>\nc", "a\n\nb", "c"),
        ("<think>a</think><think>b", "a\n\nb", ""),
        // Without an end, or without anything after it.
        ("<think>a", "a", ""),
        ("<think>", "", ""),
        ("<think>a</thin", "a</thin", ""),
        ("<think>a</think>", "a", ""),
        ("<think>a</think> \n", "a", ""),
        // Almost a closing tag.
        ("<think>a < b <</thin </</think>c", "a < b <</thin </", "c"),
        ("<think>a<think>b</think>c", "a<think>b", "c"),
        // Tags that are text.
        ("c <think>a</think>", "", "c <think>a</think>"),
        ("a</think>c", "", "a</think>c"),
        ("</think>c", "", "</think>c"),
        ("<think>a</think>c</think>", "a", "c</think>"),
        ("<think>a</think>\n<thin air>", "a", "<thin air>"),
        ("<think>a</think>c<think>d</think>", "a", "c<think>d</think>"),
        // Beginnings that are no tag.
        ("<thi", "", "<thi"),
        (" \n<thinking>a</thinking>", "", " \n<thinking>a</thinking>"),
        ("<Think>a</Think>", "", "<Think>a</Think>"),
        (" \n", "", " \n"),
        ("", "", ""),
    ];

    #[test]
    fn cuts_do_not_change_reasoning_and_answer() {
        for (reply, reasoning, answer) in REPLIES {
            let expected = (reasoning.to_owned(), answer.to_owned());
            for first in 0..=reply.len() {
                for second in first..=reply.len() {
                    let pieces = [&reply[..first], &reply[first..second], &reply[second..]];
                    assert_eq!(split(pieces), expected, "{pieces:?}");
                }
            }
            assert_eq!(split(reply.split("")), expected, "{reply}");
        }
    }

    #[test]
    fn tokens_that_turn_out_to_be_text_come_as_they_were() {
        let mut thinking = Thinking::new();
        for (id, text) in (0..).zip([" ", "<", "thi", "s>", "c"]) {
            assert_eq!(thinking.next(), None);
            thinking.add(Token { text: text.to_owned(), id: Some(id), ..Token::default() });
            if id >= 3 {
                for held in if id == 3 { 0..4 } else { 4..5 } {
                    let Some(Event::Token(token)) = thinking.next() else { panic!("{held}") };
                    assert_eq!(token.id, Some(held));
                }
                assert!(thinking.is_over());
            }
        }
    }

    #[test]
    fn the_rest_of_a_token_keeps_its_id() {
        let mut thinking = Thinking::new();
        for (id, text) in (0..).zip(["<think>a", "b</think>", "\n", " c"]) {
            thinking.add(Token { text: text.to_owned(), id: Some(id), ..Token::default() });
        }
        let events: Vec<Event> = std::iter::from_fn(|| thinking.next()).collect();
        let answer = Token { text: "c".to_owned(), id: Some(3), ..Token::default() };
        let reasoning = |text: &str| Event::Reasoning(text.to_owned());
        assert_eq!(events, [reasoning("a"), reasoning("b"), Event::Token(answer)]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut thinking = Thinking::new();
        for _ in 0..MAX_SPACE {
            thinking.add(Token { text: "\n".to_owned(), ..Token::default() });
        }
        assert_eq!(thinking.next(), None);
        thinking.add(Token { text: "\n".to_owned(), ..Token::default() });
        assert_eq!(std::iter::from_fn(|| thinking.next()).count(), MAX_SPACE + 1);
        assert!(thinking.is_over());
    }

    #[test]
    fn a_text_of_many_tags_takes_neither_stack_nor_time() {
        let tags = "<think>a</think>".repeat(100_000);
        let (reasoning, answer) = split([&*tags, "b"]);
        assert_eq!((reasoning.len(), &*answer), (300_000 - 2, "b"));
    }
}
