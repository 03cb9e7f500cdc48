//! The natural logarithm in integers, so that every machine and every compiler draws the same ring (rule S13).
//!
//! It takes a 64-bit number as the fraction `u = number / 2^64` and gives `-ln(u)` with 56 bits behind the point:
//!
//! ```text
//! number = 2^(63 - z) · m,  1 <= m < 2            z leading zeros
//! m      = c · (1 + r),     c = (256 + i) / 256   i from the eight bits below the first, 0 <= r < 1/256
//! -ln(u) = (z + 1) · ln 2  -  ln(c)  -  (r - r²/2 + r³/3 - r⁴/4 + r⁵/5 - r⁶/6)
//! ```
//!
//! Invariant: nothing here is a floating-point number, and the table is computed by the compiler from integers alone.

/// Bits behind the point of what [`negative_ln`] gives.
pub(crate) const FRACTION_BITS: u32 = 56;

/// ln 2 with 64 bits behind the point.
const LN_2: u64 = 0xb172_17f7_d1cf_79ab;
const TABLE_BITS: u32 = 8;
const STEPS: usize = 1 << TABLE_BITS;
/// ln(1 + i/256) with 64 bits behind the point.
static LN_STEPS: [u64; STEPS] = ln_steps();

/// -ln(`number` / 2^64) with [`FRACTION_BITS`] behind the point: below 45, and 0 takes the place of 1, which is next to it.
/// Off by less than 2^-54.
pub(crate) fn negative_ln(number: u64) -> u64 {
    let number = number.max(1);
    let zeros = number.leading_zeros();
    let mantissa = number << zeros;
    let step = (mantissa >> (63 - TABLE_BITS)) as usize & (STEPS - 1);
    let below = mantissa & ((1 << (63 - TABLE_BITS)) - 1);
    // r with 64 bits behind the point: below / 2^63 divided by (256 + i) / 256.
    let rest = (below << (TABLE_BITS + 1)) / (STEPS + step) as u64;
    let logarithm = u128::from(LN_STEPS[step]) + u128::from(ln_1_plus(rest));
    let whole = u128::from(LN_2) * u128::from(zeros + 1);
    let bits = whole.saturating_sub(logarithm) >> (64 - FRACTION_BITS);
    u64::try_from(bits).expect("64 · ln 2 is below 2^8")
}

/// ln(1 + r) for r below 1/256, both with 64 bits behind the point.
fn ln_1_plus(r: u64) -> u64 {
    let mut sum = part(6);
    for divisor in [5, 4, 3, 2] {
        sum = part(divisor) - times(r, sum);
    }
    r - times(r, times(r, sum))
}

/// 1 / `divisor`.
const fn part(divisor: u64) -> u64 {
    u64::MAX / divisor
}

/// The product of two fractions of 64 bits.
fn times(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

/// By ln(c) = 2 · artanh((c - 1) / (c + 1)), whose series needs nothing but multiplications.
const fn ln_steps() -> [u64; STEPS] {
    let mut steps = [0; STEPS];
    let mut index = 0;
    while index < STEPS {
        let z = ((index as u128) << 64) / (2 * STEPS + index) as u128;
        let (square, mut power, mut sum, mut odd) = ((z * z) >> 64, z, 0, 1);
        while power > 0 {
            sum += power / odd;
            power = (power * square) >> 64;
            odd += 2;
        }
        steps[index] = (2 * sum) as u64;
        index += 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: f64 = (1u64 << FRACTION_BITS) as f64;

    /// What the processor makes of it, and how far it may be off.
    fn expected(number: u64) -> (f64, f64) {
        let distance = u64::MAX - number;
        // Near 1 the distance from 1 is exact in a double, the number is not.
        let value = if distance < 1 << 50 {
            -(-(distance as f64 + 1.0) / 2f64.powi(64)).ln_1p()
        } else {
            -(number as f64 / 2f64.powi(64)).ln()
        };
        (value, 2e-16 * (2.0 + 2.0 * value))
    }

    #[track_caller]
    fn check(number: u64) {
        let (value, tolerance) = expected(number);
        let ours = negative_ln(number) as f64 / ONE;
        assert!((ours - value).abs() <= tolerance, "{number:#x}: {ours} instead of {value}");
    }

    #[test]
    fn it_agrees_with_the_processor_where_the_table_steps() {
        for zeros in 0..64 {
            check(1 << zeros);
            check(u64::MAX >> zeros);
        }
        for step in 0..256u64 {
            let edge = 1 << 63 | step << 55;
            [edge - 1, edge, edge + 1, edge | 1 << 54].into_iter().for_each(check);
        }
        assert_eq!(negative_ln(0), negative_ln(1));
    }

    #[test]
    fn constants_are_what_they_are_called() {
        assert_eq!(LN_2, (std::f64::consts::LN_2 * 2f64.powi(64)) as u64 & !0xfff | LN_2 & 0xfff);
        // ln 2 by the same series as the table: 2 · artanh(1/3).
        let next = u128::from(LN_STEPS[255]) + ((512.0f64 / 511.0).ln() * 2f64.powi(64)) as u128;
        assert!(next.abs_diff(u128::from(LN_2)) < 1 << 13, "{next:x}");
        assert_eq!(LN_STEPS[0], 0);
        assert!(LN_STEPS.is_sorted());
    }

    /// A change here is a different ring everywhere.
    #[test]
    fn values_never_change() {
        let golden = [
            (1, 0x2c5c_85fd_f473_de6a),
            (1 << 63, 0x00b1_7217_f7d1_cf79),
            (u64::MAX, 0),
            (0x1234_5678_9abc_def0, 0x02a4_bd2e_740a_c9da),
            (0xfedc_ba98_7654_3210, 0x0001_23eb_9913_54ea),
        ];
        let ours = golden.map(|(number, _)| (number, negative_ln(number)));
        assert_eq!(ours, golden, "{ours:x?}");
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_processor(number: u64, shift in 0..64u32) {
            check((number >> shift).max(1));
            check(!(number >> shift).max(1));
        }

        #[test]
        fn it_falls_as_the_number_grows(a: u64, b: u64) {
            let (low, high) = (a.min(b), a.max(b));
            // Two units: what truncation may add where the table steps.
            prop_assert!(negative_ln(low) + 2 >= negative_ln(high));
        }
    }
}
