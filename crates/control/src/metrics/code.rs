//! A value of a series in two bytes: what keeps three tiers of history below 3 MiB a container.
//!
//! Values are never negative, so there is no sign: 6 bits of exponent (2^-20 to 2^42) and 10 of mantissa, an error of at
//! most 0.05 %. `0xFFFF` is a gap.

/// Stands where nothing was measured.
pub const GAP: u16 = 0xFFFF;
const LEAST_EXPONENT: i32 = -20;
const MOST_EXPONENT: i32 = 41;
const MANTISSA_STEPS: f64 = 1024.0;

/// Packs a value; what is too small becomes 0, what is too large the largest.
#[must_use]
pub fn encode(value: Option<f64>) -> u16 {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return GAP;
    };
    let least = 2_f64.powi(LEAST_EXPONENT);
    if value < least {
        return 0;
    }
    let most = 2_f64.powi(MOST_EXPONENT + 1) * (1.0 - 0.5 / MANTISSA_STEPS);
    let value = value.min(most * (1.0 - 0.5 / MANTISSA_STEPS));
    let mut exponent = exponent_of(value);
    let mut mantissa = ((value / 2_f64.powi(exponent) - 1.0) * MANTISSA_STEPS).round();
    if mantissa >= MANTISSA_STEPS {
        mantissa = 0.0;
        exponent += 1;
    }
    // 1..=62 and 0..=1023: both fit, and the highest code stays below the gap's.
    let exponent = u16::try_from(exponent - LEAST_EXPONENT + 1).unwrap_or(0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 1023")]
    let mantissa = mantissa as u16;
    exponent << 10 | mantissa
}

fn exponent_of(value: f64) -> i32 {
    // IEEE 754: bits 52 to 62 hold the exponent with a bias of 1023.
    let biased = i32::try_from(value.to_bits() >> 52 & 0x7FF).unwrap_or(0);
    biased - 1023
}

/// Unpacks a value.
#[must_use]
pub fn decode(code: u16) -> Option<f64> {
    if code == GAP {
        return None;
    }
    let (exponent, mantissa) = (i32::from(code >> 10), f64::from(code & 1023));
    if exponent == 0 {
        return Some(0.0);
    }
    Some((1.0 + mantissa / MANTISSA_STEPS) * 2_f64.powi(exponent - 1 + LEAST_EXPONENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_magnitude_comes_back_within_a_tenth_of_a_percent() {
        let mut value = 0.000_01;
        while value < 4e12 {
            let back = decode(encode(Some(value))).unwrap();
            assert!((back - value).abs() <= value * 0.001, "{value} came back as {back}");
            value *= 1.37;
        }
    }

    #[test]
    fn gaps_stay_gaps_and_zero_stays_zero() {
        assert_eq!(decode(encode(None)), None);
        assert_eq!(decode(encode(Some(f64::NAN))), None);
        assert_eq!(decode(encode(Some(0.0))), Some(0.0));
        assert_eq!(decode(encode(Some(-1.0))), Some(0.0));
    }

    #[test]
    fn the_largest_value_is_no_gap() {
        assert!(decode(encode(Some(1e30))).is_some_and(|value| value > 4e12));
    }
}
