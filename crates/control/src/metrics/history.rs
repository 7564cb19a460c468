//! What was measured: 1 h at 1 s in the journal, 24 h at 10 s and 30 d at 5 min in a file per subject and tier. The coarser
//! tiers gather in memory, are flushed every five minutes, and are made again from the journal after a crash.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use model::Timestamp;
use model::metrics::{History as Answer, SERIES, SeriesHistory};
use uuid::Uuid;

use super::bucket::{Bucket, LEAST_FOR_P95, merge, p95};
use super::code::{decode, encode};
use super::journal::{self, Journal};
use super::rates::Values;
use super::tier::{self, DAY, MONTH, Point, Record, Shape, Tier};

const FLUSH_EVERY_MS: i64 = 300_000;
/// An answer has at most this many points a series.
const MAX_POINTS: i64 = 10_000;
/// A step may be as long as what is kept.
pub(super) const LONGEST_STEP_MS: i64 = 30 * 24 * HOUR_MS;
/// What a graph asks for when it names no step.
const WANTED_POINTS: i64 = 720;
const HOUR_MS: i64 = 3_600_000;
/// Finished steps that wait for a disk which takes nothing: two hours and two days; older ones become a gap.
const MOST_DAY: usize = 720;
const MOST_MONTH: usize = 576;

/// All tiers of all subjects.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    journal: Journal,
    gathering: HashMap<Uuid, Gathering>,
    /// Whoever is gone for good: what comes of them late is not kept.
    forgotten: HashSet<Uuid>,
    flushed_ms: i64,
}

/// What shall reach the disk. Carried out without the lock: a disk may let everybody wait.
#[derive(Debug, Default)]
pub struct Chores {
    dir: PathBuf,
    sync: Vec<File>,
    tiers: Vec<Unwritten>,
}

/// Finished steps of one subject.
#[derive(Clone, Debug)]
pub struct Unwritten {
    subject: Uuid,
    day: Vec<Record>,
    month: Vec<Record>,
}

impl Chores {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sync.is_empty() && self.tiers.is_empty()
    }

    /// Does everything it can: what fails for one subject keeps no other from being written. Gives what is written, and
    /// the first failure.
    pub fn carry_out(self) -> (Vec<Unwritten>, std::io::Result<()>) {
        let mut outcome = Ok(());
        for file in &self.sync {
            outcome = outcome.and(file.sync_data());
        }
        let mut written = Vec::new();
        for Unwritten { subject, day, month } in self.tiers {
            let of_day = Tier::new(&self.dir, subject, DAY).write(&day);
            let of_month = Tier::new(&self.dir, subject, MONTH).write(&month);
            written.push(Unwritten {
                subject,
                day: if of_day.is_ok() { day } else { Vec::new() },
                month: if of_month.is_ok() { month } else { Vec::new() },
            });
            outcome = outcome.and(of_day).and(of_month);
        }
        (written, outcome)
    }
}

/// What is not yet in the files of one subject.
#[derive(Debug)]
struct Gathering {
    day: Bucket,
    month: Bucket,
    finished_day: Vec<Record>,
    finished_month: Vec<Record>,
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            day: Bucket::new(false),
            month: Bucket::new(true),
            finished_day: Vec::new(),
            finished_month: Vec::new(),
        }
    }
}

impl Gathering {
    fn add(&mut self, at_ms: i64, values: &Values) {
        self.finished_day.extend(self.day.add(at_ms.div_euclid(DAY.step_ms), values));
        self.finished_month.extend(self.month.add(at_ms.div_euclid(MONTH.step_ms), values));
        keep_newest(&mut self.finished_day, MOST_DAY);
        keep_newest(&mut self.finished_month, MOST_MONTH);
    }

    /// Who has not been seen since the step before last has stopped: its last steps are finished.
    fn end_if_stopped(&mut self, now_ms: i64) {
        let is_old = |bucket: &Bucket| bucket.peek().is_some_and(|record| (record.slot + 2) * MONTH.step_ms < now_ms);
        if is_old(&self.month) {
            self.finished_day.extend(self.day.end());
            self.finished_month.extend(self.month.end());
        }
    }

    fn is_empty(&self) -> bool {
        self.finished_day.is_empty() && self.finished_month.is_empty() && self.day.peek().is_none() && self.month.peek().is_none()
    }
}

fn keep_newest(records: &mut Vec<Record>, most: usize) {
    records.drain(..records.len().saturating_sub(most));
}

/// What a question about the past needs, taken under the lock; the files are read without it.
#[derive(Debug)]
pub struct View {
    dir: PathBuf,
    subject: Uuid,
    day: Vec<Record>,
    month: Vec<Record>,
}

impl History {
    /// Opens the folder and makes again, from the journal, what a crash kept from the coarser tiers.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: PathBuf, now_ms: i64) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let journal = Journal::new(dir.join("journal"));
        let mut history = Self {
            gathering: replay(&dir),
            dir,
            journal,
            forgotten: HashSet::new(),
            flushed_ms: now_ms,
        };
        history.drop_what_is_written();
        Ok(history)
    }

    fn drop_what_is_written(&mut self) {
        for (subject, gathering) in &mut self.gathering {
            let (day, month) = (
                Tier::new(&self.dir, *subject, DAY).last_slot(),
                Tier::new(&self.dir, *subject, MONTH).last_slot(),
            );
            gathering.finished_day.retain(|record| record.slot > day);
            gathering.finished_month.retain(|record| record.slot > month);
        }
    }

    /// Removes what is kept of everybody but the host and these: they are gone for good, and the journal may bring back
    /// what an earlier run had forgotten.
    pub fn keep_only(&mut self, known: &HashSet<Uuid>) {
        let is_known = |subject: Uuid| subject.is_nil() || known.contains(&subject);
        self.gathering.retain(|subject, _| is_known(*subject));
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let subject = name.split('.').next().and_then(|stem| Uuid::parse_str(stem).ok());
            let is_half = name.rsplit('.').next() == Some(tier::FRESH);
            if subject.is_some_and(|subject| is_half || !is_known(subject))
                && let Err(error) = std::fs::remove_file(&path)
            {
                tracing::warn!(path = %path.display(), %error, "history of a container that is gone stays");
            }
        }
    }

    /// Adds one tick.
    ///
    /// # Errors
    /// The disk is full or fails; see [`Journal::append`].
    pub fn append(&mut self, at_ms: i64, rows: &[(Uuid, Values)]) -> std::io::Result<()> {
        for (subject, values) in rows.iter().filter(|(subject, _)| !self.forgotten.contains(subject)) {
            self.gathering.entry(*subject).or_default().add(at_ms, values);
        }
        self.journal.append(at_ms, rows)
    }

    /// What is due by now. Hand what was done to [`History::written`].
    ///
    /// # Errors
    /// The disk is full or fails; what could not be written stays for the next time.
    pub fn chores(&mut self, at_ms: i64) -> std::io::Result<Chores> {
        let mut chores = Chores {
            dir: self.dir.clone(),
            ..Chores::default()
        };
        if at_ms - self.flushed_ms >= FLUSH_EVERY_MS || at_ms < self.flushed_ms {
            self.flushed_ms = at_ms;
            chores.tiers = self.unwritten();
        }
        chores.sync = self.journal.due(at_ms)?;
        Ok(chores)
    }

    fn unwritten(&mut self) -> Vec<Unwritten> {
        let now_ms = self.flushed_ms;
        self.gathering.values_mut().for_each(|gathering| gathering.end_if_stopped(now_ms));
        self.gathering.retain(|_, gathering| !gathering.is_empty());
        let finished = self.gathering.iter().map(|(subject, gathering)| Unwritten {
            subject: *subject,
            day: gathering.finished_day.clone(),
            month: gathering.finished_month.clone(),
        });
        finished.filter(|one| !one.day.is_empty() || !one.month.is_empty()).collect()
    }

    /// Lets go of what is in the files now.
    pub fn written(&mut self, written: &[Unwritten]) {
        for one in written {
            if self.forgotten.contains(&one.subject) {
                // It went while its steps were being written.
                self.forget(one.subject);
            } else if let Some(gathering) = self.gathering.get_mut(&one.subject) {
                gathering.finished_day.retain(|record| !one.day.contains(record));
                gathering.finished_month.retain(|record| !one.month.contains(record));
            }
        }
    }

    /// Writes everything that is finished.
    ///
    /// # Errors
    /// The disk is full or fails; what could not be written stays for the next time.
    pub fn flush(&mut self) -> std::io::Result<()> {
        let chores = Chores {
            dir: self.dir.clone(),
            tiers: self.unwritten(),
            sync: Vec::new(),
        };
        let (written, of_tiers) = chores.carry_out();
        self.written(&written);
        let of_journal = self.journal.files().and_then(|files| files.iter().try_for_each(File::sync_data));
        of_tiers.and(of_journal)
    }

    /// Forgets a subject for good.
    pub fn forget(&mut self, subject: Uuid) {
        self.gathering.remove(&subject);
        self.forgotten.insert(subject);
        for shape in [DAY, MONTH] {
            Tier::new(&self.dir, subject, shape).remove();
        }
    }

    /// Begins a question: hands buffered rows to the files and takes what is only in memory. On a full disk the answer
    /// lacks its newest seconds.
    pub fn view(&mut self, subject: Uuid) -> View {
        drop(self.journal.flush());
        let unwritten = |finished: &[Record], bucket: &Bucket| finished.iter().cloned().chain(bucket.peek()).collect();
        let gathering = self.gathering.get(&subject);
        View {
            dir: self.dir.clone(),
            subject,
            day: gathering.map_or_else(Vec::new, |gathering| unwritten(&gathering.finished_day, &gathering.day)),
            month: gathering.map_or_else(Vec::new, |gathering| unwritten(&gathering.finished_month, &gathering.month)),
        }
    }
}

fn replay(dir: &Path) -> HashMap<Uuid, Gathering> {
    let mut gathering: HashMap<Uuid, Gathering> = HashMap::new();
    for (_, path) in journal::segments(&dir.join("journal")) {
        let read = journal::read(
            &path,
            |_| true,
            |at_ms, subject, values| gathering.entry(subject).or_default().add(at_ms, &values),
        );
        if let Err(error) = read {
            tracing::warn!(path = %path.display(), %error, "a segment of the metrics journal cannot be read; its time stays a gap");
        }
    }
    gathering
}

/// Which tier answers, and with what step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Journal,
    Tier(Shape),
}

/// The finest tier that reaches back to `from` and does not give more points than asked for.
fn choose(from_ms: i64, to_ms: i64, now_ms: i64, step_ms: Option<i64>) -> (Source, i64) {
    let span = (to_ms - from_ms).max(1000);
    let step = step_ms.unwrap_or(span / WANTED_POINTS).max(span / MAX_POINTS + 1).max(1000);
    let age = now_ms - from_ms;
    let fits = |unit: i64| (step + unit - 1).div_euclid(unit) * unit;
    if age <= HOUR_MS + 60_000 && step < DAY.step_ms {
        return (Source::Journal, fits(1000));
    }
    if age <= 24 * HOUR_MS + 60_000 && step < MONTH.step_ms {
        return (Source::Tier(DAY), fits(DAY.step_ms));
    }
    (Source::Tier(MONTH), fits(MONTH.step_ms))
}

impl View {
    /// Answers for `from..to` with the wanted step, which grows where a tier has no finer one.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn answer(&self, from_ms: i64, to_ms: i64, now_ms: i64, step_ms: Option<i64>) -> std::io::Result<Answer> {
        let (source, step) = choose(from_ms, to_ms, now_ms, step_ms);
        let first = from_ms.div_euclid(step);
        // The second under way has no sample yet; of a longer step what there is already is shown.
        let end = if step > 1000 {
            (to_ms - 1).div_euclid(step) + 1
        } else {
            to_ms.div_euclid(step)
        };
        let points = usize::try_from((end - first).clamp(0, MAX_POINTS + 1)).unwrap_or(0);
        let grid = Grid { first, step, points };
        let series = match source {
            Source::Journal => self.journal_part(&grid)?,
            Source::Tier(shape) => self.tier_part(&grid, shape)?,
        };
        Ok(Answer {
            step_ms: u64::try_from(step).unwrap_or(1000),
            from: Timestamp::from_ms(first * step),
            series,
        })
    }

    fn journal_part(&self, grid: &Grid) -> std::io::Result<BTreeMap<String, SeriesHistory>> {
        let mut samples: HashMap<String, Vec<Vec<u16>>> = HashMap::new();
        let mut put = |name: &str, at: usize, value: Option<f64>| {
            let Some(value) = value else { return };
            let cells = match samples.get_mut(name) {
                Some(cells) => cells,
                None => samples.entry(name.to_owned()).or_insert_with(|| vec![Vec::new(); grid.points]),
            };
            cells[at].push(encode(Some(value)));
        };
        for path in self.segments(grid) {
            journal::read(
                &path,
                |id| id == self.subject,
                |at_ms, _, values| {
                    let Some(at) = grid.index(at_ms.div_euclid(grid.step)) else { return };
                    SERIES.iter().zip(values.fixed).for_each(|(name, value)| put(name, at, value));
                    values.extra.iter().for_each(|(name, value)| put(name, at, *value));
                },
            )?;
        }
        Ok(samples.into_iter().map(|(name, cells)| (name, from_samples(&cells))).collect())
    }

    /// Segments that may hold rows of the asked time.
    fn segments(&self, grid: &Grid) -> Vec<PathBuf> {
        let all = journal::segments(&self.dir.join("journal"));
        let (from, to) = (grid.first * grid.step, (grid.first + i64::try_from(grid.points).unwrap_or(0)) * grid.step);
        let ends = all.iter().skip(1).map(|(begun, _)| *begun).chain(std::iter::once(i64::MAX));
        all.iter()
            .zip(ends)
            // A clock that went back begins a segment before the one before it was full.
            .filter(|((begun, _), end)| *begun < to && (*end).max(begun + journal::SEGMENT_MS) >= from)
            .map(|((_, path), _)| path.clone())
            .collect()
    }

    fn tier_part(&self, grid: &Grid, shape: Shape) -> std::io::Result<BTreeMap<String, SeriesHistory>> {
        let factor = (grid.step / shape.step_ms).max(1);
        let last = (grid.first + i64::try_from(grid.points).unwrap_or(0)) * factor - 1;
        let mut records = Tier::new(&self.dir, self.subject, shape).read(grid.first * factor, last)?;
        records.extend(if shape == DAY { self.day.clone() } else { self.month.clone() });
        let mut cells: HashMap<String, Vec<Vec<(u16, Point)>>> = HashMap::new();
        for record in &records {
            let Some(at) = grid.index(record.slot.div_euclid(factor)) else { continue };
            let names = SERIES.iter().map(|name| (*name).to_owned()).chain(record.names.iter().cloned());
            for (name, point) in names.zip(&record.points).filter(|(_, point)| **point != Point::default()) {
                cells.entry(name).or_insert_with(|| vec![Vec::new(); grid.points])[at].push((record.samples, *point));
            }
        }
        Ok(cells.into_iter().map(|(name, cells)| (name, from_points(&cells))).collect())
    }
}

/// The moments of an answer.
struct Grid {
    first: i64,
    step: i64,
    points: usize,
}

impl Grid {
    fn index(&self, slot: i64) -> Option<usize> {
        usize::try_from(slot - self.first).ok().filter(|index| *index < self.points)
    }
}

fn from_samples(cells: &[Vec<u16>]) -> SeriesHistory {
    let mut series = SeriesHistory::default();
    for samples in cells {
        let values = || samples.iter().filter_map(|code| decode(*code));
        #[expect(clippy::cast_precision_loss, reason = "a cell holds at most an hour of seconds")]
        let avg = (!samples.is_empty()).then(|| values().sum::<f64>() / samples.len() as f64);
        series.avg.push(avg);
        series.max.push(values().reduce(f64::max));
        series.p95.push(if samples.len() < LEAST_FOR_P95 { None } else { decode(p95(samples)) });
    }
    series
}

fn from_points(cells: &[Vec<(u16, Point)>]) -> SeriesHistory {
    let mut series = SeriesHistory::default();
    for points in cells {
        let (avg, max, p95) = merge(points);
        series.avg.push(avg);
        series.max.push(max);
        series.p95.push(p95);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_800_000_000_000;

    fn sample(value: f64) -> Values {
        let mut values = Values::default();
        values.fixed[0] = Some(value);
        values.extra.push(("net.eth0.rx".into(), Some(value * 2.0)));
        values
    }

    fn fill(history: &mut History, seconds: std::ops::Range<i64>, value: impl Fn(i64) -> f64) {
        for second in seconds {
            tick(history, second, &[(Uuid::nil(), sample(value(second)))]).unwrap();
        }
    }

    fn tick(history: &mut History, second: i64, rows: &[(Uuid, Values)]) -> std::io::Result<()> {
        let at_ms = START_MS + second * 1000;
        history.append(at_ms, rows)?;
        let (written, outcome) = history.chores(at_ms)?.carry_out();
        history.written(&written);
        outcome
    }

    fn ask(history: &mut History, from_s: i64, to_s: i64, now_s: i64, step_ms: Option<i64>) -> Answer {
        let at = |second: i64| START_MS + second * 1000;
        history.view(Uuid::nil()).answer(at(from_s), at(to_s), at(now_s), step_ms).unwrap()
    }

    #[test]
    fn seconds_come_back_with_gaps_as_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        fill(&mut history, 0..30, |_| 1.0);
        fill(&mut history, 40..60, |_| 3.0);
        let answer = ask(&mut history, 0, 60, 60, Some(1000));
        let avg = &answer.series["cpu.usage"].avg;
        assert_eq!((answer.step_ms, avg.len()), (1000, 60));
        assert_eq!((avg[0], avg[35], avg[59]), (Some(1.0), None, Some(3.0)));
        assert_eq!(answer.series["net.eth0.rx"].max[59], Some(6.0));
        assert_eq!(answer.series["cpu.usage"].p95[0], None);
    }

    #[test]
    fn a_minute_of_life_is_seen_in_a_month() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        fill(&mut history, 0..60, |_| 2.0);
        for (days, step) in [(1, 240_000), (30, 7_200_000)] {
            let answer = ask(&mut history, 60 - days * 86_400, 60, 60, Some(step));
            assert_eq!(answer.series["cpu.usage"].avg.last(), Some(&Some(2.0)), "{days} d");
        }
    }

    #[test]
    fn a_two_second_burst_shows_in_every_tier() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        fill(&mut history, 0..4000, |second| if (2000..2002).contains(&second) { 4.0 } else { 0.5 });
        for (from, step) in [(1900, Some(1000)), (-40_000, Some(10_000)), (-2_000_000, None)] {
            let answer = ask(&mut history, from, 4000, 4000, step);
            let max = answer.series["cpu.usage"].max.iter().flatten().fold(0.0, |a: f64, b| a.max(*b));
            assert_eq!(max, 4.0, "from {from}");
        }
    }

    #[test]
    fn a_crash_loses_nothing_that_the_journal_has() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        fill(&mut history, 0..700, |_| 2.0);
        history.journal.flush().unwrap();
        // Dropped without a flush of the tiers, as by a kill.
        drop(history);
        let mut history = History::open(dir.path().to_owned(), START_MS + 700_000).unwrap();
        fill(&mut history, 700..720, |_| 2.0);
        let answer = ask(&mut history, -50_000, 720, 720, Some(10_000));
        let known = answer.series["cpu.usage"].avg.iter().flatten().count();
        assert_eq!(known, 72);
        assert!(answer.series["cpu.usage"].avg.iter().flatten().all(|value| *value == 2.0));
    }

    #[test]
    fn forgotten_subjects_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        fill(&mut history, 0..700, |_| 2.0);
        history.forget(Uuid::nil());
        let left = std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file())
            .count();
        assert_eq!(left, 0);
    }

    #[test]
    fn the_last_minutes_of_who_stopped_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        let (stopped, runs) = (Uuid::from_u128(1), Uuid::nil());
        for second in 0..2000 {
            let both = [(runs, sample(1.0)), (stopped, sample(7.0))];
            tick(&mut history, second, if second < 100 { &both } else { &both[..1] }).unwrap();
        }
        assert!(!history.gathering.contains_key(&stopped));
        let month = Tier::new(dir.path(), stopped, MONTH).read(0, i64::MAX - 1).unwrap();
        assert_eq!(month.iter().map(|record| record.samples).sum::<u16>(), 100);
        let day = Tier::new(dir.path(), stopped, DAY).read(0, i64::MAX - 1).unwrap();
        assert_eq!(day.iter().map(|record| record.samples).sum::<u16>(), 100);
    }

    #[test]
    fn a_file_that_cannot_be_written_keeps_no_other_from_it_and_grows_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        let (bad, good) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for suffix in ["10s", "5min"] {
            std::fs::create_dir(dir.path().join(format!("{bad}.{suffix}"))).unwrap();
        }
        let mut failed = 0;
        for step in 0..2000 {
            failed += i32::from(tick(&mut history, step * 10, &[(bad, sample(1.0)), (good, sample(1.0))]).is_err());
        }
        assert!(failed > 10);
        assert_eq!(history.gathering[&bad].finished_day.len(), MOST_DAY);
        assert!(history.gathering[&good].finished_day.len() < 100);
        assert!(Tier::new(dir.path(), good, DAY).last_slot() > 0);
    }

    #[test]
    fn who_was_purged_does_not_come_back_out_of_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let (gone, here) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut history = History::open(dir.path().to_owned(), START_MS).unwrap();
        for second in 0..700 {
            tick(&mut history, second, &[(gone, sample(1.0)), (here, sample(1.0))]).unwrap();
        }
        history.forget(gone);
        // A tick that was on its way.
        tick(&mut history, 700, &[(gone, sample(1.0))]).unwrap();
        assert!(!history.gathering.contains_key(&gone));
        drop(history);
        std::fs::write(dir.path().join(format!("{gone}.10s")), b"of an earlier run").unwrap();
        std::fs::write(dir.path().join(format!("{here}.10s.new")), b"half").unwrap();
        let mut history = History::open(dir.path().to_owned(), START_MS + 701_000).unwrap();
        history.keep_only(&HashSet::from([here]));
        history.flush().unwrap();
        let left: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert!(left.iter().all(|name| !name.contains(&gone.to_string()) && !name.ends_with(".new")), "{left:?}");
        assert!(left.iter().any(|name| name.contains(&here.to_string())));
    }
}
