//! The filter and the order of the list: what a line such as `state:running tag:web mem>500M nginx` means. Pure.

use crate::format::lower_case;
use model::ContainerSummary;
use model::limits::parse_size;
use model::number::decimal;

use crate::live::metrics::{CPU, MEMORY, Meters};

/// One condition; all of them must hold.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    Word(String),
    State(String),
    Tag(String),
    Template(String),
    CpuAbove(f64),
    MemoryAbove(f64),
}

/// A parsed filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Term>);

impl Filter {
    /// Reads a filter; what is no known key is a plain word.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split_whitespace().map(term).collect())
    }

    /// Whether a container matches.
    #[must_use]
    pub fn matches(&self, summary: &ContainerSummary, meters: &Meters) -> bool {
        self.0.iter().all(|term| match term {
            Term::Word(word) => has_word(summary, word),
            Term::State(state) => summary.state.as_str().starts_with(state.as_str()),
            Term::Tag(tag) => summary.tags.iter().any(|own| fold(own) == *tag),
            Term::Template(part) => template_of(summary).contains(part.as_str()),
            Term::CpuAbove(cores) => meters.value(CPU).is_some_and(|value| value > *cores),
            Term::MemoryAbove(bytes) => meters.value(MEMORY).is_some_and(|value| value > *bytes),
        })
    }

    /// Whether it depends on live values.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.0.iter().any(|term| matches!(term, Term::CpuAbove(_) | Term::MemoryAbove(_)))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a threshold")]
fn term(text: &str) -> Term {
    let lower = fold(text);
    if let Some(size) = lower.strip_prefix("mem>")
        && let Ok(bytes) = parse_size(&size.to_ascii_uppercase())
    {
        return Term::MemoryAbove(bytes as f64);
    }
    if let Some(cores) = lower.strip_prefix("cpu>").and_then(decimal) {
        return Term::CpuAbove(cores);
    }
    match lower.split_once(':') {
        Some(("state", state)) => Term::State(state.to_owned()),
        Some(("tag", tag)) => Term::Tag(tag.to_owned()),
        Some(("template", part)) => Term::Template(part.to_owned()),
        _ => Term::Word(lower),
    }
}

fn has_word(summary: &ContainerSummary, word: &str) -> bool {
    summary.name.as_str().contains(word)
        || summary.ipv4.iter().chain(&summary.ipv6).any(|address| address.contains(word))
        || summary.tags.iter().any(|tag| fold(tag).contains(word))
        || template_of(summary).contains(word)
}

/// The template's name in lower case; empty where there is none.
#[must_use]
pub fn template_of(summary: &ContainerSummary) -> String {
    summary
        .template
        .as_ref()
        .map(|template| fold(&template.reference.to_string()))
        .unwrap_or_default()
}

/// Lower case without the accents of our languages, so that `équipe` is found by `equipe`.
fn fold(text: &str) -> String {
    let plain = |letter: char| match letter {
        'à' | 'â' | 'ä' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'î' | 'ï' => 'i',
        'ô' | 'ö' => 'o',
        'ù' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        other => other,
    };
    lower_case(text).chars().map(plain).collect()
}

/// By which column the list is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    State,
    #[default]
    Name,
    Cpu,
    Memory,
    Network,
    Template,
    Uptime,
}

impl Column {
    pub const ALL: [Self; 7] = [Self::State, Self::Name, Self::Cpu, Self::Memory, Self::Network, Self::Template, Self::Uptime];

    /// Its word in the URL.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Name => "name",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Network => "network",
            Self::Template => "template",
            Self::Uptime => "uptime",
        }
    }

    /// Whether it changes every second.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory | Self::Network)
    }
}

/// The order of the list; in the URL as `cpu` or `-cpu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    pub column: Column,
    pub is_descending: bool,
}

impl Order {
    /// Reads the URL's word.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (is_descending, key) = text.strip_prefix('-').map_or((false, text), |key| (true, key));
        let column = Column::ALL.into_iter().find(|column| column.key() == key).unwrap_or_default();
        Self { column, is_descending }
    }

    /// The order after a press on a column's head: the same column turns round.
    #[must_use]
    pub fn pressed(self, column: Column) -> Self {
        Self {
            column,
            is_descending: if self.column == column { !self.is_descending } else { column.is_live() },
        }
    }

    /// The URL's word.
    #[must_use]
    pub fn key(self) -> String {
        format!("{}{}", if self.is_descending { "-" } else { "" }, self.column.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_told_apart() {
        let filter = Filter::parse("state:run mem>500M cpu>0.5 Équipe");
        assert_eq!(
            filter.0,
            [
                Term::State("run".into()),
                Term::MemoryAbove(500.0 * 1_048_576.0),
                Term::CpuAbove(0.5),
                Term::Word("equipe".into())
            ]
        );
        assert!(filter.is_live());
        assert_eq!(Filter::parse("mem>lots").0, [Term::Word("mem>lots".into())]);
    }

    #[test]
    fn a_live_column_begins_with_the_highest() {
        let order = Order::default().pressed(Column::Cpu);
        assert_eq!(order.key(), "-cpu");
        assert_eq!(Order::parse(&order.pressed(Column::Cpu).key()).key(), "cpu");
        assert_eq!(Order::parse("nonsense"), Order::default());
    }
}
