//! Checks attachments against a chat-ui server's list of models.

use serde_json::Value;

use super::context::{AcceptedTypes, Context};
use super::json_body::JsonBody;
use super::listing::is_unlisted;
use super::message::OutgoingMessage;
use super::version::Version;
use crate::attachment::Attachment;
use crate::error::{Error, Result, Step};
use crate::http::{HttpRequest, Timer, base64_length};
use crate::text::one_line;

/// The size of a request with this message, without the headers and boundaries of its parts.
pub(super) fn size(message: &OutgoingMessage) -> usize {
    let files = message.attachments.iter().map(|file| base64_length(file.content()));
    message.text.len() + files.sum::<usize>()
}

/// Refuses attachments that the model does not take, as far as the server's list tells.
pub(super) fn check(
    context: &Context,
    timer: &Timer,
    model: &str,
    attachments: &[Attachment],
) -> Result<()> {
    if context.accepted_types.get().is_none() {
        // Another thread may have asked too.
        let _ = context.accepted_types.set(accepted_types(context, timer)?);
    }
    let accepted = context.accepted_types.get().and_then(|models| models.get(model));
    let Some(Some(types)) = accepted else {
        return Ok(());
    };
    // The newest servers put text into the prompt, whatever the model.
    let takes_text = context.version.get().is_none_or(|known| *known == Version::V0_9_6);
    let is_accepted = |file: &&Attachment| {
        let media_type = file.media_type();
        let is_text = ["text/*", "application/json"].iter().any(|it| is_type_of(media_type, it));
        (takes_text && is_text) || types.iter().any(|pattern| is_type_of(media_type, pattern))
    };
    let Some(refused) = attachments.iter().find(|file| !is_accepted(file)) else {
        return Ok(());
    };
    let mut message = format!("the model {model:?} takes no {}", refused.media_type());
    if !types.is_empty() {
        message = format!("{message}, only {}", one_line(&types.join(", ")));
    }
    Err(Error::unsupported(message))
}

/// Returns whether a media type, whatever its parameters, matches a pattern such as `image/*`.
fn is_type_of(media_type: &str, pattern: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let mut halves = essence.split('/').zip(pattern.split('/'));
    halves.all(|(half, wanted)| wanted == "*" || half.eq_ignore_ascii_case(wanted))
}

/// Asks for the media types that each model takes. A server without a list that can be read is
/// taken to accept all.
fn accepted_types(context: &Context, timer: &Timer) -> Result<AcceptedTypes> {
    let request = HttpRequest::get(Step::ListModels, "/api/models");
    let read = || {
        let response = context.http.send(timer, &request)?.error_for_status(timer)?;
        JsonBody::read(response, timer)
    };
    let body = match read() {
        Err(error) if is_unlisted(&error) || error.status() == Some(403) => {
            return Ok(AcceptedTypes::new());
        }
        body => body?,
    };
    let models = body.as_list().unwrap_or_default().iter().filter_map(|model| {
        let id = model["id"].as_str().or(model["name"].as_str())?;
        let types = match (model["multimodal"].as_bool(), &model["multimodalAcceptedMimetypes"]) {
            (Some(false), _) => Some(Vec::new()),
            (_, Value::Array(types)) => {
                Some(types.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect())
            }
            _ => None,
        };
        Some((id.to_owned(), types))
    });
    Ok(models.collect())
}
