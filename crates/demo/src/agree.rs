//! Whether all nodes take the same registrations for one person, once replication and linkers are quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use cli::client::Client;
use model::query::{PatientBy, PatientQuery, QueryContext, Reach};
use model::{NodePath, Number};
use tokio::task::JoinSet;

use crate::load::{Hospitals, Ledger, PatientKey};
use crate::show::{DemoError, Teller, local};
use crate::tree::LocalTree;

/// Calls to one node at once.
const CALLERS: usize = 32;
/// How long the nodes may take to agree after replication was proven: links come up behind what they are about.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);

/// Number of the person of each registration; a registration that is not found has none.
pub(crate) type Numbers = BTreeMap<PatientKey, Number>;

/// What the nodes make of the registrations.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    /// As the province has it.
    pub numbers: Numbers,
    pub persons: usize,
    /// Registrations of which the node where they were made says something else than the province.
    pub disagree: usize,
}

/// Asks the province and, of its own registrations, every other node that has any, until all say the same or it has taken too long.
pub(crate) async fn ask(
    tree: &LocalTree,
    hospitals: &mut Hospitals,
    province: &Client,
    ledger: &Ledger,
    teller: &mut Teller,
) -> Result<Agreed, DemoError> {
    teller.begin("persons: asking the province, and every node about its own patients, who is one person");
    let nodes: BTreeMap<NodePath, Client> = readers(tree, hospitals).await?;
    let end = Instant::now() + PATIENCE;
    let all: Vec<PatientKey> = ledger.registrations.keys().cloned().collect();
    // Of those that differed only is asked again.
    let mut open: Vec<PatientKey> = all;
    let mut numbers = Numbers::new();
    loop {
        let above = numbers_of(province, open.clone()).await;
        let mut differ = Vec::new();
        for (path, client) in &nodes {
            let own: Vec<PatientKey> =
                open.iter().filter(|key| hospitals.is_at(path, key)).cloned().collect();
            let here = numbers_of(client, own.clone()).await;
            differ.extend(own.into_iter().filter(|key| here.get(key) != above.get(key)));
        }
        numbers.extend(above);
        if differ.is_empty() || Instant::now() > end {
            let persons = numbers.values().collect::<BTreeSet<_>>().len();
            let (nodes, count) = (nodes.len(), numbers.len());
            teller.say(&format!(
                "  {count} registrations are of {persons} persons, for the province and {nodes} others alike"
            ));
            return Ok(Agreed { numbers, persons, disagree: differ.len() });
        }
        open = differ;
        tokio::time::sleep(PAUSE).await;
    }
}

/// A hospital of each node at which somebody registered.
async fn readers(
    tree: &LocalTree,
    hospitals: &mut Hospitals,
) -> Result<BTreeMap<NodePath, Client>, DemoError> {
    let mut readers = BTreeMap::new();
    for (path, code) in hospitals.one_of_each_node() {
        let client = hospitals.client(tree, &path, &code).await?;
        readers.insert(path, client);
    }
    Ok(readers)
}

/// What a node itself says.
async fn numbers_of(node: &Client, keys: Vec<PatientKey>) -> Numbers {
    let (mut calls, mut numbers) = (JoinSet::new(), Numbers::new());
    for key in keys {
        while calls.len() >= CALLERS {
            numbers.extend(calls.join_next().await.and_then(Result::ok).flatten());
        }
        let node = node.clone();
        calls.spawn(async move { number_of(&node, &key).await.map(|number| (key, number)) });
    }
    while let Some(ended) = calls.join_next().await {
        numbers.extend(ended.ok().flatten());
    }
    numbers
}

async fn number_of(node: &Client, key: &PatientKey) -> Option<Number> {
    let query = PatientQuery {
        by: PatientBy::Local(local(key)),
        limit: 1,
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    let answer = node.find_patients(query).await.ok()?;
    answer.persons.first().map(|person| person.number)
}

/// Writes `reg_id,cluster_id`: local id of a registration, number of its person.
pub(crate) fn write(numbers: &Numbers, file: &Path) -> Result<(), DemoError> {
    let mut text = String::from("reg_id,cluster_id\n");
    for (key, number) in numbers {
        text.extend([&key.local_id, ",", &number.to_string(), "\n"]);
    }
    std::fs::write(file, text)?;
    Ok(())
}
