//! Packs the data of a page with devalue: into an array whose values refer to each other by index.

use serde_json::{Map, Value, json};

/// The only date, so that responses can be compared.
pub(super) const DATE: &str = "2026-11-23T18:21:38.319Z";

/// Stands for values that JSON does not have.
pub(super) const UNDEFINED: &str = "undefined";

pub(super) fn pack(value: &Value) -> Value {
    let mut packer = Packer(Vec::new());
    packer.place(value);
    packer.0.into()
}

/// The values by index. `None` while the parts of a value are being added.
struct Packer(Vec<Option<Value>>);

impl Packer {
    /// Returns the place of a value. Plain values that are equal share one.
    fn place(&mut self, value: &Value) -> Value {
        if value == UNDEFINED {
            return json!(-1);
        }
        let is_plain = !value.is_array() && !value.is_object();
        let mut placed = self.0.iter();
        if let Some(place) = placed.position(|placed| is_plain && placed.as_ref() == Some(value)) {
            return place.into();
        }
        let place = self.0.len();
        self.0.push(None);
        let packed = match value {
            Value::Array(items) => items.iter().map(|item| self.place(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, value)| (name.clone(), self.place(value)));
                fields.collect::<Map<_, _>>().into()
            }
            date if date == DATE => json!(["Date", date]),
            plain => plain.clone(),
        };
        self.0[place] = Some(packed);
        place.into()
    }
}
