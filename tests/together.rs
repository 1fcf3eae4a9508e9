//! Many who register the same new persons at the same moment, at one node and at two: nobody is two, and nobody is another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cli::client::Client;
use demo::synth::{Day, resident_id};
use model::NodePath;
use model::body::{Address, Registration};
use tests::mesh::{Mesh, identifier};
use wire::v1;

const LIMIT: Duration = Duration::from_secs(300);
const SIBLING: &str = "530000/532900/532922";
const PERSONS: usize = 1000;
/// Callers at all nodes together.
const CALLERS: usize = 64;
/// How often a person is registered, one half at each of two nodes.
const TIMES: usize = 4;

/// Somebody as one of the counters writes it down: every second one shows no card.
fn registration(mesh: &Mesh, person: usize, time: usize) -> Registration {
    let number = person as i32;
    let day = Day::new(1950 + number % 60, 1 + number / 60 % 12, 1 + number / 7 % 28);
    let id = resident_id(mesh.here.region(), day, person as u16);
    Registration {
        local_id: format!("P{person}-{time}"),
        name: tests::name_of(&id),
        // As the number says.
        sex: if person.is_multiple_of(2) { "2" } else { "1" }.into(),
        birth_date: format!("{}-{}-{}", &id[6..10], &id[10..12], &id[12..14]),
        identifiers: if time.is_multiple_of(2) { vec![identifier(&id)] } else { Vec::new() },
        phones: vec![format!("139{person:08}")],
        addresses: vec![Address {
            text: format!("云南省大理白族自治州漾濞彝族自治县苍山西镇河西村{person}号"),
            region_code: "532922".into(),
        }],
        ..Registration::default()
    }
}

/// What a node's linker says once it has judged all that is there, of so many registrations, and `settled` holds.
async fn judged(
    mesh: &Mesh,
    (node, registrations): (&NodePath, usize),
    settled: impl Fn(&v1::LinkerStatus) -> bool,
) -> v1::LinkerStatus {
    let operator = mesh.tree.operator(node).await.expect("an operator");
    let wait = async {
        loop {
            let status = operator.status().await.expect("status");
            let (head, linker) =
                (status.store.map_or(0, |store| store.head), status.linker.unwrap_or_default());
            if linker.registrations == registrations as u64 && linker.judged == head && settled(&linker) {
                return linker;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("{node} never comes to so many persons"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_new_persons_registered_at_once_are_so_many_persons() {
    let mesh =
        Arc::new(Mesh::start_with(env!("CARGO_BIN_EXE_tiermesh-under-test"), &[(SIBLING, "county")]).await);
    let counties: [NodePath; 2] = [mesh.here.clone(), SIBLING.parse().expect("a path")];
    let clients: Vec<Arc<Client>> =
        vec![Arc::new(mesh.hospital(&counties[0]).await), Arc::new(mesh.hospital(&counties[1]).await)];
    // The callers take the next registration each: all of one person's are on their way together.
    let next = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (mesh, clients, next) = (mesh.clone(), clients.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= PERSONS * TIMES {
                        return;
                    }
                    let (person, time) = (number / TIMES, number % TIMES);
                    let registration = registration(&mesh, person, time);
                    clients[time / 2].register(registration).await.expect("registered");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("all are registered");
    }
    let above = |path: &str| (path.parse::<NodePath>().expect("a path"), PERSONS * TIMES);
    let mut nodes: Vec<(NodePath, usize)> =
        counties.iter().map(|county| (county.clone(), PERSONS * TIMES / 2)).collect();
    nodes.extend([above("530000/532900"), above("530000")]);
    // Links that are written below come up behind the registrations.
    for (node, registrations) in &nodes {
        judged(&mesh, (node, *registrations), |linker| linker.persons == PERSONS as u64).await;
    }
    // And it stays so: whoever was joined too much would be fewer by now.
    for (node, registrations) in &nodes {
        let linker = judged(&mesh, (node, *registrations), |_| true).await;
        assert_eq!(linker.persons, PERSONS as u64, "at {node}: {linker:?}");
    }
}
