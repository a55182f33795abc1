//! The generations of the server, and in what they differ.

/// What kind of server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// To v0.6: events of text-generation-inference.
    Classic,
    /// v0.7: JSON lines, and a reply that never ends.
    V07,
    /// v0.8.0 to v0.8.3: messages in JSON, which name their parents.
    Json,
    /// v0.9.4: messages in forms.
    Form,
    /// v0.9.6 and later.
    Newest,
}

impl Dialect {
    pub const ALL: [Self; 5] = [
        Self::Classic,
        Self::V07,
        Self::Json,
        Self::Form,
        Self::Newest,
    ];

    /// Those which a client can have a conversation with: v0.7 is only there to be refused.
    pub const SPOKEN: [Self; 4] = [Self::Classic, Self::Json, Self::Form, Self::Newest];

    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::V07 => "v0.7",
            Self::Json => "json",
            Self::Form => "form",
            Self::Newest => "newest",
        }
    }

    /// The dialect of this name.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no such dialect; there are {names}")
        })
    }

    /// The longest body that is taken.
    pub(super) fn body_limit(self) -> u64 {
        match self {
            Self::Classic => 512 * 1024,
            _ => 15 * 1024 * 1024,
        }
    }

    /// Whether messages come in forms. These servers look at a form's Origin, the others at its
    /// Referer.
    pub(super) fn takes_forms(self) -> bool {
        matches!(self, Self::Form | Self::Newest)
    }

    /// Whether tokens are padded, and lines sent to stay connected.
    pub(super) fn pads(self) -> bool {
        matches!(self, Self::Form | Self::Newest)
    }

    /// The title of every conversation once it has been spoken in.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Newest => "Fake title",
            _ => "💬 Fake title",
        }
    }
}
