//! A registration in the form in which it is compared, made once.

use model::body::Registration;
use model::codes;
use model::{PartialDate, RegionCode};
use smallvec::SmallVec;

use crate::normalise::name::Age;
use crate::normalise::{Address, Identifier, Name, NameKind, ResidentNumber, phone};

/// Values of one kind that are kept of a registration. Validation allows more; the rest is not compared.
pub const MAX_VALUES: usize = 4;

/// Days after birth in which a child may be registered under its mother's name. Names have to be registered within a month of birth
/// (Household Registration Regulations, article 7); a year is generous, and covers slips in the date.
const INFANT_DAYS: i32 = 400;

/// Days after birth in which most children have no name of their own yet: that month, and some days for whoever is late.
const UNNAMED_DAYS: i32 = 40;

/// Everything that linkage knows of a registration.
#[derive(Debug, Clone)]
pub struct Features {
    pub name: Name,
    /// GB/T 2261.1: 1 or 2; 0 for unknown and unstated.
    pub sex: u8,
    pub birth: Birth,
    pub resident: Option<ResidentNumber>,
    pub others: SmallVec<[Identifier; 1]>,
    pub phones: SmallVec<[u64; 2]>,
    pub addresses: SmallVec<[Address; 1]>,
    /// GB/T 3304, 0 when unknown.
    pub ethnicity: u8,
    pub contacts: SmallVec<[Contact; 1]>,
    /// County of the institution, six digits, 0 when unknown.
    pub place: u32,
    /// Day of the registration, as [`Birth::days`] counts; 0 when unknown. Nobody is registered before birth.
    pub seen: i32,
}

/// A person named in a registration.
#[derive(Debug, Clone)]
pub struct Contact {
    pub name: Name,
    pub relation: Relation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Mother,
    Father,
    Other,
}

/// A birth date: year, month and day, zero where unknown.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Birth {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

impl std::fmt::Debug for Birth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Birth(\"...\")")
    }
}

impl Birth {
    fn of(date: Option<PartialDate>) -> Self {
        let [year, month, day] = date.map_or([0; 3], crate::normalise::identifier::parts);
        Self { year, month: month as u8, day: day as u8 }
    }

    pub fn is_known(self) -> bool {
        self.year != 0
    }

    pub fn is_full(self) -> bool {
        self.day != 0
    }

    /// The first of January stands for "some day of that year" far more often than for itself.
    pub fn is_default(self) -> bool {
        !self.is_full() || self.month == 1 && self.day == 1
    }

    /// Days since the year 0, roughly: only differences of days and weeks are asked for, and of about a year for infants.
    pub fn days(self) -> i32 {
        let (year, month) = (i32::from(self.year), i32::from(self.month.max(1)));
        const BEFORE: [i32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        year * 365 + year / 4 + BEFORE[(month - 1) as usize % 12] + i32::from(self.day.max(1))
    }
}

impl Features {
    /// Reads a registration. `place` is the region of the node or institution it was made at.
    pub fn of(registration: &Registration, place: Option<&RegionCode>) -> Self {
        let birth = registration.birth_date.parse::<PartialDate>().ok();
        // Who does not know the day may have filled in some day.
        let day = registration.registered_date.parse::<PartialDate>().ok();
        let day = day.filter(|day| Birth::of(Some(*day)).days() >= Birth::of(birth).days());
        let seen = match (day, registration.born_ms) {
            (Some(day), _) => Birth::of(Some(day)).days(),
            (None, 0) => 0,
            (None, ms) => Birth::of(Some(PartialDate::of_unix_ms(ms))).days(),
        };
        let born = Birth::of(birth);
        let age = match seen - born.days() {
            _ if seen == 0 || !born.is_known() => Age::Infant,
            days if days > INFANT_DAYS => Age::Grown,
            days if born.is_full() && days <= UNNAMED_DAYS => Age::Weeks,
            _ => Age::Infant,
        };
        let name = Name::read_of(&registration.name, age);
        let stated: u8 = registration.sex.parse().ok().filter(|sex| matches!(sex, 1 | 2)).unwrap_or(0);
        let sex = if stated == 0 { name.suffix_sex } else { stated };
        let mut resident = None;
        let mut others = SmallVec::new();
        for identifier in &registration.identifiers {
            // Desks choose the wrong type; a number that is valid as a resident ID is one, whatever its type says.
            let number = ResidentNumber::read(&identifier.value, birth, sex);
            match number.map(|number| number.under(name.kind, birth)) {
                Some(number) if number.valid || identifier.r#type == codes::RESIDENT_ID => {
                    resident = Some(better(resident, number));
                }
                _ if identifier.r#type == codes::RESIDENT_ID => {}
                _ => others.extend(Identifier::read(&identifier.r#type, &identifier.value)),
            }
        }
        others.truncate(MAX_VALUES);
        let mut phones: SmallVec<[u64; 2]> =
            registration.phones.iter().filter_map(|phone| phone::read(phone)).collect();
        phones.sort_unstable();
        phones.dedup();
        phones.truncate(MAX_VALUES);
        let contacts = registration.contacts.iter().filter_map(Contact::of).take(MAX_VALUES);
        Self {
            sex,
            birth: born,
            resident,
            others,
            phones,
            addresses: registration
                .addresses
                .iter()
                .filter_map(|address| Address::read(&address.text))
                .take(MAX_VALUES)
                .collect(),
            ethnicity: registration.ethnicity.parse().unwrap_or(0),
            contacts: contacts.collect(),
            seen,
            place: place.map_or(0, |region| region.as_str().parse().unwrap_or(0)),
            name,
        }
    }

    /// The valid resident ID that is held to be the person's own, or may be.
    pub fn own_number(&self) -> Option<&ResidentNumber> {
        use crate::normalise::Belongs;
        self.resident.as_ref().filter(|number| number.valid && number.belongs != Belongs::Another)
    }

    /// The day of birth as far as it is known: a newborn without one was born about when it was registered.
    pub fn birth_days(&self) -> Option<i32> {
        if self.birth.is_full() {
            return Some(self.birth.days());
        }
        (self.name.kind == NameKind::Newborn && !self.birth.is_known() && self.seen != 0).then_some(self.seen)
    }

    /// The name of the mother, as far as it is told: a newborn bears it, a contact may be her.
    pub fn mother(&self) -> Option<&Name> {
        if self.name.kind == NameKind::Newborn {
            return Some(&self.name);
        }
        self.contacts.iter().find(|contact| contact.relation == Relation::Mother).map(|contact| &contact.name)
    }
}

impl Contact {
    fn of(contact: &model::body::Contact) -> Option<Self> {
        let name = Name::read(&contact.name);
        let relation = match contact.relation.as_str() {
            text if text.contains('母') || text.contains('妈') => Relation::Mother,
            text if text.contains('父') || text.contains('爸') => Relation::Father,
            _ => Relation::Other,
        };
        (name.kind != NameKind::Absent).then_some(Self { name, relation })
    }
}

/// The better of two numbers of one registration: valid before mistyped, the person's own before another's.
fn better(held: Option<ResidentNumber>, new: ResidentNumber) -> ResidentNumber {
    match held {
        Some(held) if (held.valid, held.belongs) >= (new.valid, new.belongs) => held,
        _ => new,
    }
}
