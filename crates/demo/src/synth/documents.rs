//! Clinical documents of a registration: metadata as for the wire, and a small content of the type it says.

use model::body::{Availability, DocumentEntry};
use model::codes;
use rand::Rng;
use sha1::Digest as _;

use super::SyntheticRegistration;
use super::chance::Chance;
use super::day::Day;
use super::notes::{self, Outline};

/// A document as a hospital files it.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticDocument {
    /// `custodian`, `reference` and `born_ms` are the node's to fill.
    pub entry: DocumentEntry,
    /// 1 to 20 kB, UTF-8.
    pub content: Vec<u8>,
}

/// Whose documents are of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Anyone,
    /// 18 years and more.
    Adults,
    /// 60 years and more.
    Old,
    /// Women of 18 to 45 years.
    Mothers,
    /// Under 7 years.
    Children,
}

/// A type of document (WS/T 500-2016, WS/T 483-2016) and how common it is here.
struct Kind {
    code: &'static str,
    weight: u32,
    about: About,
    outline: Outline,
    department: &'static str,
    confidentiality: &'static str,
}

const fn kind(
    code: &'static str,
    weight: u32,
    about: About,
    outline: Outline,
    department: &'static str,
) -> Kind {
    Kind { code, weight, about, outline, department, confidentiality: "N" }
}

/// Like [`kind`], of which the law asks more discretion.
const fn restricted(
    code: &'static str,
    weight: u32,
    about: About,
    outline: Outline,
    department: &'static str,
) -> Kind {
    Kind { code, weight, about, outline, department, confidentiality: "R" }
}

/// The weights are a guess at an ordinary year of a county; nothing depends on them.
const KINDS: &[Kind] = &[
    kind("C0002", 200, About::Anyone, Outline::Visit, "内科门诊"),
    kind("C0004", 150, About::Anyone, Outline::Prescription, "内科门诊"),
    kind("C0005", 30, About::Adults, Outline::Prescription, "中医科"),
    kind("C0006", 80, About::Anyone, Outline::Imaging, "影像科"),
    kind("C0007", 160, About::Anyone, Outline::Laboratory, "检验科"),
    kind("C0001", 10, About::Anyone, Outline::Stay, "内科"),
    kind("C0003", 15, About::Anyone, Outline::Visit, "急诊科"),
    kind("C0008", 20, About::Anyone, Outline::Visit, "康复科"),
    kind("C0009", 12, About::Adults, Outline::Operation, "外科"),
    kind("C0015", 6, About::Mothers, Outline::Operation, "产科"),
    kind("C0016", 4, About::Mothers, Outline::Operation, "产科"),
    kind("C0017", 25, About::Anyone, Outline::Stay, "护理部"),
    kind("C0026", 10, About::Adults, Outline::Consent, "外科"),
    kind("C0032", 30, About::Anyone, Outline::Stay, "病案室"),
    kind("C0034", 30, About::Anyone, Outline::Stay, "内科"),
    kind("C0038", 30, About::Anyone, Outline::Stay, "内科"),
    kind("C0045", 8, About::Anyone, Outline::Visit, "内科"),
    kind("C0049", 30, About::Anyone, Outline::Stay, "内科"),
    kind("C0052", 15, About::Anyone, Outline::Prescription, "内科"),
    kind("C0053", 30, About::Anyone, Outline::Stay, "内科"),
    kind("HSDA00.01", 20, About::Anyone, Outline::Visit, "公共卫生科"),
    kind("HSDB01.02", 20, About::Children, Outline::FollowUp, "妇幼保健科"),
    kind("HSDB01.03", 60, About::Children, Outline::FollowUp, "妇幼保健科"),
    kind("HSDB02.02", 15, About::Mothers, Outline::FollowUp, "妇幼保健科"),
    kind("HSDB03.01", 60, About::Children, Outline::FollowUp, "预防接种门诊"),
    restricted("HSDB03.02", 3, About::Anyone, Outline::Visit, "感染性疾病科"),
    kind("HSDB04.01", 50, About::Old, Outline::FollowUp, "公共卫生科"),
    kind("HSDB04.02", 30, About::Old, Outline::FollowUp, "公共卫生科"),
    restricted("HSDB04.04", 2, About::Adults, Outline::FollowUp, "精神卫生科"),
    kind("HSDC00.01", 30, About::Adults, Outline::FollowUp, "体检中心"),
    kind("HSDC00.02", 60, About::Anyone, Outline::Visit, "内科门诊"),
    kind("HSDC00.03", 20, About::Anyone, Outline::Stay, "内科"),
    kind("HSDC00.05", 8, About::Anyone, Outline::Visit, "内科门诊"),
];

/// How many documents a registration leads to: weights of 0 to 4.
const DOCUMENTS: [u32; 5] = [20, 40, 25, 10, 5];

/// The documents that this registration leads to, none to four. The same stream makes the same documents.
pub fn documents_for(row: &SyntheticRegistration, rng: &mut impl Rng) -> Vec<SyntheticDocument> {
    let count = rng.weighted(&DOCUMENTS) as u32;
    (1..=count).map(|number| document(row, number, rng)).collect()
}

/// One document of this registration. `number` tells it from others of the same registration.
pub fn document(row: &SyntheticRegistration, number: u32, rng: &mut impl Rng) -> SyntheticDocument {
    let registration = &row.registration;
    let fits = |kind: &Kind| kind.about.includes(row);
    let weights: Vec<u32> = KINDS.iter().map(|kind| if fits(kind) { kind.weight } else { 0 }).collect();
    let kind = &KINDS[rng.weighted(&weights)];
    let title = codes::DOCUMENT_TYPES.name(kind.code).expect("a test compares the codes with the table");
    let start_ms = row.arrived.unix_ms();
    let stop_ms = match kind.outline {
        Outline::Stay | Outline::Operation => start_ms + rng.random_range(1..12) * 86_400_000,
        _ => start_ms + rng.random_range(5..90) * 60_000,
    };
    let document_id = format!("{}-{number:02}", registration.local_id);
    let author = notes::doctor(rng);
    let note = notes::Note {
        row,
        document_id: &document_id,
        code: kind.code,
        title,
        author: &author,
        confidentiality: kind.confidentiality,
        at_ms: stop_ms,
    };
    let (media_type, content) = note.write(kind.outline, rng);
    let entry = DocumentEntry {
        document_id,
        institution_code: registration.institution_code.clone(),
        local_id: registration.local_id.clone(),
        source_system: registration.source_system.clone(),
        type_code: kind.code.to_owned(),
        title: title.to_owned(),
        created_ms: stop_ms,
        service_start_ms: start_ms,
        service_stop_ms: stop_ms,
        authors: vec![author],
        department: kind.department.to_owned(),
        confidentiality: kind.confidentiality.to_owned(),
        media_type: media_type.to_owned(),
        availability: Availability::Approved.into(),
        size: content.len() as u64,
        sha256: sha2::Sha256::digest(&content).to_vec().into(),
        sha1: sha1::Sha1::digest(&content).to_vec().into(),
        ..DocumentEntry::default()
    };
    SyntheticDocument { entry, content }
}

impl About {
    /// As far as the registration tells; somebody of unknown age is taken for a grown-up.
    fn includes(self, row: &SyntheticRegistration) -> bool {
        let born = Day::parse(&row.registration.birth_date);
        let years = born.map_or(40, |born| (row.arrived.day - born) / 365);
        match self {
            Self::Anyone => true,
            Self::Adults => years >= 18,
            Self::Old => years >= 60,
            Self::Mothers => row.registration.sex == "2" && (18..=45).contains(&years),
            Self::Children => years < 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::synth::chance::{Purpose, stream};
    use crate::synth::{Options, Population, Tree};

    #[test]
    fn every_type_is_in_the_table_once() {
        let distinct: BTreeSet<_> = KINDS.iter().map(|kind| kind.code).collect();
        assert_eq!(distinct.len(), KINDS.len());
        for kind in KINDS {
            assert!(codes::DOCUMENT_TYPES.contains(kind.code), "{}", kind.code);
            assert!(codes::CONFIDENTIALITY.contains(kind.confidentiality));
        }
    }

    #[test]
    fn documents_are_what_their_entry_says() {
        let population = Population::new(&Tree::yunnan(), &Options::new(400, 1)).unwrap();
        let mut rng = stream(1, Purpose::Registration, 0, 0);
        let mut seen = BTreeSet::new();
        for row in population {
            for SyntheticDocument { entry, content } in documents_for(&row, &mut rng) {
                assert!((1_000..=20_480).contains(&content.len()), "{}", content.len());
                assert_eq!(entry.size, content.len() as u64);
                assert_eq!(entry.sha256, sha2::Sha256::digest(&content).to_vec());
                assert_eq!(entry.sha1, sha1::Sha1::digest(&content).to_vec());
                let text = String::from_utf8(content).unwrap();
                assert!(text.contains(&entry.title) && text.contains("模拟数据"));
                assert!(!text.contains('\u{FFFD}'));
                assert_eq!(entry.media_type == "text/xml", text.starts_with("<?xml"));
                assert!(entry.created_ms >= row.arrived.unix_ms());
                seen.insert(entry.type_code);
            }
        }
        assert!(seen.len() > 25, "{seen:?}");
    }

    #[test]
    fn documents_fit_the_patient() {
        let population = Population::new(&Tree::yunnan(), &Options::new(2_000, 2)).unwrap();
        let mut rng = stream(2, Purpose::Registration, 0, 0);
        for row in population {
            let years = Day::parse(&row.registration.birth_date).map(|born| (row.arrived.day - born) / 365);
            for SyntheticDocument { entry, .. } in documents_for(&row, &mut rng) {
                match entry.type_code.as_str() {
                    "C0015" | "C0016" | "HSDB02.02" => assert_eq!(row.registration.sex, "2"),
                    "HSDB03.01" | "HSDB01.03" => assert!(years.unwrap() < 7),
                    _ => {}
                }
            }
        }
    }
}
