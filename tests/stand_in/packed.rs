//! The packing of a page's data ("devalue"): an array in which values refer to each other by their
//! places, in the order in which they are come upon.

use std::collections::HashMap;

use serde_json::Value;

/// A value to be packed. Its fields have an order, which JSON's values here have not.
pub(super) enum Node {
    Undefined,
    Plain(Value),
    Date(&'static str),
    List(Vec<Node>),
    Object(Vec<(&'static str, Node)>),
}

impl Node {
    pub fn plain(value: impl Into<Value>) -> Self {
        Self::Plain(value.into())
    }

    pub fn pack(&self) -> String {
        let mut packer = Packer::default();
        packer.place(self);
        format!("[{}]", packer.values.join(","))
    }
}

#[derive(Default)]
struct Packer {
    values: Vec<String>,
    /// Those which are shared by all who have them: only plain values are.
    places: HashMap<String, String>,
}

impl Packer {
    fn place(&mut self, node: &Node) -> String {
        match node {
            Node::Undefined => "-1".to_string(),
            Node::Plain(value) => {
                let text = escaped(value);
                if let Some(place) = self.places.get(&text) {
                    return place.clone();
                }
                let place = self.reserve(|_| text.clone());
                self.places.insert(text, place.clone());
                place
            }
            Node::Date(date) => self.reserve(|_| format!(r#"["Date","{date}"]"#)),
            Node::List(items) => self.reserve(|packer| {
                let places = items.iter().map(|item| packer.place(item));
                format!("[{}]", places.collect::<Vec<_>>().join(","))
            }),
            Node::Object(fields) => self.reserve(|packer| {
                let fields = fields
                    .iter()
                    .map(|(name, node)| format!(r#""{name}":{}"#, packer.place(node)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }),
        }
    }

    /// The place of a value, which comes before those of its parts.
    fn reserve(&mut self, render: impl FnOnce(&mut Self) -> String) -> String {
        let place = self.values.len();
        self.values.push(String::new());
        self.values[place] = render(self);
        place.to_string()
    }
}

/// JSON that is harmless inside a page.
fn escaped(value: &Value) -> String {
    let text = value.to_string();
    text.replace('<', r"\u003C")
        .replace('>', r"\u003E")
        .replace('/', r"\u002F")
}
