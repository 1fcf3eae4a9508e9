//! Who is held to be whom: tables of registrations as hospitals write them. All people are invented.

use linkage::linker::Place;
use linkage::{Explanation, Features, Linker, Model, Outcome, Scorer};
use model::body::{Address, Contact, Identifier, Registration};

/// A registration: name, sex, birth date, identifier type, identifier, phone, address, mother.
type Row<'a> = [&'a str; 8];

const ID: &str = "530102198503124514";
const OTHER_ID: &str = "530102198503124573";
const MOTHERS_ID: &str = "530102195806028526";

fn registration([name, sex, birth_date, kind, id, phone, address, mother]: Row<'_>) -> Registration {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Registration {
        name: name.into(),
        sex: sex.into(),
        birth_date: birth_date.into(),
        identifiers: some(id)
            .map(|value| Identifier { r#type: kind.into(), value, assigner: String::new() })
            .into_iter()
            .collect(),
        phones: some(phone).into_iter().collect(),
        addresses: some(address)
            .map(|text| Address { text, region_code: String::new() })
            .into_iter()
            .collect(),
        contacts: some(mother)
            .map(|name| Contact { name, relation: "母亲".into(), phone: String::new() })
            .into_iter()
            .collect(),
        ..Registration::default()
    }
}

fn features(row: Row<'_>) -> Features {
    Features::of(&registration(row), "530102".parse().ok().as_ref())
}

/// A linker that knows enough strangers for names to be common or rare.
fn linker() -> Linker {
    let mut linker = Linker::new(Scorer::new(Model::shipped()));
    let (surnames, given) =
        ("李王张刘陈杨赵黄周吴", ["秀英", "建国", "丽华", "志强", "桂兰", "文博", "雨涵", "国庆"]);
    for (number, surname) in surnames.chars().cycle().take(800).enumerate() {
        let name = format!("{surname}{}", given[number % given.len()]);
        let birth = format!("{}-{:02}-{:02}", 1940 + number % 80, 1 + number % 12, 1 + number % 28);
        let (sex, phone) = ((1 + number % 2).to_string(), format!("139{:08}", number * 7919 + 12_345));
        let address = format!("云南省昆明市五华区龙泉镇白水村{}组{}号", number % 17 + 1, number % 90 + 1);
        linker.register(features([&name, &sex, &birth, "", "", &phone, &address, ""]));
    }
    linker
}

fn register(linker: &mut Linker, row: Row<'_>) -> Place {
    linker.register(features(row)).place
}

/// Whether two registrations become one person.
fn same(a: Row<'_>, b: Row<'_>) -> bool {
    let mut linker = linker();
    let (a, b) = (register(&mut linker, a), register(&mut linker, b));
    linker.person_of(a) == linker.person_of(b)
}

const HOME: &str = "云南省昆明市五华区人民路387号翠湖家园3幢2单元1201室";

#[test]
fn one_person_however_written() {
    let full = ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""];
    for other in [
        ["段正明", "1", "1985-03-12", "01", "530102850312451", "", "", ""],
        ["段正明", "1", "1985-03-12", "02", "５３０１０２１９８５０３１２４５１４", "", "", ""],
        ["段正明", "1", "1985-03-12", "01", "530102198503124154", "", "", ""],
        ["段政明", "1", "1985-03-12", "01", ID, "", "", ""],
        ["段正明", "1", "1985-12-03", "01", ID, "", "", ""],
        ["段正明", "1", "1985-03-12", "", "", "13987654321", "", ""],
        ["段 正明（复诊）", "1", "1985-03-12", "", "", "", "昆明市五华区人民路387号翠湖家园3幢1201", ""],
        ["段政铭", "1", "1985-03-12", "", "", "+86 13987654321", HOME, ""],
        ["段建设", "1", "1985-03-12", "01", ID, "", "", ""],
        ["段正明", "0", "", "", "", "13987654321", HOME, ""],
    ] {
        assert!(same(full, other) && same(other, full), "{other:?}");
    }
}

#[test]
fn different_people_however_alike() {
    let full = ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""];
    for (other, why) in [
        (["段正明", "1", "1985-03-12", "01", OTHER_ID, "", "", ""], "a namesake"),
        (
            ["段正明", "1", "1985-03-12", "01", OTHER_ID, "13987654321", HOME, ""],
            "a namesake at the same address",
        ),
        (["段正华", "1", "1985-03-12", "", "", "13987654321", HOME, ""], "a twin"),
        (["段正华", "1", "1988-07-01", "", "", "13987654321", HOME, ""], "a brother"),
        (["段小明", "1", "2012-07-01", "01", ID, "13987654321", HOME, ""], "a child with its father's card"),
        (["李建国", "1", "1985-03-12", "", "", "", "", ""], "a stranger born on the same day"),
        (["段正明", "1", "1951-08-30", "", "", "", "", ""], "a namesake of another age"),
    ] {
        assert!(!same(full, other) && !same(other, full), "{why}");
    }
}

#[test]
fn a_newborn_and_the_named_child_are_one() {
    let newborn = ["段秀英之子", "1", "2020-05-02", "01", MOTHERS_ID, "13987654321", HOME, "段秀英"];
    let named = ["李浩然", "1", "2020-05-02", "01", "53010220200502451X", "13987654321", HOME, "段秀英"];
    assert!(same(newborn, named) && same(named, newborn));
    let mother = ["段秀英", "2", "1958-06-02", "01", MOTHERS_ID, "13987654321", HOME, ""];
    assert!(!same(newborn, mother), "the mother is not her child");
    let next = ["段秀英之子", "1", "2022-03-01", "", "", "13987654321", HOME, "段秀英"];
    assert!(!same(newborn, next), "the next child is another one");
    let (one, two) = (
        ["段秀英之女大双", "2", "2020-05-02", "", "", "13987654321", HOME, "段秀英"],
        ["段秀英之女小双", "2", "2020-05-02", "", "", "13987654321", HOME, "段秀英"],
    );
    assert!(!same(one, two), "numbered twins are two");
}

#[test]
fn two_resident_ids_are_never_joined_by_a_third_registration() {
    let mut linker = linker();
    let a = register(&mut linker, ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""]);
    let b = register(&mut linker, ["段正明", "1", "1985-03-12", "01", OTHER_ID, "13987654321", HOME, ""]);
    let outcome = linker.register(features(["段正明", "1", "1985-03-12", "", "", "13987654321", HOME, ""]));
    assert_ne!(linker.person_of(a), linker.person_of(b));
    assert_eq!(outcome.same, None, "either could be meant");
    assert_eq!(outcome.possible.len(), 2, "a human is asked about both");
}

#[test]
fn a_later_registration_corrects_an_earlier_link() {
    let mut linker = linker();
    // Without a number the child is nearest to its sibling; with one it turns out to be somebody else.
    let sibling = register(
        &mut linker,
        ["和桐珂", "2", "2013-05-24", "01", "530125201305240601", "17555599372", HOME, "赵燕露"],
    );
    let unclear = register(&mut linker, ["和潼可", "2", "2013-05-24", "", "", "17555599372", HOME, "赵燕露"]);
    assert_eq!(linker.person_of(sibling), linker.person_of(unclear), "they sound the same");
    let clear = register(
        &mut linker,
        ["和潼可", "2", "2013-05-24", "01", "530125201305240580", "17555599372", HOME, "赵燕露"],
    );
    assert_eq!(linker.person_of(unclear), linker.person_of(clear));
    assert_ne!(linker.person_of(sibling), linker.person_of(clear));
}

#[test]
fn what_a_human_decides_stands() {
    let mut linker = linker();
    let full = ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""];
    let (a, b) = (register(&mut linker, full), register(&mut linker, full));
    assert_eq!(linker.person_of(a), linker.person_of(b));
    linker.decide(a, b, false);
    assert_ne!(linker.person_of(a), linker.person_of(b));
    for _ in 0..3 {
        register(&mut linker, full);
        assert_ne!(linker.person_of(a), linker.person_of(b), "a separated pair never re-forms by itself");
    }
    linker.decide(a, b, true);
    assert_eq!(linker.person_of(a), linker.person_of(b), "the latest decision counts");
    let other = register(&mut linker, ["段正明", "1", "1985-03-12", "01", OTHER_ID, "", "", ""]);
    linker.decide(a, other, true);
    assert_eq!(linker.person_of(a), linker.person_of(other), "a human may join two resident IDs");
    linker.decide(a, a, true);
    linker.decide(a, 1_000_000, true);
}

#[test]
fn nothing_joins_those_of_whom_nothing_is_known() {
    let nobody = ["无名氏", "0", "", "01", "000000000000000000", "13800000000", "", ""];
    assert!(!same(nobody, nobody));
    assert!(!same([""; 8], [""; 8]));
    let common = ["李秀英", "2", "", "", "", "", "", ""];
    assert!(!same(common, common));
}

#[test]
fn a_hostile_flood_neither_joins_nor_slows() {
    let mut linker = linker();
    let mut most = 0;
    for number in 0..3000 {
        let birth = format!("{}-{:02}-{:02}", 1930 + number % 89, 1 + number % 12, 1 + number % 28);
        let name: String = [
            char::from_u32(0x4e00 + number * 3 % 2000).unwrap(),
            char::from_u32(0x5000 + number * 7 % 1900).unwrap(),
        ]
        .iter()
        .collect();
        let row = features([&name, "1", &birth, "", "", "13987654321", "昆明市五华区", ""]);
        let keys = linkage::block::keys(&row);
        most = most.max(linker.candidates(&keys));
        let Outcome { place, same, .. } = linker.register(row);
        let why = same.map(|link| {
            Explanation::of(&linker, &linker.features(place), &linker.features(link.other)).to_string()
        });
        assert_eq!(why, None, "registration {number}");
    }
    assert!(most <= linkage::index::MAX_CANDIDATES, "{most}");
    let long = "李".repeat(10_000);
    register(&mut linker, [&long, "1", "1985-03-12", "01", &long, &long, &long, &long]);
}

#[test]
fn a_person_of_many_registrations_stays_one() {
    let mut linker = linker();
    let full = ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""];
    let first = register(&mut linker, full);
    for _ in 0..300 {
        let next = register(&mut linker, full);
        assert_eq!(linker.person_of(first), linker.person_of(next));
    }
}

#[test]
fn names_in_letters_are_compared_too() {
    let full = [
        "MARIA DE LA CRUZ",
        "2",
        "1979-11-03",
        "03",
        "P7204518",
        "0612345678",
        "12 rosemary crescent greenfields",
        "",
    ];
    for other in [
        ["Cruz, Maria de la", "2", "1979-11-03", "", "", "0612345678", "", ""],
        ["maria de la crus", "2", "1979-11-03", "03", "P7204518", "", "", ""],
        ["Maria Cruz", "2", "1979-11-03", "03", "p 720-4518", "", "", ""],
    ] {
        assert!(same(full, other), "{}", other[0]);
    }
    assert!(!same(full, ["JOHN SMITH", "1", "1979-11-03", "", "", "", "", ""]));
}

#[test]
fn an_explanation_adds_up() {
    let mut linker = linker();
    let a = register(&mut linker, ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""]);
    let b = register(&mut linker, ["段政明", "1", "1985-03-12", "", "", "13987654321", HOME, ""]);
    let explanation = Explanation::of(&linker, &linker.features(a), &linker.features(b));
    let sum: f32 = explanation.fields.iter().map(|field| field.weight).sum();
    assert!((explanation.expectation + sum + explanation.others - explanation.weight).abs() < 1e-3);
    assert!(explanation.others <= 0.0, "further explanations only take away");
    let level = |name: &str| explanation.fields.iter().find(|field| field.comparison == name).unwrap().level;
    assert_eq!((level("name"), level("phone"), level("identifier")), ("sounds_same", "same", "missing"));
    let text = explanation.to_string();
    assert!(text.contains("sounds_same") && !text.contains('段') && !text.contains("13987654321"), "{text}");
}

#[test]
fn persons_beyond_every_bound_keep_what_was_decided() {
    let mut linker = linker();
    let full = ["段正明", "1", "1985-03-12", "", "", "13987654321", HOME, ""];
    let all: Vec<Place> = (0..700).map(|_| register(&mut linker, full)).collect();
    assert!(
        all.iter().all(|place| linker.person_of(*place) == linker.person_of(all[0])),
        "one person, 700 visits"
    );
    let (a, b) = (
        register(&mut linker, ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""]),
        register(&mut linker, ["段正明", "1", "1985-03-12", "01", OTHER_ID, "13987654321", HOME, ""]),
    );
    assert_ne!(linker.person_of(a), linker.person_of(b), "two resident IDs");
    linker.decide(all[0], all[699], false);
    assert_ne!(linker.person_of(all[0]), linker.person_of(all[699]), "a human's word");
    for _ in 0..20 {
        register(&mut linker, full);
        assert_ne!(linker.person_of(all[0]), linker.person_of(all[699]));
        assert_ne!(linker.person_of(a), linker.person_of(b));
    }
    whole(&linker);
}

#[test]
fn a_human_join_never_splits_what_it_joins() {
    let mut linker = linker();
    let mut three = |id: &str, name: &str| -> Vec<Place> {
        (0..3)
            .map(|_| register(&mut linker, [name, "1", "1985-03-12", "01", id, "13987654321", HOME, ""]))
            .collect()
    };
    let (old, new) = (three(ID, "段正明"), three(OTHER_ID, "段建设"));
    linker.decide(old[0], new[0], true);
    assert!(
        old.iter().chain(&new).all(|place| linker.person_of(*place) == linker.person_of(old[0])),
        "all six"
    );
    for id in [ID, OTHER_ID] {
        let next = register(&mut linker, ["段建设", "1", "1985-03-12", "01", id, "", "", ""]);
        assert_eq!(linker.person_of(next), linker.person_of(old[0]), "either number is theirs now");
    }
    whole(&linker);
}

#[test]
fn a_number_that_everybody_uses_is_nobodys() {
    let mut linker = linker();
    let mut joined = 0;
    let given = "芳伟娜敏静磊洋艳勇军杰娟涛超明霞平刚桂英".chars();
    for (number, (surname, given)) in
        "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许".chars().zip(given).enumerate()
    {
        let (name, phone) = (format!("{surname}{given}"), format!("1391234{:04}", number * 37));
        let row = [&name, "1", "1985-03-12", "01", ID, &phone, "", ""];
        joined += usize::from(linker.register(features(row)).same.is_some());
    }
    assert!(joined <= 4, "{joined} of twenty strangers joined under a default number");
    for number in 0..5 {
        let row = ["李秀英", "2", &format!("19{}1-03-12", 4 + number), "99", "A00000001", "", "", ""];
        assert_eq!(linker.register(features(row)).same, None, "a made-up document");
    }
    whole(&linker);
}

#[test]
fn numbered_twins_are_not_joined_by_one_without_a_number() {
    let mut linker = linker();
    let mut newborn =
        |name| register(&mut linker, [name, "2", "2020-05-02", "", "", "13987654321", HOME, "段秀英"]);
    let (one, two) = (newborn("段秀英之女大双"), newborn("段秀英之女小双"));
    newborn("段秀英之女");
    newborn("段秀英之女");
    assert_ne!(linker.person_of(one), linker.person_of(two));
    whole(&linker);
}

#[test]
fn one_field_tells_nobody_apart() {
    let mut linker = linker();
    let rare = || {
        let mut registration = registration(["尉迟㛃祎", "1", "", "", "", "", "", ""]);
        registration.ethnicity = "41".into();
        Features::of(&registration, "530102".parse().ok().as_ref())
    };
    linker.register(rare());
    let outcome = linker.register(rare());
    assert_eq!((outcome.same, outcome.possible.len()), (None, 1), "a human may know");
}

#[test]
fn two_vast_persons_with_a_separated_pair_are_not_joined() {
    let mut linker = linker();
    let mut many = |id: &str, name: &str| -> Vec<Place> {
        (0..300)
            .map(|_| register(&mut linker, [name, "1", "1985-03-12", "01", id, "13987654321", HOME, ""]))
            .collect()
    };
    let (a, b) = (many(ID, "段正明"), many(OTHER_ID, "段建设"));
    linker.decide(a[0], b[0], false);
    linker.decide(a[1], b[1], true);
    assert_ne!(
        linker.person_of(a[0]),
        linker.person_of(b[0]),
        "both decisions cannot be, so the pair stays apart"
    );
    linker.decide(a[0], b[0], true);
    assert_eq!(linker.person_of(a[0]), linker.person_of(b[0]), "taken back");
    assert!(a.iter().chain(&b).all(|place| linker.person_of(*place) == linker.person_of(a[0])));
    whole(&linker);
}

#[test]
fn nobody_hides_a_person_by_using_its_number() {
    let mut linker = linker();
    let victim = register(&mut linker, ["段正明", "1", "1985-03-12", "01", ID, "13987654321", HOME, ""]);
    for number in 0..150 {
        let name: String = ["赵钱孙李周吴郑王冯陈", "芳伟娜敏静磊洋艳勇军", "杰娟涛超明霞平刚桂英"]
            .iter()
            .enumerate()
            .map(|(place, chars)| chars.chars().nth(number / 10usize.pow(place as u32) % 10).unwrap())
            .collect();
        let birth = format!("{}-{:02}-{:02}", 1930 + number % 60, 1 + number % 12, 1 + number % 28);
        register(&mut linker, [&name, "2", &birth, "01", ID, &format!("1391234{number:04}"), "", ""]);
    }
    // Without birth date, telephone, address or place: only the number leads there.
    let again = Features::of(&registration(["段正明", "", "", "01", ID, "", "", ""]), None);
    let again = linker.register(again).place;
    assert_eq!(linker.person_of(again), linker.person_of(victim));
}

#[test]
fn no_registration_is_compared_with_more_than_the_bound() {
    let mut linker = linker();
    let phones: Vec<String> = (0..4).map(|group| format!("1385550{group}{group}17")).collect();
    for number in 0..450 {
        let (group, birth) = (number / 90, format!("1970-{:02}-{:02}", 1 + number % 12, 1 + number % 28));
        let name = if group == 4 {
            "段正明".to_owned()
        } else {
            format!("{}{}", char::from_u32(0x5000 + number as u32 * 3).unwrap(), '铭')
        };
        let phone = phones.get(group).cloned().unwrap_or_default();
        register(&mut linker, [&name, "1", &birth, "", "", &phone, "", ""]);
    }
    let mut probe = registration(["段正明", "1", "1970-06-15", "", "", "", "", ""]);
    probe.phones = phones;
    let keys = linkage::block::keys(&Features::of(&probe, "530102".parse().ok().as_ref()));
    let compared = linker.candidates(&keys);
    assert!((200..=linkage::index::MAX_CANDIDATES).contains(&compared), "{compared}");
}

#[test]
fn a_newborn_is_told_by_the_day_the_hospital_registered_it_not_by_the_day_it_came_here() {
    let kind = |registered_date: &str| {
        let mut registration = registration(["杨玲之子", "1", "2015-05-01", "", "", "", "", ""]);
        registration.born_ms = 1_790_000_000_000;
        registered_date.clone_into(&mut registration.registered_date);
        Features::of(&registration, None).name.kind
    };
    assert_eq!(kind("2015-05-25"), linkage::normalise::NameKind::Newborn);
    assert_ne!(kind("2026-05-25"), linkage::normalise::NameKind::Newborn);
    assert_ne!(kind(""), linkage::normalise::NameKind::Newborn);
    // Nobody is registered before the birth: that day is made up.
    assert_ne!(kind("1900-01-01"), linkage::normalise::NameKind::Newborn);
}

#[test]
fn names_are_read_as_what_they_are() {
    let grown = |name: &str| {
        let mut registration = registration([name, "1", "1985-03-12", "", "", "", "", ""]);
        registration.born_ms = 1_500_000_000_000;
        Features::of(&registration, None).name.kind
    };
    for own in ["沙马拉子", "欧阳毛毛", "陈林美子"] {
        assert_eq!(grown(own), linkage::normalise::NameKind::Han, "{own}");
    }
    let full = ["Renée Dupré", "2", "1979-11-03", "", "", "0612345678", "", ""];
    assert!(same(full, ["Rene\u{301}e Dupre\u{301}", "2", "1979-11-03", "", "", "", "", ""]));
    assert!(same(
        ["Иван Петров", "1", "1979-11-03", "", "", "", "", ""],
        ["ИВАН ПЕТРОВ", "1", "1979-11-03", "", "", "", "", ""]
    ));
    for nobody in ["无名男", "急诊无名氏之子", "张??"] {
        assert!(
            !same([nobody, "1", "", "", "", "", "", ""], [nobody, "1", "", "", "", "", "", ""]),
            "{nobody}"
        );
    }
}

#[test]
fn what_is_removed_leaves_nothing_behind() {
    let rows: Vec<Features> = (0..300)
        .map(|number| {
            let person = number % 90;
            let surname = "段李和张王赵陈杨周".chars().nth(person % 9).unwrap();
            let given = "明英兰国华芳强伟静敏".chars().nth(person / 9).unwrap();
            let (name, phone) = (format!("{surname}正{given}"), format!("1391234{:04}", person * 37));
            let birth = format!("{}-03-{:02}", 1950 + person, 1 + person % 28);
            features([&name, "1", &birth, "03", &format!("P72045{person:02}"), &phone, "", ""])
        })
        .collect();
    let register_all = |linker: &mut Linker| -> Vec<(Option<f32>, usize)> {
        let told = |outcome: Outcome| (outcome.same.map(|link| link.weight), outcome.possible.len());
        rows.iter().map(|row| told(linker.register(row.clone()))).collect()
    };
    let mut linker = Linker::new(Scorer::new(Model::shipped()));
    let first = register_all(&mut linker);
    assert!(
        first.iter().filter(|(same, _)| same.is_some()).count() > 200,
        "most are a person's second visit"
    );
    for round in 0..3 {
        linker.decide(1, 2, true);
        linker.decide(1, 3, false);
        // In another order each time.
        (0..300).for_each(|place| linker.remove((place * 7 + round) % 300));
        assert_eq!((linker.len(), linker.persons(), linker.keys()), (0, 0, (0, 0)));
        linker.decide(4, 5, true);
        assert_eq!(linker.persons(), 0, "who was removed is nobody");
        let said = format!("{linker:?}");
        assert!(
            said.matches("Lists { keys: 0, words: 0, .. }").count() == 4 && said.contains("humans: {}"),
            "{said}"
        );
        assert_eq!(register_all(&mut linker), first, "as in an empty index");
    }
}

/// Every registration is in exactly one person, and their number is what it is said to be.
fn whole(linker: &Linker) {
    let persons: std::collections::HashSet<u32> =
        (0..linker.len()).map(|place| linker.person_of(place as Place)).collect();
    assert_eq!(persons.len(), linker.persons() as usize);
    assert!(persons.iter().all(|person| linker.person_of(*person) == *person));
}

#[test]
fn a_slip_in_a_number_of_the_old_form_is_no_other_person() {
    let person = |kind, id| ["赵宝莲", "2", "1958-06-02", kind, id, "13987650021", "", ""];
    // The second has 530101 for 530102; of the third, another sequence number, nobody can tell whether it is a slip or a namesake.
    for (old, persons) in [("530102580602852", 1), ("530101580602852", 1), ("530102580602853", 2)] {
        let mut linker = Linker::new(Scorer::new(Model::shipped()));
        linker.register(features(person("01", MOTHERS_ID)));
        linker.register(features(person("01", old)));
        linker.register(features(person("01", MOTHERS_ID)));
        assert_eq!(linker.persons(), persons, "{old}");
    }
    // Her mother's card is her mother's, with a slip as well.
    let number = |id| features(["赵小宝", "2", "1985-03-12", "01", id, "", "", ""]);
    let levels = |id| linkage::compare::compare(&number(id), &features(person("01", MOTHERS_ID)))[0];
    assert_eq!(levels("530101580602852"), levels("530102580602852"));
    assert_eq!(levels("530101580602852"), linkage::compare::IdentifierLevel::SameOfAnother as u8);
    // The form with a check digit is the right one, whatever came first: the two others are slips of it and not of each other.
    let mut linker = Linker::new(Scorer::new(Model::shipped()));
    for number in ["530101580602852", MOTHERS_ID, "530112580602852"] {
        linker.register(features(person("01", number)));
    }
    assert_eq!(linker.persons(), 1);
}

#[test]
fn a_child_of_a_few_weeks_has_its_mothers_name_however_short_that_is() {
    for (days_later, persons) in [("2015-12-14", 1), ("2016-06-14", 2), ("2017-12-14", 2)] {
        let of = |name: &str, day: &str| {
            let row = [name, "2", "2015-12-11", "", "", "13321723983", "", ""];
            let registration = Registration { registered_date: day.into(), ..registration(row) };
            Features::of(&registration, "530102".parse().ok().as_ref())
        };
        let mut linker = Linker::new(Scorer::new(Model::shipped()));
        linker.register(of("许艳女", days_later));
        linker.register(of("徐子萱", "2018-01-10"));
        assert_eq!(linker.persons(), persons, "{days_later}");
    }
}
