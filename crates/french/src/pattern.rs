//! Which sentence of the catalogue a finished English text is, and its French with what varies put in again.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::catalogue;

/// Sentences that are longer are output of programs.
const LONGEST: usize = 4096;
/// Sentences in sentences, at most.
const DEEPEST: u8 = 6;

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

    fn fill(&self, values: &[&str], depth: u8) -> String {
        let mut out = String::new();
        let mut rest = self.french;
        while let Some((before, hole, after)) = next_hole(rest) {
            out.push_str(before);
            let place = self.holes.iter().position(|name| name.trim_start_matches('=') == hole).unwrap_or_default();
            let value = values.get(place).copied().unwrap_or_default();
            // What is quoted is a name, and a single word is one too.
            let is_name = before.ends_with(['`', '"']) || !value.trim().contains(' ');
            let french = if is_name {
                None
            } else {
                translate(value, depth).or_else(|| listed(value, depth))
            };
            out.push_str(french.as_deref().unwrap_or(value));
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// The French of a text; `None` = it has none.
pub fn french(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    translate(text, 0)
}

fn translate(text: &str, depth: u8) -> Option<String> {
    if depth > DEEPEST {
        return None;
    }
    let depth = depth + 1;
    let fitting = words(text)
        .filter_map(|word| INDEX.get(word))
        .flatten()
        .filter_map(|pattern| Some((pattern, pattern.fit(text)?)));
    if let Some((pattern, values)) = fitting.max_by_key(|(pattern, _)| pattern.weight()) {
        return Some(pattern.fill(&values, depth));
    }
    joined(text, "; ", "\u{202f}; ", depth)
        .or_else(|| joined(text, ": ", "\u{202f}: ", depth))
        .or_else(|| joined(text, " = ", " = ", depth))
}

/// A list of which one item at least is a sentence.
fn listed(text: &str, depth: u8) -> Option<String> {
    let items: Vec<(&str, Option<String>)> = text.split(", ").map(|item| (item, translate(item, depth))).collect();
    let is_known = items.iter().any(|(_, french)| french.is_some());
    let items = items.into_iter().map(|(item, french)| french.unwrap_or_else(|| item.to_owned()));
    is_known.then(|| items.collect::<Vec<_>>().join(", "))
}

/// Two parts of which one at least is a sentence: a step and why it failed, a call and its error.
fn joined(text: &str, english: &str, french: &str, depth: u8) -> Option<String> {
    let (first, second) = text.split_once(english)?;
    let (left, right) = (translate(first, depth), translate(second, depth));
    if left.is_none() && right.is_none() {
        return None;
    }
    Some(format!("{}{french}{}", left.as_deref().unwrap_or(first), right.as_deref().unwrap_or(second)))
}
