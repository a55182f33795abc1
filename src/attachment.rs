//! A file that is sent with a prompt.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::text::one_line;

/// The largest attachment that chat-ui servers accept, in bytes.
const MAX_CONTENT: usize = 10 << 20;

/// A file that is sent with a prompt: an image, a document.
///
/// Servers from chat-ui 0.9.2 on take attachments, of at most 10 MiB each. A request may have
/// several, of at most 15 MiB together with the prompt, counted as base64, which is a third
/// larger. Clones of an attachment share its content.
///
/// ```no_run
/// # let client = h2o_chat::Client::new("http://127.0.0.1:3000")?;
/// use h2o_chat::{Attachment, Request};
///
/// let photo = Attachment::from_path("photo.jpeg")?;
/// println!("{}", client.ask(Request::new("What is this?").attach(photo))?);
/// # Ok::<(), h2o_chat::Error>(())
/// ```
///
/// `Debug` shows the length of the content, not the content.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    name: String,
    media_type: String,
    content: Arc<Vec<u8>>,
}

impl Attachment {
    /// Creates an attachment of bytes, with the name of a file and a media type such as
    /// `image/png`.
    ///
    /// ```
    /// use h2o_chat::Attachment;
    ///
    /// let table = Attachment::new("primes.csv", "text/csv", "n,prime\n1,2\n2,3\n");
    /// ```
    pub fn new(
        name: impl Into<String>,
        media_type: impl Into<String>,
        content: impl Into<Vec<u8>>,
    ) -> Attachment {
        Attachment {
            name: name.into(),
            media_type: media_type.into(),
            content: Arc::new(content.into()),
        }
    }

    /// Reads a file. The extension of its name tells the media type: png, jpeg, jpg, webp, gif,
    /// pdf, txt, md, csv or json, in upper or lower case.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the file cannot be read, is
    /// larger than 10 MiB, or has another extension: use [`new`](Attachment::new) for those.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Attachment> {
        let path = path.as_ref();
        let shown = one_line(&path.to_string_lossy());
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let Some(media_type) = media_type_of(&extension) else {
            return Err(Error::invalid_input(format!(
                "the media type of {shown:?} is not known by its extension"
            )));
        };
        let read = || {
            let file = File::open(path)?;
            let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            let mut content = Vec::with_capacity(size.min(MAX_CONTENT + 1));
            file.take(MAX_CONTENT as u64 + 1).read_to_end(&mut content)?;
            Ok::<_, std::io::Error>(content)
        };
        let content = read().map_err(|error| {
            Error::invalid_input(format!("{shown:?} cannot be read: {error}")).with_source(error)
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let attachment = Attachment::new(name, media_type, content);
        attachment.validate()?;
        Ok(attachment)
    }

    /// The name of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The media type, such as `image/png`.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The bytes of the file.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    pub(crate) fn shared_content(&self) -> &Arc<Vec<u8>> {
        &self.content
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let name = &self.name;
        let is_graphic = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let is_type = self.media_type.split_once('/').is_some_and(|(class, subtype)| {
            !class.is_empty() && !subtype.is_empty() && self.media_type.bytes().all(is_graphic)
        });
        Err(Error::invalid_input(if name.is_empty() || name.chars().any(char::is_control) {
            format!("invalid name {name:?} of an attachment")
        } else if !is_type {
            format!("invalid media type {:?} of the attachment {name:?}", self.media_type)
        } else if self.content.is_empty() {
            // Servers leave it out without a word.
            format!("the attachment {name:?} is empty")
        } else if self.content.len() > MAX_CONTENT {
            format!("the attachment {name:?} is larger than {MAX_CONTENT} bytes")
        } else {
            return Ok(());
        }))
    }
}

fn media_type_of(extension: &str) -> Option<&'static str> {
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpeg" | "jpg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "json" => "application/json",
        _ => return None,
    })
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("name", &self.name)
            .field("media_type", &self.media_type)
            .field("content", &format_args!("{} bytes", self.content.len()))
            .finish()
    }
}
