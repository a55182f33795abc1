//! The generations of chat-ui, and their differences. h2oGPTe is none of them.

/// A generation of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Up to v0.6: a reply consists of the events of text-generation-inference.
    Classic,
    /// v0.7, only as far as the client detects and refuses it: without replies.
    V07,
    /// v0.8.0 to v0.8.3: a reply is JSON lines; messages are JSON and name their parent.
    Json,
    /// v0.8.4 to v0.9.1: like v0.8.3, but forms need an Origin, and a stop does nothing.
    V084,
    /// v0.9.2 to v0.9.4: messages are forms.
    Form,
    /// v0.9.5: like v0.9.4, but a stop ends a reply that has a reader.
    V095,
    /// v0.9.6 and later.
    Newest,
    /// Another server, with its own API.
    H2ogpte,
}

/// The effect of a stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnStop {
    /// It ends the running generation.
    Ends,
    /// It ends a reply whose client stays connected for a while.
    EndsWhatIsRead,
    /// It ends the running generation. If there is none, it cuts the conversation's next reply
    /// within 5 s.
    EndsOrCutsNext,
    Nothing,
}

impl Dialect {
    pub const ALL: [Self; 8] = [
        Self::Classic,
        Self::V07,
        Self::Json,
        Self::V084,
        Self::Form,
        Self::V095,
        Self::Newest,
        Self::H2ogpte,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::V07 => "v0.7",
            Self::Json => "json",
            Self::V084 => "v0.8.4",
            Self::Form => "form",
            Self::V095 => "v0.9.5",
            Self::Newest => "newest",
            Self::H2ogpte => "h2ogpte",
        }
    }

    /// Returns the dialect of this name.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no such dialect; there are {names}")
        })
    }

    /// The maximum length of a request's body, in bytes.
    pub(super) fn body_limit(self) -> u64 {
        match self {
            Self::Classic => 512 * 1024,
            _ => 15 * 1024 * 1024,
        }
    }

    /// Returns whether a form's Origin is checked. The others check its Referer.
    pub(super) fn checks_origin(self) -> bool {
        self == Self::V084 || self.takes_forms()
    }

    /// Returns whether messages are forms.
    pub(super) fn takes_forms(self) -> bool {
        self.has_early_forms() || self == Self::Newest
    }

    /// Returns whether it is between v0.9.2 and v0.9.5.
    pub(super) fn has_early_forms(self) -> bool {
        matches!(self, Self::Form | Self::V095)
    }

    /// Returns whether tokens are padded, and keep-alive lines sent between them.
    pub(super) fn pads(self) -> bool {
        self.takes_forms()
    }

    pub(super) fn on_stop(self) -> OnStop {
        match self {
            Self::V084 | Self::Form => OnStop::Nothing,
            Self::V095 => OnStop::EndsWhatIsRead,
            Self::Newest => OnStop::EndsOrCutsNext,
            _ => OnStop::Ends,
        }
    }

    /// The title that every conversation gets with its first reply.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Newest => "Fake title",
            _ => "💬 Fake title",
        }
    }
}
