//! One person, one index number: registrations without a common identifier, made in two counties, become one person everywhere, and
//! two again when one of them is corrected.

use std::time::Duration;

use cli::CliError;
use cli::client::Client;
use model::NodePath;
use model::body::{Address, Identifier, LinkDecision, LinkLayer, Registration};
use model::query::{
    LocalPatient, PatientAnswer, PatientBy, PatientQuery, Person, QueryContext, Reach, SourceState,
};
use tests::mesh::Mesh;
use wire::v1;
use wire::v1::get_person_request::By;

const LIMIT: Duration = Duration::from_secs(60);
const SIBLING: &str = "530000/532900/532922";

async fn start() -> Mesh {
    Mesh::start_with(env!("CARGO_BIN_EXE_tiermesh-under-test"), &[(SIBLING, "county")]).await
}

/// A farmer of Dali without a resident ID; the name as it is heard.
fn farmer(local_id: &str, name: &str) -> Registration {
    Registration {
        local_id: local_id.into(),
        name: name.into(),
        sex: "1".into(),
        birth_date: "1967-11-23".into(),
        phones: vec!["13987654321".into()],
        addresses: vec![Address {
            text: "云南省大理白族自治州漾濞彝族自治县苍山西镇河西村12号".into(),
            region_code: "532922".into(),
        }],
        ..Registration::default()
    }
}

/// Somebody else.
fn teacher(local_id: &str) -> Registration {
    Registration {
        local_id: local_id.into(),
        name: "和丽萍".into(),
        sex: "2".into(),
        birth_date: "1991-02-08".into(),
        phones: vec!["15812345678".into()],
        identifiers: vec![Identifier {
            r#type: "01".into(),
            value: "530102199102080024".into(),
            assigner: String::new(),
        }],
        ..Registration::default()
    }
}

/// What a hospital is answered about one of its own patients.
async fn ask(hospital: &Client, local_id: &str, reach: Reach) -> PatientAnswer {
    let local = LocalPatient {
        institution_code: String::new(),
        source_system: String::new(),
        local_id: local_id.into(),
    };
    let query =
        PatientQuery { by: PatientBy::Local(local), limit: 10, reach, context: QueryContext::default() };
    hospital.find_patients(query).await.expect("find")
}

async fn find(hospital: &Client, local_id: &str, reach: Reach) -> Vec<Person> {
    ask(hospital, local_id, reach).await.persons
}

/// Local ids of the only person that is found.
async fn person(hospital: &Client, local_id: &str, reach: Reach) -> Vec<String> {
    let persons = find(hospital, local_id, reach).await;
    assert_eq!(persons.len(), 1, "one person for one registration");
    let mut ids: Vec<String> =
        persons[0].registrations.iter().map(|one| one.registration.local_id.clone()).collect();
    ids.sort();
    ids
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async { while !condition().await {} };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_counties_know_one_person_and_later_two() {
    let mesh = start().await;
    let sibling = SIBLING.parse().expect("a path");
    let (one, two, far) =
        (mesh.hospital(&mesh.here).await, mesh.hospital(&sibling).await, mesh.hospital(&mesh.there).await);
    one.register(farmer("A1", "李国强")).await.expect("registered");
    two.register(farmer("B1", "李囯强")).await.expect("registered");
    far.register(farmer("C1", "李国强")).await.expect("registered");
    far.register(teacher("C2")).await.expect("registered");
    let all = ["A1", "B1", "C1"];
    for reach in [Reach::Tree, Reach::Local] {
        until("the first county knows the person", async || person(&one, "A1", reach).await == all).await;
        until("the second county knows the person", async || person(&two, "B1", reach).await == all).await;
        until("the far county knows the person", async || person(&far, "C1", reach).await == all).await;
    }
    assert_eq!(person(&far, "C2", Reach::Tree).await, ["C2"], "somebody else");
    // One number, at every node, and every number that a registration was born with leads to it.
    let persons = find(&one, "A1", Reach::Tree).await;
    let number = persons[0].number;
    for born_with in persons[0].registrations.iter().map(|one| model::Number::of(one.key)) {
        let query = PatientQuery {
            by: PatientBy::Number(born_with),
            limit: 10,
            reach: Reach::Tree,
            context: QueryContext::default(),
        };
        let found = far.find_patients(query).await.expect("find").persons;
        assert_eq!(found.iter().map(|person| person.number).collect::<Vec<_>>(), [number]);
    }
    for (hospital, local_id) in [(&two, "B1"), (&far, "C1")] {
        assert_eq!(find(hospital, local_id, Reach::Tree).await[0].number, number);
        assert_eq!(find(hospital, local_id, Reach::Local).await[0].number, number);
    }

    // C1 was entered on the wrong patient's card.
    far.register(Registration { local_id: "C1".into(), ..teacher("C1") }).await.expect("corrected");
    until("the person of C1 is another one", async || person(&far, "C1", Reach::Tree).await == ["C1", "C2"])
        .await;
    for reach in [Reach::Tree, Reach::Local] {
        until("the first county forgets C1", async || person(&one, "A1", reach).await == ["A1", "B1"]).await;
        until("the second county forgets C1", async || person(&two, "B1", reach).await == ["A1", "B1"]).await;
    }
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_after_the_acknowledgement_still_joins() {
    let mut mesh = start().await;
    let sibling = SIBLING.parse().expect("a path");
    let (one, two) = (mesh.hospital(&mesh.here).await, mesh.hospital(&sibling).await);
    let prefecture = mesh.here.parent().expect("a parent");
    let to_parent = |client: Client| client.with_durability(v1::Durability::Parent);
    to_parent(one.clone()).register(farmer("A1", "李国强")).await.expect("registered");
    to_parent(two.clone()).register(farmer("B1", "李囯强")).await.expect("registered");
    mesh.tree.kill(&prefecture).await.expect("killed");
    mesh.tree.start(&prefecture).await.expect("started");
    until("they are joined", async || person(&one, "A1", Reach::Tree).await == ["A1", "B1"]).await;

    // Judged again after a restart, nothing is decided again.
    let operator = mesh.tree.operator(&prefecture).await.expect("an operator");
    let linker = operator.status().await.expect("status").linker.expect("a linker");
    assert_eq!((linker.registrations, linker.persons, linker.links), (2, 1, 1));
    mesh.stop().await;
}

/// Key and version of a hospital's own registration.
async fn own(hospital: &Client, local_id: &str) -> (bytes::Bytes, String) {
    let persons = find(hospital, local_id, Reach::Local).await;
    let all = persons.iter().flat_map(|person| &person.registrations);
    let one = all.into_iter().find(|one| one.registration.local_id == local_id).expect("its own");
    (bytes::Bytes::copy_from_slice(one.key.as_bytes()), one.version.to_string())
}

fn reason<T: std::fmt::Debug>(answer: Result<T, CliError>) -> String {
    match answer {
        Err(CliError::Refused(refusal)) => refusal.reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// The person of a registration was another one just before an operator separated it, which a hospital is not told.
async fn seen_as_of(operator: &Client, one: &Client, a: &bytes::Bytes) {
    let of = |as_of_ms| v1::GetPersonRequest { by: Some(By::RegistrationKey(a.clone())), as_of_ms };
    let now = operator.get_person(of(0)).await.expect("a person");
    let human =
        |link: &&v1::HeldLink| link.link.as_ref().is_some_and(|link| link.layer() == LinkLayer::Human);
    let separated_ms = now.links.iter().find(human).expect("what the operator said").recorded_ms;
    let then = operator.get_person(of(separated_ms - 1)).await.expect("a person");
    assert_eq!((now.registrations.len(), then.registrations.len()), (1, 2));
    assert!(then.links.iter().all(|link| link.recorded_ms < separated_ms) && !then.incomplete);
    let by_number = |number: String| v1::GetPersonRequest { by: Some(By::Number(number)), as_of_ms: 0 };
    assert_eq!(operator.get_person(by_number(now.number.clone())).await.expect("a person"), now);
    assert_eq!(reason(operator.get_person(of(1)).await), "UNKNOWN_PERSON", "nobody was there yet");
    assert_eq!(reason(one.get_person(of(0)).await), "WRONG_ROLE");
    one.register(teacher("A2")).await.expect("registered");
    let alone = v1::GetPersonRequest { by: Some(By::RegistrationKey(own(one, "A2").await.0)), as_of_ms: 0 };
    until("somebody of whom there is nothing to decide", async || {
        operator.get_person(alone.clone()).await.is_ok()
    })
    .await;
    let shown = operator.get_person(alone).await.expect("a person").registrations.remove(0);
    assert!(
        !shown.key.is_empty() && shown.registration.is_some_and(|shown| shown.name.is_empty()),
        "no patient"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_decides_counts_in_the_whole_tree() {
    let mesh = start().await;
    let sibling = SIBLING.parse().expect("a path");
    let (one, two) = (mesh.hospital(&mesh.here).await, mesh.hospital(&sibling).await);
    one.register(farmer("A1", "李国强")).await.expect("registered");
    two.register(farmer("B1", "李国强")).await.expect("registered");
    until("they are joined", async || person(&one, "A1", Reach::Local).await == ["A1", "B1"]).await;

    let prefecture = mesh.here.parent().expect("a parent");
    let operator = mesh.tree.operator(&prefecture).await.expect("an operator");
    let ((a, version), (b, _)) = (own(&one, "A1").await, own(&two, "B1").await);
    let say = |decision: LinkDecision, reason: &str| v1::DecideRequest {
        a: a.clone(),
        b: b.clone(),
        decision: decision.into(),
        reason: reason.into(),
        ..v1::DecideRequest::default()
    };
    let below = mesh.tree.operator(&mesh.here).await.expect("an operator");
    until("the county knows both", async || own_both(&below, &a, &b).await).await;
    assert_eq!(reason(below.decide(say(LinkDecision::Different, "父子")).await), "ASK_ANOTHER_NODE");
    assert_eq!(reason(one.decide(say(LinkDecision::Different, "父子")).await), "WRONG_ROLE");
    assert_eq!(reason(operator.decide(say(LinkDecision::Different, " ")).await), "REASON_NEEDED");
    let stale =
        v1::DecideRequest { expected_version_a: "1.9.9".into(), ..say(LinkDecision::Different, "父子") };
    assert_eq!(reason(operator.decide(stale).await), "CHANGED_MEANWHILE");
    assert_eq!(person(&one, "A1", Reach::Tree).await, ["A1", "B1"], "nothing was changed");

    // Two of one name who live together, after all.
    let seen = v1::DecideRequest { expected_version_a: version, ..say(LinkDecision::Different, "父子") };
    assert!(operator.decide(seen).await.expect("decided").changed);
    for reach in [Reach::Tree, Reach::Local] {
        until("two at the first", async || person(&one, "A1", reach).await == ["A1"]).await;
        until("two at the second", async || person(&two, "B1", reach).await == ["B1"]).await;
    }
    // Registered again and again they stay two.
    let changed = Registration { phones: vec!["13987650000".into()], ..farmer("B1", "李国强") };
    two.register(changed).await.expect("registered");
    two.register(farmer("B1", "李国强")).await.expect("registered");
    let request = v1::ExplainPairRequest { a: a.clone(), b: b.clone() };
    let pair = operator.explain_pair(request.clone()).await.expect("explained");
    assert!(
        !pair.one_person && pair.links.iter().any(|link| !link.weights.is_empty()),
        "{}",
        pair.links.len()
    );
    assert_eq!(person(&one, "A1", Reach::Tree).await, ["A1"]);
    seen_as_of(&operator, &one, &a).await;

    assert!(operator.decide(say(LinkDecision::None, "看错了")).await.expect("undone").changed);
    for reach in [Reach::Tree, Reach::Local] {
        until("one again", async || person(&one, "A1", reach).await == ["A1", "B1"]).await;
    }
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quality_of_persons_is_told_to_operators_and_rests_on_their_answers() {
    let mesh = start().await;
    let (one, two) =
        (mesh.hospital(&mesh.here).await, mesh.hospital(&SIBLING.parse().expect("a path")).await);
    let herder = |local_id: &str| Registration {
        birth_date: "1949-03-30".into(),
        phones: vec!["15812345678".into()],
        addresses: Vec::new(),
        ..farmer(local_id, "和顺昌")
    };
    for id in [1, 2] {
        let (a, b) = (format!("A{id}"), format!("B{id}"));
        let registration =
            |local_id: &str| if id == 1 { farmer(local_id, "李国强") } else { herder(local_id) };
        one.register(registration(&a)).await.expect("registered");
        two.register(registration(&b)).await.expect("registered");
        until("they are joined", async || person(&one, &a, Reach::Local).await == [&*a, &*b]).await;
    }
    let operator = mesh.tree.operator(&mesh.here.parent().expect("a parent")).await.expect("an operator");
    let page = |page_token: bytes::Bytes| v1::ListReviewsRequest { page_size: 1, page_token, sample: true };
    assert_eq!(reason(one.get_quality().await), "WRONG_ROLE");
    assert_eq!(reason(operator.list_reviews(page(vec![1].into())).await), "INVALID");

    let first = operator.list_reviews(page(bytes::Bytes::new())).await.expect("a page");
    let second = operator.list_reviews(page(first.next_page_token)).await.expect("a page");
    assert!(second.next_page_token.is_empty());
    let drawn = [first.pairs, second.pairs].concat();
    for (pair, decision) in drawn.iter().zip([LinkDecision::Same, LinkDecision::Different]) {
        let [a, b] = &pair.registrations[..] else { panic!("{} registrations", pair.registrations.len()) };
        let (a, b, reason) = (a.key.clone(), b.key.clone(), "核对过".to_owned());
        let said = v1::DecideRequest { a, b, decision: decision.into(), reason, ..Default::default() };
        assert!(operator.decide(said).await.expect("decided").changed, "no pair comes twice");
    }
    let quality = operator.get_quality().await.expect("counted");
    assert_eq!(
        (quality.registrations, quality.persons, quality.largest_person),
        (4, 2, 2),
        "as last counted"
    );
    assert_eq!((quality.joined_by_rule, quality.joined_by_score, quality.joined_by_human), (0, 2, 0));
    let sum = |of: fn(&v1::Stratum) -> u64| quality.strata.iter().map(of).sum::<u64>();
    assert_eq!((sum(|one| one.pairs), sum(|one| one.answered), sum(|one| one.same)), (2, 2, 1));
    assert_eq!(quality.precision.map(|share| share.value), Some(0.5));
    mesh.stop().await;
}

/// Whether a node can say something of both.
async fn own_both(node: &Client, a: &bytes::Bytes, b: &bytes::Bytes) -> bool {
    let request = v1::ExplainPairRequest { a: a.clone(), b: b.clone() };
    node.explain_pair(request).await.is_ok_and(|pair| pair.registrations.len() == 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_prefecture_is_away_a_province_without_its_disk_takes_nobody_from_the_other() {
    let mut mesh = start().await;
    let (one, two) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    one.register(farmer("A1", "李国强")).await.expect("registered");
    two.register(farmer("B1", "李国强")).await.expect("registered");
    for (hospital, id) in [(&one, "A1"), (&two, "B1")] {
        until("one person", async || person(hospital, id, Reach::Local).await == ["A1", "B1"]).await;
    }
    let province: NodePath = "530000".parse().expect("a path");
    let (near, away) = (mesh.here.parent().expect("a parent"), mesh.there.parent().expect("a parent"));
    mesh.tree.kill(&away).await.expect("killed");
    mesh.tree.kill(&province).await.expect("killed");
    std::fs::remove_dir_all(mesh.tree.node_dir(&province).join("data")).expect("removed");
    mesh.tree.start(&province).await.expect("started");
    // What the one prefecture gave back has had its turn in the feed to it.
    let operator = mesh.tree.operator(&province).await.expect("an operator");
    until("both feeds are at their ends", async || {
        let status = operator.status().await.expect("status");
        let is = |links: &[v1::LinkStatus], of: fn(&v1::LinkStatus) -> bool| {
            links.iter().find(|link| link.path == near.to_string()).is_some_and(of)
        };
        let linker = status.linker.as_ref().expect("a linker");
        linker.registrations == 1
            && is(&status.children, |up| up.proven_ms > 0 && up.proven_position == up.head)
            && is(&status.children_down, |down| down.connected && down.position == down.head)
    })
    .await;
    assert_eq!(person(&one, "A1", Reach::Local).await, ["A1", "B1"], "nobody said that they are two");
    mesh.tree.start(&away).await.expect("started");
    until("the province has both", async || person(&two, "B1", Reach::Tree).await == ["A1", "B1"]).await;
    mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_province_that_lost_its_disk_gets_back_whom_its_operator_joined() {
    let mut mesh = start().await;
    let (one, two) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    one.register(farmer("A1", "李国强")).await.expect("registered");
    two.register(teacher("B1")).await.expect("registered");
    let province: NodePath = "530000".parse().expect("a path");
    let operator = mesh.tree.operator(&province).await.expect("an operator");
    let (a, b) = (own(&one, "A1").await.0, own(&two, "B1").await.0);
    let decision = LinkDecision::Same.into();
    let joined =
        v1::DecideRequest { a, b, decision, reason: "冒名就诊".into(), ..v1::DecideRequest::default() };
    // Refused until the province knows both.
    until("decided", async || operator.decide(joined.clone()).await.is_ok_and(|done| done.changed)).await;
    for (hospital, id) in [(&one, "A1"), (&two, "B1")] {
        until("one person", async || person(hospital, id, Reach::Local).await == ["A1", "B1"]).await;
    }

    mesh.tree.kill(&province).await.expect("killed");
    std::fs::remove_dir_all(mesh.tree.node_dir(&province).join("data")).expect("removed");
    mesh.tree.start(&province).await.expect("started");
    let operator = mesh.tree.operator(&province).await.expect("an operator");
    let request = v1::ExplainPairRequest { a: joined.a.clone(), b: joined.b.clone() };
    let one_person = async || operator.explain_pair(request.clone()).await.is_ok_and(|pair| pair.one_person);
    until("the province knows what was decided", one_person).await;
    // It is its own word again, which it does not say twice and can take back.
    assert!(!operator.decide(joined.clone()).await.expect("decided").changed, "it is decided already");
    let back =
        v1::DecideRequest { decision: LinkDecision::None.into(), reason: "看错了".into(), ..joined };
    assert!(operator.decide(back).await.expect("undone").changed);
    for reach in [Reach::Tree, Reach::Local] {
        until("two again at the first", async || person(&one, "A1", reach).await == ["A1"]).await;
        until("two again at the second", async || person(&two, "B1", reach).await == ["B1"]).await;
    }
    mesh.stop().await;
}

/// Who answers, and the nodes that the answer names as known here.
async fn answered(hospital: &Client, local_id: &str, reach: Reach) -> (NodePath, bool, Vec<NodePath>) {
    let scope = ask(hospital, local_id, reach).await.scope;
    let known = scope.sources.iter().filter(|source| source.state == SourceState::Replicated);
    (scope.answered_by.clone(), scope.complete, known.map(|source| source.path.clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_county_answers_by_itself_for_whom_all_above_have_compared() {
    let mesh = start().await;
    let (one, far) = (mesh.hospital(&mesh.here).await, mesh.hospital(&mesh.there).await);
    let (here, province): (NodePath, NodePath) = (mesh.here.clone(), "530000".parse().expect("a path"));
    one.register(farmer("A1", "李国强")).await.expect("registered");
    far.register(farmer("B1", "李囯强")).await.expect("registered");
    let by_itself = async || answered(&one, "A1", Reach::Tree).await.0 == here;
    until("the county answers by itself", by_itself).await;
    let (_, complete, known) = answered(&one, "A1", Reach::Tree).await;
    let above = [province.clone(), here.parent().expect("a prefecture")];
    assert!(complete && above.iter().all(|path| known.contains(path)), "{known:?}");
    until("with what the far county knows", async || person(&one, "A1", Reach::Tree).await == ["A1", "B1"])
        .await;
    assert_eq!(
        answered(&one, "A1", Reach::Fresh).await.0,
        province,
        "whoever asks for it is told from above"
    );
    assert_eq!(answered(&one, "A1", Reach::Local).await.0, here);
    mesh.stop().await;
}
