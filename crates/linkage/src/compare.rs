//! Comparisons: how far two registrations agree, field by field, as one comparison level each.
//!
//! Levels of agreement stand first, closest first: `linker` and `train` rely on that order. What a level is worth is the model's to
//! say. Comparison and comparison level are Splink's words; its null level is [`MISSING`] here.

use crate::features::{Features, Relation};
use crate::normalise::address::Nearness;
use crate::normalise::{Belongs, NameKind, phone};

mod names;

/// One field's comparison: its name and its levels. The level [`MISSING`] is none of them and weighs nothing.
#[derive(Debug)]
pub struct Comparison {
    pub name: &'static str,
    pub levels: &'static [&'static str],
    /// How many of the first levels are about one kind of value; the rest are about another, told apart by what is there and not by
    /// who it is. Probabilities add up to one in each part.
    pub first_part: usize,
}

impl Comparison {
    const fn new(name: &'static str, levels: &'static [&'static str], first_part: usize) -> Self {
        Self { name, levels, first_part }
    }
}

/// An enum of comparison levels with the names that models and explanations use.
macro_rules! levels {
    ($(#[$doc:meta])* $name:ident { $($level:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($level),+ }

        impl $name {
            const NAMES: &[&str] = &[$($text),+];
        }
    };
}

levels! {
    /// Resident IDs; of registrations without one, other documents.
    IdentifierLevel {
        Same = "same",
        SamePerhapsAnothers = "same_perhaps_anothers",
        SameOfAnother = "same_of_another",
        OneSlip = "one_slip",
        TwoSlips = "two_slips",
        Different = "different",
        DifferentPerhapsAnothers = "different_perhaps_anothers",
        DifferentOfAnother = "different_of_another",
        DifferentMistyped = "different_mistyped",
        DocumentSame = "document_same",
        DocumentSlip = "document_slip",
        DocumentDifferent = "document_different",
    }
}

levels! {
    /// Names; of two newborns without a name, their mothers'.
    NameLevel {
        Same = "same",
        SoundsSame = "sounds_same",
        UnreadableCharacter = "unreadable_character",
        GivenExchanged = "given_exchanged",
        OneCharacter = "one_character",
        OneCharacterMore = "one_character_more",
        Transcription = "transcription",
        GivenSame = "given_same",
        SurnameSame = "surname_same",
        Different = "different",
        PetName = "pet_name",
        NewbornSameMother = "newborn_same_mother",
        NewbornOtherTwin = "newborn_other_twin",
        NewbornOtherMother = "newborn_other_mother",
    }
}

levels! {
    /// Birth dates.
    BirthLevel {
        Same = "same",
        Exchanged = "exchanged",
        YearSlip = "year_slip",
        MonthSlip = "month_slip",
        DaySlip = "day_slip",
        YearOnly = "year_only",
        Weeks = "weeks",
        SameYear = "same_year",
        TwoYears = "two_years",
        Different = "different",
        NotYetBorn = "not_yet_born",
    }
}

levels! {
    /// Sexes, GB/T 2261.1.
    SexLevel {
        Same = "same",
        Different = "different",
    }
}

levels! {
    /// Telephone numbers, any of one with any of the other.
    PhoneLevel {
        Same = "same",
        OneSlip = "one_slip",
        Different = "different",
    }
}

levels! {
    /// Addresses, the nearest two.
    AddressLevel {
        House = "house",
        Village = "village",
        OtherHouse = "other_house",
        Town = "town",
        County = "county",
        Elsewhere = "elsewhere",
    }
}

levels! {
    /// The persons named as contacts.
    ContactLevel {
        MotherSame = "mother_same",
        Same = "same",
        MotherDifferent = "mother_different",
        Different = "different",
        IsTheOther = "is_the_other",
    }
}

levels! {
    /// Ethnicities, GB/T 3304; `han` is both, too common to say much.
    EthnicityLevel {
        Same = "same",
        Han = "han",
        Different = "different",
    }
}

levels! {
    /// Where the two were registered.
    PlaceLevel {
        SameCounty = "same_county",
        SamePrefecture = "same_prefecture",
        Elsewhere = "elsewhere",
    }
}

/// Comparisons, in the order of [`Levels`].
pub const COMPARISONS: [Comparison; 9] = [
    Comparison::new("identifier", IdentifierLevel::NAMES, IdentifierLevel::DocumentSame as usize),
    Comparison::new("name", NameLevel::NAMES, NameLevel::NewbornSameMother as usize),
    Comparison::new("birth_date", BirthLevel::NAMES, 11),
    Comparison::new("sex", SexLevel::NAMES, 2),
    Comparison::new("phone", PhoneLevel::NAMES, 3),
    Comparison::new("address", AddressLevel::NAMES, 6),
    Comparison::new("contact", ContactLevel::NAMES, 5),
    Comparison::new("ethnicity", EthnicityLevel::NAMES, 3),
    Comparison::new("place", PlaceLevel::NAMES, 3),
];

/// Places of the comparisons in [`Levels`].
pub mod field {
    pub const IDENTIFIER: usize = 0;
    pub const NAME: usize = 1;
    pub const BIRTH: usize = 2;
    pub const SEX: usize = 3;
    pub const PHONE: usize = 4;
    pub const ADDRESS: usize = 5;
    pub const CONTACT: usize = 6;
    pub const ETHNICITY: usize = 7;
    pub const PLACE: usize = 8;
}

/// A value is missing on one side or both: no evidence.
pub const MISSING: u8 = u8::MAX;

/// The level of every comparison.
pub type Levels = [u8; COMPARISONS.len()];

/// Compares two registrations. Symmetric.
pub fn compare(a: &Features, b: &Features) -> Levels {
    [
        identifier(a, b),
        name(a, b),
        birth(a, b),
        sex(a, b),
        phones(a, b),
        address(a, b),
        contact(a, b),
        ethnicity(a.ethnicity, b.ethnicity),
        place(a.place, b.place),
    ]
}

fn identifier(a: &Features, b: &Features) -> u8 {
    if let (Some(one), Some(other)) = (&a.resident, &b.resident) {
        let belongs = one.belongs.min(other.belongs);
        let belongs = if belongs == Belongs::Another
            && a.name.is_own()
            && b.name.is_own()
            && a.name.sounds_like(&b.name)
        {
            Belongs::Perhaps
        } else {
            belongs
        };
        let both_valid = one.valid && other.valid;
        let slip = both_valid && one.digits != other.digits && one.may_be(other);
        // Another's card is another's, with a slip in its number as well.
        let same = one.digits == other.digits || slip && belongs == Belongs::Another;
        let level = match (same, both_valid) {
            (true, _) => match belongs {
                Belongs::Own => IdentifierLevel::Same as u8,
                Belongs::Perhaps => IdentifierLevel::SamePerhapsAnothers as u8,
                Belongs::Another => IdentifierLevel::SameOfAnother as u8,
            },
            (false, true) if slip => IdentifierLevel::OneSlip as u8,
            (false, true) => match belongs {
                Belongs::Own => IdentifierLevel::Different as u8,
                Belongs::Perhaps => IdentifierLevel::DifferentPerhapsAnothers as u8,
                Belongs::Another => IdentifierLevel::DifferentOfAnother as u8,
            },
            (false, false) if one.one_slip(other) => IdentifierLevel::OneSlip as u8,
            (false, false) if one.two_slips(other) => IdentifierLevel::TwoSlips as u8,
            (false, false) => IdentifierLevel::DifferentMistyped as u8,
        };
        return level;
    }
    documents(a, b)
}

fn documents(a: &Features, b: &Features) -> u8 {
    if a.others.is_empty() || b.others.is_empty() {
        return MISSING;
    }
    let pairs = || a.others.iter().flat_map(|one| b.others.iter().map(move |other| (one, other)));
    if pairs().any(|(one, other)| one == other) {
        IdentifierLevel::DocumentSame as u8
    } else if pairs().any(|(one, other)| one.one_slip(other)) {
        IdentifierLevel::DocumentSlip as u8
    } else {
        IdentifierLevel::DocumentDifferent as u8
    }
}

fn name(a: &Features, b: &Features) -> u8 {
    let (one, other) = (&a.name, &b.name);
    match (one.kind, other.kind) {
        (NameKind::Newborn, NameKind::Newborn) => names::newborn(one, other),
        (NameKind::Letters, NameKind::Letters) => names::letters(one, other),
        (NameKind::Han, NameKind::Han) => names::han(one, other),
        // No name, not yet named, or another script: nothing to compare.
        _ => MISSING,
    }
}

fn birth(one: &Features, other: &Features) -> u8 {
    /// Days by which a date may be off without saying anything.
    const SLACK: i32 = 40;
    /// Days between two stated birth dates at the level `weeks`: lunar and solar dates differ by up to 50.
    const WEEKS: i32 = 50;
    let unborn =
        |a: &Features, b: &Features| a.seen != 0 && b.birth_days().is_some_and(|days| a.seen + SLACK < days);
    let (a, b) = (one.birth, other.birth);
    if !a.is_known() || !b.is_known() {
        if unborn(one, other) || unborn(other, one) {
            return BirthLevel::NotYetBorn as u8;
        }
        return match (one.birth_days(), other.birth_days()) {
            (Some(a), Some(b)) if (a - b).abs() <= SLACK => BirthLevel::Weeks as u8,
            (Some(_), Some(_)) => BirthLevel::Different as u8,
            _ => MISSING,
        };
    }
    let year_apart = a.year.abs_diff(b.year);
    if a == b && a.is_full() {
        return BirthLevel::Same as u8;
    }
    if year_apart == 0 && (a.is_default() || b.is_default()) {
        return BirthLevel::YearOnly as u8;
    }
    if a.is_full() && b.is_full() {
        if year_apart == 0 && a.month == b.day && a.day == b.month {
            return BirthLevel::Exchanged as u8;
        }
        match (year_apart == 0, a.month == b.month, a.day == b.day) {
            (false, true, true) if year_apart <= 2 || year_apart == 10 => return BirthLevel::YearSlip as u8,
            (true, false, true) => return BirthLevel::MonthSlip as u8,
            (true, true, false) => return BirthLevel::DaySlip as u8,
            _ => {}
        }
        if (a.days() - b.days()).abs() <= WEEKS {
            return BirthLevel::Weeks as u8;
        }
    }
    match year_apart {
        0 => BirthLevel::SameYear as u8,
        1 | 2 => BirthLevel::TwoYears as u8,
        _ => BirthLevel::Different as u8,
    }
}

fn sex(a: &Features, b: &Features) -> u8 {
    if a.sex == 0 || b.sex == 0 {
        return MISSING;
    }
    if a.sex == b.sex { SexLevel::Same as u8 } else { SexLevel::Different as u8 }
}

fn phones(a: &Features, b: &Features) -> u8 {
    if a.phones.is_empty() || b.phones.is_empty() {
        return MISSING;
    }
    if a.phones.iter().any(|phone| b.phones.contains(phone)) {
        PhoneLevel::Same as u8
    } else if a.phones.iter().any(|one| b.phones.iter().any(|other| phone::one_slip(*one, *other))) {
        PhoneLevel::OneSlip as u8
    } else {
        PhoneLevel::Different as u8
    }
}

fn address(a: &Features, b: &Features) -> u8 {
    let pairs = a.addresses.iter().flat_map(|one| b.addresses.iter().map(move |other| one.nearness(other)));
    pairs.min().map_or(MISSING, |nearness| match nearness {
        Nearness::House => AddressLevel::House as u8,
        Nearness::Village => AddressLevel::Village as u8,
        Nearness::OtherHouse => AddressLevel::OtherHouse as u8,
        Nearness::Town => AddressLevel::Town as u8,
        Nearness::County => AddressLevel::County as u8,
        Nearness::Elsewhere => AddressLevel::Elsewhere as u8,
    })
}

fn contact(a: &Features, b: &Features) -> u8 {
    let names = |one: &Features, other: &Features| {
        let mother = one.mother().is_some_and(|mother| mother.same_chars(&other.name)) && other.name.is_own();
        mother
            || other.name.is_own() && one.contacts.iter().any(|contact| contact.name.same_chars(&other.name))
    };
    if names(a, b) || names(b, a) {
        return ContactLevel::IsTheOther as u8;
    }
    if a.name.kind == NameKind::Newborn && b.name.kind == NameKind::Newborn {
        // Both bear their mother's name: that comparison was made.
        return MISSING;
    }
    if let (Some(one), Some(other)) = (a.mother(), b.mother()) {
        return if one.sounds_like(other) {
            ContactLevel::MotherSame as u8
        } else {
            ContactLevel::MotherDifferent as u8
        };
    }
    if a.contacts.is_empty() || b.contacts.is_empty() {
        return MISSING;
    }
    let same = a.contacts.iter().any(|one| b.contacts.iter().any(|other| one.name.same_chars(&other.name)));
    if same {
        return ContactLevel::Same as u8;
    }
    let comparable = a.contacts.iter().any(|one| {
        b.contacts.iter().any(|other| {
            one.relation == other.relation
                || one.relation == Relation::Other
                || other.relation == Relation::Other
        })
    });
    if comparable { ContactLevel::Different as u8 } else { MISSING }
}

fn ethnicity(a: u8, b: u8) -> u8 {
    const HAN: u8 = 1;
    match (a, b) {
        (0, _) | (_, 0) => MISSING,
        (HAN, HAN) => EthnicityLevel::Han as u8,
        (a, b) if a == b => EthnicityLevel::Same as u8,
        _ => EthnicityLevel::Different as u8,
    }
}

fn place(a: u32, b: u32) -> u8 {
    match (a, b) {
        (0, _) | (_, 0) => MISSING,
        (a, b) if a == b => PlaceLevel::SameCounty as u8,
        (a, b) if a / 100 == b / 100 => PlaceLevel::SamePrefecture as u8,
        _ => PlaceLevel::Elsewhere as u8,
    }
}
