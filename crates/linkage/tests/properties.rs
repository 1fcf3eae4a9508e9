//! What must hold whatever is registered and decided, in any order.

use std::collections::{HashMap, HashSet};

use linkage::linker::Place;
use linkage::normalise::identifier::Digits;
use linkage::{Features, Linker, Model, Scorer};
use model::body::{Address, Contact, Identifier, Registration};
use proptest::prelude::*;

const IDS: [&str; 4] = ["", "530102198503124514", "530102198503124573", "530102198503124514"];
const NAMES: [&str; 8] = ["段正明", "段政明", "段正华", "段明正", "李秀英之子", "李秀英之子2", "张?", ""];
const BIRTHS: [&str; 4] = ["1985-03-12", "1985-12-03", "1988-07-01", ""];
const PHONES: [&str; 3] = ["13987654321", "13987654322", ""];
const HOMES: [&str; 3] = ["昆明市五华区人民路387号翠湖家园3幢1201室", "昆明市五华区龙泉镇白水村3组9号", ""];
const RELATIONS: [&str; 3] = ["母亲", "父亲", "邻居"];

prop_compose! {
    fn registration()(name in 0..8usize, birth in 0..4usize, id in 0..4usize, phone in 0..3usize, home in 0..3usize,
                      sex in 0..3u8, relation in 0..4usize) -> Registration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Registration {
            name: NAMES[name].into(),
            sex: sex.to_string(),
            birth_date: BIRTHS[birth].into(),
            identifiers: some(IDS[id]).map(|value| Identifier { r#type: "01".into(), value, assigner: String::new() }).into_iter().collect(),
            phones: some(PHONES[phone]).into_iter().collect(),
            addresses: some(HOMES[home]).map(|text| Address { text, region_code: String::new() }).into_iter().collect(),
            contacts: RELATIONS.get(relation).map(|kind| Contact { name: NAMES[home].into(), relation: (*kind).into(), phone: String::new() }).into_iter().collect(),
            ..Registration::default()
        }
    }
}

fn features(registration: &Registration) -> Features {
    Features::of(registration, "530102".parse().ok().as_ref())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_registration_is_in_one_person_and_humans_are_obeyed(
        registrations in prop::collection::vec(registration(), 1..120),
        decisions in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..6),
    ) {
        let mut linker = Linker::new(Scorer::new(Model::shipped()));
        let mut human: HashMap<(Place, Place), bool> = HashMap::new();
        for (at, registration) in registrations.iter().enumerate() {
            linker.register(features(registration));
            if let Some((a, b, same)) = decisions.get(at * decisions.len() / registrations.len()).filter(|_| at % 17 == 5) {
                let (a, b) = (a.index(at) as Place, b.index(at) as Place);
                linker.decide(a, b, *same);
                if a != b {
                    human.insert((a.min(b), a.max(b)), *same);
if human.values().all(|same| *same) {
                        prop_assert_eq!(linker.person_of(a), linker.person_of(b), "a human joined them");
                    }
                }
            }
            for ((a, b), same) in &human {
                prop_assert!(*same || linker.person_of(*a) != linker.person_of(*b), "separated registrations are one person");
            }
        }
        let persons: HashSet<Place> = (0..linker.len()).map(|place| linker.person_of(place as Place)).collect();
        prop_assert_eq!(persons.len(), linker.persons() as usize);
        prop_assert!(persons.iter().all(|person| linker.person_of(*person) == *person));
        // Only a human may join two numbers.
        if human.is_empty() {
            let mut numbers: HashMap<Place, Digits> = HashMap::new();
            for place in 0..linker.len() as Place {
                let features = linker.features(place);
                // Those of the old form may be slips of the one with a check digit.
                let Some(number) = features.own_number().filter(|number| !number.old) else { continue };
                let known = numbers.entry(linker.person_of(place)).or_insert_with(|| number.digits.clone());
                prop_assert_eq!(&*known, &number.digits, "two resident IDs of one person");
            }
        }
    }

    #[test]
    fn comparison_is_symmetric(a in registration(), b in registration()) {
        let (a, b) = (features(&a), features(&b));
        prop_assert_eq!(linkage::compare::compare(&a, &b), linkage::compare::compare(&b, &a));
        let linker = Linker::new(Scorer::new(Model::shipped()));
        let (one, other) = (linker.compare(&a, &b).2.weight(), linker.compare(&b, &a).2.weight());
        prop_assert!((one - other).abs() < 1e-3 && one.is_finite(), "{one} {other}");
    }

    #[test]
    fn no_text_makes_reading_fail(name in "\\PC{0,40}", id in "[0-9Xx ]{0,22}", address in "[一二三十九零组号村0-9云南省昆明市县区镇路 ]{0,60}", phone in "\\PC{0,20}") {
        let registration = Registration {
            name: name.clone(),
            identifiers: vec![Identifier { r#type: "01".into(), value: id, assigner: String::new() }],
            addresses: vec![Address { text: address, region_code: String::new() }],
            phones: vec![phone],
            contacts: vec![Contact { name, relation: "母亲".into(), phone: String::new() }],
            ..Registration::default()
        };
        let of = features(&registration);
        linkage::compare::compare(&of, &of);
    }
}
