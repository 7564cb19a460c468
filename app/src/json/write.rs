//! From a tree of values to text.

use serde_json::{Number, Value};

/// On one line.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut out = Out {
        text: String::new(),
        depth: None,
    };
    out.value(value);
    out.text
}

/// On lines of their own, indented by two spaces.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut out = Out {
        text: String::new(),
        depth: Some(0),
    };
    out.value(value);
    out.text
}

struct Out {
    text: String,
    /// Absent = no lines.
    depth: Option<usize>,
}

impl Out {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(true) => self.text.push_str("true"),
            Value::Bool(false) => self.text.push_str("false"),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.text.push('[');
                self.indent(1);
                for (at, item) in items.iter().enumerate() {
                    self.begin(at);
                    self.value(item);
                }
                self.end(items.is_empty(), ']');
            }
            Value::Object(fields) => {
                self.text.push('{');
                self.indent(1);
                for (at, (name, value)) in fields.iter().enumerate() {
                    self.begin(at);
                    self.string(name);
                    self.text.push_str(if self.depth.is_some() { ": " } else { ":" });
                    self.value(value);
                }
                self.end(fields.is_empty(), '}');
            }
        }
    }

    fn indent(&mut self, by: isize) {
        self.depth = self.depth.map(|depth| depth.saturating_add_signed(by));
    }

    fn begin(&mut self, at: usize) {
        if at > 0 {
            self.text.push(',');
        }
        self.line();
    }

    fn line(&mut self) {
        if let Some(depth) = self.depth {
            self.text.push('\n');
            for _ in 0..depth {
                self.text.push_str("  ");
            }
        }
    }

    fn end(&mut self, is_empty: bool, sign: char) {
        self.indent(-1);
        if !is_empty {
            self.line();
        }
        self.text.push(sign);
    }

    fn number(&mut self, number: &Number) {
        let text = match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => value.to_string(),
            (None, Some(value)) => value.to_string(),
            _ => shortest(number.as_f64().unwrap_or_default()),
        };
        self.text.push_str(&text);
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for letter in text.chars() {
            match letter {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\u{0}'..='\u{1f}' => self.text.push_str(&format!("\\u{:04x}", u32::from(letter))),
                _ => self.text.push(letter),
            }
        }
        self.text.push('"');
    }
}

/// The shortest text that reads back as this number: the browser knows how.
#[cfg(target_arch = "wasm32")]
fn shortest(value: f64) -> String {
    js_sys::Number::from(value).to_string_with_radix(10).map(String::from).unwrap_or_default()
}

/// The shortest text that reads back as this number.
#[cfg(not(target_arch = "wasm32"))]
fn shortest(value: f64) -> String {
    value.to_string()
}
