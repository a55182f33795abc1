//! Which attachments a chat-ui server takes, as far as its list of models tells.

use serde_json::Value;

use super::context::{AcceptedTypes, Context};
use super::json_body::JsonBody;
use super::message::OutgoingMessage;
use super::version::Version;
use crate::attachment::Attachment;
use crate::error::{Error, Result, Step};
use crate::http::{HttpRequest, Timer};
use crate::text::one_line;

/// The size of a request with this message, without what surrounds its parts.
pub(super) fn size(message: &OutgoingMessage) -> usize {
    let encoded = |file: &Attachment| file.content().len().div_ceil(3) * 4;
    message.text.len() + message.attachments.iter().map(encoded).sum::<usize>()
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
        let is_text = media_type.starts_with("text/") || media_type == "application/json";
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

/// Returns whether a media type matches a pattern such as `image/*`.
fn is_type_of(media_type: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(class) => media_type.starts_with(class),
        None => media_type.eq_ignore_ascii_case(pattern),
    }
}

/// Asks for the media types that each model takes. A server without such a list is taken to accept
/// all.
fn accepted_types(context: &Context, timer: &Timer) -> Result<AcceptedTypes> {
    let request = HttpRequest::get(Step::ListModels, "/api/models");
    let response = context.http.send(timer, &request)?;
    if matches!(response.status(), 403 | 404) {
        response.discard(timer);
        return Ok(AcceptedTypes::new());
    }
    let body = JsonBody::read(response.error_for_status(timer)?, timer)?;
    let models = body.as_list()?.iter().filter_map(|model| {
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
