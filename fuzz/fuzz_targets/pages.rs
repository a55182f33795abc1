//! Pages of chat-ui: as they come, and made from a value that must be found in them again.

#![no_main]

use h2o_chat::fuzzing::{api, read_json};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

/// How deep values are read.
const MAX_DEPTH: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let Some(value) = read_json(bytes) else {
        return;
    };
    if let Some(models) = api::models(&value) {
        assert!(models.iter().all(|model| is_text(&value, &model.id)));
    }
    for conversation in api::conversations(&value).unwrap_or_default() {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!((1..=64).contains(&conversation.id.len()));
        assert!(conversation.id.bytes().all(is_allowed));
        assert!(is_text(&value, &conversation.id));
    }
    let _ = api::settings(&value);

    let page = page("settings", &value);
    let read = api::settings(&page).map(Value::Object);
    assert_eq!(read, (value.is_object() && depth(&value) <= MAX_DEPTH).then_some(value.clone()));

    let page = self::page("conversations", &value);
    let listed = api::conversations(&page);
    let ids: Vec<_> = listed.into_iter().flatten().map(|it| it.id).collect();
    let objects = value.as_array().map_or(&[][..], Vec::as_slice);
    let meant = objects.iter().filter_map(|object| object["id"].as_str());
    let meant: Vec<_> = meant.filter(|id| ids.iter().any(|it| it == id)).collect();
    assert_eq!(ids, meant, "in order, and each as often as it is there");
});

/// Whether this is a text in the document.
fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        Value::Array(items) => items.iter().any(|item| is_text(item, text)),
        Value::Object(fields) => fields.values().any(|field| is_text(field, text)),
        _ => false,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

/// A page whose data has this value as a field.
fn page(name: &str, value: &Value) -> Value {
    let mut array = vec![json!({ name: 1 })];
    write(&mut array, value);
    json!({ "type": "data", "nodes": [null, { "type": "data", "data": array }] })
}

/// Appends a value and those in it, as devalue does, and returns its index.
fn write(array: &mut Vec<Value>, value: &Value) -> usize {
    let index = array.len();
    array.push(Value::Null);
    array[index] = match value {
        Value::Array(items) => items.iter().map(|item| write(array, item)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, it)| (name.clone(), write(array, it).into()));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        plain => plain.clone(),
    };
    index
}
