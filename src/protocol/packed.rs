//! The packing of a chat-ui page's `__data.json` ("devalue"): one array in which values refer to each other by their
//! place. Nothing is unpacked; values are looked up as they are asked for, so that no packing, however it refers
//! to itself, takes more time or memory than its text. Texts are counted
//! as they are copied: many may be the same one.

use std::cell::Cell;

use serde_json::Value;

use super::listed;
use crate::error::{Result, Step};

/// One value of a packed array.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    array: &'a [Value],
    value: &'a Value,
}

impl<'a> Packed<'a> {
    /// The first value of the page's parts that is an object with this field.
    pub(super) fn find(page: &'a Value, field: &str) -> Option<Packed<'a>> {
        let nodes = page["nodes"].as_array()?;
        let mut roots = nodes.iter().filter_map(|node| {
            let array = node["data"].as_array()?;
            let value = array.first()?;
            Some(Packed { array, value })
        });
        roots.find_map(|root| root.field(field))
    }

    /// A field of an object, unless it is undefined.
    pub(super) fn field(self, name: &str) -> Option<Packed<'a>> {
        self.at(self.value.get(name)?)
    }

    /// A list made of the objects in an array, each out of the texts of its fields. What cannot be made is left out.
    pub(super) fn list<T>(
        self,
        step: Step,
        make: impl Fn(listed::Text) -> Option<T>,
    ) -> Result<Vec<T>> {
        let room = Cell::new(listed::LARGEST);
        let mut list = Vec::new();
        for object in self.items() {
            let text = |name: &str| {
                let text = object.field(name)?.text()?;
                room.set(room.get().saturating_sub(text.len()));
                (room.get() > 0).then(|| text.to_owned())
            };
            list.extend(make(&text));
            if room.get() == 0 {
                return Err(listed::too_large(step));
            }
        }
        Ok(list)
    }

    /// The items of an array.
    fn items(self) -> impl Iterator<Item = Packed<'a>> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().filter_map(move |place| self.at(place))
    }

    pub(super) fn text(self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// Places below zero stand for undefined and the like.
    fn at(self, place: &Value) -> Option<Packed<'a>> {
        let value = self.array.get(usize::try_from(place.as_u64()?).ok()?)?;
        Some(Packed { value, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(page: &Value) -> Option<Vec<&str>> {
        let models = Packed::find(page, "models")?;
        Some(
            models
                .items()
                .filter_map(|model| model.field("name")?.text())
                .collect(),
        )
    }

    #[test]
    fn values_are_found_by_their_places() {
        let page = json!({"type": "data", "nodes": [
            null,
            {"type": "skip"},
            {"type": "data", "data": [
                {"settings": -1, "models": 1}, [2, 4], {"name": 3, "url": -1}, "one", {"name": 5}, "two",
            ]},
        ]});
        assert_eq!(names(&page).unwrap(), ["one", "two"]);
    }

    #[test]
    fn a_broken_packing_has_no_values_and_does_no_harm() {
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
}
