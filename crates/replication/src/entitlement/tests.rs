//! Who may write what: one line per rule and the mistake that breaks it.

use bytes::Bytes;
use model::body::{Flow, RawRecord};
use model::{RecordId, RecordKey, Version};

mod moves;
mod person_link;

use super::*;
use crate::testing::{Parts, PlainKeyring, Writer, epoch_entry, institution, path, trust_domain};

/// A county under the sending prefecture, introduced, with an institution of its own; and a sibling's.
struct Scene {
    county: Writer,
    staged: Staged,
}

fn rules_from<'a>(domain: &'a TrustDomain, sender: &'a NodePath) -> Rules<'a> {
    Rules { trust_domain: domain, from: Territory::Within(sender), keyring: &PlainKeyring }
}

fn judge_from(sender: &str, records: &[Record], staged: Staged) -> (Vec<Verdict>, Staged) {
    let (domain, sender) = (trust_domain(), path(sender));
    judge(records, staged, rules_from(&domain, &sender))
}

fn empty() -> Staged {
    Staged::new(Arc::new(DirectoryView::default()))
}

fn scene() -> Scene {
    let mut county = Writer::new(1, "530000/532900/532901");
    let mut records = county.introduction();
    records.push(county.institution("H1"));
    let (verdicts, staged) = judge_from("530000/532900", &records, empty());
    assert_eq!(verdicts, vec![Verdict::Admit; 4]);
    Scene { county, staged }
}

impl Scene {
    /// Judges one record after the scene was set; the sender is the county's prefecture.
    fn judge(&self, record: Record) -> Verdict {
        let staged = Staged::new(Arc::clone(&self.staged.view));
        judge_from("530000/532900", &[record], staged).0.remove(0)
    }

    fn sign(&mut self, parts: Parts) -> Record {
        self.county.sign(parts)
    }
}

fn reason(verdict: Verdict) -> Reason {
    match verdict {
        Verdict::Quarantine(reason) => reason,
        Verdict::Admit => panic!("admitted"),
    }
}

#[test]
fn what_a_node_writes_is_admitted() {
    let mut scene = scene();
    let registration = scene.county.registration("H1", "P1");
    let withdrawn =
        scene.sign(Parts { tombstone: true, body: Vec::new(), ..Writer::registration_parts("H1", "P2") });
    let document = scene.sign(Writer::document_parts("H1", "P1", "D1"));
    let unknown =
        scene.sign(Parts { kind: 999, body: vec![0xFF; 9], ..Writer::registration_parts("H1", "P1") });
    let own = scene.county.origin;
    let of_node = scene.sign(Parts {
        kind: 998,
        flow: Flow::Counter,
        origin: own,
        ..Writer::registration_parts("H1", "x")
    });
    for record in [registration, withdrawn, document, unknown, of_node] {
        assert_eq!(scene.judge(record), Verdict::Admit);
    }
}

#[test]
fn a_flow_of_a_later_release_is_admitted() {
    let scene = scene();
    let parts = Writer::registration_parts("H1", "P1");
    let mut header = model::body::Header {
        flow: 77,
        kind: 999,
        id: Bytes::copy_from_slice(&parts.id.0),
        origin: Bytes::copy_from_slice(&parts.origin.0),
        term: 1,
        epoch: 1,
        seq: 50,
        key_id: Bytes::copy_from_slice(&scene.county.key.id().0),
        ..Default::default()
    };
    header.body_sha256 =
        Bytes::copy_from_slice(&sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new()));
    let header = Bytes::from(prost::Message::encode_to_vec(&header));
    let signature = Bytes::copy_from_slice(&scene.county.key.sign(&header));
    let record = Record::from_raw(RawRecord { header, body: Bytes::new(), signature }).unwrap();
    assert_eq!(scene.judge(record), Verdict::Admit);
}

#[test]
fn who_is_not_entitled_is_refused() {
    let mut scene = scene();
    let stranger = Writer::new(9, "530000/532900/532922");
    let unknown_key =
        stranger.sign_as(Writer::registration_parts("H1", "P1"), Version { term: 1, epoch: 1, seq: 9 });
    assert_eq!(reason(scene.judge(unknown_key)), Reason::UnknownKey(stranger.key.id()));

    let good = scene.county.registration("H1", "P1");
    let mut signature = good.signature().to_vec();
    signature[3] ^= 1;
    let forged = Record::from_raw(RawRecord { signature: signature.into(), ..good.to_raw() }).unwrap();
    assert_eq!(reason(scene.judge(forged)), Reason::Signature);

    let foreign = scene.county.registration("H2", "P1");
    let (at, origin) = (scene.county.path.clone(), institution("H2"));
    assert_eq!(reason(scene.judge(foreign)), Reason::NotTheWriter { path: at.clone(), origin });

    let later_term = scene.sign(Parts { term: 2, ..Writer::registration_parts("H1", "P1") });
    assert_eq!(reason(scene.judge(later_term)), Reason::OtherTerm { current: 1, stated: 2 });

    let unknown_epoch =
        scene.county.sign_as(Writer::registration_parts("H1", "P1"), Version { term: 1, epoch: 2, seq: 99 });
    assert_eq!(reason(scene.judge(unknown_epoch)), Reason::UnknownEpoch { path: at, epoch: 2 });

    let record = scene.county.registration("H1", "P1");
    let staged = Staged::new(Arc::clone(&scene.staged.view));
    let (verdicts, _) = judge_from("530000/532600", &[record], staged);
    let outside = Reason::Outside { path: scene.county.path.clone(), sender: path("530000/532600") };
    assert_eq!(verdicts, [Verdict::Quarantine(outside)]);
}

#[test]
fn what_came_after_the_next_epoch_began_is_overruled() {
    let mut scene = scene();
    let base = scene.county.seq;
    let late = scene.county.registration("H1", "P1");
    let next = epoch_entry(2, 22, &[1; 16], base);
    let opened = scene.county.epoch(&next);
    let staged = Staged::new(Arc::clone(&scene.staged.view));
    let (verdicts, _) = judge_from("530000/532900", &[late, opened], staged);
    let overruled = Reason::Overruled { path: scene.county.path.clone(), epoch: 1, seq: base + 1 };
    assert_eq!(verdicts, [Verdict::Quarantine(overruled), Verdict::Admit]);
}

#[test]
fn bodies_must_agree_with_their_envelopes() {
    let mut scene = scene();
    let registration = || Writer::registration_parts("H1", "P1");
    let document = || Writer::document_parts("H1", "P1", "D1");
    let other = RecordId::of(&[b"", b"P2"]);
    let table = [
        (Parts { flow: Flow::DocumentEntry, ..registration() }, Reason::WrongFlow),
        (Parts { subject: None, ..registration() }, Reason::WrongSubject),
        (
            Parts { id: other, subject: Some(RecordKey::of(1, institution("H1"), other)), ..registration() },
            Reason::WrongId,
        ),
        (Parts { body: vec![0xFF], ..registration() }, Reason::Body("registration")),
        (Parts { body: Writer::registration_parts("H1", "P2").body, ..registration() }, Reason::WrongId),
        (
            Parts { body: Writer::registration_parts("H2", "P1").body, ..registration() },
            Reason::Body("registration's number"),
        ),
        (Parts { id: other, ..document() }, Reason::WrongId),
        (Parts { subject: Some(RecordKey([7; 16])), ..document() }, Reason::WrongSubject),
        (Parts { body: vec![0xFF], ..document() }, Reason::Body("document entry")),
        (Parts { body: Writer::document_parts("H2", "P1", "D1").body, ..document() }, Reason::WrongOrigin),
        (Parts { flow: Flow::Audit, ..document() }, Reason::WrongFlow),
    ];
    for (at, (parts, expected)) in table.into_iter().enumerate() {
        let record = scene.sign(parts);
        assert_eq!(reason(scene.judge(record)), expected, "line {at}");
    }
}

#[test]
fn order_inside_a_batch_does_not_matter() {
    let mut county = Writer::new(1, "530000/532900/532901");
    let mut records = county.introduction();
    records.push(county.institution("H1"));
    records.extend((0..10).map(|n| county.registration("H1", &format!("P{n}"))));
    records.push(county.epoch(&epoch_entry(2, 2, &[1; 16], 14)));
    records.push(county.registration("H1", "P99"));
    records.reverse();
    let (verdicts, staged) = judge_from("530000/532900", &records, empty());
    assert_eq!(verdicts, vec![Verdict::Admit; records.len()]);
    assert_eq!(staged.into_facts().len(), 5);
}

#[test]
fn one_bad_record_among_many_is_the_only_one_refused() {
    let mut scene = scene();
    let mut records: Vec<Record> =
        (0..200).map(|n| scene.county.registration("H1", &format!("P{n}"))).collect();
    let raw = records[130].to_raw();
    records[130] = Record::from_raw(RawRecord { signature: records[7].signature().clone(), ..raw }).unwrap();
    let (verdicts, _) = judge_from("530000/532900", &records, Staged::new(Arc::clone(&scene.staged.view)));
    for (at, verdict) in verdicts.into_iter().enumerate() {
        let expected = if at == 130 { Verdict::Quarantine(Reason::Signature) } else { Verdict::Admit };
        assert_eq!(verdict, expected, "{at}");
    }
}

#[test]
fn signing_keys_bind_a_path_to_an_origin_once() {
    let mut scene = scene();
    let county = &scene.county;
    let certificate = county.path.to_string();
    // The same node with a second key, from another machine that claims its path, and from elsewhere.
    let mut second = Writer { origin: county.origin, ..Writer::new(2, "530000/532900/532901") };
    let usurper = Writer::new(3, "530000/532900/532901");
    let moved = Writer { origin: county.origin, ..Writer::new(4, "530000/532900/532922") };
    let outside = Writer::new(5, "530000/532600/532601");
    let as_institution = Writer { origin: institution("H1"), ..Writer::new(6, "530000/532900/532923") };
    let version = Version { term: 1, epoch: 1, seq: 60 };
    let key = |writer: &Writer| writer.sign_as(writer.signing_key_parts(&writer.path.to_string()), version);
    let taken = |origin, known: &str| Reason::OriginTaken { origin, known: known.into() };

    assert_eq!(scene.judge(second.signing_key()), Verdict::Admit);
    let path_taken = Reason::PathTaken { path: scene.county.path.clone(), known: scene.county.origin };
    assert_eq!(reason(scene.judge(key(&usurper))), path_taken);
    assert_eq!(reason(scene.judge(key(&moved))), taken(scene.county.origin, &certificate));
    let beside = Reason::Outside { path: outside.path.clone(), sender: path("530000/532900") };
    assert_eq!(reason(scene.judge(key(&outside))), beside);
    assert_eq!(reason(scene.judge(key(&as_institution))), taken(institution("H1"), "institution H1"));

    let bad = usurper.sign_as(usurper.signing_key_parts("bad"), version);
    assert!(matches!(reason(scene.judge(bad)), Reason::KeyRefused(_)));
    // Signed by another key than the one it is about.
    let parts = second.signing_key_parts(&certificate);
    let stolen = scene.sign(parts);
    assert_eq!(reason(scene.judge(stolen)), Reason::Signature);
    // The known key under another origin.
    let mut parts = scene.county.signing_key_parts(&certificate);
    parts.origin = OriginId([9; 16]);
    let rebound = scene.sign(parts);
    assert_eq!(reason(scene.judge(rebound)), taken(OriginId([9; 16]), &scene.county.origin.to_string()));
}

#[test]
fn an_institution_is_claimed_once() {
    let mut scene = scene();
    let mut sibling = Writer::new(2, "530000/532900/532922");
    let mut records = sibling.introduction();
    records.push(sibling.institution("H1"));
    records.push(sibling.institution("H2"));
    records.push(sibling.registration("H1", "P1"));
    let (verdicts, staged) =
        judge_from("530000/532900", &records, Staged::new(Arc::clone(&scene.staged.view)));
    let claimed = Reason::Claimed { code: "H1".into(), by: "530000/532900/532901".into() };
    assert!(claimed.to_string().contains("H1 already files with 530000/532900/532901"));
    assert_eq!(verdicts[3], Verdict::Quarantine(claimed));
    assert_eq!(verdicts[4], Verdict::Admit);
    assert!(matches!(verdicts[5], Verdict::Quarantine(Reason::NotTheWriter { .. })));
    assert_eq!(staged.view().institution(&institution("H1")).unwrap().writer, scene.county.origin);
    // Its own node may say it again.
    let again = scene.county.institution("H1");
    assert_eq!(scene.judge(again), Verdict::Admit);
}

#[test]
fn directory_records_are_judged_strictly() {
    let mut scene = scene();
    let county = &scene.county;
    let at = county.path.clone();
    let node = || county.node_parts("530000/532900/532901", "tiermesh.test");
    let enrol = || county.institution_parts("H3");
    let mut for_another = model::body::InstitutionEntry {
        origin: Bytes::copy_from_slice(institution("H3").as_bytes()),
        code: "H3".into(),
        name: String::new(),
        writer: Bytes::copy_from_slice(&[7; 16]),
        term: 1,
    };
    let foreign_writer = prost::Message::encode_to_vec(&for_another);
    for_another.code = "H4".into();
    let other_code = prost::Message::encode_to_vec(&for_another);
    let fork = county.directory(Kind::Epoch, &[&1u32.to_be_bytes()], &epoch_entry(1, 99, &[], 0));
    let wrong_path = Reason::WrongPath { certified: at.clone(), stated: "530000/532900/532922".into() };
    let malformed = Reason::Epoch { path: at.clone(), counter: 1, why: epoch::EpochMisfit::Fenced };
    let table = [
        (Parts { tombstone: true, ..node() }, Reason::Withdrawn),
        (Parts { flow: Flow::Policy, ..node() }, Reason::WrongFlow),
        (Parts { id: RecordId([1; 16]), ..node() }, Reason::WrongId),
        (county.node_parts("530000/532900/532922", "tiermesh.test"), wrong_path),
        (county.node_parts("530000/532900/532901", "other.test"), Reason::WrongTree),
        (Parts { id: RecordId([1; 16]), ..enrol() }, Reason::WrongId),
        (Parts { body: foreign_writer, ..enrol() }, Reason::NotItsOwn { path: at.clone() }),
        (Parts { body: other_code, ..enrol() }, Reason::WrongOrigin),
        (
            Parts { origin: institution("H1"), ..enrol() },
            Reason::NotTheWriter { path: at, origin: institution("H1") },
        ),
        (fork, malformed),
    ];
    for (line, (parts, expected)) in table.into_iter().enumerate() {
        let record = scene.sign(parts);
        assert_eq!(reason(scene.judge(record)), expected, "line {line}");
    }
}
