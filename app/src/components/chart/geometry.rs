//! From values to SVG paths: pure, so that server and browser draw the same.

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
        path.push_str(&format!("{}{} {y:.1}", if is_down { 'L' } else { 'M' }, first + at));
        is_down = true;
    }
    path
}
