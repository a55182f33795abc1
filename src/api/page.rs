//! The pages of chat-ui as data (`__data.json`), for facts that no API returns.

use super::context::Context;
use super::devalue::Devalue;
use super::json_body::JsonBody;
use crate::error::Result;
use crate::http::{HttpRequest, Redirect, Timer};

pub(super) fn read_page(
    context: &Context,
    timer: &Timer,
    request: &HttpRequest,
) -> Result<JsonBody> {
    let response = context.http.send(timer, request)?.error_for_status(timer)?;
    let page = JsonBody::read_first_line(response, timer)?;
    match (page["type"].as_str(), page["location"].as_str()) {
        (Some("redirect"), Some(location)) => {
            let redirect = Redirect::new(context.base(), request.path(), location);
            Err(page.redirected(redirect))
        }
        _ => Ok(page),
    }
}

/// A field of the page's data. If it is not there, the error that the page contains.
pub(super) fn field<'a>(page: &'a JsonBody, name: &str) -> Result<Devalue<'a>> {
    if let Some(field) = Devalue::find(page, name) {
        return Ok(field);
    }
    // An error comes with a status of 200.
    let nodes = page["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let error = nodes.iter().find(|node| node["type"] == "error");
    Err(error.map_or_else(|| page.unexpected(), |error| page.refused(error)))
}
