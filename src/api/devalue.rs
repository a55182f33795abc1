//! "devalue", the format of chat-ui's `__data.json`: one array in which values refer to each other
//! by index.
//!
//! Values are looked up as they are needed and not unpacked, so that no document takes more time
//! or memory than its text, whatever refers to what. Texts are counted as they are copied: many
//! may be the same one.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::listing::{MAX_TEXT, TextField, too_large};
use crate::error::{Result, Step};

/// How deep objects and lists may be nested in what is unpacked.
const MAX_DEPTH: usize = 8;

/// The most that is unpacked: values, and bytes of their texts.
const MAX_UNPACKED: usize = 1 << 20;

#[derive(Clone, Copy)]
pub(super) struct Devalue<'a> {
    array: &'a [Value],
    value: &'a Value,
}

impl<'a> Devalue<'a> {
    /// Finds a field of this name in the page's data.
    pub(super) fn find(page: &'a Value, name: &str) -> Option<Devalue<'a>> {
        let nodes = page["nodes"].as_array()?;
        let mut roots = nodes.iter().filter_map(|node| {
            let array = node["data"].as_array()?;
            let value = array.first()?;
            Some(Devalue { array, value })
        });
        roots.find_map(|root| root.field(name))
    }

    fn field(self, name: &str) -> Option<Devalue<'a>> {
        self.at(self.value.get(name)?)
    }

    /// The items of a list, each made from the texts of its fields.
    pub(super) fn list<T>(
        self,
        step: Step,
        make: impl Fn(TextField) -> Option<T>,
    ) -> Result<Vec<T>> {
        let room = Cell::new(MAX_TEXT);
        let mut list = Vec::new();
        for object in self.items() {
            let text = |name: &str| {
                let text = object.field(name)?.text()?;
                room.set(room.get().saturating_sub(text.len()));
                (room.get() > 0).then(|| text.to_owned())
            };
            list.extend(make(&text));
            if room.get() == 0 {
                return Err(too_large(step));
            }
        }
        Ok(list)
    }

    /// The fields of an object, unpacked. `None` if that is not an object, or holds a value that
    /// JSON cannot represent.
    pub(super) fn unpack_object(self) -> Option<Map<String, Value>> {
        let left = Cell::new(MAX_UNPACKED);
        match self.unpack(MAX_DEPTH, &left)? {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    fn unpack(self, depth: usize, left: &Cell<usize>) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let size = 1 + self.text().map_or(0, str::len);
        left.set(left.get().checked_sub(size)?);
        let child = |index: &Value| match index.as_i64()? {
            // `undefined`
            -1 => Some(None),
            _ => Some(Some(self.at(index)?.unpack(depth, left)?)),
        };
        match self.value {
            Value::Object(fields) => {
                let mut object = Map::new();
                for (name, index) in fields {
                    if let Some(value) = child(index)? {
                        object.insert(name.clone(), value);
                    }
                }
                Some(Value::Object(object))
            }
            Value::Array(items) => match items.first() {
                Some(Value::String(kind)) if kind == "Date" => items.get(1).cloned(),
                // A set, a map, or another value that JSON does not have.
                Some(Value::String(_)) => None,
                _ => {
                    let items =
                        items.iter().map(|index| child(index).map(Option::unwrap_or_default));
                    Some(Value::Array(items.collect::<Option<_>>()?))
                }
            },
            plain => Some(plain.clone()),
        }
    }

    fn items(self) -> impl Iterator<Item = Devalue<'a>> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().filter_map(move |index| self.at(index))
    }

    fn text(self) -> Option<&'a str> {
        self.value.as_str()
    }

    fn at(self, index: &Value) -> Option<Devalue<'a>> {
        let value = self.array.get(usize::try_from(index.as_u64()?).ok()?)?;
        Some(Devalue { value, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(page: &Value) -> Option<Vec<&str>> {
        let models = Devalue::find(page, "models")?;
        Some(models.items().filter_map(|model| model.field("name")?.text()).collect())
    }

    #[test]
    fn values_are_found_by_their_index() {
        let page = json!({"type": "data", "nodes": [
            null,
            {"type": "skip"},
            {"type": "data", "data": [
                {"settings": -1, "models": 1}, [2, 4],
                {"name": 3, "url": -1}, "one", {"name": 5}, "two",
            ]},
        ]});
        assert_eq!(names(&page).unwrap(), ["one", "two"]);
    }

    #[test]
    fn a_broken_document_has_no_values() {
        let data = [
            json!(null),
            json!([]),
            json!({}),
            json!([7]),
            json!([{"models": 9}]),
            json!([{"models": -1}]),
            json!([{"models": "1"}, []]),
            json!([{"models": 0.5}]),
            json!([{"models": 1}, [1, 1, 1, 0, 99, -7, null]]),
            json!([{"models": 0}]),
            json!([{"models": 1}, [2], {"name": 2}]),
        ];
        for data in data {
            let page = json!({"nodes": [{"data": data}]});
            assert!(names(&page).is_none_or(|names| names.is_empty()), "{data}");
        }
        for page in [json!(null), json!({}), json!({"nodes": 1}), json!([1])] {
            assert!(names(&page).is_none());
        }
    }

    #[test]
    fn an_object_is_unpacked_whole_or_not_at_all() {
        let settings = |data: Value| {
            let page = json!({"nodes": [{"data": data}]});
            Devalue::find(&page, "settings")?.unpack_object()
        };
        let whole = settings(json!([
            {"settings": 1}, {"share": 2, "at": 3, "prompts": 4, "tools": 6, "none": 8, "gone": -1},
            true, ["Date", "2026-11-23"], {"a": 5}, "b", [7, -1], 1.5, null,
        ]));
        let meant = json!({
            "share": true, "at": "2026-11-23", "prompts": {"a": "b"},
            "tools": [1.5, null], "none": null,
        });
        assert_eq!(whole.map(Value::Object), Some(meant));
        for broken in [
            json!([{"settings": 1}, "text"]),
            json!([{"settings": 1}, {"a": 2}, ["Set", 1]]),
            json!([{"settings": 1}, {"a": 7}]),
            json!([{"settings": 1}, {"a": "b"}]),
            json!([{"settings": 1}, {"a": 1}]),
            json!([{"settings": 1}, {"a": 2}, [3, 3, 3], [4, 4, 4], [5, 5, 5], [6, 6], [2]]),
        ] {
            assert_eq!(settings(broken.clone()), None, "{broken}");
        }
    }
}
