//! Reading the fields that matter out of an object of JSON, in one pass and in place.
//!
//! Each token comes with keys, numbers and short texts, nearly always plain ones: these are read
//! here, in half the time that a deserialiser takes. `serde_json` reads everything else.

use std::borrow::Cow;
use std::fmt;

use serde_core::de::{Deserialize, Deserializer, IgnoredAny, Visitor};

use super::surrogates::into_string;

/// JSON that is being read.
pub(super) struct Json<'a> {
    bytes: &'a [u8],
    /// Where the rest begins.
    at: usize,
    /// The key of the next value, if it was read but not found yet.
    key: Option<Vec<u8>>,
}

/// A value as it was sent, which is not looked into before somebody asks for it. Absent and null
/// are the same.
#[derive(Clone, Copy, Default)]
pub(super) struct Raw<'a>(Option<&'a [u8]>);

/// Reads an object: see [`Json::object`]. `None` if that is not JSON, or no object.
pub(super) fn read_object<'a>(
    json: &'a [u8],
    field: impl FnMut(&mut Json<'a>) -> Option<()>,
) -> Option<()> {
    let mut json = Json::new(json);
    json.object(field)?;
    json.next().is_none().then_some(())
}

/// The value of an object's first field, if it has this key. The end of the object may be missing.
pub(super) fn first_field<'a>(json: &'a [u8], key: &str) -> Option<Raw<'a>> {
    let mut json = Json::new(json);
    json.skip(b'{')?;
    json.next()?;
    if !json.has_key(key) {
        json.other()?;
        json.has_key(key).then_some(())?;
    }
    json.value()
}

impl<'a> Json<'a> {
    fn new(json: &'a [u8]) -> Json<'a> {
        Json { bytes: json, at: 0, key: None }
    }

    /// Reads an object. `field` reads one field: the value of a key that it looks for, or any
    /// `other` field.
    pub(super) fn object(&mut self, mut field: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.skip(b'{')?;
        if self.skip(b'}').is_some() {
            return Some(());
        }
        loop {
            self.next()?;
            field(self)?;
            // Once more if only the key was read.
            if self.key.is_none() && self.skip(b',').is_none() {
                return self.skip(b'}');
            }
        }
    }

    /// Returns whether the next field has this key, and skips the key then. The key is given as it
    /// is usually written, with its quotes and its colon: comparing is cheaper than looking for the
    /// end.
    #[inline]
    pub(super) fn has_key(&mut self, key: &str) -> bool {
        let left = match &self.key {
            Some(key) => key,
            None => &self.bytes[self.at..],
        };
        let is_same = left.starts_with(key.as_bytes());
        if is_same && self.key.take().is_none() {
            self.at += key.len();
        }
        is_same
    }

    /// Skips a field whose key is not looked for. The first time it only reads the key, which may
    /// be written in another way: with white space after it, or with escapes.
    #[cold]
    pub(super) fn other(&mut self) -> Option<()> {
        if self.key.take().is_some() {
            return self.value().map(drop);
        }
        let key = self.value()?.bytes()?;
        // No key that is looked for has a quote in it, but one with a quote can begin like it.
        let is_odd = key.contains(&b'"');
        self.key = Some(if is_odd { Vec::new() } else { [b"\"", &*key, b"\":"].concat() });
        self.skip(b':')
    }

    pub(super) fn value(&mut self) -> Option<Raw<'a>> {
        let first = self.next()?;
        let json = &self.bytes[self.at..];
        let length = match first {
            b'"' => plain_string_length(json),
            b'-' | b'0'..=b'9' => number_length(json),
            b'n' if json.starts_with(b"null") => {
                self.at += 4;
                return Some(Raw(None));
            }
            b't' if json.starts_with(b"true") => Some(4),
            b'f' if json.starts_with(b"false") => Some(5),
            _ => None,
        };
        let length = length.or_else(|| length_by_serde(json))?;
        self.at += length;
        Some(Raw(Some(&json[..length])))
    }

    /// Returns whether an object comes next.
    pub(super) fn is_at_object(&mut self) -> bool {
        self.next() == Some(b'{')
    }

    #[inline]
    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is not white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
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
    pub(super) fn is_null(self) -> bool {
        self.0.is_none()
    }

    /// Returns whether this is that string.
    pub(super) fn is(self, text: &str) -> bool {
        self.bytes().is_some_and(|bytes| *bytes == *text.as_bytes())
    }

    /// Returns whether this is true, for which some say 1.
    pub(super) fn is_true(self) -> bool {
        matches!(self.0, Some(b"true" | b"1"))
    }

    /// The value, if it is of this type.
    pub(super) fn read<T: Deserialize<'a>>(self) -> Option<T> {
        serde_json::from_slice(self.0?).ok()
    }

    /// Reads an object: see [`Json::object`].
    pub(super) fn object(self, field: impl FnMut(&mut Json<'a>) -> Option<()>) -> Option<()> {
        read_object(self.0?, field)
    }

    /// A string, with U+FFFD for lone surrogates.
    pub(super) fn text(self) -> Option<String> {
        into_string(self.bytes()?.into_owned())
    }

    /// A string as WTF-8, unless it is not UTF-8 to begin with.
    pub(super) fn bytes(self) -> Option<Cow<'a, [u8]>> {
        let inner = self.0?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
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
        for (key, meant) in fields.filter(|(key, _)| !key.contains('"')) {
            let field = field(json, key).expect(json);
            assert_eq!(value(field), Some(meant.clone()), "{key} of {json}");
            let fields = meant.as_object().into_iter().flatten();
            for (inner, meant) in fields.filter(|(key, _)| !key.contains('"')) {
                let field = inner_field(json, key, inner).expect(json);
                assert_eq!(value(field), Some(meant.clone()), "{inner} of {json}");
            }
        }
    }

    fn field<'a>(json: &'a str, key: &str) -> Option<Raw<'a>> {
        let mut field = Raw::default();
        read_object(json.as_bytes(), |json| take(json, key, &mut field))?;
        Some(field)
    }

    /// Reads a field into `field` if it has this key, or else skips it.
    fn take<'a>(json: &mut Json<'a>, key: &str, field: &mut Raw<'a>) -> Option<()> {
        if !json.has_key(&format!("\"{key}\":")) {
            return json.other();
        }
        *field = json.value()?;
        Some(())
    }

    fn inner_field<'a>(json: &'a str, key: &str, inner: &str) -> Option<Raw<'a>> {
        let mut field = Raw::default();
        read_object(json.as_bytes(), |json| {
            if !json.has_key(&format!("\"{key}\":")) {
                return json.other();
            }
            if !json.is_at_object() {
                return json.value().map(drop);
            }
            field = Raw::default();
            json.object(|json| take(json, inner, &mut field))
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
            r#"{"other":[{},[1.5e9,"]}"]],"other \" one":null,"t\u0065xt":"yes"}"#,
            r#"{ "inner" : {"text" :"a", "t\u0065xt":"b"}, "text\":x":1, "inn\u0065r":{"a":1} }"#,
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
            if ["a", "b", "c"].iter().any(|key| json.has_key(&format!("\"{key}\":"))) {
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
