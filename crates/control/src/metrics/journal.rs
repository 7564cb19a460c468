//! The 1 s tier: one journal shared by all subjects, in segments of at most ten minutes, with one `fdatasync` every ten
//! seconds. A crash loses what came after the last one; a torn end is recognised by its checksum and left out. What goes
//! into the file at one time is packed as one: most values repeat those of the second before.
//!
//! Invariant: a record goes into the file whole and after the one before it; what a full disk does not take waits here.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use model::metrics::SERIES;
use uuid::Uuid;

use super::code::{decode, encode};
use super::rates::Values;

pub const SEGMENT_MS: i64 = 600_000;
/// What every segment was begun and ended before is removed.
const KEPT_MS: i64 = 3_600_000;
const SYNC_EVERY_MS: i64 = 10_000;
/// Handed to the kernel when so much has gathered ...
const GATHERED: usize = 256 << 10;
/// ... and no more is gathered than this while the disk takes nothing.
const MOST_GATHERED: usize = 8 << 20;
const DEFINE: u8 = 1;
const TICK: u8 = 2;
/// Records as one zstd frame.
const PACK: u8 = 3;
const PACK_LEVEL: i32 = 1;
/// A record or what is in a pack is at most this long; more means that the file is damaged.
const MAX_RECORD: usize = 2 * MOST_GATHERED;

/// Appends ticks.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    segment: Option<Segment>,
    /// Segments that are full and not yet known to be durable.
    full: Vec<File>,
    synced_ms: i64,
}

#[derive(Debug)]
struct Segment {
    begun_ms: i64,
    file: File,
    /// What the file does not have yet of the pack that it was given last.
    unwritten: Vec<u8>,
    /// Whole records for the next pack.
    waiting: Vec<u8>,
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
            full: Vec::new(),
            synced_ms: 0,
        }
    }

    /// Appends one tick.
    ///
    /// # Errors
    /// The disk is full or fails. The tick waits for it in memory, unless too much waits already.
    pub fn append(&mut self, at_ms: i64, rows: &[(Uuid, Values)]) -> std::io::Result<()> {
        let is_due = |segment: &Segment| at_ms - segment.begun_ms >= SEGMENT_MS || at_ms < segment.begun_ms || segment.is_full(rows.len());
        if self.segment.as_ref().is_none_or(is_due) {
            self.roll(at_ms)?;
        }
        let Some(segment) = self.segment.as_mut() else { return Ok(()) };
        if segment.waiting.len() >= MOST_GATHERED {
            segment.flush()?;
        }
        let mut payload = vec![TICK];
        payload.extend(at_ms.to_le_bytes());
        payload.extend(u16::try_from(rows.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (id, values) in rows.iter().take(usize::from(u16::MAX)) {
            payload.extend(segment.number(*id, values)?.to_le_bytes());
            for value in values.fixed.iter().chain(values.extra.iter().map(|(_, value)| value)) {
                payload.extend(encode(*value).to_le_bytes());
            }
        }
        put_record(&mut segment.waiting, &payload);
        if segment.waiting.len() >= GATHERED { segment.flush() } else { Ok(()) }
    }

    /// Begins a new segment. What the old one still has to write it writes first: until then it stays the open one.
    fn roll(&mut self, at_ms: i64) -> std::io::Result<()> {
        if let Some(old) = &mut self.segment {
            old.flush()?;
        }
        std::fs::create_dir_all(&self.dir)?;
        let (begun_ms, file) = create(&self.dir, at_ms)?;
        let fresh = Segment {
            begun_ms,
            file,
            unwritten: Vec::new(),
            waiting: Vec::new(),
            defined: HashMap::new(),
            next: 0,
        };
        self.full.extend(self.segment.replace(fresh).map(|old| old.file));
        for path in outdated(&segments(&self.dir), begun_ms) {
            // What cannot be removed now is tried again at the next roll.
            drop(std::fs::remove_file(path));
        }
        Ok(())
    }

    /// What is to be made durable by now, with everything that waited handed to it.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn due(&mut self, at_ms: i64) -> std::io::Result<Vec<File>> {
        if at_ms - self.synced_ms < SYNC_EVERY_MS && at_ms >= self.synced_ms {
            return Ok(Vec::new());
        }
        self.synced_ms = at_ms;
        self.files()
    }

    /// Everything that is not known to be durable.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn files(&mut self) -> std::io::Result<Vec<File>> {
        self.flush()?;
        let open = self.segment.as_ref().map(|segment| segment.file.try_clone()).transpose()?;
        Ok(self.full.drain(..).chain(open).collect())
    }

    /// Hands what is buffered to the kernel, so that a reader sees it.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.segment.as_mut().map_or(Ok(()), Segment::flush)
    }
}

impl Segment {
    /// Whether there may be too few numbers for so many subjects.
    fn is_full(&self, rows: usize) -> bool {
        usize::from(self.next) + rows > usize::from(u16::MAX)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.write()?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut payload = vec![PACK];
        payload.extend(zstd::bulk::compress(&self.waiting, PACK_LEVEL)?);
        put_record(&mut self.unwritten, &payload);
        self.waiting.clear();
        self.write()
    }

    fn write(&mut self) -> std::io::Result<()> {
        while !self.unwritten.is_empty() {
            match self.file.write(&self.unwritten) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.unwritten.drain(..written)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

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
        put_record(&mut self.waiting, &payload);
        self.defined.insert(id, (number, values.extra.iter().map(|(name, _)| name.clone()).collect()));
        Ok(number)
    }
}

/// A new file, never one that is there: a clock that went back may come to the same moment twice.
fn create(dir: &Path, at_ms: i64) -> std::io::Result<(i64, File)> {
    let mut begun_ms = at_ms;
    loop {
        match File::create_new(dir.join(format!("{begun_ms}.journal"))) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => begun_ms += 1,
            created => return Ok((begun_ms, created?)),
        }
    }
}

/// Segments that hold nothing of the last hour, or only what a clock that was ahead has dated; never the open one.
fn outdated(all: &[(i64, PathBuf)], open_ms: i64) -> Vec<&Path> {
    let ends = all.iter().skip(1).map(|(begun, _)| *begun).chain(std::iter::once(i64::MAX));
    all.iter()
        .zip(ends)
        .filter(|((begun, _), end)| *begun != open_ms && (*end < open_ms - KEPT_MS || *begun > open_ms + KEPT_MS))
        .map(|((_, path), _)| path.as_path())
        .collect()
}

fn put_record(bytes: &mut Vec<u8>, payload: &[u8]) {
    bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(checksum(payload).to_le_bytes());
    bytes.extend(payload);
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
    let mut read_record = |payload: &[u8]| match payload.split_first() {
        Some((&DEFINE, definition)) => define(definition, &mut defined),
        Some((&TICK, tick)) => read_tick(tick, &defined, &wanted, &mut row),
        _ => {}
    };
    let mut unpacker = zstd::bulk::Decompressor::new()?;
    let mut unpacked = Vec::with_capacity(MAX_RECORD);
    for payload in records(&bytes) {
        match payload.split_first() {
            Some((&PACK, pack)) => match unpacker.decompress_to_buffer(pack, &mut unpacked) {
                Ok(_) => records(&unpacked).for_each(&mut read_record),
                Err(_) => break,
            },
            // From before there were packs.
            _ => read_record(payload),
        }
    }
    Ok(())
}

/// The records up to the first that is torn or damaged.
fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (payload, after) = next_record(bytes)?;
        bytes = after;
        Some(payload)
    })
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
        journal.flush().unwrap();
        let rows = all_rows(dir.path());
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2], (2000, a, values(4.0, &[("net.eth0.rx", 16.0)])));
    }

    #[test]
    fn a_torn_end_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned());
        let mut lengths = Vec::new();
        for second in 1..=20 {
            journal.append(second * 1000, &[(Uuid::from_u128(1), values(1.0, &[]))]).unwrap();
            journal.flush().unwrap();
            lengths.push(std::fs::read(&segments(dir.path())[0].1).unwrap().len());
        }
        let (_, path) = segments(dir.path()).remove(0);
        let whole = std::fs::read(&path).unwrap();
        for left in 0..whole.len() {
            std::fs::write(&path, &whole[..left]).unwrap();
            let is_whole = lengths.iter().filter(|length| **length <= left).count();
            assert_eq!(all_rows(dir.path()).len(), is_whole, "{left} of {} bytes", whole.len());
        }
    }

    #[test]
    fn ten_seconds_of_a_hundred_quiet_containers_take_little() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned());
        for second in 0..10_u32 {
            let one = |n: u128| (Uuid::from_u128(n), values(f64::from(second % 3), &[("net.eth0.rx", 0.0)]));
            let rows: Vec<_> = (0..100).map(one).collect();
            journal.append(i64::from(second) * 1000, &rows).unwrap();
        }
        journal.flush().unwrap();
        let (_, path) = segments(dir.path()).remove(0);
        let size = std::fs::metadata(path).unwrap().len();
        assert!(size < 10_000, "{size} bytes");
        assert_eq!(all_rows(dir.path()).len(), 1000);
    }

    fn begun(dir: &Path) -> Vec<i64> {
        segments(dir).into_iter().map(|(begun, _)| begun).collect()
    }

    #[test]
    fn an_hour_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned());
        for minute in 0..=120 {
            journal.append(minute * 60_000, &[]).unwrap();
        }
        assert_eq!(begun(dir.path()), [50, 60, 70, 80, 90, 100, 110, 120].map(|minute| minute * 60_000));
    }

    #[test]
    fn many_starts_keep_the_hour_too() {
        let dir = tempfile::tempdir().unwrap();
        for minute in 0..=70 {
            let mut journal = Journal::new(dir.path().to_owned());
            journal.append(minute * 60_000, &[(Uuid::from_u128(1), values(1.0, &[]))]).unwrap();
            journal.flush().unwrap();
        }
        let hour: Vec<i64> = all_rows(dir.path()).into_iter().map(|(at, ..)| at).filter(|at| *at >= 600_000).collect();
        assert_eq!(hour.len(), 61);
        assert!(begun(dir.path()).len() < 64);
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing_and_what_it_dated_ahead_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned());
        let one = |n: f64| [(Uuid::from_u128(1), values(n, &[]))];
        journal.append(100_000, &one(1.0)).unwrap();
        journal.append(99_000, &one(2.0)).unwrap();
        journal.flush().unwrap();
        // The same moment again, by a new start.
        let mut journal = Journal::new(dir.path().to_owned());
        journal.append(99_000, &one(3.0)).unwrap();
        journal.flush().unwrap();
        assert_eq!(all_rows(dir.path()).len(), 3);
        journal.append(90 * 3_600_000, &one(4.0)).unwrap();
        journal.append(200_000, &one(5.0)).unwrap();
        journal.flush().unwrap();
        assert!(!begun(dir.path()).contains(&(90 * 3_600_000)));
        assert!(begun(dir.path()).contains(&200_000));
    }

    #[test]
    fn what_a_full_disk_refuses_is_written_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned());
        let one = [(Uuid::from_u128(1), values(1.0, &[]))];
        journal.append(1000, &one).unwrap();
        // A file that takes nothing, as on a full disk.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let good = std::mem::replace(&mut journal.segment.as_mut().unwrap().file, full);
        assert!(journal.flush().is_err());
        journal.append(2000, &one).unwrap();
        assert!(journal.append(700_000, &one).is_err(), "the old segment is kept until it is written");
        journal.segment.as_mut().unwrap().file = good;
        journal.append(701_000, &one).unwrap();
        journal.flush().unwrap();
        assert_eq!(all_rows(dir.path()).into_iter().map(|(at, ..)| at).collect::<Vec<_>>(), [1000, 2000, 701_000]);
    }
}
