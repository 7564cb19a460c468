//! Recomputes the contrast of every pair of colours that the pages put on each other, from the token file itself.

use std::collections::BTreeMap;

const TOKENS: &str = include_str!("../../style/_tokens.scss");

/// WCAG 2.2 AA: text, then lines and drawings that carry meaning.
const TEXT: f64 = 4.5;
const SHAPE: f64 = 3.0;

const GROUNDS: [&str; 4] = ["ground", "surface", "sunken", "selected"];
const STATES: [&str; 6] = ["running", "progress", "frozen", "danger", "stopped", "unknown"];

type Theme = BTreeMap<String, f64>;

/// The relative luminance of each colour of one mixin of the file.
fn theme(name: &str) -> Theme {
    let start = format!("@mixin {name} {{");
    let block = TOKENS
        .split_once(&start)
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map_or("", |(block, _)| block);
    let colour = |line: &str| {
        let (key, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
        Some((key.to_owned(), luminance(value.trim_end_matches(';'))?))
    };
    block.lines().filter_map(colour).collect()
}

fn luminance(hex: &str) -> Option<f64> {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?) / 255.0;
        Some(if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        })
    };
    Some(0.2126 * channel(0)? + 0.7152 * channel(2)? + 0.0722 * channel(4)?)
}

fn contrast(theme: &Theme, one: &str, other: &str) -> f64 {
    let of = |name: &str| theme.get(name).copied().unwrap_or(f64::NAN);
    let (light, dark) = (of(one).max(of(other)), of(one).min(of(other)));
    (light + 0.05) / (dark + 0.05)
}

/// Pairs below their bar, in words; a colour that is missing is one too.
fn failures(name: &str) -> Vec<String> {
    let theme = theme(name);
    let mut pairs: Vec<(String, String, f64)> = vec![("on-accent".into(), "accent".into(), TEXT), ("on-danger".into(), "danger".into(), TEXT)];
    for ground in GROUNDS {
        let text = ["ink", "muted", "accent"].into_iter().chain(STATES);
        pairs.extend(text.map(|text| (text.to_owned(), ground.to_owned(), TEXT)));
        pairs.push(("edge".into(), ground.into(), SHAPE));
    }
    for state in STATES {
        pairs.push((state.to_owned(), format!("{state}-tint"), TEXT));
        pairs.push(("ink".to_owned(), format!("{state}-tint"), TEXT));
    }
    pairs.extend((1..=5).map(|series| (format!("series-{series}"), "surface".to_owned(), SHAPE)));
    let measured = pairs.into_iter().map(|(one, other, bar)| (contrast(&theme, &one, &other), one, other, bar));
    let low = measured.filter(|(value, _, _, bar)| value.is_nan() || value < bar);
    low.map(|(value, one, other, bar)| format!("{name}: {one} on {other} is {value:.2}, bar {bar}"))
        .collect()
}

#[test]
fn every_pair_of_colours_reads_in_both_themes() {
    let low: Vec<String> = ["light", "dark"].into_iter().flat_map(failures).collect();
    assert!(low.is_empty(), "{}", low.join("\n"));
}

#[test]
fn black_on_white_is_twenty_one_to_one() {
    let theme = Theme::from([
        ("black".to_owned(), luminance("000000").unwrap_or(1.0)),
        ("white".to_owned(), luminance("ffffff").unwrap_or(0.0)),
    ]);
    assert!((contrast(&theme, "black", "white") - 21.0).abs() < 1e-9);
}
