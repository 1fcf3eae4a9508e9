//! Whether all nodes take the same registrations for one person, once replication and linkers are quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use cli::client::Client;
use model::Number;
use tokio::task::JoinSet;

use crate::load::{Hospitals, Ledger, PatientKey};
use crate::show::{DemoError, Teller, held_here};
use crate::tree::LocalTree;

/// Calls to one node at once.
const CALLERS: usize = 32;
/// How long nodes may come no nearer to agreeing, or linkers to an end: links come up behind what they are about.
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

/// Asks the province and, of its own registrations, every other node that has any, until all say the same or come no nearer to it.
pub(crate) async fn ask(
    tree: &LocalTree,
    hospitals: &mut Hospitals,
    province: &Client,
    ledger: &Ledger,
    teller: &mut Teller,
) -> Result<Agreed, DemoError> {
    let keys: Vec<PatientKey> = ledger.registrations.keys().cloned().collect();
    let mut nodes: Vec<(Client, Vec<PatientKey>)> = Vec::new();
    for (path, codes) in hospitals.by_node() {
        let own = keys.iter().filter(|key| codes.contains(&key.institution_code)).cloned().collect();
        let Some(code) = codes.first() else { continue };
        nodes.push((hospitals.client(tree, &path, code).await?, own));
    }
    let operators = operators(tree).await?;
    let (mut end, mut least) = (Instant::now() + PATIENCE, usize::MAX);
    loop {
        let before = rest(&operators, teller).await?;
        teller
            .begin("persons: asking the province, and every node about its own patients, who is one person");
        let numbers = numbers_of(province, &keys).await;
        let mut disagree = 0;
        for (node, own) in &nodes {
            let here = numbers_of(node, own).await;
            // Whoever is not found is nobody's.
            let differs =
                |key: &&PatientKey| here.get(key).is_none_or(|number| numbers.get(key) != Some(number));
            disagree += own.iter().filter(differs).count();
        }
        if disagree < least {
            (end, least) = (Instant::now() + PATIENCE, disagree);
        }
        // What was written while they were asked may have changed what was said before.
        let all_said = disagree == 0 && heads(&look(&operators).await?) == heads(&before);
        if all_said || Instant::now() > end {
            let persons = numbers.values().collect::<BTreeSet<_>>().len();
            teller.say(&format!(
                "  {} registrations are of {persons} persons; {} nodes say so of their own, but of {disagree}",
                numbers.len(),
                nodes.len()
            ));
            return Ok(Agreed { numbers, persons, disagree });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn operators(tree: &LocalTree) -> Result<Vec<Client>, DemoError> {
    let mut operators = Vec::new();
    for path in tree.paths() {
        operators.push(tree.operator(&path).await?);
    }
    Ok(operators)
}

/// How far a node's log goes and how far its linker has judged it.
type Judged = (u64, u64);

async fn look(operators: &[Client]) -> Result<Vec<Judged>, DemoError> {
    let mut all = Vec::new();
    for node in operators {
        let status = node.status().await?;
        let head = status.store.map_or(0, |store| store.head);
        all.push((head, status.linker.map_or(0, |linker| linker.judged)));
    }
    Ok(all)
}

fn heads(all: &[Judged]) -> Vec<u64> {
    all.iter().map(|(head, _)| *head).collect()
}

/// Waits until every node's linker has judged what the node holds and no log grows any more, or for long nothing has moved;
/// answers how they stand then.
async fn rest(operators: &[Client], teller: &mut Teller) -> Result<Vec<Judged>, DemoError> {
    teller.begin("linkers: waiting until every node has judged what it holds");
    let mut end = Instant::now() + PATIENCE;
    let mut last = look(operators).await?;
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = look(operators).await?;
        let still = now == last;
        if still && now.iter().all(|(head, judged)| head == judged) {
            return Ok(now);
        }
        if !still {
            end = Instant::now() + PATIENCE;
        }
        if Instant::now() > end {
            let behind = now.iter().filter(|(head, judged)| head > judged).count();
            teller.say(&format!("  {behind} nodes have not judged all that they hold, and do not go on"));
            return Ok(now);
        }
        last = now;
    }
}

/// What a node itself says.
async fn numbers_of(node: &Client, keys: &[PatientKey]) -> Numbers {
    let (mut calls, mut numbers) = (JoinSet::new(), Numbers::new());
    for key in keys {
        while calls.len() >= CALLERS {
            numbers.extend(calls.join_next().await.and_then(Result::ok).flatten());
        }
        let (node, key) = (node.clone(), key.clone());
        calls.spawn(async move {
            let answer = node.find_patients(held_here(&key)).await.ok()?;
            answer.persons.first().map(|person| (key, person.number))
        });
    }
    while let Some(ended) = calls.join_next().await {
        numbers.extend(ended.ok().flatten());
    }
    numbers
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
