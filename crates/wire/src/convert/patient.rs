//! Searches for somebody of whom little is known, and their matches.

use model::query::{Match, MatchField, Search};

use super::{ConvertError, bad, bounded, bytes_of, key};
use crate::v1;

/// Comparisons of one match that are read; a node makes nine at most.
const MAX_FIELDS: usize = 32;
/// Characters of a comparison's or level's name.
const MAX_WORD: usize = 64;

pub(super) fn search(given: v1::Search) -> Result<Search, ConvertError> {
    let birth_date = match given.birth_date.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .or_else(|_| bad("search.birth_date", "must be a date: YYYY-MM-DD, YYYY-MM or YYYY"))?,
        ),
    };
    if !matches!(given.sex.as_str(), "" | "0" | "1" | "2" | "9") {
        return bad("search.sex", "must be a code of GB/T 2261.1: 0, 1, 2 or 9");
    }
    let region = match given.region_code.as_str() {
        "" => None,
        text => Some(text.parse().or_else(|_| bad("search.region_code", "must be six digits (GB/T 2260)"))?),
    };
    let name = bounded(given.name, 128, "search.name")?;
    Ok(Search { name, part: given.part, birth_date, sex: given.sex, region })
}

impl From<Search> for v1::Search {
    fn from(search: Search) -> Self {
        Self {
            name: search.name,
            part: search.part,
            birth_date: search.birth_date.map(|date| date.to_string()).unwrap_or_default(),
            sex: search.sex,
            region_code: search.region.map(|region| region.as_str().to_owned()).unwrap_or_default(),
        }
    }
}

impl From<Match> for v1::PatientMatch {
    fn from(matched: Match) -> Self {
        let field = |field: MatchField| v1::MatchField {
            comparison: field.comparison,
            level: field.level,
            weight: field.weight,
        };
        Self {
            registration_key: bytes_of(matched.registration),
            weight: matched.weight,
            probability: matched.probability,
            fields: matched.fields.into_iter().map(field).collect(),
        }
    }
}

impl TryFrom<v1::PatientMatch> for Match {
    type Error = ConvertError;
    fn try_from(matched: v1::PatientMatch) -> Result<Self, ConvertError> {
        if !matched.weight.is_finite() || !(0.0..=1.0).contains(&matched.probability) {
            return bad("match.weight", "must be a number, and its probability one from 0 to 1");
        }
        let field = |field: v1::MatchField| {
            if !field.weight.is_finite() {
                return bad("match.fields.weight", "must be a number");
            }
            Ok(MatchField {
                comparison: bounded(field.comparison, MAX_WORD, "match.fields.comparison")?,
                level: bounded(field.level, MAX_WORD, "match.fields.level")?,
                weight: field.weight,
            })
        };
        Ok(Self {
            registration: key(&matched.registration_key, "match.registration_key")?,
            weight: matched.weight,
            probability: matched.probability,
            fields: matched
                .fields
                .into_iter()
                .take(MAX_FIELDS)
                .map(field)
                .collect::<Result<_, ConvertError>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use model::query::{PatientBy, PatientQuery, QueryContext, Reach};

    use super::*;

    fn asked() -> v1::Search {
        v1::Search {
            name: "张伟".into(),
            part: true,
            birth_date: "1988-03".into(),
            sex: "1".into(),
            region_code: "532901".into(),
        }
    }

    #[test]
    fn a_question_passes_from_node_to_node_unchanged() {
        let questions =
            [PatientBy::Search(search(asked()).unwrap()), PatientBy::Phone("139 8765 4321".into())];
        for by in questions {
            let context = QueryContext::default();
            let query = PatientQuery { by, limit: 7, reach: Reach::Tree, context };
            let sent = v1::FindPatientsRequest::from(query.clone());
            assert!(PatientQuery::try_from(sent).unwrap() == query);
        }
    }

    #[test]
    fn what_is_not_of_its_form_is_named_without_its_value() {
        for (field, given) in [
            ("search.birth_date", v1::Search { birth_date: "88-03".into(), ..asked() }),
            ("search.sex", v1::Search { sex: "男".into(), ..asked() }),
            ("search.region_code", v1::Search { region_code: "大理".into(), ..asked() }),
            ("search.name", v1::Search { name: "张".repeat(129), ..asked() }),
        ] {
            let error = search(given).err().unwrap();
            assert_eq!(error.field, field);
            assert!(!error.to_string().contains(['男', '张', '大']), "{error}");
        }
    }

    #[test]
    fn a_match_comes_back_and_numbers_must_be_numbers() {
        let field = v1::MatchField { comparison: "name".into(), level: "pinyin".into(), weight: 9.0 };
        let sent = v1::PatientMatch {
            registration_key: vec![7; 16].into(),
            weight: 4.5,
            probability: 0.9,
            fields: vec![field],
        };
        assert_eq!(v1::PatientMatch::from(Match::try_from(sent.clone()).unwrap()), sent);
        for weight in [f32::NAN, f32::INFINITY] {
            assert!(Match::try_from(v1::PatientMatch { weight, ..sent.clone() }).is_err());
        }
    }
}
