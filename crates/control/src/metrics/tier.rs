//! A coarser tier of one subject: a file of fixed size whose records lie at the place of their time. A finished record
//! is never written again with other content; an old one is overwritten when its place comes round.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use model::metrics::SERIES;

use super::code::GAP;

const MAGIC: &[u8; 8] = b"BERTHTR1";
const HEADER: u64 = 4096;
/// Places for extra series in a new file: one NIC and one mount.
const EXTRA_PLACES: usize = 8;

/// Ending of a file that is laid out anew and not yet whole.
pub const FRESH: &str = "new";

/// How fine and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub step_ms: i64,
    pub slots: u64,
    pub with_p95: bool,
    pub suffix: &'static str,
}

/// 24 hours at 10 s.
pub const DAY: Shape = Shape {
    step_ms: 10_000,
    slots: 8640,
    with_p95: false,
    suffix: "10s",
};
/// 30 days at 5 min.
pub const MONTH: Shape = Shape {
    step_ms: 300_000,
    slots: 8640,
    with_p95: true,
    suffix: "5min",
};

/// One series in one record, packed by `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub avg: u16,
    pub max: u16,
    pub p95: u16,
}

impl Default for Point {
    fn default() -> Self {
        Self { avg: GAP, max: GAP, p95: GAP }
    }
}

/// What happened in one step: number of samples and the points of all series, [`SERIES`] first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Time over step.
    pub slot: i64,
    pub samples: u16,
    pub points: Vec<Point>,
    /// Names of the points after [`SERIES`].
    pub names: Vec<String>,
}

/// A tier's file.
#[derive(Debug)]
pub struct Tier {
    path: PathBuf,
    shape: Shape,
}

/// What the head of a file says.
#[derive(Clone, Debug, Default)]
struct Head {
    last_slot: i64,
    capacity: usize,
    names: Vec<String>,
}

impl Tier {
    /// The tier of a subject in this folder.
    #[must_use]
    pub fn new(dir: &Path, subject: uuid::Uuid, shape: Shape) -> Self {
        Self {
            path: dir.join(format!("{subject}.{}", shape.suffix)),
            shape,
        }
    }

    fn record_bytes(&self, capacity: usize) -> usize {
        10 + capacity * if self.shape.with_p95 { 6 } else { 4 }
    }

    fn place(&self, slot: i64, capacity: usize) -> u64 {
        let index = u64::try_from(slot).unwrap_or(0) % self.shape.slots;
        HEADER + index * u64::try_from(self.record_bytes(capacity)).unwrap_or(0)
    }

    /// The newest slot that is written; 0 when there is none.
    #[must_use]
    pub fn last_slot(&self) -> i64 {
        File::open(&self.path).ok().and_then(|file| read_head(&file)).map_or(0, |head| head.last_slot)
    }

    /// Writes finished records, in the order in which they happened. The head comes last and after them on the disk
    /// too: it says what is written, so that the next start makes the rest again from the journal.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&self, records: &[Record]) -> std::io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        let (file, mut head) = self.room_for(file, records)?;
        for record in records {
            file.write_all_at(&self.pack(record, &head), self.place(record.slot, head.capacity))?;
            head.last_slot = self.newest(head.last_slot, record.slot);
        }
        file.sync_data()?;
        file.write_all_at(&pack_head(&head), 0)
    }

    /// The newest slot after one more. A clock that was far ahead and is right again must not hide, for as long as it
    /// was ahead, everything that comes.
    fn newest(&self, last: i64, slot: i64) -> i64 {
        let slots = i64::try_from(self.shape.slots).unwrap_or(i64::MAX);
        if slot.saturating_add(slots) <= last { slot } else { last.max(slot) }
    }

    /// The file and its head, with a name for every series of the records; one with too few places is laid out anew
    /// beside it and takes its name when it is whole.
    fn room_for(&self, file: File, records: &[Record]) -> std::io::Result<(File, Head)> {
        let old = read_head(&file).unwrap_or_default();
        let mut head = old.clone();
        for name in records.iter().flat_map(|record| &record.names) {
            if !head.names.contains(name) {
                head.names.push(name.clone());
            }
        }
        let needed = SERIES.len() + head.names.len().max(EXTRA_PLACES);
        if needed <= head.capacity {
            return Ok((file, head));
        }
        head.capacity = needed;
        if old.capacity == 0 {
            // New, or of another version: nothing to keep.
            file.set_len(0)?;
            return Ok((file, head));
        }
        let fresh_path = self.path.with_extension(format!("{}.{FRESH}", self.shape.suffix));
        let fresh = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh_path)?;
        for record in &self.read_file(&file, &old, 0, i64::MAX)? {
            fresh.write_all_at(&self.pack(record, &head), self.place(record.slot, head.capacity))?;
        }
        fresh.write_all_at(&pack_head(&head), 0)?;
        fresh.sync_all()?;
        std::fs::rename(&fresh_path, &self.path)?;
        Ok((fresh, head))
    }

    fn pack(&self, record: &Record, head: &Head) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.record_bytes(head.capacity));
        bytes.extend(record.slot.to_le_bytes());
        bytes.extend(record.samples.to_le_bytes());
        let extra = |name: &String| {
            record
                .names
                .iter()
                .position(|other| other == name)
                .and_then(|at| record.points.get(SERIES.len() + at))
        };
        let named = head.names.iter().map(|name| extra(name).copied().unwrap_or_default());
        let fixed = record.points.iter().copied().take(SERIES.len());
        let points = fixed.chain(named).chain(std::iter::repeat(Point::default())).take(head.capacity);
        for point in points {
            bytes.extend(point.avg.to_le_bytes());
            bytes.extend(point.max.to_le_bytes());
            if self.shape.with_p95 {
                bytes.extend(point.p95.to_le_bytes());
            }
        }
        bytes
    }

    /// Records from one slot to another (both included), oldest first; what is missing is not there.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self, first: i64, last: i64) -> std::io::Result<Vec<Record>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        read_head(&file).map_or(Ok(Vec::new()), |head| self.read_file(&file, &head, first, last))
    }

    fn read_file(&self, file: &File, head: &Head, first: i64, last: i64) -> std::io::Result<Vec<Record>> {
        let oldest = head.last_slot - i64::try_from(self.shape.slots).unwrap_or(i64::MAX) + 1;
        let (first, last) = (first.max(oldest).max(1), last.min(head.last_slot));
        let mut records = Vec::new();
        let mut bytes = vec![0; self.record_bytes(head.capacity)];
        for slot in first..=last {
            match file.read_exact_at(&mut bytes, self.place(slot, head.capacity)) {
                Ok(()) => records.extend(self.unpack(&bytes, head).filter(|record| record.slot == slot)),
                // Behind the end of a sparse file: never written.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }

    fn unpack(&self, bytes: &[u8], head: &Head) -> Option<Record> {
        let slot = i64::from_le_bytes(*bytes.first_chunk()?);
        let samples = u16::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
        let code = |at: usize| bytes.get(at..at + 2).map_or(GAP, |pair| u16::from_le_bytes([pair[0], pair[1]]));
        let width = if self.shape.with_p95 { 6 } else { 4 };
        let point = |index: usize| {
            let at = 10 + index * width;
            Point {
                avg: code(at),
                max: code(at + 2),
                p95: if self.shape.with_p95 { code(at + 4) } else { GAP },
            }
        };
        let points = (0..SERIES.len() + head.names.len()).map(point).collect();
        Some(Record {
            slot,
            samples,
            points,
            names: head.names.clone(),
        })
    }

    /// Removes the file. One that is not there is removed already.
    pub fn remove(&self) {
        drop(std::fs::remove_file(&self.path));
    }
}

fn read_head(file: &File) -> Option<Head> {
    let mut bytes = vec![0; usize::try_from(HEADER).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC.as_slice())?;
    let last_slot = i64::from_le_bytes(*rest.first_chunk()?);
    let capacity = usize::from(u16::from_le_bytes(*rest.get(8..)?.first_chunk()?));
    let fixed = usize::from(u16::from_le_bytes(*rest.get(10..)?.first_chunk()?));
    rest = rest.get(12..)?;
    let mut names = Vec::new();
    while let Some((&length, after)) = rest.split_first()
        && length > 0
    {
        let (name, after) = after.split_at_checked(usize::from(length))?;
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = after;
    }
    // Another list of fixed series means another version: its files start anew.
    (fixed == SERIES.len() && capacity >= fixed + names.len()).then_some(Head { last_slot, capacity, names })
}

fn pack_head(head: &Head) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(head.last_slot.to_le_bytes());
    bytes.extend(u16::try_from(head.capacity).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(u16::try_from(SERIES.len()).unwrap_or(u16::MAX).to_le_bytes());
    for name in &head.names {
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend(name.bytes().take(255));
    }
    bytes.resize(usize::try_from(HEADER).unwrap_or(4096), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(slot: i64, avg: u16, names: &[&str]) -> Record {
        let points = vec![Point { avg, max: avg + 1, p95: GAP }; SERIES.len() + names.len()];
        Record {
            slot,
            samples: 10,
            points,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn records_come_back_and_missing_time_stays_missing() {
        let dir = tempfile::tempdir().unwrap();
        let tier = Tier::new(dir.path(), uuid::Uuid::nil(), DAY);
        tier.write(&[record(100, 1, &[]), record(103, 2, &[])]).unwrap();
        let back = tier.read(90, 110).unwrap();
        assert_eq!(back.iter().map(|record| record.slot).collect::<Vec<_>>(), [100, 103]);
        assert_eq!(tier.last_slot(), 103);
    }

    #[test]
    fn a_place_that_came_round_forgets_the_old_time() {
        let dir = tempfile::tempdir().unwrap();
        let tier = Tier::new(dir.path(), uuid::Uuid::nil(), MONTH);
        tier.write(&[record(7, 1, &[])]).unwrap();
        tier.write(&[record(7 + 8640, 2, &[])]).unwrap();
        assert_eq!(tier.read(0, 10).unwrap(), []);
        assert_eq!(tier.read(8600, 8700).unwrap().len(), 1);
    }

    #[test]
    fn more_series_than_places_keep_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let tier = Tier::new(dir.path(), uuid::Uuid::nil(), DAY);
        let names: Vec<String> = (0..12).map(|n| format!("net.eth{n}.rx")).collect();
        tier.write(&[record(5, 1, &["net.eth0.rx"])]).unwrap();
        tier.write(&[record(6, 2, &names.iter().map(String::as_str).collect::<Vec<_>>())]).unwrap();
        let back = tier.read(5, 6).unwrap();
        assert_eq!(back[0].points[SERIES.len()].avg, 1);
        assert_eq!(back[0].points[SERIES.len() + 1].avg, GAP);
        assert_eq!(back[1].points[SERIES.len() + 11].avg, 2);
    }

    #[test]
    fn a_clock_that_was_ahead_hides_nothing_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let tier = Tier::new(dir.path(), uuid::Uuid::nil(), DAY);
        tier.write(&[record(1_000_000, 1, &[])]).unwrap();
        tier.write(&[record(500_000, 2, &[]), record(500_001, 2, &[])]).unwrap();
        assert_eq!(tier.last_slot(), 500_001);
        assert_eq!(tier.read(500_000, 500_001).unwrap().len(), 2);
        // A small step back is none: both times are in the file.
        tier.write(&[record(499_990, 3, &[])]).unwrap();
        assert_eq!(tier.last_slot(), 500_001);
    }

    #[test]
    fn a_file_that_grows_is_whole_at_every_moment() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let tier = Tier::new(dir.path(), uuid::Uuid::nil(), DAY);
        tier.write(&[record(5, 1, &[])]).unwrap();
        let before = std::fs::metadata(&tier.path).unwrap().ino();
        // What an earlier try left half written is no obstacle.
        std::fs::write(tier.path.with_extension("10s.new"), b"half").unwrap();
        let names: Vec<String> = (0..12).map(|n| format!("net.eth{n}.rx")).collect();
        tier.write(&[record(6, 2, &names.iter().map(String::as_str).collect::<Vec<_>>())]).unwrap();
        assert_ne!(std::fs::metadata(&tier.path).unwrap().ino(), before, "another file took its name");
        assert_eq!(tier.read(5, 6).unwrap().len(), 2);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn both_tiers_of_a_container_fit_into_three_mebibytes() {
        let bytes = |shape: Shape| {
            let tier = Tier::new(Path::new("/"), uuid::Uuid::nil(), shape);
            HEADER + shape.slots * u64::try_from(tier.record_bytes(SERIES.len() + EXTRA_PLACES)).unwrap()
        };
        let total = bytes(DAY) + bytes(MONTH);
        assert!(total <= 3 << 20, "{total} bytes");
    }
}
