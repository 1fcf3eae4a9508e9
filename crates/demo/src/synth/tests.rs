//! The population as a whole: the same for ever, valid where it should be, wrong as often as it should be, and the same
//! after a journey through CSV. The checks are written anew here, not borrowed from the generator.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::csv::{Reader, TruthWriter, Writer};
use super::*;

pub fn population(persons: u64, seed: u64) -> Population {
    Population::new(&Tree::yunnan(), &Options::new(persons, seed)).unwrap()
}

pub fn facilities(counties: usize) -> Facilities {
    let tree = Tree::yunnan();
    let nodes = tree.nodes(&tree.select(counties));
    Facilities::new(tree, nodes)
}

pub fn to_csv(rows: &[SyntheticRegistration]) -> (Vec<u8>, Vec<u8>) {
    let (mut registrations, mut truth) = (vec![], vec![]);
    let mut writer = Writer::new(&mut registrations).unwrap();
    let mut truths = TruthWriter::new(&mut truth).unwrap();
    for row in rows {
        writer.write(row).unwrap();
        truths.write(row).unwrap();
    }
    writer.finish().unwrap();
    truths.finish().unwrap();
    (registrations, truth)
}

pub fn from_csv(registrations: &[u8], truth: &[u8], counties: usize) -> Vec<SyntheticRegistration> {
    let reader = Reader::with_truth(registrations, truth, facilities(counties)).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

pub fn tags(row: &SyntheticRegistration) -> Tags {
    row.truth.unwrap().tags
}

/// GB 11643, from the standard's text: the weighted sum of all 18 characters leaves 1 when divided by 11.
fn is_resident_id(text: &str) -> bool {
    let digits: Option<Vec<u64>> = text
        .chars()
        .enumerate()
        .map(|(place, c)| if place == 17 && c == 'X' { Some(10) } else { c.to_digit(10).map(u64::from) })
        .collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 18) else { return false };
    let sum: u64 = digits.iter().zip((0..18).rev()).map(|(digit, power)| digit * 2u64.pow(power)).sum();
    let day = format!("{}-{}-{}", &text[6..10], &text[10..12], &text[12..14]);
    sum % 11 == 1 && Day::parse(&day).is_some() && ("11".."66").contains(&&text[..2])
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = |seed| to_csv(&population(300, seed).collect::<Vec<_>>());
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1).0, bytes(2).0);
}

/// A population of a seed is the same in every release: change [`chance::VERSION`] with these numbers, and say so.
#[test]
fn streams_are_pinned() {
    use sha2::{Digest, Sha256};
    let (registrations, truth) = to_csv(&population(1000, 1).collect::<Vec<_>>());
    let hash = |bytes: Vec<u8>| {
        Sha256::digest(bytes)[..8].iter().fold(0u64, |acc, byte| acc << 8 | u64::from(*byte))
    };
    assert_eq!((chance::VERSION, hash(registrations), hash(truth)), (1, GOLDEN.0, GOLDEN.1));
}
const GOLDEN: (u64, u64) = (396_669_897_842_225_728, 6_623_659_192_060_055_018);

#[test]
fn registrations_come_in_order_of_arrival_and_as_many_as_promised() {
    let population = population(3000, 4);
    let (totals, known) = (population.totals(), population.facilities());
    let codes: BTreeSet<_> = known.iter().map(|facility| facility.code.clone()).collect();
    assert_eq!(
        (totals.persons, population.size_hint()),
        (3000, (totals.registrations as usize, Some(totals.registrations as usize)))
    );
    let rows: Vec<_> = population.collect();
    assert!(rows.windows(2).all(|pair| pair[0].arrived <= pair[1].arrived));
    let persons: HashSet<_> = rows.iter().map(|row| row.truth.unwrap().person).collect();
    let households: HashSet<_> = rows.iter().map(|row| row.truth.unwrap().household).collect();
    let ids: HashSet<_> = rows.iter().map(|row| &row.registration.local_id).collect();
    assert_eq!((persons.len() as u64, households.len() as u64), (totals.persons, totals.households));
    assert_eq!((ids.len(), rows.len() as u64), (rows.len(), totals.registrations));
    assert!(
        rows.iter().all(|row| codes.contains(&row.facility.code)
            && row.registration.institution_code == row.facility.code)
    );
    let mut visits: HashMap<u64, u64> = HashMap::new();
    for row in &rows {
        *visits.entry(row.truth.unwrap().person).or_default() += 1;
    }
    assert_eq!(visits.values().map(|count| count * (count - 1) / 2).sum::<u64>(), totals.true_pairs);
}

#[test]
fn a_population_grows_at_its_end() {
    let names = |persons| -> BTreeMap<(u64, Moment), String> {
        let rows = population(persons, 9).filter(|row| row.truth.unwrap().household < 100);
        rows.map(|row| ((row.truth.unwrap().person, row.arrived), row.registration.name)).collect()
    };
    assert_eq!(names(400), names(900));
}

#[test]
fn resident_ids_are_valid_unless_tagged_and_nobody_shares_one() {
    assert!(is_resident_id("11010519491231002X") && is_resident_id("440524188001010014"));
    assert!(!is_resident_id("440524188001010015") && !is_resident_id("440524188013010014"));
    let flawed = [
        Tag::Id15,
        Tag::IdSubst,
        Tag::IdTransp,
        Tag::IdShort,
        Tag::IdLong,
        Tag::IdPlaceholder,
        Tag::LowerX,
        Tag::FullWidth,
        Tag::IdSpace,
    ];
    let borrowed = [Tag::GuardianId, Tag::RelativeId];
    let mut owners: HashMap<String, u64> = HashMap::new();
    let (mut checked, mut former) = (0, 0);
    for row in population(8_000, 6) {
        let paper = row.registration.identifiers.first();
        assert_eq!(paper.is_none(), tags(&row).has(Tag::IdMissing));
        let Some(paper) = paper.filter(|paper| paper.r#type.as_str() < "03") else { continue };
        if tags(&row).has_any(&flawed) {
            continue;
        }
        assert!(is_resident_id(&paper.value), "{} {}", tags(&row), paper.value);
        if !tags(&row).has_any(&borrowed) {
            let person = row.truth.unwrap().person;
            assert_eq!(*owners.entry(paper.value.clone()).or_insert(person), person, "shared by two persons");
            checked += 1;
            former += u32::from(
                ["5321", "5322", "5324", "5327", "5330", "5332", "5335"].contains(&&paper.value[..4]),
            );
        }
        if tags(&row).has(Tag::Card) {
            let born = row.registration.birth_date.replace('-', "");
            assert_eq!(born, paper.value[6..14]);
            assert_eq!(
                paper.value[16..17].parse::<u32>().unwrap() % 2,
                u32::from(row.registration.sex == "1")
            );
        }
    }
    assert!(checked > 15_000 && former > 2_000, "{checked} {former}");
}

/// Tags do to the registration what they say.
#[test]
fn flaws_look_as_their_tags_say() {
    for row in population(5_000, 7) {
        let registration = &row.registration;
        let paper = registration.identifiers.first().map_or("", |paper| &paper.value);
        let phone = registration.phones.first().map_or("", String::as_str);
        for tag in tags(&row).iter() {
            let seen = match tag {
                Tag::LowerX => paper.contains(['x', 'ｘ']),
                Tag::FullWidth => paper.chars().all(|c| !c.is_ascii()),
                Tag::IdSpace => paper.contains(' '),
                Tag::PhoneFullwidth => phone.chars().all(|c| !c.is_ascii()),
                Tag::PhoneMissing => phone.is_empty(),
                Tag::DobMissing => registration.birth_date.is_empty(),
                Tag::SexUnknown => registration.sex == "0" || registration.sex == "9",
                Tag::AddrMissing => registration.addresses.is_empty(),
                Tag::NewbornName => registration.name.contains(['之', '子', '女', '婴', 'B']),
                Tag::LatinName => registration.name.is_ascii(),
                _ => true,
            };
            assert!(seen, "{}", tag.as_str());
        }
    }
}

/// The reference population's shares (`generator_version` 1, 50,723 registrations), those above one in two hundred.
const REFERENCE: [(Tag, f64); 23] = [
    (Tag::Card, 0.3976),
    (Tag::ParentPhone, 0.192),
    (Tag::IdMissing, 0.1044),
    (Tag::AddrMissing, 0.0715),
    (Tag::AddrCountyOnly, 0.0553),
    (Tag::PhoneMissing, 0.0549),
    (Tag::NewbornName, 0.0285),
    (Tag::FamilyPhone, 0.0258),
    (Tag::Homophone, 0.0162),
    (Tag::PhonePlaceholder, 0.0137),
    (Tag::LowerX, 0.0127),
    (Tag::PhoneTypo, 0.0125),
    (Tag::GuardianId, 0.0104),
    (Tag::PhonePrefix, 0.0091),
    (Tag::BirthCert, 0.0067),
    (Tag::DobMissing, 0.0067),
    (Tag::FormerName, 0.0064),
    (Tag::DobError, 0.0064),
    (Tag::IdSubst, 0.0062),
    (Tag::DobDefault, 0.0058),
    (Tag::DotVariant, 0.0057),
    (Tag::Id15, 0.0053),
    (Tag::PhoneFullwidth, 0.0052),
];

#[test]
fn flaws_are_as_common_as_in_the_reference() {
    let mut counts = vec![0u32; Tag::ALL.len()];
    let population = population(20_000, 1);
    let totals = population.totals();
    for row in population {
        for tag in tags(&row).iter() {
            counts[tag as usize] += 1;
        }
    }
    for (tag, expected) in REFERENCE {
        let share = f64::from(counts[tag as usize]) / totals.registrations as f64;
        assert!((share / expected - 1.0).abs() < 0.2, "{}: {share:.4}, reference {expected}", tag.as_str());
    }
    assert!(counts.iter().all(|count| *count > 0), "every flaw happens");
    let mean = totals.registrations as f64 / totals.persons as f64;
    assert!((2.4..2.65).contains(&mean), "{mean}");
    assert!((150..500).contains(&totals.twins) && (40..160).contains(&totals.namesake_pairs), "{totals:?}");
}

#[test]
fn without_noise_only_the_circumstances_stay() {
    let options = Options { noise: 0.0, ..Options::new(2000, 1) };
    let circumstances = [
        Tag::NewbornName,
        Tag::FormerName,
        Tag::LatinName,
        Tag::IdMissing,
        Tag::BirthCert,
        Tag::IdPlaceholder,
        Tag::LunarBirthday,
        Tag::ParentPhone,
        Tag::FamilyPhone,
        Tag::Card,
    ];
    for row in Population::new(&Tree::yunnan(), &options).unwrap() {
        assert!(tags(&row).iter().all(|tag| circumstances.contains(&tag)), "{}", tags(&row));
    }
}

#[test]
fn every_registration_would_be_accepted() {
    let today = "2025-07-01".parse().unwrap();
    let mut dotted = 0;
    for row in population(4_000, 3) {
        let violations = model::validate::validate_registration(&row.registration, today);
        let errors: Vec<_> = violations
            .iter()
            .filter(|violation| violation.severity == model::validate::Severity::Error)
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        let name = &row.registration.name;
        assert!(
            !name.is_empty()
                && !name.contains(char::REPLACEMENT_CHARACTER)
                && !name.chars().any(char::is_control)
        );
        dotted += u32::from(name.contains('·'));
        assert_eq!((row.registration.number.as_str(), row.registration.born_ms), ("", 0));
    }
    assert!(dotted > 40, "{dotted}");
}

#[test]
fn people_of_chosen_counties_register_at_nodes_of_the_chosen_tree() {
    let tree = Tree::yunnan();
    let homes = tree.select(4);
    let nodes = tree.nodes(&homes);
    let population = Population::new(&tree, &Options::new(2000, 1).living_in(homes.clone())).unwrap();
    let mut seen = BTreeMap::new();
    let mut places: HashMap<u64, BTreeSet<String>> = HashMap::new();
    for row in population {
        assert!(nodes.contains(&row.facility.node));
        *seen.entry(row.facility.node.to_string()).or_insert(0) += 1;
        let path = row.facility.county_path.to_string();
        places.entry(row.truth.unwrap().person).or_default().insert(path);
    }
    for county in &homes {
        assert!(seen[&tree.path(*county).unwrap().to_string()] > 100, "{seen:?}");
    }
    let travellers = places.values().filter(|paths| {
        let prefectures: BTreeSet<_> = paths.iter().map(|path| &path[7..13]).collect();
        prefectures.len() > 1
    });
    assert!(travellers.count() > 50);
}

#[test]
fn options_are_checked() {
    let tree = Tree::yunnan();
    let refused = |options: &Options| Population::new(&tree, options).err().unwrap().to_string();
    assert!(refused(&Options::new(0, 1)).contains("persons"));
    assert!(refused(&Options::new(MAX_PERSONS + 1, 1)).contains("persons"));
    assert!(refused(&Options { noise: f64::NAN, ..Options::new(1, 1) }).contains("noise"));
    assert!(refused(&Options::new(1, 1).living_in(vec!["530100".parse().unwrap()])).contains("530100"));
    assert_eq!(population(1, 1).totals().persons, 1);
}

#[test]
fn files_are_written_with_their_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut heard = vec![];
    let options = Options::new(500, 1);
    let meta = write(&dir.path().join("new"), &Tree::yunnan(), &options, |count| heard.push(count)).unwrap();
    assert_eq!(heard.last(), Some(&meta.totals.registrations));
    let read = |name: &str| std::fs::read(dir.path().join("new").join(name)).unwrap();
    let rows = from_csv(&read("registrations.csv"), &read("truth.csv"), 129);
    assert_eq!(rows.len() as u64, meta.totals.registrations);
    let json: serde_json::Value = serde_json::from_slice(&read("meta.json")).unwrap();
    assert_eq!(
        (json["persons"].as_u64(), json["registrations"].as_u64()),
        (Some(500), Some(rows.len() as u64))
    );
    assert_eq!(
        json["tags"]["card"][0].as_u64(),
        Some(rows.iter().filter(|row| tags(row).has(Tag::Card)).count() as u64)
    );
    assert!(json["note"].as_str().unwrap().contains("invented"));
    let occupied = dir.path().join("file");
    std::fs::write(&occupied, "").unwrap();
    let error = write(&occupied, &Tree::yunnan(), &options, |_| {}).unwrap_err();
    assert!(matches!(error, SynthError::Write { .. }), "{error}");
}

/// Log lines and errors must not leak a patient, invented or not.
#[test]
fn debug_shows_no_person() {
    let row = population(5, 1).next().unwrap();
    assert!(!format!("{row:?}").contains(&row.registration.name));
}
