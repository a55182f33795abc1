//! Reading the fields that matter out of an object of JSON, in one pass and in place.
//!
//! Each token comes with keys, numbers and short texts, nearly always plain ones: these are read
//! here, in half the time that a deserialiser takes. `serde_json` reads everything else.

use std::borrow::Cow;
use std::fmt;

use serde_core::de::{Deserialize, Deserializer, IgnoredAny, Visitor};

use super::surrogates::into_string;

/// The rest of the JSON that is being read.
pub(super) struct Json<'a>(&'a [u8]);

/// A value's raw JSON, parsed on demand. Empty if it is absent.
#[derive(Clone, Copy, Default)]
pub(super) struct Raw<'a>(&'a [u8]);

/// Reads an object: see [`Json::object`]. `None` if that is not JSON, or no object.
pub(super) fn read_object<'a>(
    json: &'a [u8],
    field: impl FnMut(&mut Json<'a>) -> Option<()>,
) -> Option<()> {
    let mut json = Json(json);
    json.object(field)?;
    json.next().is_none().then_some(())
}

/// The value of an object's first field, if it has this key. The end of the object may be missing.
pub(super) fn first_field<'a>(json: &'a [u8], key: &str) -> Option<Raw<'a>> {
    let mut json = Json(json);
    json.skip(b'{')?;
    json.next()?;
    if json.has_key(key) { json.value() } else { None }
}

impl<'a> Json<'a> {
    /// Reads an object. `field` reads one field: the value of a key that it looks for, or any
    /// `other` field.
    fn object(&mut self, mut field: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.skip(b'{')?;
        if self.skip(b'}').is_some() {
            return Some(());
        }
        loop {
            self.next()?;
            field(self)?;
            if self.skip(b',').is_none() {
                return self.skip(b'}');
            }
        }
    }

    /// Returns whether the next field has this key, which is given in its quotes, and skips the key
    /// then. A key that is written with escapes is another one.
    #[inline]
    pub(super) fn has_key(&mut self, key: &str) -> bool {
        let rest = self.0.strip_prefix(key.as_bytes());
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Skips a field whose key is not looked for.
    #[cold]
    pub(super) fn other(&mut self) -> Option<()> {
        (self.next()? == b'"').then_some(())?;
        self.raw()?;
        self.value().map(drop)
    }

    /// The value of the field whose key was skipped.
    pub(super) fn value(&mut self) -> Option<Raw<'a>> {
        self.skip(b':')?;
        self.raw()
    }

    /// Reads the value of the field whose key was skipped, an object or null: see
    /// [`Json::object`]. Returns whether it is an object.
    pub(super) fn object_value(
        &mut self,
        field: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<bool> {
        self.skip(b':')?;
        if self.next()? == b'{' {
            return self.object(field).map(|()| true);
        }
        self.raw()?.is_null().then_some(false)
    }

    fn raw(&mut self) -> Option<Raw<'a>> {
        let length = match self.next()? {
            b'"' => plain_string_length(self.0),
            b'-' | b'0'..=b'9' => number_length(self.0),
            b'n' if self.0.starts_with(b"null") => Some(4),
            b't' if self.0.starts_with(b"true") => Some(4),
            b'f' if self.0.starts_with(b"false") => Some(5),
            _ => None,
        };
        let (value, rest) = self.0.split_at(length.or_else(|| length_by_serde(self.0))?);
        self.0 = rest;
        Some(Raw(value))
    }

    #[inline]
    fn skip(&mut self, byte: u8) -> Option<()> {
        if self.0.first() != Some(&byte) {
            self.next()?;
        }
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// The next byte that is not white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.0 {
                [byte @ b'!'..=u8::MAX, ..] => return Some(*byte),
                [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] => self.0 = rest,
                _ => return self.0.first().copied(),
            }
        }
    }
}

/// The length of the string that comes, with its quotes, if each byte in it stands for itself.
fn plain_string_length(json: &[u8]) -> Option<usize> {
    let length = json[1..].iter().position(|&byte| !IS_PLAIN[usize::from(byte)])?;
    (json[length + 1] == b'"').then_some(length + 2)
}

/// The bytes that stand for themselves in a string.
const IS_PLAIN: [bool; 256] = {
    let mut is_plain = [true; 256];
    let mut control = 0;
    while control < 0x20 {
        is_plain[control] = false;
        control += 1;
    }
    is_plain[b'"' as usize] = false;
    is_plain[b'\\' as usize] = false;
    is_plain
};

/// The length of the value that comes, whatever it is.
#[cold]
fn length_by_serde(json: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter();
    let IgnoredAny = values.next()?.ok()?;
    Some(values.byte_offset())
}

/// The length of the number that comes.
fn number_length(json: &[u8]) -> Option<usize> {
    let is_any = |at: usize, of: &[u8]| json.get(at).is_some_and(|byte| of.contains(byte));
    let first = usize::from(is_any(0, b"-"));
    let mut end = skip_digits(json, first)?;
    if json[first] == b'0' && end > first + 1 {
        return None;
    }
    if is_any(end, b".") {
        end = skip_digits(json, end + 1)?;
    }
    if is_any(end, b"eE") {
        let sign = usize::from(is_any(end + 1, b"+-"));
        end = skip_digits(json, end + 1 + sign)?;
    }
    Some(end)
}

/// The end of the digits that begin here: one at least.
fn skip_digits(json: &[u8], start: usize) -> Option<usize> {
    let digits = json.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit());
    let count = digits.count();
    (count > 0).then_some(start + count)
}

impl<'a> Raw<'a> {
    /// Returns whether this is absent or null.
    pub(super) fn is_null(self) -> bool {
        matches!(self.0, b"" | b"null")
    }

    /// Returns whether this is that string.
    pub(super) fn is(self, text: &str) -> bool {
        self.bytes().is_some_and(|bytes| *bytes == *text.as_bytes())
    }

    /// Returns whether this is true, for which some say 1.
    pub(super) fn is_true(self) -> bool {
        matches!(self.0, b"true" | b"1")
    }

    /// The value, if it is of this type.
    pub(super) fn read<T: Deserialize<'a>>(self) -> Option<T> {
        serde_json::from_slice(self.0).ok()
    }

    /// Reads an object: see [`Json::object`].
    pub(super) fn object(self, field: impl FnMut(&mut Json<'a>) -> Option<()>) -> Option<()> {
        read_object(self.0, field)
    }

    /// A string, with U+FFFD for lone surrogates.
    pub(super) fn text(self) -> Option<String> {
        into_string(self.bytes()?.into_owned())
    }

    /// A string as WTF-8, unless it is not UTF-8 to begin with.
    pub(super) fn bytes(self) -> Option<Cow<'a, [u8]>> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if inner.iter().all(|&byte| byte != b'\\') {
            return Some(Cow::Borrowed(inner));
        }
        let Wtf8(string) = self.read()?;
        Some(Cow::Owned(string))
    }
}

/// A string of any UTF-16 units: `serde_json` reads one as bytes where it does not as text.
struct Wtf8(Vec<u8>);

impl<'de> Deserialize<'de> for Wtf8 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wtf8, D::Error> {
        deserializer.deserialize_bytes(Wtf8Visitor)
    }
}

struct Wtf8Visitor;

impl Visitor<'_> for Wtf8Visitor {
    type Value = Wtf8;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Wtf8, E> {
        Ok(Wtf8(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::decode::random::Random;
    use crate::json::read_json;

    /// Compares what is read of an object, and of the objects in it, with what `serde_json` reads.
    fn check(json: &str) {
        let meant = serde_json::from_str::<Value>(json).ok().filter(Value::is_object);
        let is_read = read_object(json.as_bytes(), Json::other).is_some();
        assert_eq!(is_read, meant.is_some(), "{json}");
        let fields = meant.iter().filter_map(Value::as_object).flatten();
        for (key, meant) in fields.filter(|(key, _)| is_simple(key)) {
            let field = field(json, key).expect(json);
            assert_eq!(value(field), Some(meant.clone()), "{key} of {json}");
            let fields = meant.as_object().into_iter().flatten();
            for (inner, meant) in fields.filter(|(key, _)| is_simple(key)) {
                let field = inner_field(json, key, inner).expect(json);
                assert_eq!(value(field), Some(meant.clone()), "{inner} of {json}");
            }
        }
    }

    /// Returns whether this is a key as those that are looked for are.
    fn is_simple(key: &str) -> bool {
        key.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }

    fn field<'a>(json: &'a str, key: &str) -> Option<Raw<'a>> {
        let mut field = Raw::default();
        read_object(json.as_bytes(), |json| take(json, key, &mut field))?;
        Some(field)
    }

    /// Reads a field into `field` if it has this key, or else skips it.
    fn take<'a>(json: &mut Json<'a>, key: &str, field: &mut Raw<'a>) -> Option<()> {
        if !json.has_key(&format!("\"{key}\"")) {
            return json.other();
        }
        *field = json.value()?;
        Some(())
    }

    fn inner_field<'a>(json: &'a str, key: &str, inner: &str) -> Option<Raw<'a>> {
        let mut field = Raw::default();
        read_object(json.as_bytes(), |json| {
            if !json.has_key(&format!("\"{key}\"")) {
                return json.other();
            }
            field = Raw::default();
            json.value()?.object(|json| take(json, inner, &mut field)).or(Some(()))
        })?;
        Some(field)
    }

    fn value(raw: Raw) -> Option<Value> {
        match raw.text() {
            Some(text) => Some(Value::String(text)),
            None if raw.is_null() => Some(Value::Null),
            None => raw.read(),
        }
    }

    #[test]
    fn valid_json_is_read_like_serde_json() {
        for json in [
            "{}",
            " { } ",
            r#"{"text":"plain","number":7,"float":-0.5,"flag":true,"inner":{"text":"x"}}"#,
            "\t{ \"text\" :\r\n\"plain\" , \"number\"\n: 7 , \"flag\" : false , \
             \"inner\" : { } }\n",
            r#"{"text":"a\"b\\c\n\u00e9\ud83d\ude00","inner":{"text":"\u0000"}}"#,
            r#"{"text":"größer 東京 😀","number":4294967296,"float":1e3}"#,
            r#"{"0":0,"1":-0,"2":0.0,"3":10,"4":1E+2,"5":-1.25e-2,"6":18446744073709551616}"#,
            r#"{"text":null,"number":null,"inner":null}"#,
            r#"{"text":"one","text":"two","inner":{"text":"one"},"inner":{}}"#,
            r#"{"other":[{},[1.5e9,"]}"]],"other \" one":null,"text":"yes"}"#,
            r#"{ "inner" : {"text" :"a", "number"  : 7}, "text\":x":1, "inner" :{"a":1} }"#,
        ] {
            assert!(serde_json::from_str::<Value>(json).is_ok(), "{json}");
            check(json);
        }
    }

    #[test]
    fn a_lone_surrogate_is_read_as_a_replacement_character() {
        for (json, text) in [
            (r#"{"text":"\ud83d"}"#, "\u{fffd}"),
            (r#"{"text":"\ud83d\ud83d\udc4b\udc4b"}"#, "\u{fffd}👋\u{fffd}"),
            (
                r#"{"\ud83d":["\ud83d"],"text":"a\udc4b\\ud83d","other":{"\udc4b":[]}}"#,
                "a\u{fffd}\\ud83d",
            ),
        ] {
            assert!(serde_json::from_str::<Value>(json).is_err());
            assert_eq!(read_json(json.as_bytes()).ok().unwrap()["text"], text, "{json}");
            let field = field(json, "text").expect(json);
            assert_eq!(field.text().as_deref(), Some(text), "{json}");
        }
    }

    #[test]
    fn invalid_utf_8_is_refused_only_in_requested_text() {
        let json = b"{\"a\":\"\xff\",\"b\":\"\\n\xff\",\"c\":\"x\"}";
        let mut texts = Vec::new();
        let read = read_object(json, |json| {
            if ["a", "b", "c"].iter().any(|key| json.has_key(&format!("\"{key}\""))) {
                texts.push(json.value()?.text());
                Some(())
            } else {
                json.other()
            }
        });
        assert_eq!(read, Some(()));
        assert_eq!(texts, [None, None, Some("x".to_owned())]);
    }

    #[test]
    fn a_value_of_another_type_is_absent() {
        for (json, is_text, is_number, is_true) in [
            (r#""7""#, true, false, false),
            ("7", false, true, false),
            ("-7", false, false, false),
            ("4294967296", false, false, false),
            ("7.5", false, false, false),
            ("1", false, true, true),
            ("true", false, false, true),
            ("false", false, false, false),
            (r#"["true"]"#, false, false, false),
            (r#"{"a":1}"#, false, false, false),
        ] {
            let object = format!("{{\"a\":{json}}}");
            let value = field(&object, "a").unwrap();
            assert!(!value.is_null());
            assert_eq!(value.text().is_some(), is_text, "{json}");
            assert_eq!(value.read::<u32>().is_some(), is_number, "{json}");
            assert_eq!(value.is_true(), is_true, "{json}");
            assert_eq!(value.is("7"), is_text, "{json}");
        }
    }

    #[test]
    fn invalid_json_is_refused() {
        let good = concat!(
            r#"{"text":"a\n","other":[{"x":1}],"number":-17e+1,"flag":true,"#,
            r#""inner":{"text":"b"},"float":-1.5}"#,
        );
        assert!(serde_json::from_str::<Value>(good).is_ok());
        let bytes = r#"{}[]",:\ 0-+.entfu"#.chars().chain(['\u{1}', '\n', 'é']);
        let replacements: Vec<String> = bytes.map(String::from).collect();
        for at in 0..good.len() {
            let (before, after) = (&good[..at], &good[at + 1..]);
            let replaced = replacements.iter().map(|with| [before, with, after].concat());
            let inserted = replacements.iter().map(|with| [before, with, &good[at..]].concat());
            let cut = [before.to_owned(), [before, after].concat()];
            for json in replaced.chain(inserted).chain(cut) {
                check(&json);
            }
        }
        for bad in [
            "",
            "[]",
            "null",
            "{}{}",
            r#"{"text""inner":{}}"#,
            r#"{"text","number":1}"#,
            r#"{"text":nullx}"#,
            r#"{"text":nul}"#,
            r#"{"flag":truefalse}"#,
            r#"{"number":01}"#,
            r#"{"number":-}"#,
            r#"{"number":1.}"#,
            r#"{"number":.5}"#,
            r#"{"number":1e}"#,
            r#"{"number":+1}"#,
            r#"{"text":1,}"#,
            r#"{"text":"a"#,
        ] {
            assert!(field(bad, "text").is_none(), "{bad}");
            check(bad);
        }
    }

    #[test]
    fn random_json_is_read_like_serde_json() {
        #[rustfmt::skip]
        const PIECES: &[&str] = &[
            "{", "}", "{\"a\":", "\"b\":", ",\"c\":", "[", "]", ",", ":", "\"", "\"x\"", "\"\\n\"", "\"\\u00e9\"",
            "\"\\ud83d\\udc4b\"", "null", "true", "false", "0", "-1", "1.5", "1e3", "2E-7", " ", "\n", "\\", "é",
        ];
        for seed in 0..50_000 {
            let mut random = Random::new(seed);
            let pieces: String = (0..random.below(8)).map(|_| random.choose(PIECES)).collect();
            for json in [format!("{{\"a\":{pieces}}}"), pieces] {
                check(&json);
            }
        }
    }
}
