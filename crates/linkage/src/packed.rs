//! Features as they are kept: one run of bytes a registration, read again whenever it is compared.
//!
//! A registration is compared a few dozen times in its life and kept for all of it. So what is kept is as short as can be read quickly: numbers
//! in groups of seven bits (LEB128), resident IDs as half bytes, characters by their distance from the commonest ones. Lives in memory only
//! and has no version.

use smallvec::SmallVec;

use crate::features::{Birth, Contact, Features, Relation};
use crate::normalise::identifier::Digits;
use crate::normalise::{Address, Belongs, Identifier, Name, NameKind, ResidentNumber};

/// The middle of the characters that two bytes hold: U+4E00 to U+8DFF, nine of ten in names.
const MIDDLE: i32 = 0x6e00;
/// Number of bytes that most registrations need at most; longer ones are as well.
const USUAL: usize = 96;

/// A registration's features. Prints nothing of them.
#[derive(Default)]
pub struct Packed(Box<[u8]>);

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packed(\"...\")")
    }
}

impl Packed {
    pub fn of(features: &Features) -> Self {
        let mut bytes = Writer(SmallVec::new());
        bytes.features(features);
        Self(bytes.0.as_slice().into())
    }

    pub fn open(&self) -> Features {
        Reader(&self.0).features()
    }
}

struct Writer(SmallVec<[u8; USUAL]>);

impl Writer {
    fn features(&mut self, of: &Features) {
        let Birth { year, month, day } = of.birth;
        let counts = [of.phones.len(), of.addresses.len(), of.others.len(), of.contacts.len()];
        self.byte(of.sex | (of.ethnicity & 63) << 2);
        let old = of.resident.as_ref().is_some_and(|number| number.old);
        let number = u8::from(of.resident.is_some()) << 2 | u8::from(old) << 6;
        self.byte(of.ethnicity >> 6 | number | (counts[0] as u8) << 3);
        self.byte(counts[1] as u8 | (counts[2] as u8) << 3);
        self.byte(counts[3] as u8);
        self.number(u64::from(year) << 9 | u64::from(month) << 5 | u64::from(day));
        self.number(u64::from(of.place));
        self.signed(of.seen);
        self.name(&of.name);
        of.resident.iter().for_each(|number| self.resident(number));
        of.phones.iter().for_each(|phone| self.number(*phone));
        of.addresses.iter().for_each(|address| self.address(address));
        for document in &of.others {
            self.byte(document.value.len() as u8);
            self.0.extend_from_slice(document.value.as_bytes());
        }
        for contact in &of.contacts {
            self.byte(contact.relation as u8);
            self.name(&contact.name);
        }
    }

    fn name(&mut self, name: &Name) {
        self.byte(name.kind as u8 | name.suffix_sex << 2 | name.birth_order << 4);
        self.byte(name.chars.len() as u8 | name.surname << 5);
        name.chars.iter().for_each(|c| self.signed(u32::from(*c) as i32 - MIDDLE));
    }

    fn resident(&mut self, number: &ResidentNumber) {
        self.byte(u8::from(number.valid) | (number.belongs as u8) << 1 | (number.digits.len() as u8) << 3);
        let half = |digit: &u8| if *digit == b'X' { 10 } else { digit & 15 };
        for two in number.digits.chunks(2) {
            self.byte(half(&two[0]) | two.get(1).map_or(0, half) << 4);
        }
    }

    fn address(&mut self, address: &Address) {
        let parts = [address.county, address.town, address.village];
        let said = |at: usize| u8::from(parts[at] != 0) << at;
        self.byte(said(0) | said(1) | said(2) | (address.numbers().len() as u8) << 3);
        parts.iter().filter(|part| **part != 0).for_each(|part| self.0.extend(part.to_le_bytes()));
        address.numbers().iter().for_each(|number| self.number(u64::from(*number)));
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, mut number: u64) {
        while number > 127 {
            self.byte(number as u8 | 128);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// Small ones of either sign are short.
    fn signed(&mut self, number: i32) {
        self.number(u64::from((number << 1 ^ number >> 31) as u32));
    }
}

/// Reads what [`Writer`] wrote; of anything else, zeros after its end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn features(&mut self) -> Features {
        let [first, second, third, fourth] = [self.byte(), self.byte(), self.byte(), self.byte()];
        let date = self.number();
        Features {
            sex: first & 3,
            ethnicity: first >> 2 | (second & 3) << 6,
            birth: Birth { year: (date >> 9) as u16, month: (date >> 5 & 15) as u8, day: (date & 31) as u8 },
            place: self.number() as u32,
            seen: self.signed(),
            name: self.name(),
            resident: (second & 4 != 0).then(|| self.resident(second & 64 != 0)),
            phones: (0..second >> 3 & 7).map(|_| self.number()).collect(),
            addresses: (0..third & 7).map(|_| self.address()).collect(),
            others: (0..third >> 3).map(|_| self.document()).collect(),
            contacts: (0..fourth).map(|_| self.contact()).collect(),
        }
    }

    fn name(&mut self) -> Name {
        const KINDS: [NameKind; 4] = [NameKind::Han, NameKind::Letters, NameKind::Newborn, NameKind::Absent];
        let (first, second) = (self.byte(), self.byte());
        let mut c = || char::from_u32(self.signed().wrapping_add(MIDDLE) as u32).unwrap_or_default();
        Name {
            kind: KINDS[usize::from(first & 3)],
            chars: (0..second & 31).map(|_| c()).collect(),
            surname: second >> 5,
            birth_order: first >> 4,
            suffix_sex: first >> 2 & 3,
        }
    }

    fn resident(&mut self, old: bool) -> ResidentNumber {
        const BELONGS: [Belongs; 4] = [Belongs::Another, Belongs::Perhaps, Belongs::Own, Belongs::Own];
        let first = self.byte();
        let length = usize::from(first >> 3);
        let mut digits = Digits::new();
        for _ in 0..length.div_ceil(2) {
            let two = self.byte();
            digits.extend([two & 15, two >> 4].map(|half| if half == 10 { b'X' } else { b'0' + half }));
        }
        digits.truncate(length);
        ResidentNumber { digits, valid: first & 1 != 0, old, belongs: BELONGS[usize::from(first >> 1 & 3)] }
    }

    fn address(&mut self) -> Address {
        let first = self.byte();
        let parts = [1, 2, 4].map(|said| if first & said == 0 { 0 } else { self.hash() });
        Address::of_parts(parts, (0..first >> 3).map(|_| self.number() as u32))
    }

    fn document(&mut self) -> Identifier {
        let length = usize::from(self.byte());
        let (value, rest) = self.0.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        Identifier { value: std::str::from_utf8(value).unwrap_or_default().into() }
    }

    fn contact(&mut self) -> Contact {
        const RELATIONS: [Relation; 3] = [Relation::Mother, Relation::Father, Relation::Other];
        let relation = RELATIONS.get(usize::from(self.byte())).copied().unwrap_or(Relation::Other);
        Contact { relation, name: self.name() }
    }

    fn hash(&mut self) -> u32 {
        let Some((bytes, rest)) = self.0.split_first_chunk() else { return 0 };
        self.0 = rest;
        u32::from_le_bytes(*bytes)
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 || shift > 63 {
                return number;
            }
        }
    }

    fn signed(&mut self) -> i32 {
        let number = self.number() as u32;
        (number >> 1) as i32 ^ -((number & 1) as i32)
    }
}

#[cfg(test)]
mod tests {
    use model::body::{Address, Contact, Identifier, Registration};
    use proptest::prelude::*;

    use super::*;

    fn same(features: &Features) {
        let (a, b) = (features, Packed::of(features).open());
        assert_eq!((&a.name, a.sex, a.birth, a.ethnicity), (&b.name, b.sex, b.birth, b.ethnicity));
        assert_eq!((&a.resident, &a.others, &a.phones), (&b.resident, &b.others, &b.phones));
        assert_eq!((&a.addresses, a.place, a.seen), (&b.addresses, b.place, b.seen));
        let contacts = |of: &Features| -> Vec<_> {
            of.contacts.iter().map(|contact| (contact.name.clone(), contact.relation)).collect()
        };
        assert_eq!(contacts(a), contacts(&b));
    }

    prop_compose! {
        fn registration()(
            name in "[\\PC李秀英之子女大双A-Z𠀀䶮]{0,30}",
            sex in 0..3u8,
            birth in (0..9999u16, 0..13u8, 0..29u8),
            ids in prop::collection::vec("[0-9X]{0,20}|53010219850312451[0-9X]|[A-Zé]{0,4}[0-9]{0,30}", 0..6),
            phones in prop::collection::vec("[0-9]{5,16}", 0..6),
            addresses in prop::collection::vec("[云南省昆明市县区永安镇路水井村0-9组号]{0,40}", 0..6),
            contacts in prop::collection::vec(("\\PC{0,8}", "[母父友]"), 0..6),
            ethnicity in 0..=255u8,
            born_ms in prop_oneof![Just(0), 0..4_000_000_000_000u64],
        ) -> Registration {
            let (year, month, day) = birth;
            Registration {
                name,
                sex: sex.to_string(),
                birth_date: format!("{year:04}-{month:02}-{day:02}"),
                identifiers: ids
                    .into_iter()
                    .enumerate()
                    .map(|(at, value)| Identifier { r#type: ["01", "03"][at % 2].into(), value, assigner: String::new() })
                    .collect(),
                phones,
                addresses: addresses.into_iter().map(|text| Address { text, region_code: String::new() }).collect(),
                contacts: contacts
                    .into_iter()
                    .map(|(name, relation)| Contact { name, relation, phone: String::new() })
                    .collect(),
                ethnicity: format!("{ethnicity:02}"),
                born_ms,
                ..Registration::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_what_is_opened(registration in registration(), place in 110_000..999_999u32) {
            same(&Features::of(&registration, place.to_string().parse().ok().as_ref()));
        }
    }

    #[test]
    fn what_registrations_may_hold_at_most_is_held() {
        let row = |text: &str| Registration {
            name: text.repeat(30),
            contacts: vec![
                Contact { name: text.repeat(30), relation: "母".into(), phone: String::new() };
                9
            ],
            addresses: vec![
                Address {
                    text: format!("{text}镇水井村9999999999组4号5号6号7号8号"),
                    region_code: String::new()
                };
                9
            ],
            phones: (0..9).map(|digit| format!("98765432101234{digit}")).collect(),
            identifiers: vec![
                Identifier {
                    r#type: "03".into(),
                    value: "Z".repeat(30) + "72",
                    assigner: String::new()
                };
                9
            ],
            ..Registration::default()
        };
        for text in ["李", "A", "𠀀", "永安"] {
            let features = Features::of(&row(text), None);
            assert_eq!((features.contacts.len(), features.phones.len(), features.others.len()), (4, 4, 4));
            same(&features);
        }
    }

    #[test]
    fn an_ordinary_registration_is_short_and_debug_shows_nothing() {
        let features = Features::of(
            &Registration {
                name: "段正明".into(),
                sex: "1".into(),
                birth_date: "1985-03-12".into(),
                identifiers: vec![Identifier {
                    r#type: "01".into(),
                    value: "530102198503124514".into(),
                    assigner: String::new(),
                }],
                phones: vec!["13987654321".into()],
                addresses: vec![Address {
                    text: "云南省昆明市五华区永安镇水井村17组110号".into(),
                    region_code: String::new(),
                }],
                born_ms: 1_500_000_000_000,
                ..Registration::default()
            },
            "530102".parse().ok().as_ref(),
        );
        let packed = Packed::of(&features);
        assert!(packed.0.len() <= 64, "{} bytes", packed.0.len());
        assert_eq!(format!("{packed:?}"), "Packed(\"...\")");
        same(&features);
    }
}
