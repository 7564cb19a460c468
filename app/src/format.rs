//! How numbers, sizes, rates, durations and moments are written in the visitor's language. Server and browser use the
//! same functions with the same zone offset, so that hydration never differs.

use leptos::prelude::*;
use model::Timestamp;
use model::number::fixed;

use crate::i18n::{Lang, Plural, Text, fill};

/// The narrow no-break space that French puts between digits and before signs.
const NARROW: char = '\u{202f}';

/// Language and zone of a visitor; copied into every component that writes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locale {
    pub lang: Lang,
    /// Minutes east of UTC.
    pub zone_minutes: i32,
    /// When the server made the page: the moment that relative times of the first render count from.
    pub now_ms: i64,
}

/// The visitor's language and zone.
#[must_use]
pub fn use_locale() -> Locale {
    use_context::<Locale>().unwrap_or_default()
}

impl Locale {
    /// A text in this language.
    #[must_use]
    pub fn t(self, text: Text) -> &'static str {
        text.get(self.lang)
    }

    /// A text with its placeholders filled.
    #[must_use]
    pub fn fill(self, text: Text, values: &[(&str, &str)]) -> String {
        fill(text.get(self.lang), values)
    }

    /// A counted text; `{n}` becomes the number.
    #[must_use]
    pub fn count(self, plural: Plural, n: u64) -> String {
        fill(plural.get(self.lang, n), &[("n", &self.integer(n))])
    }

    /// A whole number with the language's separator of thousands.
    #[must_use]
    pub fn integer(self, n: u64) -> String {
        let digits = n.to_string();
        let mut out = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(if self.lang == Lang::Fr { NARROW } else { ',' });
            }
            out.push(digit);
        }
        out
    }

    /// A number with so many digits after the point.
    #[must_use]
    pub fn decimal(self, value: f64, digits: usize) -> String {
        let text = fixed(value, digits);
        if self.lang == Lang::Fr { text.replace('.', ",") } else { text }
    }

    /// A number with about three significant digits and no useless zeros.
    #[must_use]
    pub fn short(self, value: f64) -> String {
        let digits = match value.abs() {
            v if v >= 100.0 || v == 0.0 => 0,
            v if v >= 10.0 => 1,
            _ => 2,
        };
        let text = fixed(value, digits);
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        if self.lang == Lang::Fr { text.replace('.', ",") } else { text.to_owned() }
    }

    /// A share from 0 to 1 as per cent.
    #[must_use]
    pub fn percent(self, share: f64) -> String {
        let value = share * 100.0;
        let digits = usize::from(value.abs() < 9.95 && value != 0.0);
        let number = self.decimal(value, digits);
        match self.lang {
            Lang::En => format!("{number}%"),
            Lang::Fr => format!("{number}{NARROW}%"),
        }
    }

    /// A size in powers of 1024.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub fn bytes(self, bytes: u64) -> String {
        self.bytes_f64(bytes as f64)
    }

    /// As [`Locale::bytes`], for values of a graph.
    #[must_use]
    pub fn bytes_f64(self, bytes: f64) -> String {
        let unit = ByteUnit::of(bytes);
        format!("{}\u{a0}{}", self.short(bytes / unit.factor()), unit.name(self.lang))
    }

    /// Bytes per second.
    #[must_use]
    pub fn rate(self, bytes_per_second: f64) -> String {
        format!("{}/s", self.bytes_f64(bytes_per_second))
    }

    /// A span such as `3 min 12 s`: its two largest units, the smaller one rounded.
    #[must_use]
    pub fn duration(self, ms: i64) -> String {
        let (seconds, minutes, hours) = (nearest(ms, 1000), nearest(ms, 60_000), nearest(ms, 3_600_000));
        match seconds {
            0..60 => format!("{seconds}\u{a0}s"),
            60..3600 => format!("{}\u{a0}min {}\u{a0}s", seconds / 60, seconds % 60),
            _ if minutes < 1440 => format!("{}\u{a0}h {}\u{a0}min", minutes / 60, minutes % 60),
            _ => format!("{}\u{a0}{} {}\u{a0}h", hours / 24, self.day_unit(), hours % 24),
        }
    }

    /// The largest unit of a span alone, rounded, for "5 min ago". Of a few days the hours count too.
    #[must_use]
    pub fn rough_duration(self, ms: i64) -> String {
        let (seconds, minutes, hours) = (nearest(ms, 1000), nearest(ms, 60_000), nearest(ms, 3_600_000));
        match hours {
            _ if seconds < 60 => format!("{seconds}\u{a0}s"),
            _ if minutes < 60 => format!("{minutes}\u{a0}min"),
            0..24 => format!("{hours}\u{a0}h"),
            24..240 if hours % 24 > 0 => self.duration(ms),
            _ => format!("{}\u{a0}{}", nearest(ms, 86_400_000), self.day_unit()),
        }
    }

    fn day_unit(self) -> &'static str {
        if self.lang == Lang::Fr { "j" } else { "d" }
    }

    /// `12:04:55`.
    #[must_use]
    pub fn time(self, at: Timestamp) -> String {
        let civil = at.civil(self.zone_minutes);
        format!("{:02}:{:02}:{:02}", civil.hour, civil.minute, civil.second)
    }

    /// `12:04`, or the date when it is a matter of days.
    #[must_use]
    pub fn axis_time(self, at: Timestamp, span_ms: i64) -> String {
        let civil = at.civil(self.zone_minutes);
        match span_ms {
            ..=600_000 => format!("{:02}:{:02}:{:02}", civil.hour, civil.minute, civil.second),
            600_001..=172_800_000 => format!("{:02}:{:02}", civil.hour, civil.minute),
            _ => self.day(at),
        }
    }

    /// `24 Nov`, `24 nov.`
    #[must_use]
    pub fn day(self, at: Timestamp) -> String {
        let civil = at.civil(self.zone_minutes);
        format!("{} {}", civil.day, month(self.lang, civil.month))
    }

    /// `24 Nov 2026`.
    #[must_use]
    pub fn date(self, at: Timestamp) -> String {
        format!("{} {}", self.day(at), at.civil(self.zone_minutes).year)
    }

    /// `24 Nov 2026, 12:04:55 UTC+1`.
    #[must_use]
    pub fn date_time(self, at: Timestamp) -> String {
        format!("{}, {} {}", self.date(at), self.time(at), self.zone())
    }

    /// The zone's name: `UTC`, `UTC+1`, `UTC+5:30`.
    #[must_use]
    pub fn zone(self) -> String {
        let (hours, minutes) = (self.zone_minutes.abs() / 60, self.zone_minutes.abs() % 60);
        let sign = if self.zone_minutes < 0 { '-' } else { '+' };
        match (hours, minutes) {
            (0, 0) => "UTC".to_owned(),
            (hours, 0) => format!("UTC{sign}{hours}"),
            (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
        }
    }
}

/// How many whole units a span is nearest to.
fn nearest(ms: i64, unit_ms: i64) -> i64 {
    ms.max(0).saturating_add(unit_ms / 2) / unit_ms
}

/// In lower case; the browser has its own tables for that.
#[cfg(target_arch = "wasm32")]
#[must_use]
pub fn lower_case(text: &str) -> String {
    js_sys::JsString::from(text).to_lower_case().into()
}

/// In lower case.
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn lower_case(text: &str) -> String {
    text.to_lowercase()
}

fn month(lang: Lang, number: u32) -> &'static str {
    const EN: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const FR: [&str; 12] = [
        "janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc.",
    ];
    let names = if lang == Lang::Fr { &FR } else { &EN };
    names.get(number.saturating_sub(1) as usize).copied().unwrap_or_default()
}

/// The IEC unit of a size: chosen once per axis, so that its labels agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteUnit {
    B,
    Ki,
    Mi,
    Gi,
    Ti,
}

impl ByteUnit {
    /// The unit in which the value has one to four digits.
    #[must_use]
    pub fn of(bytes: f64) -> Self {
        match bytes.abs() {
            v if v >= 1_099_511_627_776.0 => Self::Ti,
            v if v >= 1_073_741_824.0 => Self::Gi,
            v if v >= 1_048_576.0 => Self::Mi,
            v if v >= 1024.0 => Self::Ki,
            _ => Self::B,
        }
    }

    /// Bytes in one of it.
    #[must_use]
    pub fn factor(self) -> f64 {
        match self {
            Self::B => 1.0,
            Self::Ki => 1024.0,
            Self::Mi => 1_048_576.0,
            Self::Gi => 1_073_741_824.0,
            Self::Ti => 1_099_511_627_776.0,
        }
    }

    /// `MiB`, in French `Mio`.
    #[must_use]
    pub fn name(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::B, Lang::En) => "B",
            (Self::Ki, Lang::En) => "KiB",
            (Self::Mi, Lang::En) => "MiB",
            (Self::Gi, Lang::En) => "GiB",
            (Self::Ti, Lang::En) => "TiB",
            (Self::B, Lang::Fr) => "o",
            (Self::Ki, Lang::Fr) => "Kio",
            (Self::Mi, Lang::Fr) => "Mio",
            (Self::Gi, Lang::Fr) => "Gio",
            (Self::Ti, Lang::Fr) => "Tio",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locale(lang: Lang) -> Locale {
        Locale {
            lang,
            zone_minutes: 90,
            now_ms: 0,
        }
    }

    #[test]
    fn numbers_follow_the_language() {
        assert_eq!(locale(Lang::En).integer(1_234_567), "1,234,567");
        assert_eq!(locale(Lang::Fr).integer(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(locale(Lang::En).percent(0.423), "42%");
        assert_eq!(locale(Lang::Fr).percent(0.0423), "4,2\u{202f}%");
        assert_eq!(locale(Lang::En).integer(12), "12");
    }

    #[test]
    fn sizes_are_powers_of_1024_in_the_languages_units() {
        assert_eq!(locale(Lang::En).bytes(1536), "1.5\u{a0}KiB");
        assert_eq!(locale(Lang::Fr).bytes(1536), "1,5\u{a0}Kio");
        assert_eq!(locale(Lang::En).bytes(0), "0\u{a0}B");
        assert_eq!(locale(Lang::En).bytes(100 << 20), "100\u{a0}MiB");
    }

    #[test]
    fn short_keeps_whole_zeros() {
        assert_eq!(locale(Lang::En).short(100.0), "100");
        assert_eq!(locale(Lang::En).short(20.0), "20");
        assert_eq!(locale(Lang::En).short(0.5), "0.5");
    }

    #[test]
    fn moments_stand_in_the_visitors_zone() {
        let at = Timestamp::from_ms(0);
        assert_eq!(locale(Lang::En).date_time(at), "1 Jan 1970, 01:30:00 UTC+1:30");
        assert_eq!(locale(Lang::Fr).day(at), "1 janv.");
    }

    #[test]
    fn durations_show_two_units() {
        assert_eq!(locale(Lang::En).duration(192_000), "3\u{a0}min 12\u{a0}s");
        assert_eq!(locale(Lang::Fr).duration(90_000_000), "1\u{a0}j 1\u{a0}h");
        assert_eq!(locale(Lang::En).duration(59_900), "1\u{a0}min 0\u{a0}s");
        assert_eq!(locale(Lang::En).duration(3_600_000 * 3 - 20_000), "3\u{a0}h 0\u{a0}min");
        assert_eq!(locale(Lang::En).duration(-5), "0\u{a0}s");
    }

    #[test]
    fn rough_durations_are_the_nearest_and_tell_the_hours_of_a_few_days() {
        let (minute, hour, day) = (60_000, 3_600_000, 86_400_000);
        for (ms, words) in [
            (29_600, "30\u{a0}s"),
            (59_700, "1\u{a0}min"),
            (5 * minute - 1, "5\u{a0}min"),
            (hour - 1, "1\u{a0}h"),
            (100 * minute, "2\u{a0}h"),
            (day - 1, "1\u{a0}d"),
            (7 * day - 1, "7\u{a0}d"),
            (7 * day - hour, "6\u{a0}d 23\u{a0}h"),
            (10 * day - 1, "10\u{a0}d"),
            (29 * day + 13 * hour, "30\u{a0}d"),
        ] {
            assert_eq!(locale(Lang::En).rough_duration(ms), words, "{ms}");
        }
        assert_eq!(locale(Lang::Fr).rough_duration(2 * day), "2\u{a0}j");
    }
}
