//! An HTTP request to the server, before the client's own headers are added.

use ureq::http::Method;

use super::cookies::SessionCookie;
use super::multipart::Multipart;
use super::response::{MAX_BODY, MAX_LIST};
use crate::error::Step;

/// A body that can be sent again.
pub(super) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Form(&'a Multipart),
}

/// A request to the server.
pub(crate) struct HttpRequest<'a> {
    pub(super) step: Step,
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// `None` for the client's session at the time of sending.
    pub(super) session: Option<&'a SessionCookie>,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Body<'a>,
    /// Sending it twice does no harm.
    pub(super) is_idempotent: bool,
    pub(super) has_origin: bool,
    /// Not JSON only.
    pub(super) accepts_anything: bool,
    /// The longest response body that is read, in bytes.
    pub(super) max_body: usize,
    /// Overrides the scheme of the `Referer` header.
    pub(super) https_referer: Option<bool>,
}

impl<'a> HttpRequest<'a> {
    /// A POST without a body.
    pub(crate) fn post(step: Step, path: &'a str) -> HttpRequest<'a> {
        HttpRequest {
            step,
            method: Method::POST,
            path,
            session: None,
            content_type: None,
            body: Body::Bytes(b""),
            is_idempotent: false,
            has_origin: false,
            accepts_anything: false,
            max_body: MAX_BODY,
            https_referer: None,
        }
    }

    pub(crate) fn get(step: Step, path: &'a str) -> HttpRequest<'a> {
        HttpRequest {
            method: Method::GET,
            body: Body::None,
            max_body: MAX_LIST,
            is_idempotent: true,
            ..HttpRequest::post(step, path)
        }
    }

    pub(crate) fn delete(step: Step, path: &'a str) -> HttpRequest<'a> {
        HttpRequest {
            method: Method::DELETE,
            body: Body::None,
            is_idempotent: true,
            ..HttpRequest::post(step, path)
        }
    }

    pub(crate) fn patch(step: Step, path: &'a str) -> HttpRequest<'a> {
        HttpRequest { method: Method::PATCH, is_idempotent: true, ..HttpRequest::post(step, path) }
    }

    pub(crate) fn path(&self) -> &str {
        self.path
    }

    pub(crate) fn session(mut self, session: &'a SessionCookie) -> HttpRequest<'a> {
        self.session = Some(session);
        self
    }

    pub(crate) fn body(mut self, content_type: &'static str, body: &'a [u8]) -> HttpRequest<'a> {
        self.content_type = Some(content_type);
        self.body = Body::Bytes(body);
        self
    }

    /// Sends a form with files.
    pub(crate) fn form(mut self, form: &'a Multipart) -> HttpRequest<'a> {
        self.body = Body::Form(form);
        self
    }

    /// Allows sending the request again if its connection ends without a response.
    pub(crate) fn idempotent(mut self) -> HttpRequest<'a> {
        self.is_idempotent = true;
        self
    }

    /// Adds an `Origin` header, without which chat-ui from 0.8.4 refuses forms.
    pub(crate) fn with_origin(mut self) -> HttpRequest<'a> {
        self.has_origin = true;
        self
    }

    /// Sends `Accept: */*`.
    pub(crate) fn accepting_anything(mut self) -> HttpRequest<'a> {
        self.accepts_anything = true;
        self
    }

    /// Overrides the scheme of the `Referer` header.
    pub(crate) fn with_https_referer(mut self, https: bool) -> HttpRequest<'a> {
        self.https_referer = Some(https);
        self
    }
}
