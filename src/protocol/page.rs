//! What a server shows to people, as data: for what it has no other way to tell, or does not want to.

use super::packed::Packed;
use super::server::Server;
use super::success::{Json, refused_inside};
use crate::error::Result;
use crate::http::{Call, Redirect, Watch};

/// What a page is made of.
pub(super) fn page(server: &Server, watch: &Watch, call: &Call) -> Result<Json> {
    let answer = server.origin.exchange(watch, call)?.accepted(watch)?;
    let page = Json::of_first_line(answer, watch)?;
    match (page["type"].as_str(), page["location"].as_str()) {
        (Some("redirect"), Some(location)) => {
            Err(page.redirect(&Redirect::new(server.base(), call.path(), location)))
        }
        _ => Ok(page),
    }
}

/// A value of a page, or the error that the page is instead.
pub(super) fn found<'a>(page: &'a Json, field: &str) -> Result<Packed<'a>> {
    if let Some(found) = Packed::find(page, field) {
        return Ok(found);
    }
    // Behind a status of 200.
    let nodes = page["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let error = nodes.iter().find(|node| node["type"] == "error");
    Err(error.map_or_else(
        || page.unexpected(),
        |error| refused_inside(page.step(), error),
    ))
}
