//! Who is found by what is known of a name.

use super::*;
use crate::model::Model;

fn known(name: &str, birth_date: &str, sex: &str) -> Registration {
    Registration {
        name: name.into(),
        birth_date: birth_date.into(),
        sex: sex.into(),
        ..Registration::default()
    }
}

fn sought(name: &str, part: bool) -> Sought {
    Sought::read(&known(name, "", ""), part).expect("a name")
}

/// Whether a registration under `name` is looked up by, and agrees with, what is asked.
fn finds(asked: &str, part: bool, name: &str) -> Option<Agreement> {
    let sought = sought(asked, part);
    let looked_up = match sought.lookups(true) {
        Lookups::Whole(spellings) => spellings.contains(&whole_name(name).expect("a name")),
        Lookups::Parts(ways) => {
            let held = name_parts(name);
            let among = |sounds: &Vec<String>| sounds.iter().any(|sound| held.contains(sound));
            ways.iter().any(|parts| parts.iter().all(among))
        }
    };
    sought.agreement(name).filter(|_| looked_up)
}

#[test]
fn whole_names() {
    use Agreement::{Pinyin, Same, SoundsSame};
    for (asked, name, agreement) in [
        ("张伟", "张伟", Some(Same)),
        ("張偉", "张　伟", Some(Same)),
        ("张伟", "张玮", Some(SoundsSame)),
        ("zhangwei", "张玮", Some(Pinyin)),
        ("Zhāng Wěi", "張偉", Some(Pinyin)),
        ("shan yufeng", "单玉峰", Some(Pinyin)),
        ("zeng li", "曾丽", Some(Pinyin)),
        ("lv fang", "吕芳", Some(Pinyin)),
        ("LYU FANG", "吕芳", Some(Pinyin)),
        ("xi an", "西安", Some(Pinyin)),
        ("xian", "冼", Some(Pinyin)),
        ("zgq", "张国强", Some(Pinyin)),
        ("zhang gq", "张国强", Some(Pinyin)),
        ("zgq", "张国", None),
        ("热合曼•艾合买提", "热合曼·艾合买提", Some(Same)),
        ("rehemanaihemaiti", "热合曼·艾合买提", Some(Pinyin)),
        ("nguyen van thi", "Nguyễn Văn Thị", Some(Same)),
        ("unknown", "UNKNOWN", Some(Same)),
        ("张国", "张国强", None),
        ("zhang", "张伟", None),
        ("李伟", "张伟", None),
    ] {
        assert_eq!(finds(asked, false, name), agreement, "{asked} {name}");
    }
}

#[test]
fn parts_of_names() {
    use Agreement::{Part, Same};
    for (asked, name, agreement) in [
        ("张", "张国强", Some(Part)),
        ("国强", "张国强", Some(Part)),
        ("张强", "张国强", Some(Part)),
        ("强国", "张国强", None),
        ("國強", "张国强", Some(Part)),
        ("guoqiang", "张国强", Some(Part)),
        ("shan", "单玉峰", Some(Part)),
        ("zg", "张国强", Some(Part)),
        ("艾合", "热合曼·艾合买提", Some(Part)),
        ("艾合买提", "热合曼·艾合买提", Some(Part)),
        ("热合曼", "热合曼・艾合买提", Some(Part)),
        ("欧阳", "欧阳春晓", Some(Part)),
        ("春晓", "欧阳春晓", Some(Part)),
        ("nguyen", "Nguyen Van Thi", Some(Part)),
        ("thi", "Nguyen Van Thi", Some(Part)),
        ("nguyen van thi", "Nguyen Van Thi", Some(Same)),
        ("李", "张国强", None),
    ] {
        assert_eq!(finds(asked, true, name), agreement, "{asked} {name}");
    }
}

#[test]
fn few_parts_are_kept_of_a_name() {
    assert_eq!(name_parts("张国强"), ["zhang", "guo", "qiang"]);
    assert_eq!(name_parts("热合曼·艾合买提"), ["re", "he", "ai"]);
    assert!(name_parts("Juan Carlos Alfonso Victor Maria").len() <= MAX_PARTS);
    assert_eq!((name_parts("·"), whole_name("·")), (vec![], None));
}

#[test]
fn better_candidates_weigh_more() {
    let scorer = Scorer::new(Model::shipped());
    let asked = Sought::read(&known("张国强", "1988-03-02", "1"), false).expect("a name");
    let weight = |name: &str, birth_date: &str, sex: &str| {
        asked.weigh(&scorer, &known(name, birth_date, sex), 0.001, 10_000.0).expect("it agrees").weight
    };
    let best = weight("张国强", "1988-03-02", "1");
    assert!(best > 0.0, "{best}");
    for (name, birth_date, sex) in [
        ("章国强", "1988-03-02", "1"),
        ("张国强", "1988-03-02", "2"),
        ("张国强", "1988-02-03", "1"),
        ("张国强", "1988-03", "1"),
        ("张国强", "", "1"),
        ("张国强", "1988-03-02", ""),
    ] {
        assert!(weight(name, birth_date, sex) < best, "{name} {birth_date} {sex}");
    }
    let none = asked.weigh(&scorer, &known("李国强", "1988-03-02", "1"), 0.001, 10_000.0);
    assert_eq!(none, None, "another name");
}

#[test]
fn a_match_is_explained_by_what_could_be_compared() {
    let scorer = Scorer::new(Model::shipped());
    let asked = Sought::read(&known("zhang", "1988", ""), true).expect("a name");
    let found = asked.weigh(&scorer, &known("张国强", "1988-03-02", "1"), 0.07, 10_000.0).expect("it agrees");
    let told: Vec<(&str, &str)> = found.fields.iter().map(|field| (field.comparison, field.level)).collect();
    assert_eq!(told, [("name", "part"), ("birth_date", "year_only")]);
    let rarer =
        asked.weigh(&scorer, &known("张国强", "1988-03-02", "1"), 0.001, 10_000.0).expect("it agrees");
    assert!(rarer.weight > found.weight, "a rarer part tells more");
}

#[test]
fn a_long_name_is_found_by_itself() {
    let name = "MUHAMMAD ABDULRAHMAN ALHASSANI";
    let asked = sought(name, false);
    assert_eq!(asked.agreement(name), Some(Agreement::Same));
    let Lookups::Whole(sounds) = asked.lookups(false) else { panic!("it is a whole name") };
    assert!(sounds.contains(&whole_name(name).expect("it has a sound")), "{sounds:?}");
    assert_eq!(asked.agreement("MUHAMMAD ABDULRAHIM ALHASSANI"), None);
}

#[test]
fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", sought("张伟", false)), "Sought(\"...\")");
}
