//! The plans that a prompt chooses by its first word.

use std::iter;
use std::time::Duration;

use super::plan::{Act, Failure, Last, Plan};

/// A plan with its name, and the rest of the prompt as its argument.
pub struct Named {
    pub word: &'static str,
    pub about: &'static str,
    make: fn(&str) -> Plan,
}

const fn named(word: &'static str, about: &'static str, make: fn(&str) -> Plan) -> Named {
    Named { word, about, make }
}

/// Every plan that has a name.
#[rustfmt::skip]
pub const NAMED: &[Named] = &[
    named("/count", "as many tokens as the number after it, as fast as the socket takes them", count),
    named("/slow", "a token every 100 ms, without end", |_| slow()),
    named("/length", "a reply cut off by max_new_tokens", |_| length()),
    named("/emoji", "events cut anywhere, inside a character too", |_| emoji()),
    named("/control", "a reply with characters that a terminal would obey", |_| Plan::tokens([" \u{1b}[31mred\u{7}", "\ttab\r\n"])),
    named("/comments", "a comment between two tokens", |_| comments()),
    named("/empty", "a complete reply without text", |_| Plan::tokens([""; 0])),
    named("/reasoning", "a reply that thinks aloud first", |_| Plan::tokens(REASONING.split('|')).paced(PACE)),
    named("/tool", "a tool call and its result, then a friendly reply", |_| tool()),
    named("/error-event-first", "an error event and nothing else", |_| Plan::acts([out_of_memory()])),
    named("/error-event", "five tokens, then an error event", |_| greeting().then([out_of_memory()]).paced(PACE)),
    named("/no-final", "five tokens and a clean end without the last event", |_| greeting().paced(PACE)),
    named("/dropped", "five tokens, then the connection ends", |_| greeting().paced(PACE).then([Act::Wait(PACE), Act::Drop])),
    named("/hang", "five tokens, then nothing", |_| greeting().paced(PACE).then([Act::Hang])),
    named("/only-comments", "five tokens, then only comments", |_| greeting().then(iter::repeat_with(|| Act::Comment)).paced(PACE)),
    named("/silent", "nothing of the model; of a server whose head waits for it not even that", |_| Plan::acts([Act::Hang])),
    named("/422", "the model's server: the prompt is too long", |_| json(422, "Unprocessable Entity", TOO_LONG)),
    named("/429", "the model's server: overloaded, with Retry-After", |_| overloaded()),
    named("/502", "a proxy before the model's server: an HTML page", |_| bad_gateway()),
    named("/503", "the model's server: still loading", |_| json(503, "Service Unavailable", LOADING)),
    named("/rate-limit", "the chat server: too many messages", |_| Plan::Refusal { status: 429, message: RATE_LIMIT }),
    named("/dead", "the model's server cannot be reached", |_| Plan::Dead),
];

const PACE: Duration = Duration::from_millis(20);

const GREETING: [&str; 8] = [" Hi", " there", ",", " how", " can", " I", " help", "?"];
const REASONING: &str = "<th|ink>Let| me| think|.</|think>|\n\n|The| answer| is| 42|.";
#[rustfmt::skip]
const EMOJI: &str = " hé|llo| 你好| 😀|\u{fffd}|👨\u{200d}👩\u{200d}👧| \\ \"q\" \n\t|\u{2028}";

#[rustfmt::skip]
const TOO_LONG: &str = r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 `inputs` tokens and 1024 `max_new_tokens`","error_type":"validation"}"#;
const OVERLOADED: &str = r#"{"error":"Model is overloaded","error_type":"overloaded"}"#;
const LOADING: &str =
    r#"{"error":"Model h2oai/h2ogpt is currently loading","estimated_time":20.0}"#;
const RATE_LIMIT: &str = "You are sending too many messages. Try again later.";

impl Plan {
    /// The plan that the prompt's first word names, or a friendly reply.
    pub fn for_prompt(prompt: &str) -> Self {
        let prompt = prompt.trim_start();
        let (word, rest) = prompt.split_once(char::is_whitespace).unwrap_or((prompt, ""));
        match NAMED.iter().find(|named| named.word == word) {
            Some(named) => (named.make)(rest.trim()),
            None => Self::tokens(GREETING).paced(PACE),
        }
    }
}

/// The beginning of the friendly reply.
fn greeting() -> Plan {
    let tokens = GREETING.into_iter().take(5).enumerate();
    Plan::acts(tokens.map(|(id, text)| Act::token(id, text)))
}

/// Many events per chunk: one write for each would measure only system calls.
fn count(number: &str) -> Plan {
    const BATCH: usize = 64;
    let total = number.parse().unwrap_or(10);
    let mut ids = 0..total;
    let mut whole = Some(String::new());
    Plan::acts(iter::from_fn(move || {
        let text_so_far = whole.as_mut()?;
        let mut batch = Vec::new();
        for id in ids.by_ref().take(BATCH) {
            let text = format!("{} ", id % 1000);
            text_so_far.push_str(&text);
            batch.push(Act::token(id, text));
        }
        if batch.is_empty() {
            whole.take().map(|whole| Act::Last(Last::eos(whole, total)))
        } else {
            Some(Act::Together(batch))
        }
    }))
}

fn tool() -> Plan {
    let update = |rest: &str| Act::Other(format!(r#"{{"type":"tool","uuid":"1",{rest}}}"#));
    let call = r#""subtype":"call","call":{"name":"clock","parameters":{}}"#;
    let result = r#""subtype":"result","result":{"status":"success","outputs":[{"text":"noon"}]}"#;
    let friendly = Plan::tokens(GREETING);
    let Plan::Acts(friendly) = friendly else { return friendly };
    Plan::acts([update(call), update(result)]).then(friendly).paced(PACE)
}

fn slow() -> Plan {
    let tokens = (0..).map(|id| Act::token(id, format!(" s{id}")));
    Plan::acts(tokens).paced(Duration::from_millis(100))
}

fn length() -> Plan {
    let last = Last {
        id: 5,
        text: GREETING[5].to_string(),
        generated_text: GREETING[..6].concat(),
        generated_tokens: 6,
        finish_reason: "length",
    };
    greeting().then([Act::Last(last)]).paced(PACE)
}

fn emoji() -> Plan {
    let tokens = EMOJI.split('|').enumerate();
    let tokens = tokens.map(|(id, text)| Act::Cut(Box::new(Act::token(id, text))));
    let whole = EMOJI.replace('|', "");
    Plan::acts(tokens).then([Act::Last(Last::eos(whole, 8))])
}

fn comments() -> Plan {
    let texts = GREETING.into_iter().enumerate();
    let acts = texts.map(|(id, text)| match Act::token(id, text) {
        // The relay has read both at once.
        token if id == 3 => Act::Together(vec![token, Act::Comment]),
        token => token,
    });
    let last = Last::eos(GREETING.concat(), GREETING.len());
    Plan::acts(acts).then([Act::Last(last)]).paced(PACE)
}

fn out_of_memory() -> Act {
    let message = "Request failed during generation: Server error: CUDA out of memory";
    Act::Failure(Failure { message: message.to_string(), kind: "generation", status: None })
}

fn json(status: u16, reason: &str, body: &str) -> Plan {
    let headers = [("content-type", "application/json")];
    Plan::response(status, reason, &headers, body)
}

fn overloaded() -> Plan {
    let headers = [("content-type", "application/json"), ("retry-after", "7")];
    Plan::response(429, "Too Many Requests", &headers, OVERLOADED)
}

fn bad_gateway() -> Plan {
    let body = "<html><body>bad gateway</body></html>";
    Plan::response(502, "Bad Gateway", &[("content-type", "text/html")], body)
}
