//! The settings of a session. A post replaces all of them: missing ones get their default.

use serde_json::{Map, Value, json};

use super::chat_ui::Exchange;
use super::devalue::DATE;
use super::response::Response;

/// Settings in the stored form. Without a date of acceptance, the modal blocks the session.
pub(super) type Settings = Map<String, Value>;

/// The name of that date.
pub(super) const ACCEPTED_AT: &str = "ethicsModalAcceptedAt";

const SHARES: &str = "shareConversationsWithModelAuthors";

/// Optional settings of a current server.
const OTHERS: [&str; 4] = ["hideEmojiOnSidebar", "directPaste", "tools", "disableStream"];

pub(super) fn defaults(model: Option<&String>) -> Settings {
    let defaults = json!({
        SHARES: true,
        ACCEPTED_AT: null,
        "activeModel": model,
        "customPrompts": {},
    });
    object(defaults)
}

pub(super) fn has_accepted(settings: &Settings) -> bool {
    !settings[ACCEPTED_AT].is_null()
}

/// Returns the settings in a form, or none if it is not valid.
pub(super) fn posted_form(exchange: &Exchange) -> Option<Settings> {
    let content_type = exchange.header("content-type");
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let form = exchange.request.form();
    let value = |name| {
        let field = form.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    };
    let model = value("activeModel").filter(|model| exchange.knows_model(model))?;
    let prompts = value("customPrompts").unwrap_or("{}");
    let prompts: Map<String, Value> = serde_json::from_str(prompts).ok()?;
    let mut settings = defaults(Some(&model.to_string()));
    settings.insert("customPrompts".to_string(), prompts.into());
    // Every text but the empty one is true.
    let shares = value(SHARES);
    settings.insert(SHARES.to_string(), shares.is_some().into());
    if value("hideEmojiOnSidebar").is_some() {
        settings.insert("hideEmojiOnSidebar".to_string(), true.into());
    }
    if value("ethicsModalAccepted") == Some("true") {
        settings.insert(ACCEPTED_AT.to_string(), DATE.into());
    }
    (shares != Some("")).then_some(settings)
}

/// Returns the settings in JSON, or none if one of them is null.
pub(super) fn posted_json(exchange: &Exchange, body: &Value) -> Option<Settings> {
    let mut settings = defaults(exchange.config.models.first());
    for (name, value) in body.as_object()? {
        let is_known = settings.contains_key(name) || OTHERS.contains(&name.as_str());
        match name.as_str() {
            _ if value.is_null() => return None,
            "ethicsModalAccepted" if *value == true => {
                settings.insert(ACCEPTED_AT.to_string(), DATE.into());
            }
            // The client cannot choose the date.
            name if is_known && name != ACCEPTED_AT => {
                settings.insert(name.to_string(), value.clone());
            }
            _ => {}
        }
    }
    Some(settings)
}

/// The settings as a page has them. The server cannot search, even if the session asks for it.
pub(super) fn shown(exchange: &Exchange) -> Value {
    let saved = exchange.shared.lock().settings.get(&exchange.session).cloned();
    let settings = saved.unwrap_or_else(|| defaults(exchange.config.models.first()));
    let mut shown = Value::from(settings);
    shown["searchEnabled"] = false.into();
    shown
}

/// The settings as the newest servers show them, with null for those that are not set.
pub(super) fn api(exchange: &Exchange) -> Response {
    let mut shown = shown(exchange);
    shown["ethicsModalAccepted"] = (!shown[ACCEPTED_AT].is_null()).into();
    shown["billingOrganization"] = Value::Null;
    let types = json!({"values": {ACCEPTED_AT: ["Date"]}});
    let response = Response::new(200).header("content-type", "application/json");
    response.body(json!({"json": shown, "meta": types}).to_string())
}

pub(super) fn object(value: Value) -> Settings {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} is not an object"),
    }
}
