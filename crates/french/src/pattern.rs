//! Which sentence of the catalogue a finished English text is, and its French with what varies put in again.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::catalogue;

/// Sentences that are longer are output of programs.
const LONGEST: usize = 4096;
/// Sentences in sentences, at most: what another server says must not exhaust the stack.
const DEEPEST: u8 = 16;

/// An English sentence with holes, and its French.
struct Pattern {
    /// What stands around the holes: one more than there are holes.
    literals: Vec<&'static str>,
    holes: Vec<&'static str>,
    french: &'static str,
}

/// All sentences, by a word that each holds.
static INDEX: LazyLock<HashMap<&'static str, Vec<Pattern>>> = LazyLock::new(|| {
    let mut index = HashMap::<_, Vec<_>>::new();
    for (english, french) in catalogue::patterns() {
        let (literals, holes) = cut(english);
        let rarest = literals
            .iter()
            .enumerate()
            .flat_map(|(place, literal)| whole_words(literal, place > 0, place + 1 < literals.len()));
        let word = rarest.max_by_key(|word| word.len()).unwrap_or_default();
        index.entry(word).or_default().push(Pattern { literals, holes, french });
    }
    index
});

/// Literals and names of holes.
fn cut(english: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut literals, mut holes, mut rest) = (Vec::new(), Vec::new(), english);
    while let Some((before, hole, after)) = next_hole(rest) {
        literals.push(before);
        holes.push(hole);
        rest = after;
    }
    literals.push(rest);
    (literals, holes)
}

fn next_hole(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (hole, after) = rest.split_once('}')?;
    Some((before, hole, after))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Words that do not go on in a hole before or after.
fn whole_words(literal: &str, after_hole: bool, before_hole: bool) -> impl Iterator<Item = &str> {
    let inner = if after_hole {
        literal.trim_start_matches(char::is_alphanumeric)
    } else {
        literal
    };
    let inner = if before_hole { inner.trim_end_matches(char::is_alphanumeric) } else { inner };
    words(inner)
}

impl Pattern {
    /// What stands in the holes; `None` = another sentence.
    fn fit<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let (first, others) = self.literals.split_first()?;
        let mut rest = text.strip_prefix(first)?;
        let Some((last, inner)) = others.split_last() else {
            return rest.is_empty().then(Vec::new);
        };
        rest = rest.strip_suffix(last)?;
        let mut values = Vec::with_capacity(self.holes.len());
        for literal in inner {
            let (value, after) = rest.split_once(literal)?;
            values.push(value);
            rest = after;
        }
        values.push(rest);
        let is_short = |(hole, value): (&&str, &&str)| !hole.starts_with('=') || !value.contains(char::is_whitespace);
        self.holes.iter().zip(&values).all(is_short).then_some(values)
    }

    /// How much of a text is the sentence's own.
    fn weight(&self) -> usize {
        self.literals.iter().map(|literal| literal.len()).sum()
    }

    /// The French with what stood in the holes.
    fn fill<'t>(&self, values: &[&'t str], known: &mut Known<'t>) -> Reading {
        let mut reading = Reading {
            own: self.weight(),
            french: String::new(),
        };
        let mut rest = self.french;
        while let Some((before, hole, after)) = next_hole(rest) {
            reading.french.push_str(before);
            let place = self.holes.iter().position(|name| name.trim_start_matches('=') == hole).unwrap_or_default();
            let value = values.get(place).copied().unwrap_or_default();
            // What is quoted is a name, and a single word is one too.
            let is_name = before.ends_with(['`', '"']) || !value.trim().contains(' ');
            let found = if is_name { None } else { read(value, known).or_else(|| listed(value, known)) };
            reading.take(found, value);
            rest = after;
        }
        reading.french.push_str(rest);
        reading
    }
}

/// One way to understand a text.
#[derive(Clone)]
struct Reading {
    /// How much of the English was known: of two ways the one that knows more is right.
    own: usize,
    french: String,
}

impl Reading {
    fn take(&mut self, part: Option<Self>, english: &str) {
        match part {
            Some(part) => {
                self.own += part.own;
                self.french.push_str(&part.french);
            }
            None => self.french.push_str(english),
        }
    }
}

/// Parts of one text, each of which is read once.
#[derive(Default)]
struct Known<'t> {
    readings: HashMap<&'t str, Option<Reading>>,
    depth: u8,
}

/// The French of a text; `None` = it has none.
pub fn french(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    read(text, &mut Known::default()).map(|reading| reading.french)
}

fn read<'t>(text: &'t str, known: &mut Known<'t>) -> Option<Reading> {
    if let Some(reading) = known.readings.get(text) {
        return reading.clone();
    }
    if known.depth == DEEPEST {
        return None;
    }
    known.depth += 1;
    let fitting: Vec<_> = words(text)
        .filter_map(|word| INDEX.get(word))
        .flatten()
        .filter_map(|pattern| Some((pattern, pattern.fit(text)?)))
        .collect();
    let mut readings: Vec<Reading> = fitting.into_iter().map(|(pattern, values)| pattern.fill(&values, known)).collect();
    for (english, french) in [("; ", "\u{202f}; "), (" = ", " = "), (": ", "\u{202f}: ")] {
        readings.extend(joined(text, english, french, known));
    }
    // Of equals the last: a part before a colon belongs to no sentence behind it.
    let best = readings.into_iter().max_by_key(|reading| reading.own);
    known.depth -= 1;
    known.readings.insert(text, best.clone());
    best
}

/// A list of which one item at least is a sentence.
fn listed<'t>(text: &'t str, known: &mut Known<'t>) -> Option<Reading> {
    let mut reading = Reading { own: 0, french: String::new() };
    for (place, item) in text.split(", ").enumerate() {
        reading.french.push_str(if place > 0 { ", " } else { "" });
        reading.take(read(item, known), item);
    }
    (reading.own > 0).then_some(reading)
}

/// Two parts of which one at least is a sentence: a step and why it failed, a call and its error.
fn joined<'t>(text: &'t str, english: &str, french: &str, known: &mut Known<'t>) -> Option<Reading> {
    let (first, second) = text.split_once(english)?;
    let mut reading = Reading { own: 0, french: String::new() };
    reading.take(read(first, known), first);
    reading.french.push_str(french);
    reading.take(read(second, known), second);
    (reading.own > 0).then_some(reading)
}
