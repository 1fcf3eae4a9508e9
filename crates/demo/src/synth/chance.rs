//! Randomness that can be asked for anywhere: each household, person and registration has its own stream, derived from the
//! seed and its place, so that any of them can be made again alone and nothing has to be kept.
//!
//! The streams are pinned: a seed gives the same population for ever, on every machine, as long as [`VERSION`] stays. A
//! golden test holds the crates underneath to that. They are fast, not secret: nothing here may make a key.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Changes whenever the same seed starts to give another population.
pub const VERSION: u32 = 1;

/// What a stream is for.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub enum Purpose {
    /// The villages of a county; its place is the county's code.
    County = 1,
    /// Who lives in a household, and when they go to hospital.
    Household,
    /// Where a household lives and what its children are called.
    Home,
    /// Name of a person.
    Name,
    /// Moves, other names and papers of a person.
    Life,
    /// Telephone numbers of a person.
    Phone,
    /// How a hospital wrote a registration down.
    Registration,
}

/// The stream of a purpose at a place.
pub fn stream(seed: u64, purpose: Purpose, place: u64, within: u64) -> SmallRng {
    let key =
        [purpose as u64, place, within].into_iter().fold(mix(seed), |state, part| mix(state ^ mix(part)));
    SmallRng::seed_from_u64(key)
}

/// Spreads every bit of a number over all of it (the finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Draws that the whole generator uses.
pub trait Chance: Rng {
    /// True with this probability.
    fn odds(&mut self, probability: f64) -> bool {
        self.random::<f64>() < probability
    }

    /// One of these; panics on none, which would be a mistake in a table.
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random_range(0..from.len())]
    }

    /// One of these, the earlier the likelier: half of the draws fall on the first quarter.
    fn pick_common<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.random::<f64>();
        from[((place * place * from.len() as f64) as usize).min(from.len() - 1)]
    }

    /// The place of one of these weights, in proportion to them.
    fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut draw = self.random_range(0..weights.iter().sum::<u32>());
        for (place, weight) in weights.iter().enumerate() {
            if draw < *weight {
                return place;
            }
            draw -= weight;
        }
        weights.len() - 1
    }

    /// A bell-shaped draw (four uniform ones added), never beyond 3.5 deviations. No logarithm, so the same on every machine.
    fn bell(&mut self, mean: f64, deviation: f64) -> f64 {
        let sum: f64 = (0..4).map(|_| self.random::<f64>()).sum();
        mean + (sum - 2.0) * 3f64.sqrt() * deviation
    }
}

impl<R: Rng> Chance for R {}
