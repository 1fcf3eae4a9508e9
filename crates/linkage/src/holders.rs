//! Under how many names an identifier goes: one that goes by many is nobody's, a default of some system or a card that a whole village shows.

use crate::block;
use crate::features::Features;
use crate::lists::{self, Lists};
use crate::normalise::Belongs;

/// Names under which an identifier is given before it is taken for a placeholder, or for one that everybody uses.
const MAX_HOLDERS: usize = 4;

/// Names by identifier: each name, as 31 bits of a hash, followed by how many registrations give the identifier under it.
#[derive(Debug, Default)]
pub struct Holders(Lists);

impl Holders {
    /// Notes under which name the identifiers of a registration are given, and takes those for nobody's that go by too many.
    pub fn note(&mut self, features: &mut Features) {
        let Some(name) = holder(features) else { return };
        if let Some(number) = &mut features.resident
            && self.is_shared(block::hash(&number.digits), name)
        {
            number.belongs = Belongs::Another;
        }
        features.others.retain(|document| !self.is_shared(block::hash(document), name));
    }

    /// Takes back what was noted of a registration's identifiers, but for those that are nobody's.
    pub fn forget(&mut self, features: &Features) {
        let Some(name) = holder(features) else { return };
        let number = features.resident.as_ref().map(|number| block::hash(&number.digits));
        for value in number.into_iter().chain(features.others.iter().map(block::hash)) {
            self.0.change(value, |names| {
                let Some(at) = names.iter().step_by(2).position(|known| *known == name) else { return };
                names[at * 2 + 1] -= 1;
                if names[at * 2 + 1] == 0 {
                    names.drain(at * 2..at * 2 + 2);
                }
            });
        }
    }

    /// Notes a name of an identifier; whether it goes by too many.
    fn is_shared(&mut self, value: u64, name: u32) -> bool {
        let mut shared = false;
        self.0.change(value, |names| {
            match names.iter().step_by(2).position(|known| *known == name) {
                Some(at) => names[at * 2 + 1] = (names[at * 2 + 1] + 1).min(lists::MAX),
                None if names.len() < 2 * MAX_HOLDERS => names.extend([name, 1]),
                None => {}
            }
            shared = names.len() >= 2 * MAX_HOLDERS;
        });
        shared
    }
}

/// What stands for a registration's name.
fn holder(features: &Features) -> Option<u32> {
    block::name_key(&features.name).map(|key| (key >> 33) as u32)
}
