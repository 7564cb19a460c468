//! Gathers the samples of one step into averages, maxima and, where there are enough, 95th percentiles. Pure.

use model::metrics::SERIES;

use super::code::{GAP, decode, encode};
use super::rates::Values;
use super::tier::{Point, Record};

/// A 95th percentile of fewer samples would be the maximum under another name.
pub const LEAST_FOR_P95: usize = 20;

/// The step that is being gathered.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    slot: i64,
    samples: u16,
    series: Vec<Gathered>,
    names: Vec<String>,
    with_p95: bool,
}

#[derive(Clone, Debug, Default)]
struct Gathered {
    sum: f64,
    count: u32,
    max: f64,
    /// Packed samples, kept only where the tier has percentiles.
    samples: Vec<u16>,
}

impl Gathered {
    fn add(&mut self, value: Option<f64>, with_p95: bool) {
        let Some(value) = value else { return };
        self.sum += value;
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.count += 1;
        if with_p95 {
            self.samples.push(encode(Some(value)));
        }
    }

    fn point(&self) -> Point {
        if self.count == 0 {
            return Point::default();
        }
        Point {
            avg: encode(Some(self.sum / f64::from(self.count))),
            max: encode(Some(self.max)),
            p95: p95(&self.samples),
        }
    }
}

/// The 95th percentile (nearest rank) of packed samples; the code is monotonic, so it sorts as the values do.
#[must_use]
pub fn p95(samples: &[u16]) -> u16 {
    if samples.len() < LEAST_FOR_P95 {
        return GAP;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * 95).div_ceil(100) - 1]
}

impl Bucket {
    /// An empty bucket.
    #[must_use]
    pub fn new(with_p95: bool) -> Self {
        Self { with_p95, ..Self::default() }
    }

    /// Adds a sample of the step `slot`; gives the record of the step before when a new one begins.
    pub fn add(&mut self, slot: i64, values: &Values) -> Option<Record> {
        let finished = (slot != self.slot).then(|| self.end()).flatten();
        self.slot = slot;
        self.samples = self.samples.saturating_add(1);
        self.series.resize_with(self.series.len().max(SERIES.len()), Gathered::default);
        for (gathered, value) in self.series.iter_mut().zip(values.fixed) {
            gathered.add(value, self.with_p95);
        }
        for (name, value) in &values.extra {
            let at = self.place(name);
            self.series[at].add(*value, self.with_p95);
        }
        finished
    }

    fn place(&mut self, name: &str) -> usize {
        let known = self.names.iter().position(|other| other == name);
        let at = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        self.series.resize_with(self.series.len().max(SERIES.len() + at + 1), Gathered::default);
        SERIES.len() + at
    }

    /// What was gathered so far, without ending the step.
    #[must_use]
    pub fn peek(&self) -> Option<Record> {
        (self.samples > 0).then(|| Record {
            slot: self.slot,
            samples: self.samples,
            points: self.series.iter().map(Gathered::point).collect(),
            names: self.names.clone(),
        })
    }

    /// Ends the step: what was gathered, if anything.
    pub fn end(&mut self) -> Option<Record> {
        let record = self.peek();
        *self = Self::new(self.with_p95);
        record
    }
}

/// Several steps of a tier as one: averages weighted by samples, the greatest maximum; a percentile only of a single step,
/// because percentiles cannot be averaged.
#[must_use]
pub fn merge(points: &[(u16, Point)]) -> (Option<f64>, Option<f64>, Option<f64>) {
    let (mut sum, mut weight, mut max) = (0.0, 0.0, None::<f64>);
    for (samples, point) in points {
        if let Some(avg) = decode(point.avg) {
            sum += avg * f64::from(*samples);
            weight += f64::from(*samples);
        }
        max = match (max, decode(point.max)) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }
    let p95 = if let [(_, only)] = points { decode(only.p95) } else { None };
    ((weight > 0.0).then(|| sum / weight), max, p95)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: Option<f64>) -> Values {
        let mut values = Values::default();
        values.fixed[0] = value;
        values
    }

    #[test]
    fn a_short_burst_is_still_the_maximum() {
        let mut bucket = Bucket::new(true);
        for second in 0..300 {
            assert_eq!(bucket.add(7, &sample(Some(if second == 150 { 2.0 } else { 0.5 }))), None);
        }
        let record = bucket.add(8, &sample(None)).unwrap();
        let point = record.points[0];
        assert_eq!(decode(point.max), Some(2.0));
        assert_eq!(decode(point.p95), Some(0.5));
        assert!((decode(point.avg).unwrap() - 0.505).abs() < 0.001);
        assert_eq!(record.samples, 300);
    }

    #[test]
    fn few_samples_have_no_percentile_and_none_has_no_value() {
        let mut bucket = Bucket::new(true);
        bucket.add(1, &sample(Some(1.0)));
        assert_eq!(bucket.peek().unwrap().points[0].p95, GAP);
        let mut bucket = Bucket::new(false);
        bucket.add(1, &sample(None));
        assert_eq!(bucket.peek().unwrap().points[0], Point::default());
    }

    #[test]
    fn merged_averages_are_weighted_by_samples() {
        let point = |avg, max| Point {
            avg: encode(Some(avg)),
            max: encode(Some(max)),
            p95: encode(Some(max)),
        };
        let (avg, max, p95) = merge(&[(30, point(1.0, 2.0)), (10, point(2.0, 4.0))]);
        assert_eq!((avg, max, p95), (Some(1.25), Some(4.0), None));
        assert_eq!(merge(&[]), (None, None, None));
        assert_eq!(merge(&[(30, point(1.0, 2.0))]).2, Some(2.0));
    }
}
