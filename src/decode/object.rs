//! Reading the fields that matter out of an object of JSON, in one pass and in place.
//!
//! What each token is told with, keys and short texts, is nearly always plain: that is read here, because it takes half
//! the time that a deserialiser takes. Whatever else there is `serde_json` reads.

use std::borrow::Cow;

use serde_core::Deserialize;
use serde_core::de::IgnoredAny;

/// A text of JSON that is being read.
pub(super) struct Json<'a> {
    text: &'a str,
    /// Where what is left of it begins.
    at: usize,
}

/// What can be read out of JSON. None if that is something else, or no JSON.
pub(super) trait Read: Default {
    fn read(&mut self, json: &mut Json) -> Option<()>;
}

/// The whole of a text.
pub(super) fn read<T: Read>(text: &str) -> Option<T> {
    let mut json = Json { text, at: 0 };
    let mut value = T::default();
    value.read(&mut json)?;
    json.next().is_none().then_some(value)
}

impl<'a> Json<'a> {
    /// An object, of which each field is to be read when it comes.
    pub(super) fn object(&mut self, mut field: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
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

    /// Whether the field that comes has this key, which is given in its quotes and read then. Nobody escapes a letter in it.
    pub(super) fn has_key(&mut self, key: &str) -> bool {
        let before = self.at;
        let found = self.word(key).and_then(|()| self.skip(b':')).is_some();
        if !found {
            self.at = before;
        }
        found
    }

    /// The value of a field, which is the default one if it is null.
    pub(super) fn value<T: Read>(&mut self, value: &mut T) -> Option<()> {
        self.next()?;
        match self.word("null") {
            Some(()) => *value = T::default(),
            None => value.read(self)?,
        }
        Some(())
    }

    /// A field that does not matter.
    pub(super) fn pass_over(&mut self) -> Option<()> {
        self.string()?;
        self.skip(b':')?;
        self.by_serde::<IgnoredAny>().map(drop)
    }

    pub(super) fn string(&mut self) -> Option<Cow<'a, str>> {
        self.next()?;
        let text = self.left().strip_prefix('"')?;
        let plain = text.bytes().position(|byte| !IS_PLAIN[usize::from(byte)])?;
        if text.as_bytes()[plain] != b'"' {
            return self.by_serde().map(Cow::Owned);
        }
        self.at += plain + 2;
        Some(Cow::Borrowed(&text[..plain]))
    }

    fn by_serde<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(self.left()).into_iter();
        let value = values.next()?.ok();
        self.at += values.byte_offset();
        value
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let left = &self.text.as_bytes()[self.at..];
        let found = left.starts_with(word.as_bytes());
        found.then(|| self.at += word.len())
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn left(&self) -> &'a str {
        &self.text[self.at..]
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

impl Read for String {
    fn read(&mut self, json: &mut Json) -> Option<()> {
        *self = json.string()?.into_owned();
        Some(())
    }
}

impl Read for bool {
    fn read(&mut self, json: &mut Json) -> Option<()> {
        *self = json.word("true").is_some();
        if *self { Some(()) } else { json.word("false") }
    }
}

impl<T: Read> Read for Option<T> {
    fn read(&mut self, json: &mut Json) -> Option<()> {
        self.insert(T::default()).read(json)
    }
}

impl<T: Read> Read for Box<T> {
    fn read(&mut self, json: &mut Json) -> Option<()> {
        (**self).read(json)
    }
}

macro_rules! read_by_serde {
    ($($number:ty)*) => {
        $(impl Read for $number {
            fn read(&mut self, json: &mut Json) -> Option<()> {
                *self = json.by_serde()?;
                Some(())
            }
        })*
    };
}

read_by_serde!(u16 u32 u64 f32);

/// Reads a struct out of an object. A field that is null or absent keeps its default, one that is not named here is
/// passed over.
macro_rules! object {
    ($object:ident { $($name:literal => $field:ident),* $(,)? }) => {
        impl $crate::decode::object::Read for $object {
            fn read(&mut self, json: &mut $crate::decode::object::Json) -> Option<()> {
                json.object(|json| {
                    $(if json.has_key(concat!('"', $name, '"')) {
                        return json.value(&mut self.$field);
                    })*
                    json.pass_over()
                })
            }
        }
    };
}

pub(super) use object;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default)]
    struct Outer {
        text: Option<String>,
        number: Option<u32>,
        float: Option<f32>,
        flag: bool,
        inner: Option<Inner>,
    }

    #[derive(Debug, Default)]
    struct Inner {
        text: Option<String>,
    }

    object!(Outer {
        "text" => text,
        "number" => number,
        "float" => float,
        "flag" => flag,
        "inner" => inner,
    });

    object!(Inner { "text" => text });

    impl Outer {
        /// As it would be told, but for what is not read.
        fn told(&self) -> Value {
            let inner = self.inner.as_ref();
            let inner = inner.map(|inner| json!({"text": inner.text}));
            json!({
                "text": self.text,
                "number": self.number,
                "float": self.float,
                "flag": self.flag,
                "inner": inner,
            })
        }
    }

    #[test]
    fn what_is_read_is_what_is_said() {
        let cases = [
            "{}",
            " { } ",
            r#"{"text":"plain","number":7,"float":-0.5,"flag":true,"inner":{"text":"x"}}"#,
            "\t{ \"text\" :\r\n\"plain\" , \"number\"\n: 7 , \"flag\" : false , \"inner\" : { } }\n",
            r#"{"text":"a\"b\\c\n\u00e9\ud83d\ude00","inner":{"text":"\u0000"}}"#,
            r#"{"text":"größer 東京 😀","number":4294967295,"float":1e3}"#,
            r#"{"text":null,"number":null,"float":null,"flag":null,"inner":null}"#,
            r#"{"text":"one","text":"two","inner":{"text":"one"},"inner":{}}"#,
            r#"{"other":{"text":"no","list":[{},[1.5e9,"]}"]]},"other \" one":null,"text":"yes"}"#,
        ];
        for case in cases {
            let told = read::<Outer>(case).expect(case).told();
            let said: Value = serde_json::from_str(case).unwrap();
            for name in ["text", "number", "float", "inner"] {
                let said = match (name, &said[name]) {
                    ("inner", Value::Object(inner)) => json!({"text": inner.get("text")}),
                    ("float", number) => json!(number.as_f64()),
                    (_, said) => said.clone(),
                };
                assert_eq!(told[name], said, "{name} of {case}");
            }
            assert_eq!(told["flag"], said["flag"] == true, "{case}");
        }
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        let good = r#"{"text":"a\n","other":[{"x":1}],"number":17,"flag":true,"inner":{"text":"b"},"float":-1.5}"#;
        assert!(read::<Outer>(good).is_some());
        let bytes = r#"{}[]",:\ 0-.ent"#.chars().chain(['\u{1}', '\n', 'é']);
        let replacements: Vec<String> = bytes.map(String::from).collect();
        for at in 0..good.len() {
            let (before, after) = (&good[..at], &good[at + 1..]);
            let replaced = replacements
                .iter()
                .map(|with| [before, with, after].concat());
            let inserted = replacements
                .iter()
                .map(|with| [before, with, &good[at..]].concat());
            let interrupt = [before.to_owned(), [before, after].concat()];
            for text in replaced.chain(inserted).chain(interrupt) {
                let is_json = serde_json::from_str::<Value>(&text).is_ok();
                assert!(is_json || read::<Outer>(&text).is_none(), "{text}");
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
            r#"{"flag":truefalse}"#,
            r#"{"number":01}"#,
            r#"{"number":-1}"#,
            r#"{"number":1.5}"#,
            r#"{"number":4294967296}"#,
            r#"{"number":"1"}"#,
            r#"{"text":1}"#,
            r#"{"text":"\ud800"}"#,
            r#"{"inner":[]}"#,
            r#"{"flag":0}"#,
        ] {
            assert!(read::<Outer>(bad).is_none(), "{bad}");
        }
    }
}
