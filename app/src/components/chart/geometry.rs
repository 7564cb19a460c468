//! From values to SVG paths: pure, so that server and browser draw the same.

use model::number::fixed;

/// The drawing's own units; the browser stretches it to the room there is.
pub const WIDTH: f64 = 600.0;
pub const HEIGHT: f64 = 160.0;
/// The same as the drawing states them, with lines at the edges and through the middle.
pub const VIEW_BOX: &str = "0 0 600 160";
pub const GRID: &str = "M0 0H600M0 80H600M0 160H600";

/// What part of time and value the drawing shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub from_ms: i64,
    pub to_ms: i64,
    /// The value at the upper edge; the lower edge is 0.
    pub top: f64,
    /// Points further apart than this have a gap between them.
    pub gap_ms: i64,
}

impl Window {
    /// Where a moment stands, left to right.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of a width")]
    pub fn x(self, at_ms: i64) -> f64 {
        let span = (self.to_ms - self.from_ms).max(1) as f64;
        (at_ms - self.from_ms) as f64 / span * WIDTH
    }

    /// Where a value stands, top to bottom.
    #[must_use]
    pub fn y(self, value: f64) -> f64 {
        HEIGHT - (value / self.top).clamp(0.0, 1.0) * HEIGHT
    }

    /// The moment at a share of the width.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a moment within the window")]
    pub fn moment(self, share: f64) -> i64 {
        self.from_ms + ((self.to_ms - self.from_ms) as f64 * share.clamp(0.0, 1.0)) as i64
    }
}

/// Stretches of points without a gap.
fn runs(window: Window, times: &[i64], values: &[Option<f64>]) -> Vec<Vec<(i64, f64)>> {
    let mut runs: Vec<Vec<(i64, f64)>> = Vec::new();
    let mut last_ms = None;
    for (&time, value) in times.iter().zip(values) {
        let Some(value) = *value else {
            last_ms = None;
            continue;
        };
        if time >= window.from_ms && time <= window.to_ms {
            let continues = last_ms.is_some_and(|last| time - last <= window.gap_ms);
            match runs.last_mut() {
                Some(run) if continues => run.push((time, value)),
                _ => runs.push(vec![(time, value)]),
            }
            last_ms = Some(time);
        }
    }
    runs
}

/// A line across at this height.
#[must_use]
pub fn across(y: f64) -> String {
    format!("M0 {}H600", fixed(y, 1))
}

/// A line from top to bottom.
#[must_use]
pub fn upright(x: f64) -> String {
    format!("M{} 0V160", fixed(x, 1))
}

fn point(x: f64, y: f64) -> String {
    format!("{} {}", fixed(x, 1), fixed(y, 1))
}

/// A line that lifts its pen at gaps. A single point between gaps is a short dash, or it would not be seen.
#[must_use]
pub fn line(window: Window, times: &[i64], values: &[Option<f64>]) -> String {
    let mut path = String::new();
    for run in runs(window, times, values) {
        for (at, (time, value)) in run.iter().enumerate() {
            path.push(if at == 0 { 'M' } else { 'L' });
            path.push_str(&point(window.x(*time), window.y(*value)));
        }
        if run.len() == 1 {
            path.push_str("h1");
        }
    }
    path
}

/// The band from one line up to another; both have the same gaps.
#[must_use]
pub fn band(window: Window, times: &[i64], low: &[Option<f64>], high: &[Option<f64>]) -> String {
    let mut path = String::new();
    let both: Vec<Option<f64>> = low.iter().zip(high).map(|(low, high)| low.and(*high)).collect();
    let (lower, upper) = (runs(window, times, low), runs(window, times, &both));
    if lower.len() != upper.len() {
        return path;
    }
    for (lower, upper) in lower.iter().zip(&upper) {
        for (at, (time, value)) in upper.iter().chain(lower.iter().rev()).enumerate() {
            path.push(if at == 0 { 'M' } else { 'L' });
            path.push_str(&point(window.x(*time), window.y(*value)));
        }
        path.push('Z');
    }
    path
}

/// The area under a line.
#[must_use]
pub fn area(window: Window, times: &[i64], values: &[Option<f64>]) -> String {
    let floor: Vec<Option<f64>> = values.iter().map(|value| value.map(|_| 0.0)).collect();
    band(window, times, &floor, values)
}

/// A round value at or above `least`: powers of two of a binary unit for sizes, else 1, 2, 2.5 or 5 times a power of ten.
#[must_use]
pub fn round_up(least: f64, is_binary: bool) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    if is_binary {
        let exact = 2.0 * power_below(2.0, least * 0.999_999_999);
        return if exact * 0.75 >= least { exact * 0.75 } else { exact };
    }
    let base = power_below(10.0, least);
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * base >= least * 0.999_999);
    step.unwrap_or(10.0) * base
}

/// The greatest power of `base` that is not above `value`.
fn power_below(base: f64, value: f64) -> f64 {
    let mut power = 1.0;
    while power > value {
        power /= base;
    }
    while power * base <= value {
        power *= base;
    }
    power
}

/// The upper edge of the axis. It grows at once and shrinks only when less than a third of it is used, so that it does
/// not jump with every tick.
#[must_use]
pub fn axis_top(highest: f64, is_binary: bool, before: Option<f64>) -> f64 {
    let wanted = round_up(highest * 1.05, is_binary);
    match before {
        Some(before) if wanted <= before && wanted > before / 3.0 => before,
        _ => wanted,
    }
}

/// A line over `slots` equal steps that ends at the end; a gap lifts the pen. The box is `slots` by 20.
#[must_use]
pub fn sparkline(values: impl ExactSizeIterator<Item = Option<f64>>, slots: usize, top: f64) -> String {
    let first = slots.saturating_sub(values.len());
    let mut path = String::new();
    let mut is_down = false;
    for (at, value) in values.enumerate() {
        let Some(value) = value else {
            is_down = false;
            continue;
        };
        let y = 19.0 - (value / top).clamp(0.0, 1.0) * 18.0;
        path.push_str(&format!("{}{} {}", if is_down { 'L' } else { 'M' }, first + at, fixed(y, 1)));
        is_down = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        from_ms: 0,
        to_ms: 6000,
        top: 10.0,
        gap_ms: 2500,
    };

    #[test]
    fn the_drawing_states_its_size() {
        assert_eq!(VIEW_BOX, format!("0 0 {WIDTH} {HEIGHT}"));
        assert_eq!(GRID, format!("M0 0H{WIDTH}M0 {0}H{WIDTH}M0 {HEIGHT}H{WIDTH}", HEIGHT / 2.0));
        assert_eq!(across(1.0), format!("M0 {0:.1}H{WIDTH}", 1.0));
        assert_eq!(upright(2.5), format!("M{0:.1} 0V{HEIGHT}", 2.5));
    }

    #[test]
    fn missing_values_and_missing_time_are_gaps() {
        assert_eq!(
            line(WINDOW, &[0, 1000, 2000, 3000], &[Some(0.0), Some(10.0), None, Some(5.0)]),
            "M0.0 160.0L100.0 0.0M300.0 80.0h1"
        );
        assert_eq!(line(WINDOW, &[0, 6000], &[Some(0.0), Some(0.0)]).matches('M').count(), 2);
    }

    #[test]
    fn a_band_closes_around_both_lines() {
        let path = band(WINDOW, &[0, 1000], &[Some(5.0), Some(5.0)], &[Some(10.0), Some(10.0)]);
        assert_eq!(path, "M0.0 0.0L100.0 0.0L100.0 80.0L0.0 80.0Z");
    }

    #[test]
    fn axes_end_at_round_values() {
        assert_eq!(round_up(0.42, false), 0.5);
        assert_eq!(round_up(130.0, false), 200.0);
        assert_eq!(round_up(700.0 * 1_048_576.0, true), 768.0 * 1_048_576.0);
        assert_eq!(round_up(0.0, false), 1.0);
    }

    #[test]
    fn the_axis_grows_at_once_and_shrinks_late() {
        assert_eq!(axis_top(4.0, false, Some(2.0)), 5.0);
        assert_eq!(axis_top(2.0, false, Some(5.0)), 5.0);
        assert_eq!(axis_top(0.5, false, Some(5.0)), 1.0);
    }

    #[test]
    fn a_young_sparkline_stands_at_the_end() {
        assert_eq!(sparkline([Some(1.0), Some(0.0)].into_iter(), 60, 1.0), "M58 1.0L59 19.0");
    }
}
