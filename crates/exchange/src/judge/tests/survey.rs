//! The quality view of a prefecture: what it counts, which pairs it draws, and what it makes of the answers.

use super::*;
use crate::{Caller, Decide, Role, Say};

fn caller(role: Role) -> Caller {
    Caller { path: "530000/532900".parse().unwrap(), role }
}

fn operator() -> Caller {
    caller(Role::Operator { name: "li.wei".into() })
}

fn key_at(county: usize, local_id: &str) -> RecordKey {
    RecordKey::of(Kind::Registration as u32, HOSPITALS[county], RecordId::of(&[b"", local_id.as_bytes()]))
}

/// Somebody of whom nothing is alike in two of them but what is asked for here.
fn with_number(at: usize, local_id: &str) -> Registration {
    let number = format!("53290119{:02}0{}{:02}{:03}", 40 + at, 1 + at % 9, 10 + at % 18, 101 + 2 * at);
    let is_valid = |value: &String| model::resident_id::ResidentId::parse(value).is_ok();
    let value = "0123456789X".chars().map(|check| format!("{number}{check}")).find(is_valid).unwrap();
    let phone = format!("1380000{at:04}");
    let birth_date = format!("{}-{}-{}", &number[6..10], &number[10..12], &number[12..14]);
    let mut body = person(
        local_id,
        &format!("杨{}", char::from_u32(0x4e00 + at as u32 * 7).unwrap()),
        &birth_date,
        &phone,
    );
    body.identifiers = vec![Identifier { r#type: "01".into(), value, assigner: String::new() }];
    body
}

impl Prefecture {
    async fn says(&self, a: RecordKey, b: RecordKey, say: Say) {
        let request = Decide { pair: [a, b], say, reason: "核对过".into(), expected: [None, None] };
        assert!(self.exchange.decide(&operator(), request).await.unwrap());
        self.quiet().await;
    }

    /// Counted anew, not as it was within the minute.
    async fn quality(&self) -> crate::quality::Quality {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        self.exchange.quality(&operator()).await.unwrap()
    }
}

#[tokio::test]
async fn it_counts_persons_joins_doubts_and_contradictions() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    assert_eq!(prefecture.exchange.quality(&operator()).await.unwrap_err().reason(), "NOT_READY");
    prefecture.quiet().await;
    let nothing = prefecture.quality().await;
    assert_eq!((nothing.registrations, nothing.persons, nothing.precision), (0, 0, None));
    // By score; by a number; nobody; and possibly the same as those by score.
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    prefecture.comes(1, "B1", Some(li("B1"))).await;
    prefecture.comes(0, "A2", Some(with_number(1, "A2"))).await;
    prefecture.comes(1, "B2", Some(with_number(1, "B2"))).await;
    prefecture.comes(1, "B3", Some(he("B3"))).await;
    let uncertain = Registration { name: "赵六".into(), birth_date: "1931".into(), ..li("A4") };
    prefecture.comes(0, "A4", Some(uncertain)).await;
    let quality = prefecture.quality().await;
    assert_eq!((quality.registrations, quality.persons, quality.largest), (6, 4, 2));
    assert_eq!(quality.sizes[..3], [(1, 2), (2, 2), (3, 0)]);
    assert_eq!((quality.joins, quality.suspended), ([1, 1, 0], 0));
    assert!(quality.suspects.iter().all(|(_, persons, _)| *persons == 0), "{:?}", quality.suspects);
    assert_eq!(quality.strata.iter().map(|one| one.of.pairs).sum::<u64>(), 2 + quality.backlog.waiting);

    // An operator joins two who have nothing in common but their sex.
    prefecture.says(key_at(1, "B3"), key_at(0, "A1"), Say::Same).await;
    let quality = prefecture.quality().await;
    assert_eq!((quality.persons, quality.largest, quality.joins), (3, 3, [1, 1, 1]));
    let suspects: Vec<(&str, u64)> =
        quality.suspects.iter().map(|(name, persons, _)| (*name, *persons)).collect();
    assert_eq!(
        suspects,
        [("resident_id", 0), ("name", 1), ("birth_date", 1), ("sex", 0), ("two_of_these", 1)]
    );
    let members = [key_at(0, "A1"), key_at(1, "B1"), key_at(1, "B3")];
    assert!(quality.suspects[1].2.iter().all(|example| members.contains(example)));
    assert_eq!(quality.missed, 1, "the linker held nothing of it");
}

#[tokio::test]
async fn what_is_possible_is_sampled_and_ages() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    prefecture.comes(0, "A1", Some(li("A1"))).await;
    let uncertain = Registration { birth_date: "1967".into(), phones: Vec::new(), ..li("B1") };
    prefecture.comes(1, "B1", Some(uncertain)).await;
    let quality = prefecture.quality().await;
    assert_eq!((quality.backlog.waiting, quality.backlog.aged), (1, 1));
    assert!(quality.backlog.oldest_ms > 0 && quality.backlog.oldest_ms <= quality.counted_ms + 61_000);
    let possible = &quality.strata[3];
    assert_eq!(
        (possible.name, possible.of.joined, possible.of.pairs, possible.open),
        ("possible", false, 1, 1)
    );
    let pairs = prefecture.exchange.sampled(&operator(), 0, 10).await.unwrap().0;
    assert_eq!((pairs.len(), pairs[0].one_person), (1, false));
    prefecture.says(key_at(0, "A1"), key_at(1, "B1"), Say::Same).await;
    let quality = prefecture.quality().await;
    let possible = &quality.strata[3];
    assert_eq!((possible.of.pairs, possible.of.answered, possible.of.same, possible.open), (1, 1, 1, 0));
    assert_eq!((quality.backlog.waiting, quality.backlog.oldest_ms, quality.missed), (0, 0, 0));
    // Nothing is joined without a human, and one answer is all there is.
    assert_eq!(quality.recall.map(|recall| recall.value), Some(0.0));
    let hospital = caller(Role::Institution { code: "H0".into() });
    assert_eq!(prefecture.exchange.quality(&hospital).await.unwrap_err().reason(), "WRONG_ROLE");
    assert_eq!(prefecture.exchange.sampled(&hospital, 0, 1).await.unwrap_err().reason(), "WRONG_ROLE");
}

#[tokio::test]
async fn answers_to_what_was_drawn_give_an_estimate_that_outlives_a_restart() {
    let mut prefecture = Prefecture::start(&Memory::new(1), 1).await;
    let both = |at: usize| {
        [(0, format!("A{at}")), (1, format!("B{at}"))]
            .map(|(county, id)| (county, id.clone(), Some(with_number(at, &id))))
    };
    prefecture.come((0..20).flat_map(both).collect()).await;
    let quality = prefecture.quality().await;
    let rule = &quality.strata[0];
    assert_eq!((rule.name, rule.of.pairs, rule.of.answered, rule.open), ("rule", 20, 0, 20));
    assert_eq!((quality.precision, quality.recall), (None, None), "nobody was asked");
    let drawn = prefecture.exchange.sampled(&operator(), 0, 10).await.unwrap().0;
    let (rest, none) = prefecture.exchange.sampled(&operator(), 10, 10).await.unwrap();
    let keys =
        |pairs: &[crate::Pair]| pairs.iter().map(|pair| pair.registrations[0].key).collect::<BTreeSet<_>>();
    assert_eq!((rest.len(), none), (10, None));
    assert!(keys(&rest).is_disjoint(&keys(&drawn)));
    for (at, pair) in drawn.iter().enumerate() {
        let say = if at < 8 { Say::Same } else { Say::Different };
        prefecture.says(pair.registrations[0].key, pair.registrations[1].key, say).await;
    }
    let at_once = prefecture.exchange.quality(&operator()).await.unwrap();
    assert_eq!(
        (at_once.strata[0].of.answered, at_once.strata[0].open),
        (10, 10),
        "though nothing was counted anew"
    );
    let again = Prefecture::start(&prefecture.disk, 2).await;
    again.quiet().await;
    for node in [&prefecture, &again] {
        let quality = node.quality().await;
        let rule = &quality.strata[0];
        // What was separated is no join any more; it was one when it was asked about.
        assert_eq!((rule.of.pairs, rule.of.answered, rule.of.same, rule.open), (20, 10, 8, 10));
        let precision = quality.precision.unwrap();
        assert!((precision.value - 0.8).abs() < 1e-9, "{precision:?}");
        assert!(*precision.interval.start() < 0.8 && *precision.interval.end() > 0.8);
        let recall = quality.recall.unwrap().value;
        assert!((recall - 1.0).abs() < 1e-9, "nothing else was held possible or said to be missed");
        let open = node.exchange.sampled(&operator(), 0, 100).await.unwrap().0;
        assert_eq!(open.len(), 10, "whoever is answered is not asked about again");
    }
}
