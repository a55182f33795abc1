//! The settings of a session that the user has given, which may belong to an account.
//!
//! A server that receives settings replaces *all* of them. So they are read first. If a change is
//! needed, all of them are sent back with only that change.

use serde_json::{Map, Value};

use super::context::{Context, JSON, form_encoded};
use super::json_body::JsonBody;
use super::page::{field, read_page};
use crate::error::{Error, ErrorKind, Result, Step, hint};
use crate::http::{HttpRequest, Timer};

pub(super) const SETTINGS: &str = "/settings";

/// An account's settings, as the server shows them.
pub(super) struct AccountSettings(Map<String, Value>);

/// The changes that a message needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    accept_terms: bool,
    stop_sharing: bool,
}

impl Changes {
    /// Leaves out the terms, which some servers do not ask for.
    pub(super) fn without_terms(self) -> Changes {
        Changes { accept_terms: false, ..self }
    }

    pub(super) fn is_none(self) -> bool {
        !self.accept_terms && !self.stop_sharing
    }
}

impl AccountSettings {
    /// Finds the settings in a page.
    pub(super) fn of_page(page: &JsonBody) -> Result<AccountSettings> {
        let fields = field(page, "settings")?.unpack_object();
        let fields = fields.filter(|fields| fields.contains_key("activeModel"));
        fields.map(AccountSettings).ok_or_else(|| refused("they cannot be read"))
    }

    /// Reads the settings from a chat-ui of 0.8 or newer.
    pub(super) fn read(context: &Context, timer: &Timer) -> Result<AccountSettings> {
        AccountSettings::from_api_or_page(context, timer).map_err(|error| {
            let is_unreadable = matches!(error.kind(), ErrorKind::Protocol | ErrorKind::TooLarge);
            if is_unreadable || error.status() == Some(404) {
                refused("they cannot be read").with_source(error)
            } else {
                error.at(Step::PostSettings)
            }
        })
    }

    fn from_api_or_page(context: &Context, timer: &Timer) -> Result<AccountSettings> {
        // The API has them from 0.9.6 on. Older servers refuse the path, or answer with a page.
        // Errors of a list do not quote it, and settings are as private.
        let request = HttpRequest::get(Step::ListModels, "/api/v2/user/settings");
        let response = context.http.send(timer, &request)?;
        if response.is_html() || matches!(response.status(), 403..=405) {
            response.discard(timer);
            let request = HttpRequest::get(Step::ListModels, "/__data.json");
            return AccountSettings::of_page(&read_page(context, timer, &request)?);
        }
        let body = JsonBody::read(response.error_for_status(timer)?, timer)?;
        let fields = body["json"].as_object();
        let fields = fields.filter(|fields| fields.contains_key("activeModel"));
        fields.cloned().map(AccountSettings).ok_or_else(|| refused("they cannot be read"))
    }

    /// The changes that are needed before a message is sent.
    pub(super) fn needed_changes(&self, context: &Context) -> Changes {
        let shares = self.0.get("shareConversationsWithModelAuthors");
        Changes {
            accept_terms: !self.accepts_terms(),
            stop_sharing: !context.share_with_model_authors && shares != Some(&Value::Bool(false)),
        }
    }

    fn accepts_terms(&self) -> bool {
        let accepted = |name| self.0.get(name).is_some_and(|value| !is_default(value));
        accepted("ethicsModalAccepted") || accepted("ethicsModalAcceptedAt")
    }

    /// The settings with these changes as a form, as classic servers take it. Fails if a setting
    /// would be lost in it.
    pub(super) fn to_form(&self, changes: Changes) -> Result<String> {
        let mut form = Vec::new();
        if changes.accept_terms {
            form.push("ethicsModalAccepted=true".to_owned());
        }
        for (name, value) in &self.0 {
            match (name.as_str(), value) {
                // Not settings, but shown with them.
                ("ethicsModalAccepted" | "ethicsModalAcceptedAt" | "searchEnabled", _) => {}
                // An unset checkbox of a form is not sent: some servers read any text as true.
                ("shareConversationsWithModelAuthors", Value::Bool(shares)) => {
                    if *shares && !changes.stop_sharing {
                        form.push(format!("{name}=true"));
                    }
                }
                ("hideEmojiOnSidebar", Value::Bool(hides)) => {
                    if *hides {
                        form.push(format!("{name}=true"));
                    }
                }
                ("activeModel", Value::String(model)) => {
                    form.push(format!("{name}={}", form_encoded(model)));
                }
                ("customPrompts", Value::Object(prompts)) => {
                    let prompts = serde_json::to_string(prompts).unwrap_or_default();
                    form.push(format!("{name}={}", form_encoded(&prompts)));
                }
                (_, value) if is_default(value) => {}
                _ => return Err(refused(&format!("{name:?} among them would be lost"))),
            }
        }
        Ok(form.join("&"))
    }

    /// The settings with these changes as JSON, as chat-ui takes them from 0.7 on.
    fn to_json(&self, changes: Changes) -> Value {
        let mut settings = self.0.clone();
        // An unset setting is shown as `null`, which the server would refuse.
        settings.retain(|_, value| !value.is_null());
        settings.remove("ethicsModalAcceptedAt");
        settings.remove("ethicsModalAccepted");
        if changes.accept_terms {
            settings.insert("ethicsModalAccepted".to_owned(), true.into());
        }
        if changes.stop_sharing {
            settings.insert("shareConversationsWithModelAuthors".to_owned(), false.into());
        }
        Value::Object(settings)
    }

    /// Sends the settings with these changes to a chat-ui of 0.8 or newer.
    pub(super) fn post(&self, context: &Context, timer: &Timer, changes: Changes) -> Result<()> {
        let body = self.to_json(changes).to_string();
        let request = HttpRequest::post(Step::PostSettings, SETTINGS)
            .body(JSON, body.as_bytes())
            .idempotent();
        let response = context.http.send(timer, &request)?;
        let response = response.error_for_status(timer)?;
        let checked = response.session.check_name(&context.http.session(), Step::PostSettings);
        response.discard(timer);
        checked
    }
}

/// Returns whether a setting has the value that it has when nobody has set it.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn refused(why: &str) -> Error {
    let message = format!(
        "the terms have to be accepted or the sharing switched off, but the account's settings \
         cannot be changed without damage: {why}"
    );
    Error::unsupported(message).at(Step::PostSettings).with_hint(hint::ACCEPT_IN_BROWSER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ACCEPT: Changes = Changes { accept_terms: true, stop_sharing: false };
    const STOP_SHARING: Changes = Changes { accept_terms: false, stop_sharing: true };

    fn settings(fields: Value) -> AccountSettings {
        match fields {
            Value::Object(fields) => AccountSettings(fields),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_form_has_every_setting_and_the_change() {
        let account = settings(json!({
            "shareConversationsWithModelAuthors": true,
            "ethicsModalAcceptedAt": null,
            "activeModel": "a/b",
            "searchEnabled": true,
            "customPrompts": {"a/b": "Be brief & kind."},
            "assistants": [],
        }));
        assert_eq!(
            account.to_form(ACCEPT).unwrap(),
            "ethicsModalAccepted=true&activeModel=a%2Fb&customPrompts=\
             %7B%22a%2Fb%22%3A%22Be%20brief%20%26%20kind.%22%7D&\
             shareConversationsWithModelAuthors=true"
        );
        let form = account.to_form(STOP_SHARING).unwrap();
        assert!(!form.contains("share") && !form.contains("ethics"), "{form}");
    }

    #[test]
    fn a_setting_that_a_form_would_lose_is_refused() {
        let account = settings(json!({"activeModel": "a", "theme": "dark"}));
        let error = account.to_form(ACCEPT).unwrap_err();
        assert!(error.to_string().contains(r#""theme" among them would be lost"#), "{error}");
        let account = settings(json!({"activeModel": "a", "theme": null, "tools": []}));
        assert!(account.to_form(ACCEPT).is_ok());
    }

    #[test]
    fn json_has_every_setting_and_the_change() {
        let account = settings(json!({
            "ethicsModalAccepted": true,
            "ethicsModalAcceptedAt": "2026-11-23",
            "activeModel": "a/b",
            "shareConversationsWithModelAuthors": true,
            "customPrompts": {"a/b": "x"},
            "tools": ["t"],
            "billingOrganization": null,
        }));
        let kept = json!({
            "activeModel": "a/b",
            "shareConversationsWithModelAuthors": false,
            "customPrompts": {"a/b": "x"},
            "tools": ["t"],
        });
        assert_eq!(account.to_json(STOP_SHARING), kept);
        assert_eq!(account.to_json(ACCEPT)["ethicsModalAccepted"], true);
    }
}
