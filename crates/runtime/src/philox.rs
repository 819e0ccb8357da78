//! Philox4x32-10, a counter-based generator of random numbers: four words for every counter and key, and no state.
//!
//! Source: Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
//! Twin of `shaders/shared/philox.wgsl`.

/// Returns the four random words of a counter and a key.
///
/// ```
/// assert_eq!(thalweg_runtime::philox::philox([0; 4], [0; 2])[0], 0x6627e8d5);
/// ```
#[inline]
#[must_use]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for _ in 0..10 {
        let p0 = 0xD251_1F53 * u64::from(c[0]);
        let p1 = 0xCD9E_8D57 * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// The number of counters that [`philox_run`] processes at once.
pub const RUN: usize = 16;

/// Returns the words of the counters {first + i, rest}, for i below [`RUN`]: the same as [`philox`] for each, but
/// vectorizable.
#[inline(always)]
pub fn philox_run(first: u32, rest: [u32; 3], key: [u32; 2]) -> [[u32; 4]; RUN] {
    let mut c0: [u32; RUN] = std::array::from_fn(|i| first.wrapping_add(i as u32));
    let [mut c1, mut c2, mut c3] = rest.map(|word| [word; RUN]);
    let mut k = key;
    for _ in 0..10 {
        for i in 0..RUN {
            let p0 = 0xD251_1F53 * u64::from(c0[i]);
            let p1 = 0xCD9E_8D57 * u64::from(c2[i]);
            c0[i] = (p1 >> 32) as u32 ^ c1[i] ^ k[0];
            c1[i] = p1 as u32;
            c2[i] = (p0 >> 32) as u32 ^ c3[i] ^ k[1];
            c3[i] = p0 as u32;
        }
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    std::array::from_fn(|i| [c0[i], c1[i], c2[i], c3[i]])
}

/// Returns a word as a number in [0, 1): its upper 24 bits.
#[inline]
pub fn unit_interval(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::{RUN, philox, philox_run};

    #[test]
    fn a_run_is_one_counter_after_the_other() {
        let run = philox_run(u32::MAX - 3, [5, 6, 7], [8, 9]);
        for i in 0..RUN as u32 {
            assert_eq!(run[i as usize], philox([(u32::MAX - 3).wrapping_add(i), 5, 6, 7], [8, 9]));
        }
    }

    #[test]
    fn known_answers_of_the_paper() {
        // The test vectors published with the authors' implementation (Random123, kat_vectors).
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
