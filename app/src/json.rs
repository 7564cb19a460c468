//! Reads and writes JSON with little code, because the browser has to load it. `serde_json` would compile the reading of
//! every type anew for each kind of input, with all that JSON may be besides what this console writes, and bring its own
//! tables for floating point numbers.
//!
//! A struct is an object and never an array, and a refusal names a field at most.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_json::{Map, Number, Value};

mod parse;
mod write;

pub use write::{pretty, write};

/// The text is not JSON, or not of this type: the field, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(&'static str);

/// Reads a value.
///
/// # Errors
/// The text is not JSON, or not of this type.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Wrong> {
    T::deserialize(Reader(parse::parse(text).ok_or(Wrong("JSON"))?))
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not as expected: {}", self.0)
    }
}

impl std::error::Error for Wrong {}

/// Without the texts that `serde` would make, whose making is most of the code of a reader.
impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self("a value")
    }
    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self("a value")
    }
    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self("a value")
    }
    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self("a length")
    }
    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self("a word")
    }
    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self("a field")
    }
    fn missing_field(field: &'static str) -> Self {
        Self(field)
    }
    fn duplicate_field(field: &'static str) -> Self {
        Self(field)
    }
}

struct Reader(Value);

fn number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Wrong> {
    if let Some(value) = number.as_u64() {
        visitor.visit_u64(value)
    } else if let Some(value) = number.as_i64() {
        visitor.visit_i64(value)
    } else {
        visitor.visit_f64(number.as_f64().ok_or(Wrong("a number"))?)
    }
}

/// One method for each name: takes this kind of value and nothing else.
macro_rules! only {
    ($($method:ident: $pattern:pat => |$visitor:ident| $then:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $visitor: V) -> Result<V::Value, Wrong> {
            match self.0 {
                $pattern => $then,
                _ => Err(Wrong("a value")),
            }
        })*
    };
}

/// One method for each name: a number that this conversion gives.
macro_rules! numbers {
    ($($method:ident: $as:ident, $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.0.$as() {
                Some(value) => visitor.$visit(value),
                None => Err(Wrong("a number")),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Reader {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(value) => number(&value, visitor),
            Value::String(value) => visitor.visit_string(value),
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            Value::Object(fields) => visitor.visit_map(Fields::new(fields)),
        }
    }

    only! {
        deserialize_bool: Value::Bool(value) => |visitor| visitor.visit_bool(value);
        deserialize_char: Value::String(value) => |visitor| visitor.visit_str(&value);
        deserialize_str: Value::String(value) => |visitor| visitor.visit_str(&value);
        deserialize_string: Value::String(value) => |visitor| visitor.visit_string(value);
        deserialize_identifier: Value::String(value) => |visitor| visitor.visit_str(&value);
        deserialize_unit: Value::Null => |visitor| visitor.visit_unit();
        deserialize_seq: Value::Array(items) => |visitor| visitor.visit_seq(Items(items.into_iter()));
        deserialize_map: Value::Object(fields) => |visitor| visitor.visit_map(Fields::new(fields));
    }

    numbers! {
        deserialize_u8: as_u64, visit_u64;
        deserialize_u16: as_u64, visit_u64;
        deserialize_u32: as_u64, visit_u64;
        deserialize_u64: as_u64, visit_u64;
        deserialize_i8: as_i64, visit_i64;
        deserialize_i16: as_i64, visit_i64;
        deserialize_i32: as_i64, visit_i64;
        deserialize_i64: as_i64, visit_i64;
        deserialize_f32: as_f64, visit_f64;
        deserialize_f64: as_f64, visit_f64;
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(Variant { word, content: Value::Null }),
            Value::Object(fields) => match fields.into_iter().next() {
                Some((word, content)) => visitor.visit_enum(Variant { word, content }),
                None => Err(Wrong("a word")),
            },
            _ => Err(Wrong("a word")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }
}

struct Items(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        match self.0.next() {
            Some(item) => seed.deserialize(Reader(item)).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Fields {
    left: serde_json::map::IntoIter,
    value: Value,
}

impl Fields {
    fn new(fields: Map<String, Value>) -> Self {
        Self {
            left: fields.into_iter(),
            value: Value::Null,
        }
    }

    /// The next name; its value waits.
    fn advance(&mut self) -> Option<String> {
        let (name, value) = self.left.next()?;
        self.value = value;
        Some(name)
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        match self.advance() {
            Some(name) => seed.deserialize(Reader(Value::String(name))).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(Reader(std::mem::take(&mut self.value)))
    }
}

/// A variant by its word, with what stands beside it.
struct Variant {
    word: String,
    content: Value,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Wrong;
    type Variant = Content;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content), Wrong> {
        let word: StrDeserializer<'_, Wrong> = self.word.as_str().into_deserializer();
        Ok((seed.deserialize(word)?, Content(self.content)))
    }
}

struct Content(Value);

impl<'de> VariantAccess<'de> for Content {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        match self.0 {
            Value::Null => Ok(()),
            _ => Err(Wrong("a word")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(Reader(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        Reader(self.0).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        Reader(self.0).deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::event::{MetricsFrame, MetricsTopic};
    use model::{ErrorBody, ErrorCode};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::api::{ApiError, ApiResult};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Point,
        Circle(f64),
        Line(i32, i32),
        Square { side: u8, name: Option<String> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
        shapes: Vec<Shape>,
        numbers: BTreeMap<String, Option<f64>>,
        pair: (u8, Option<f64>),
        text: String,
        letter: char,
        is_set: bool,
        nothing: (),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        low: i64,
        high: u64,
        topic: MetricsTopic,
    }

    fn outer() -> Outer {
        Outer {
            inner: Inner {
                low: i64::MIN,
                high: u64::MAX,
                topic: MetricsTopic::Names(vec!["a".into()]),
            },
            shapes: vec![
                Shape::Point,
                Shape::Circle(0.5),
                Shape::Line(-1, 2),
                Shape::Square {
                    side: 255,
                    name: Some("é\"\u{1F600}\n".into()),
                },
            ],
            numbers: [("x".to_owned(), Some(1.5)), ("y".to_owned(), None)].into(),
            pair: (1, None),
            text: "t".into(),
            letter: 'é',
            is_set: true,
            nothing: (),
        }
    }

    #[test]
    fn what_serde_json_writes_is_read_as_it_was() {
        let text = serde_json::to_string(&outer()).unwrap();
        assert_eq!(read::<Outer>(&text), Ok(outer()));
        let frame = r#"{"at_ms":5,"rows":[{"n":"web","v":[[0,0.5],[1,null],[2,7]],"unknown":[{}]}]}"#;
        assert_eq!(read::<MetricsFrame>(frame).unwrap(), serde_json::from_str(frame).unwrap());
        let failed: ApiResult<()> = Err(ApiError::Refused(Box::new(ErrorBody::new(ErrorCode::NotFound, "no").hint("look"))));
        assert_eq!(read::<ApiResult<()>>(&serde_json::to_string(&failed).unwrap()), Ok(failed));
    }

    #[test]
    fn what_is_written_is_read_by_serde_json() {
        let value = serde_json::to_value(outer()).unwrap();
        for text in [write(&value), pretty(&value)] {
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value, "{text}");
        }
        let whole = serde_json::json!({ "a": [], "b": {}, "c": [1, "x", null, false], "d": { "e": 0.25 } });
        assert_eq!(pretty(&whole), serde_json::to_string_pretty(&whole).unwrap());
        assert_eq!(write(&whole), serde_json::to_string(&whole).unwrap());
    }

    #[test]
    fn text_is_parsed_as_serde_json_does() {
        let good = [
            "0",
            "-0",
            "-7",
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "0.1235",
            "-2.5e-3",
            "1E5",
            "123456789.123456789",
            r#"" é\u00e9\ud83d\ude00\n\"\\\/ ""#,
            " [ 1 , [ ] , { } ] ",
            r#"{"a":{"b":[true,false,null]},"a":2}"#,
            "\n[\t1\r]",
        ];
        for text in good {
            assert_eq!(parse::parse(text), serde_json::from_str(text).ok(), "{text}");
            assert!(parse::parse(text).is_some(), "{text}");
        }
        let deep = "[".repeat(1000);
        let bad = [
            "",
            "[",
            "[1,]",
            "[1 2]",
            "{",
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            "{1:2}",
            "tru",
            "nulll",
            "1 2",
            r#""a"#,
            r#""\x""#,
            r#""\ud83d""#,
            r#""\u12""#,
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "\"\n\"",
            deep.as_str(),
        ];
        for text in bad {
            assert_eq!(parse::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        assert_eq!(read::<MetricsFrame>(r#"{"rows":[]}"#), Err(Wrong("at_ms")));
        assert_eq!(read::<u8>("256"), Err(Wrong("a value")));
        assert_eq!(read::<Shape>(r#""Star""#), Err(Wrong("a word")));
        assert_eq!(read::<Shape>("{}"), Err(Wrong("a word")));
        assert_eq!(read::<MetricsFrame>("[5,[]]"), Err(Wrong("a value")));
        assert_eq!(read::<bool>("tru"), Err(Wrong("JSON")));
    }
}
