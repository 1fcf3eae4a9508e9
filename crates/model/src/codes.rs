//! Value sets: code → Chinese name. Tables stand in `data/`, whose README names their sources and what is not verified.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// One value set.
#[derive(Debug)]
pub struct CodeSet(BTreeMap<&'static str, &'static str>);

impl CodeSet {
    /// The Chinese name of a code, if the set has it. Codes are compared exactly.
    pub fn name(&self, code: &str) -> Option<&'static str> {
        self.0.get(code).copied()
    }

    /// Whether the set has this code.
    pub fn contains(&self, code: &str) -> bool {
        self.0.contains_key(code)
    }

    /// The code with this name, if any.
    pub fn code_of(&self, name: &str) -> Option<&'static str> {
        self.0.iter().find(|(_, known)| **known == name).map(|(code, _)| *code)
    }

    /// All codes with their names, in byte order of the codes.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.0.iter().map(|(code, name)| (*code, *name))
    }
}

/// Document types: WS/T 500-2016 (`C0001` …) and WS/T 483-2016 (`HSDA00.01` …).
pub static DOCUMENT_TYPES: LazyLock<CodeSet> = LazyLock::new(|| {
    let files = [
        include_str!("../data/wst500_2016_emr_documents.csv"),
        include_str!("../data/wst483_2016_ehr_documents.csv"),
    ];
    let rows = files.into_iter().flat_map(|file| file.lines().skip(1));
    CodeSet(rows.map(|row| (column(row, 0), column(row, 2))).collect())
});

/// Institution classes of WS 218 (`A100` …).
pub static INSTITUTION_CLASSES: LazyLock<CodeSet> = LazyLock::new(|| {
    let rows = include_str!("../data/ws218_institution_types.csv").lines();
    CodeSet(rows.map(|row| (column(row, 0), column(row, 1))).collect())
});

/// Sex, GB/T 2261.1. See also [`Sex`].
pub static SEX: LazyLock<CodeSet> = LazyLock::new(|| value_set("GB/T 2261.1 sex"));
/// Identity document classes, CV02.01.101: the national ones only, see [`identifier_type`].
pub static IDENTITY_DOCUMENTS: LazyLock<CodeSet> =
    LazyLock::new(|| value_set("CV02.01.101 identity document (WS 364.3-2011)"));
/// Ethnicity, GB/T 3304.
pub static ETHNICITY: LazyLock<CodeSet> = LazyLock::new(|| value_set("GB/T 3304 ethnicity"));
/// Marital status, GB/T 2261.2.
pub static MARITAL_STATUS: LazyLock<CodeSet> = LazyLock::new(|| value_set("GB/T 2261.2 marital status"));
/// Relationship to the head of the household, GB/T 4761.
pub static RELATIONSHIP: LazyLock<CodeSet> =
    LazyLock::new(|| value_set("GB/T 4761-2008 relationship (1-digit)"));
/// Confidentiality of documents, HL7 2.16.840.1.113883.5.25.
pub static CONFIDENTIALITY: LazyLock<CodeSet> = LazyLock::new(|| value_set("HL7 Confidentiality"));

/// The code of an ethnicity by its name, with or without its last character 族.
pub fn ethnicity_code(name: &str) -> Option<&'static str> {
    ETHNICITY.code_of(name).or_else(|| ETHNICITY.code_of(&format!("{name}族")))
}

/// Identifier type of the resident ID.
pub const RESIDENT_ID: &str = "01";
/// Identifier type of other legal documents; some sources put a newborn's birth date here as its number.
pub const OTHER_DOCUMENT: &str = "99";
/// Identifier types of this project beside the identity documents: health card, electronic health card, archive number.
pub const CARDS: [(&str, &str); 3] =
    [("HC", "居民健康卡"), ("EHC", "电子健康卡"), ("EHR", "城乡居民健康档案编号")];

/// Who defines an identifier type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentifierType {
    /// CV02.01.101: `01` to `07`, `99`.
    National,
    /// `08` to `98`: a local addition, which differs between provinces. To become configurable.
    Local,
    /// One of [`CARDS`].
    Card,
}

/// What kind of type `code` is, or none if it is not an identifier type.
pub fn identifier_type(code: &str) -> Option<IdentifierType> {
    let two_digits = code.len() == 2 && code.bytes().all(|c| c.is_ascii_digit());
    if IDENTITY_DOCUMENTS.contains(code) {
        Some(IdentifierType::National)
    } else if CARDS.iter().any(|(card, _)| *card == code) {
        Some(IdentifierType::Card)
    } else {
        (two_digits && ("08"..="98").contains(&code)).then_some(IdentifierType::Local)
    }
}

/// Sex, GB/T 2261.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    Unknown,
    Male,
    Female,
    Unspecified,
}

impl Sex {
    /// The code: `0`, `1`, `2` or `9`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "0",
            Self::Male => "1",
            Self::Female => "2",
            Self::Unspecified => "9",
        }
    }

    /// The sex with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Unknown, Self::Male, Self::Female, Self::Unspecified]
            .into_iter()
            .find(|sex| sex.code() == code)
    }
}

/// A column of a row; the tables have no quotes (a test holds them to it).
fn column(row: &'static str, place: usize) -> &'static str {
    row.split(',').nth(place).expect("the compiled-in code tables have all their columns")
}

#[derive(Deserialize)]
struct ValueSet {
    #[serde(borrow)]
    codes: BTreeMap<&'static str, &'static str>,
}

fn value_set(name: &str) -> CodeSet {
    let text: &'static str = include_str!("../data/value_sets.json");
    let mut sets: BTreeMap<&'static str, ValueSet> =
        serde_json::from_str(text).expect("the compiled-in value sets are well formed");
    CodeSet(sets.remove(name).expect("the compiled-in value sets have this one").codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_complete() {
        let sizes = [
            (&DOCUMENT_TYPES, 53 + 20),
            (&INSTITUTION_CLASSES, 182),
            (&SEX, 4),
            (&IDENTITY_DOCUMENTS, 8),
            (&ETHNICITY, 58),
            (&MARITAL_STATUS, 8),
            (&RELATIONSHIP, 9),
            (&CONFIDENTIALITY, 6),
        ];
        for (set, size) in sizes {
            assert_eq!(set.iter().count(), size, "{:?}", set.iter().next());
            for (code, name) in set.iter() {
                let plain = |text: &str| !text.is_empty() && text.trim() == text && !text.contains('"');
                assert!(plain(code) && plain(name), "{code} {name}");
            }
        }
    }

    #[test]
    fn names_are_the_standards() {
        for (set, code, name) in [
            (&DOCUMENT_TYPES, "C0007", "检验报告"),
            (&DOCUMENT_TYPES, "C0053", "出院小结"),
            (&DOCUMENT_TYPES, "HSDC00.02", "门诊摘要"),
            (&INSTITUTION_CLASSES, "B100", "社区卫生服务中心"),
            (&SEX, "1", "男性"),
            (&SEX, "2", "女性"),
            (&ETHNICITY, "23", "高山族"),
            (&ETHNICITY, "18", "傣族"),
            (&IDENTITY_DOCUMENTS, "01", "居民身份证"),
            (&CONFIDENTIALITY, "V", "十分机密的"),
        ] {
            assert_eq!(set.name(code), Some(name));
        }
        assert_eq!(DOCUMENT_TYPES.name("C0054"), None);
        assert_eq!(DOCUMENT_TYPES.name("c0007"), None);
    }

    #[test]
    fn ethnicities_are_found_by_either_name() {
        assert_eq!((ethnicity_code("汉"), ethnicity_code("汉族")), (Some("01"), Some("01")));
        assert_eq!(
            (ethnicity_code("哈尼"), ethnicity_code("外籍"), ethnicity_code("")),
            (Some("16"), None, None)
        );
    }

    #[test]
    fn identifier_types() {
        for (code, kind) in [
            ("01", Some(IdentifierType::National)),
            ("99", Some(IdentifierType::National)),
            ("08", Some(IdentifierType::Local)),
            ("98", Some(IdentifierType::Local)),
            ("EHC", Some(IdentifierType::Card)),
            ("00", None),
            ("1", None),
            ("011", None),
            ("hc", None),
            ("", None),
        ] {
            assert_eq!(identifier_type(code), kind, "{code}");
        }
    }

    #[test]
    fn sexes_are_the_value_set() {
        for (code, _) in SEX.iter() {
            assert_eq!(Sex::from_code(code).map(Sex::code), Some(code));
        }
        assert_eq!(Sex::from_code("3"), None);
    }
}
