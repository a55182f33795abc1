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
    json: &'a [u8],
    /// Where the rest begins.
    at: usize,
}

/// A value as it was sent, which is not looked into before somebody asks for it. Absent and null
/// are the same.
#[derive(Clone, Copy, Default)]
pub(super) struct Raw<'a>(Option<&'a [u8]>);

/// Reads an object: `field` takes the value of each key. `None` if that is not JSON, or no object.
pub(super) fn read_object<'a>(
    json: &'a [u8],
    field: impl FnMut(&mut Json<'a>, &[u8]) -> Option<()>,
) -> Option<()> {
    let mut json = Json { json, at: 0 };
    json.object(field)?;
    json.next().is_none().then_some(())
}

/// Reads an object of which each field is a value that is looked at by itself.
pub(super) fn read_fields<'a>(json: &'a [u8], mut field: impl FnMut(&[u8], Raw<'a>)) -> Option<()> {
    read_object(json, |json, key| {
        field(key, json.value()?);
        Some(())
    })
}

/// The first field of an object of which only the beginning may be here.
pub(super) fn first_field(json: &[u8]) -> Option<(Cow<'_, [u8]>, Raw<'_>)> {
    let mut json = Json { json, at: 0 };
    json.skip(b'{')?;
    let key = json.key()?;
    Some((key, json.value()?))
}

impl<'a> Json<'a> {
    pub(super) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &[u8]) -> Option<()>,
    ) -> Option<()> {
        self.skip(b'{')?;
        if self.skip(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.key()?;
            field(self, &key)?;
            if self.skip(b',').is_none() {
                return self.skip(b'}');
            }
        }
    }

    fn key(&mut self) -> Option<Cow<'a, [u8]>> {
        (self.next()? == b'"').then_some(())?;
        let key = match self.plain_string() {
            Some(key) => Cow::Borrowed(key),
            None => self.value()?.bytes()?,
        };
        self.skip(b':')?;
        Some(key)
    }

    pub(super) fn value(&mut self) -> Option<Raw<'a>> {
        let first = self.next()?;
        let start = self.at;
        match first {
            b'"' if self.plain_string().is_some() => {}
            b'-' | b'0'..=b'9' => self.skip_number()?,
            b'n' => return self.skip_word(b"null").map(|()| Raw(None)),
            b't' => self.skip_word(b"true")?,
            b'f' => self.skip_word(b"false")?,
            _ => {
                let left = &self.json[self.at..];
                let mut values = serde_json::Deserializer::from_slice(left).into_iter();
                let IgnoredAny = values.next()?.ok()?;
                self.at += values.byte_offset();
            }
        }
        Some(Raw(Some(&self.json[start..self.at])))
    }

    /// Returns whether an object comes next.
    pub(super) fn is_at_object(&mut self) -> bool {
        self.next() == Some(b'{')
    }

    /// The content of a string, if each byte of it stands for itself.
    fn plain_string(&mut self) -> Option<&'a [u8]> {
        let string = &self.json[self.at + 1..];
        let length = string.iter().position(|&it| !IS_PLAIN[usize::from(it)])?;
        (string[length] == b'"').then(|| {
            self.at += length + 2;
            &string[..length]
        })
    }

    fn skip_number(&mut self) -> Option<()> {
        let _ = self.skip_byte(b"-");
        if self.skip_byte(b"0").is_none() {
            self.skip_digits()?;
        }
        if self.skip_byte(b".").is_some() {
            self.skip_digits()?;
        }
        if self.skip_byte(b"eE").is_some() {
            let _ = self.skip_byte(b"+-");
            self.skip_digits()?;
        }
        Some(())
    }

    fn skip_digits(&mut self) -> Option<()> {
        self.skip_byte(b"0123456789")?;
        while self.skip_byte(b"0123456789").is_some() {}
        Some(())
    }

    fn skip_byte(&mut self, any_of: &[u8]) -> Option<()> {
        any_of.contains(self.json.get(self.at)?).then(|| self.at += 1)
    }

    fn skip_word(&mut self, word: &[u8]) -> Option<()> {
        let found = self.json[self.at..].starts_with(word);
        found.then(|| self.at += word.len())
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            match *self.json.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }
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

    /// Reads the fields of an object.
    pub(super) fn fields(self, field: impl FnMut(&[u8], Raw<'a>)) -> Option<()> {
        read_fields(self.0?, field)
    }

    /// A string, with U+FFFD for lone surrogates.
    pub(super) fn text(self) -> Option<String> {
        into_string(self.bytes()?.into_owned())
    }

    /// A string as WTF-8, unless it is not UTF-8 to begin with.
    pub(super) fn bytes(self) -> Option<Cow<'a, [u8]>> {
        let inner = self.0?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if !inner.contains(&b'\\') {
            return Some(Cow::Borrowed(inner));
        }
        let Wtf8(bytes) = self.read()?;
        Some(Cow::Owned(bytes))
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
    use serde_json::{Map, Value};

    use super::*;
    use crate::decode::random::Random;
    use crate::json::read_json;

    /// The whole object as a value, each of its fields read by itself.
    fn read(json: &str) -> Option<Value> {
        let mut object = Map::new();
        read_object(json.as_bytes(), |json, key| {
            let key = into_string(key.to_vec())?;
            if json.is_at_object() {
                let mut inner = Map::new();
                json.object(|json, key| {
                    inner.insert(into_string(key.to_vec())?, value(json.value()?)?);
                    Some(())
                })?;
                object.insert(key, Value::Object(inner));
            } else {
                object.insert(key, value(json.value()?)?);
            }
            Some(())
        })?;
        Some(Value::Object(object))
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
        ] {
            assert_eq!(read(json), serde_json::from_str(json).ok(), "{json}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_read_as_a_replacement_character() {
        for json in [
            r#"{"text":"\ud83d","inner":{"text":"a\udc4b"}}"#,
            r#"{"\ud83d":"\ud83d\ud83d\udc4b\udc4b","other":[]}"#,
        ] {
            assert!(serde_json::from_str::<Value>(json).is_err());
            assert_eq!(read(json), read_json(json.as_bytes()).ok(), "{json}");
        }
    }

    #[test]
    fn invalid_utf_8_is_refused_only_in_requested_text() {
        let mut texts = Vec::new();
        let read = read_fields(b"{\"a\":\"\xff\",\"b\":\"\\n\xff\",\"c\":\"x\"}", |_, value| {
            texts.push(value.text());
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
            let mut value = Raw::default();
            let object = format!("{{\"a\":{json}}}");
            read_fields(object.as_bytes(), |_, it| value = it).unwrap();
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
        assert!(read(good).is_some());
        let bytes = r#"{}[]",:\ 0-+.entfu"#.chars().chain(['\u{1}', '\n', 'é']);
        let replacements: Vec<String> = bytes.map(String::from).collect();
        for at in 0..good.len() {
            let (before, after) = (&good[..at], &good[at + 1..]);
            let replaced = replacements.iter().map(|with| [before, with, after].concat());
            let inserted = replacements.iter().map(|with| [before, with, &good[at..]].concat());
            let cut = [before.to_owned(), [before, after].concat()];
            for json in replaced.chain(inserted).chain(cut) {
                assert_eq!(read(&json), serde_json::from_str(&json).ok(), "{json}");
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
            assert_eq!(read(bad), None, "{bad}");
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
                let meant = serde_json::from_str::<Value>(&json).ok();
                let meant = meant.filter(Value::is_object);
                assert_eq!(read(&json), meant, "seed {seed}: {json}");
            }
        }
    }
}
