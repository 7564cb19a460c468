//! Decimal numbers as people write them, with a few lines of arithmetic. The standard library's way is exact for every
//! number there is, and its tables would be a tenth of what a browser loads.

const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Reads digits with at most one point among them: up to 15, which a floating point number holds exactly.
#[must_use]
pub fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let count = whole.len() + fraction.len();
    if count == 0 || count > 15 || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes()).fold(0.0, |sum, byte| sum * 10.0 + f64::from(byte - b'0'));
    Some(digits / POWERS[fraction.len()])
}

/// A number with so many digits after the point, at most 15.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; larger numbers saturate")]
pub fn fixed(value: f64, digits: usize) -> String {
    let digits = digits.min(15);
    let scaled = (value.abs() * POWERS[digits]).round() as u128;
    let sign = if value < 0.0 && scaled > 0 { "-" } else { "" };
    let text = format!("{scaled:0>width$}", width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// A number with at most six digits after the point and no useless zeros.
#[must_use]
pub fn plain(value: f64) -> String {
    fixed(value, 6).trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_the_standard_library_does() {
        for text in ["0", "2", "0.5", ".5", "5.", "0.1", "1.25", "0.1235", "123456789.012345", "0.00000000000001"] {
            assert_eq!(decimal(text), text.parse().ok(), "{text}");
        }
        for text in ["", ".", "-1", "+1", "1e3", "1.2.3", "inf", "1,5", " 1", "1234567890123456"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_the_digits_asked_for() {
        assert_eq!(fixed(0.0, 0), "0");
        assert_eq!(fixed(0.0, 2), "0.00");
        assert_eq!(fixed(12.345_6, 2), "12.35");
        assert_eq!(fixed(0.05, 1), "0.1");
        assert_eq!(fixed(-1.25, 1), "-1.3");
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(999.96, 1), "1000.0");
        assert_eq!(fixed(1e18, 0), "1000000000000000000");
        assert_eq!((plain(2.0), plain(0.5), plain(100.0)), ("2".into(), "0.5".into(), "100".into()));
    }
}
