//! What a session sees of itself and of the server: the data of the first page.

use serde_json::Value;

use super::Config;
use super::packed::Node;
use super::state::{Settings, State};

/// The body of `__data.json`.
pub(super) fn listing(config: &Config, state: &State, session: &str) -> String {
    let data = Node::Object(vec![
        ("conversations", conversations(state, session)),
        ("settings", settings(config, state.settings(session))),
        ("models", models(&config.models)),
        ("oldModels", Node::List(Vec::new())),
        ("user", Node::Undefined),
        ("requiresLogin", Node::plain(false)),
        ("messagesBeforeLogin", Node::plain(0)),
    ]);
    let uses = r#"{"dependencies":["conversation:list"],"url":1}"#;
    let data = data.pack();
    format!(r#"{{"type":"data","nodes":[{{"type":"data","data":{data},"uses":{uses}}},null]}}"#)
        + "\n"
}

fn conversations(state: &State, session: &str) -> Node {
    let newest_first = state.conversations_of(session).into_iter().rev();
    let nodes = newest_first.map(|(id, conversation)| {
        Node::Object(vec![
            ("id", Node::plain(id)),
            ("title", Node::plain(conversation.title)),
            ("model", Node::plain(conversation.model)),
        ])
    });
    Node::List(nodes.collect())
}

fn settings(config: &Config, saved: Option<Settings>) -> Node {
    /// Fixed, so that answers can be compared.
    const DATE: &str = "2026-11-23T18:29:16.416Z";
    let settings = saved.unwrap_or_else(|| Settings {
        accepted: false,
        shares: true,
        active_model: config.models.first().cloned().unwrap_or_default(),
    });
    let accepted_at = if settings.accepted {
        Node::Date(DATE)
    } else {
        Node::Plain(Value::Null)
    };
    Node::Object(vec![
        (
            "shareConversationsWithModelAuthors",
            Node::plain(settings.shares),
        ),
        ("ethicsModalAcceptedAt", accepted_at),
        ("activeModel", Node::plain(settings.active_model)),
        // Whether the server can search, not whether the session wants it to.
        ("searchEnabled", Node::plain(false)),
        ("customPrompts", Node::Object(Vec::new())),
    ])
}

/// The first model is described, the others are known by name only.
fn models(names: &[String]) -> Node {
    let nodes = names.iter().enumerate();
    Node::List(nodes.map(|(at, name)| model(name, at == 0)).collect())
}

fn model(name: &str, described: bool) -> Node {
    let name = || Node::plain(name);
    let described = |node| if described { node } else { Node::Undefined };
    Node::Object(vec![
        ("id", name()),
        ("name", name()),
        ("websiteUrl", described(Node::plain("https://h2o.ai"))),
        ("modelUrl", Node::Undefined),
        (
            "datasetName",
            described(Node::plain("OpenAssistant/oasst1")),
        ),
        ("datasetUrl", Node::Undefined),
        ("displayName", name()),
        ("description", described(Node::plain("fake"))),
        ("promptExamples", Node::Undefined),
        ("parameters", described(parameters())),
        ("preprompt", Node::Undefined),
    ])
}

fn parameters() -> Node {
    Node::Object(vec![
        ("temperature", Node::plain(0.4)),
        ("truncate", Node::plain(2048)),
        ("max_new_tokens", Node::plain(1024)),
        ("stop", Node::List(vec![Node::plain("<|endoftext|>")])),
        ("repetition_penalty", Node::plain(1.2)),
    ])
}
