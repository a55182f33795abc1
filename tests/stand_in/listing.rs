//! What a session sees of itself and of the server: the data of its pages.

use serde_json::Value;

use super::Config;
use super::answer::Answer;
use super::exchange::{Exchange, is_id};
use super::history;
use super::packed::Node;
use super::state::{Settings, State};

pub(super) fn data(body: &str) -> Answer {
    Answer::json(200, body).header("cache-control", "private, no-store")
}

/// The data of the first page.
pub(super) fn listing(exchange: &Exchange) -> String {
    page(exchange, "null")
}

/// The data of a conversation's page, whose failure is inside.
pub(super) fn messages(exchange: &Exchange, id: &str) -> String {
    let node = conversation(exchange, id).unwrap_or_else(|(status, message)| {
        format!(r#"{{"type":"error","error":{{"message":"{message}"}},"status":{status}}}"#)
    });
    page(exchange, &node)
}

fn conversation(exchange: &Exchange, id: &str) -> Result<String, (u16, &'static str)> {
    if !is_id(id) {
        return Err((500, "Internal Error"));
    }
    let known = exchange.state.conversation(id);
    let known = known.ok_or((404, "Conversation not found."))?;
    if known.session != exchange.session {
        let message = "You don't have access to this conversation. If someone gave you this link, \
            ask them to use the 'share' feature instead.";
        return Err((403, message));
    }
    let mut fields = vec![
        ("messages", history::page(&known.messages)),
        ("title", Node::plain(known.title)),
        ("model", Node::plain(known.model)),
    ];
    match known.messages.first() {
        Some(root) if root.from == "system" => fields.extend([
            ("preprompt", Node::plain(&*root.content)),
            ("rootMessageId", Node::plain(&*root.id)),
        ]),
        _ => fields.push(("searches", Node::Object(Vec::new()))),
    }
    let data = Node::Object(fields);
    let (origin, base_path) = (exchange.origin(), &exchange.config.base_path);
    let dependency = format!("{origin}{base_path}/conversation/conversation");
    let uses = format!(r#"{{"dependencies":["{dependency}"],"params":["id"]}}"#);
    Ok(data_node(&data, &uses))
}

/// A page's data: first what every page has.
fn page(exchange: &Exchange, node: &str) -> String {
    let (config, state, session) = (exchange.config, exchange.state, &exchange.session);
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
    let layout = data_node(&data, uses);
    format!(r#"{{"type":"data","nodes":[{layout},{node}]}}"#) + "\n"
}

fn data_node(data: &Node, uses: &str) -> String {
    let data = data.pack();
    format!(r#"{{"type":"data","data":{data},"uses":{uses}}}"#)
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
