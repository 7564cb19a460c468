//! The 1 s tier: one journal shared by all subjects, in segments of ten minutes, with one `fdatasync` every ten seconds.
//! A crash loses what came after the last one; a torn end is recognised by its checksum and left out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use model::metrics::SERIES;
use uuid::Uuid;

use super::code::{decode, encode};
use super::rates::Values;

const SEGMENT_MS: i64 = 600_000;
/// Segments kept: an hour and the one that is being written.
const KEPT_SEGMENTS: usize = 7;
const SYNC_EVERY_MS: i64 = 10_000;
const DEFINE: u8 = 1;
const TICK: u8 = 2;
/// A record is at most this long; more means that the file is damaged.
const MAX_RECORD: usize = 4 << 20;

/// Appends ticks.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    segment: Option<Segment>,
    synced_ms: i64,
}

#[derive(Debug)]
struct Segment {
    begun_ms: i64,
    file: BufWriter<File>,
    /// What each subject's rows look like in this segment: its number and the names of its extra series.
    defined: HashMap<Uuid, (u16, Vec<String>)>,
    next: u16,
}

impl Journal {
    /// A journal in this folder; every start begins a new segment.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            segment: None,
            synced_ms: 0,
        }
    }

    /// Appends one tick.
    ///
    /// # Errors
    /// The disk is full or fails; the next tick tries a new segment.
    pub fn append(&mut self, at_ms: i64, rows: &[(Uuid, Values)]) -> std::io::Result<()> {
        let written = self.try_append(at_ms, rows);
        if written.is_err() {
            self.segment = None;
        }
        written
    }

    fn try_append(&mut self, at_ms: i64, rows: &[(Uuid, Values)]) -> std::io::Result<()> {
        if self
            .segment
            .as_ref()
            .is_none_or(|segment| at_ms - segment.begun_ms >= SEGMENT_MS || at_ms < segment.begun_ms)
        {
            self.roll(at_ms)?;
        }
        let Some(segment) = self.segment.as_mut() else { return Ok(()) };
        let mut payload = vec![TICK];
        payload.extend(at_ms.to_le_bytes());
        payload.extend(u16::try_from(rows.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (id, values) in rows.iter().take(usize::from(u16::MAX)) {
            payload.extend(segment.number(*id, values)?.to_le_bytes());
            for value in values.fixed.iter().chain(values.extra.iter().map(|(_, value)| value)) {
                payload.extend(encode(*value).to_le_bytes());
            }
        }
        write_record(&mut segment.file, &payload)?;
        if at_ms - self.synced_ms >= SYNC_EVERY_MS || at_ms < self.synced_ms {
            self.synced_ms = at_ms;
            segment.file.flush()?;
            segment.file.get_ref().sync_data()?;
        }
        Ok(())
    }

    fn roll(&mut self, at_ms: i64) -> std::io::Result<()> {
        if let Some(mut old) = self.segment.take() {
            old.file.flush()?;
            old.file.get_ref().sync_data()?;
        }
        std::fs::create_dir_all(&self.dir)?;
        let file = File::create(self.dir.join(format!("{at_ms}.journal")))?;
        self.segment = Some(Segment {
            begun_ms: at_ms,
            file: BufWriter::with_capacity(256 << 10, file),
            defined: HashMap::new(),
            next: 0,
        });
        let mut old = segments(&self.dir);
        old.truncate(old.len().saturating_sub(KEPT_SEGMENTS));
        // A segment that cannot be removed now is tried again at the next roll.
        old.iter().for_each(|(_, path)| drop(std::fs::remove_file(path)));
        Ok(())
    }

    /// Hands what is buffered to the kernel, so that a reader sees it.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.segment.as_mut().map_or(Ok(()), |segment| segment.file.flush())
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn sync(&mut self) -> std::io::Result<()> {
        self.flush()?;
        self.segment.as_ref().map_or(Ok(()), |segment| segment.file.get_ref().sync_data())
    }
}

impl Segment {
    /// The subject's number in this segment, defined anew when its extra series changed.
    fn number(&mut self, id: Uuid, values: &Values) -> std::io::Result<u16> {
        let same = |names: &[String]| names.len() == values.extra.len() && names.iter().zip(&values.extra).all(|(name, (other, _))| name == other);
        if let Some((number, names)) = self.defined.get(&id)
            && same(names)
        {
            return Ok(*number);
        }
        let number = self.next;
        self.next = self
            .next
            .checked_add(1)
            .ok_or_else(|| std::io::Error::other("a segment holds at most 65,535 definitions"))?;
        let mut payload = vec![DEFINE];
        payload.extend(number.to_le_bytes());
        payload.extend(id.as_bytes());
        for (name, _) in &values.extra {
            payload.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            payload.extend(name.bytes().take(255));
        }
        write_record(&mut self.file, &payload)?;
        self.defined.insert(id, (number, values.extra.iter().map(|(name, _)| name.clone()).collect()));
        Ok(number)
    }
}

fn write_record(file: &mut impl std::io::Write, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(std::io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&checksum(payload).to_le_bytes())?;
    file.write_all(payload)
}

/// FNV-1a: tells a torn record from a whole one, which is all that is asked of it.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Segments with their first moment, oldest first.
#[must_use]
pub fn segments(dir: &Path) -> Vec<(i64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let begun = |path: &Path| {
        path.extension()
            .filter(|extension| *extension == "journal")
            .and_then(|_| path.file_stem()?.to_str()?.parse().ok())
    };
    let mut found: Vec<(i64, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((begun(&entry.path())?, entry.path())))
        .collect();
    found.sort();
    found
}

/// Reads all rows of a segment in order; `wanted` spares the work for subjects that nobody asked for. A damaged rest is
/// left out.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path, wanted: impl Fn(Uuid) -> bool, mut row: impl FnMut(i64, Uuid, Values)) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let mut defined: HashMap<u16, (Uuid, Vec<String>)> = HashMap::new();
    let mut rest = bytes.as_slice();
    while let Some((payload, after)) = next_record(rest) {
        rest = after;
        match payload.split_first() {
            Some((&DEFINE, definition)) => define(definition, &mut defined),
            Some((&TICK, tick)) => read_tick(tick, &defined, &wanted, &mut row),
            _ => {}
        }
    }
    Ok(())
}

fn next_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let sum = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let payload = bytes.get(8..8_usize.checked_add(length)?).filter(|_| length <= MAX_RECORD)?;
    (checksum(payload) == sum).then_some((payload, &bytes[8 + length..]))
}

fn define(definition: &[u8], defined: &mut HashMap<u16, (Uuid, Vec<String>)>) {
    let (Some(number), Some(id)) = (definition.first_chunk::<2>(), definition.get(2..18)) else {
        return;
    };
    let mut names = Vec::new();
    let mut rest = &definition[18..];
    while let Some((length, after)) = rest.split_first() {
        let Some((name, after)) = after.split_at_checked(usize::from(*length)) else {
            return;
        };
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = after;
    }
    if let Ok(id) = Uuid::from_slice(id) {
        defined.insert(u16::from_le_bytes(*number), (id, names));
    }
}

fn read_tick(tick: &[u8], defined: &HashMap<u16, (Uuid, Vec<String>)>, wanted: &impl Fn(Uuid) -> bool, row: &mut impl FnMut(i64, Uuid, Values)) {
    let (Some(at_ms), Some(mut rest)) = (tick.first_chunk::<8>(), tick.get(10..)) else {
        return;
    };
    let at_ms = i64::from_le_bytes(*at_ms);
    while let Some((number, after)) = rest.split_first_chunk::<2>() {
        let Some((id, names)) = defined.get(&u16::from_le_bytes(*number)) else {
            return;
        };
        let Some((codes, after)) = after.split_at_checked(2 * (SERIES.len() + names.len())) else {
            return;
        };
        rest = after;
        if wanted(*id) {
            row(at_ms, *id, unpack(codes, names));
        }
    }
}

fn unpack(codes: &[u8], names: &[String]) -> Values {
    let mut decoded = codes.as_chunks::<2>().0.iter().map(|code| decode(u16::from_le_bytes(*code)));
    let mut values = Values::default();
    values.fixed.iter_mut().for_each(|value| *value = decoded.next().flatten());
    values.extra = names.iter().cloned().zip(decoded).collect();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(first: f64, extra: &[(&str, f64)]) -> Values {
        let mut values = Values::default();
        values.fixed[0] = Some(first);
        values.extra = extra.iter().map(|(name, value)| ((*name).to_owned(), Some(*value))).collect();
        values
    }

    fn all_rows(dir: &Path) -> Vec<(i64, Uuid, Values)> {
        let mut rows = Vec::new();
        for (_, path) in segments(dir) {
            read(&path, |_| true, |at, id, values| rows.push((at, id, values))).unwrap();
        }
        rows
    }

    #[test]
    fn rows_come_back_also_after_their_series_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut journal = Journal::new(dir.path().to_owned());
        journal
            .append(1000, &[(a, values(1.0, &[])), (b, values(2.0, &[("net.eth0.rx", 8.0)]))])
            .unwrap();
        journal.append(2000, &[(a, values(4.0, &[("net.eth0.rx", 16.0)]))]).unwrap();
        journal.sync().unwrap();
        let rows = all_rows(dir.path());
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2], (2000, a, values(4.0, &[("net.eth0.rx", 16.0)])));
    }

    #[test]
    fn a_torn_end_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned());
        for second in 1..=20 {
            journal.append(second * 1000, &[(Uuid::from_u128(1), values(1.0, &[]))]).unwrap();
        }
        journal.sync().unwrap();
        let (_, path) = segments(dir.path()).remove(0);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..80 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let rows = all_rows(dir.path());
            assert!((18..20).contains(&rows.len()), "{} rows after a cut of {cut}", rows.len());
        }
    }

    #[test]
    fn an_hour_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned());
        for minute in 0..120 {
            journal.append(minute * 60_000, &[]).unwrap();
        }
        assert_eq!(segments(dir.path()).len(), KEPT_SEGMENTS);
    }
}
