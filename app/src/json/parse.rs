//! From text to a tree of values.

use model::number::decimal;
use serde_json::{Map, Number, Value};

/// Deeper than anything that the console writes.
const DEEPEST: u32 = 64;

/// The value that the text is; `None` when it is not JSON.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut rest = Rest { text, at: 0 };
    let value = rest.value(DEEPEST)?;
    rest.skip_space();
    (rest.at == text.len()).then_some(value)
}

/// What is not read yet. It only stops at borders of characters, because it looks for ASCII alone.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&is_skipped) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    }

    /// Steps over this byte, if it comes next after space.
    fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.skip_space();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Value::String),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            _ => match self.skip(|byte| byte.is_ascii_lowercase()) {
                "null" => Some(Value::Null),
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            },
        }
    }

    fn object(&mut self, depth: u32) -> Option<Value> {
        let mut fields = Map::new();
        self.at += 1;
        if self.takes(b'}') {
            return Some(Value::Object(fields));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            if !self.takes(b':') {
                return None;
            }
            fields.insert(name, self.value(depth)?);
            if self.takes(b'}') {
                return Some(Value::Object(fields));
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: u32) -> Option<Value> {
        let mut items = Vec::new();
        self.at += 1;
        if self.takes(b']') {
            return Some(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.takes(b']') {
                return Some(Value::Array(items));
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            text.push_str(self.skip(|byte| byte >= b' ' && byte != b'"' && byte != b'\\'));
            let stop = self.peek()?;
            self.at += 1;
            match stop {
                b'"' => return Some(text),
                b'\\' => text.push(self.escaped()?),
                _ => return None,
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let is_pair = (0xd800..0xdc00).contains(&first) && self.text.get(self.at..self.at + 2) == Some("\\u");
                if !is_pair {
                    return char::from_u32(first);
                }
                self.at += 2;
                let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.chars().try_fold(0, |sum, digit| Some(sum * 16 + digit.to_digit(16)?))
    }

    fn number(&mut self) -> Option<Number> {
        let text = self.skip(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !is_number(digits) {
            return None;
        }
        if digits.bytes().all(|byte| byte.is_ascii_digit()) && text != "-0" {
            let whole = if digits.len() == text.len() {
                digits.parse::<u64>().ok().map(Number::from)
            } else {
                text.parse::<i64>().ok().map(Number::from)
            };
            if whole.is_some() {
                return whole;
            }
        }
        let size = decimal(digits).or_else(|| exact(digits))?;
        Number::from_f64(if digits.len() == text.len() { size } else { -size })
    }
}

/// Digits, then perhaps a point and digits, then perhaps an exponent.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = text
        .split_once(['e', 'E'])
        .map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    are_digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(are_digits) && exponent.is_none_or(are_digits)
}

/// A number with more digits, or an exponent: the browser reads those.
#[cfg(target_arch = "wasm32")]
fn exact(text: &str) -> Option<f64> {
    Some(js_sys::parse_float(text)).filter(|value| value.is_finite())
}

/// A number with more digits, or an exponent.
#[cfg(not(target_arch = "wasm32"))]
fn exact(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}
