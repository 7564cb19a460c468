//! What commands print: a table for people or one JSON document for scripts, and a progress line while a task runs.

use std::io::{IsTerminal as _, Write as _};

use model::Timestamp;
use model::task::Task;
use serde::Serialize;

use super::exit;
use crate::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One document with stable field names.
    Json,
}

/// Where results go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    pub format: Format,
    pub quiet: bool,
}

impl Output {
    /// A list: the JSON of the rows, or a table of them.
    pub fn list<T: Serialize>(&self, rows: &[T], head: &[&str], cells: impl Fn(&T) -> Vec<String>) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(&rows),
            Format::Table if self.quiet => print(
                &rows
                    .iter()
                    .filter_map(|row| cells(row).into_iter().next())
                    .fold(String::new(), |text, name| text + &name + "\n"),
            ),
            Format::Table => print(&table(head, &rows.iter().map(cells).collect::<Vec<_>>())),
        }
    }

    /// One object: its JSON, or its fields below each other.
    pub fn one<T: Serialize>(&self, object: &T, fields: impl FnOnce(&T) -> Vec<(&'static str, String)>) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(object),
            Format::Table => {
                let fields: Vec<_> = fields(object).into_iter().filter(|(_, value)| !value.is_empty()).collect();
                let width = fields.iter().map(|(key, _)| key.len()).max().unwrap_or(0) + 2;
                print(&fields.iter().map(|(key, value)| format!("{key:width$}{}\n", plain(value))).collect::<String>())
            }
        }
    }

    /// What was done: the object's JSON, or a sentence unless `--quiet` was given.
    pub fn done<T: Serialize>(&self, object: &T, sentence: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(object),
            Format::Table if self.quiet => Ok(()),
            Format::Table => print(&format!("{}\n", plain(sentence))),
        }
    }

    /// One JSON document on a line of its own.
    pub fn document<T: Serialize>(&self, object: &T) -> Result<(), Failure> {
        let text = serde_json::to_string(object).map_err(|error| exit::unclear(&error))?;
        print(&format!("{text}\n"))
    }

    /// A progress line, where somebody can see it.
    #[must_use]
    pub fn progress(&self) -> ProgressLine {
        ProgressLine {
            is_shown: !self.quiet && std::io::stderr().is_terminal(),
            width: 0,
        }
    }
}

/// Writes to standard output; a reader that has left (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// As [`print`], for what a program wrote.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(exit::local("standard output cannot be written", &error)),
        _ => Ok(()),
    }
}

/// Names and messages come from elsewhere: none of their control characters reaches the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let head: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
    let width = |column: usize| {
        [&head]
            .into_iter()
            .chain(&rows)
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        format!("{}\n", cells.trim_end())
    };
    [&head].into_iter().chain(&rows).map(line).collect()
}

/// One line on standard error that is drawn over and over.
#[derive(Debug)]
pub struct ProgressLine {
    is_shown: bool,
    width: usize,
}

impl ProgressLine {
    /// Shows how far a task is.
    pub fn show(&mut self, task: &Task) {
        if self.is_shown {
            self.draw(&progress(task));
        }
    }

    fn draw(&mut self, text: &str) {
        let text: String = plain(text).chars().take(100).collect();
        let width = text.chars().count();
        eprint!("\r{text:old$}{}", if width == 0 { "\r" } else { "" }, old = self.width);
        self.width = width;
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.width > 0 {
            self.draw("");
        }
    }
}

/// `web: download 12.0 MiB of 96.3 MiB, 4.1 MiB/s`
fn progress(task: &Task) -> String {
    let p = &task.progress;
    let count = |n: u64| {
        if p.unit == "bytes" {
            size(n)
        } else {
            format!("{n} {}", p.unit).trim_end().to_owned()
        }
    };
    let mut text = format!("{}: {}", task.target, p.phase);
    match p.total {
        Some(total) => text.push_str(&format!(" {} of {}", count(p.done), count(total))),
        None if p.done > 0 => text.push_str(&format!(" {}", count(p.done))),
        None => {}
    }
    if let (Some(rate), "bytes") = (p.rate, p.unit.as_str()) {
        text.push_str(&format!(", {:.1} MiB/s", rate / f64::from(1 << 20)));
    }
    if let Some(note) = &p.note {
        text.push_str(&format!(" ({note})"));
    }
    text
}

/// `96.3 MiB`
#[must_use]
pub fn size(bytes: u64) -> String {
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    while whole >= 1024 && unit + 1 < units.len() {
        (whole, rest, unit) = (whole / 1024, whole % 1024, unit + 1);
    }
    if unit == 0 {
        format!("{whole} B")
    } else {
        format!("{whole}.{} {}", rest * 10 / 1024, units[unit])
    }
}

/// A size that may be unknown.
#[must_use]
pub fn maybe_size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), size)
}

/// `2026-11-24 08:00:00Z`, or a dash.
#[must_use]
pub fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| {
            at.to_string()
                .replace('T', " ")
                .split('.')
                .next()
                .map(|text| format!("{text}Z"))
                .unwrap_or_default()
        },
    )
}

/// Words by comma, or a dash.
#[must_use]
pub fn words(list: &[String]) -> String {
    if list.is_empty() { "-".to_owned() } else { list.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_end_without_blanks() {
        let rows = [
            vec!["web".to_owned(), "running".to_owned()],
            vec!["a-longer-name".to_owned(), "x\u{1b}[2J".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "STATE"], &rows),
            "NAME           STATE\nweb            running\na-longer-name  x [2J\n"
        );
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            (size(512).as_str(), size(1536).as_str(), size(100 << 30).as_str()),
            ("512 B", "1.5 KiB", "100.0 GiB")
        );
        assert_eq!(size(u64::MAX), "16383.9 PiB");
    }

    #[test]
    fn moments_are_to_the_second() {
        assert_eq!(moment(Some(Timestamp::from_ms(1_500))), "1970-01-01 00:00:01Z");
        assert_eq!(moment(None), "-");
    }
}
