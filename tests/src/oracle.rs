//! Compares what was acknowledged with what a node holds.

use std::time::{Duration, Instant};

use cli::client::Client;
use futures_util::{StreamExt, stream};
use model::Version;
use model::query::{
    ContentQuery, DocumentQuery, DocumentsOf, LocalPatient, PatientBy, PatientQuery, QueryContext, Reach,
};

use crate::writers::{Acknowledged, Ledger, content};

/// How many living records a node counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub registrations: u64,
    pub documents: u64,
}

/// What a node counts.
pub async fn held_by(node: &Client) -> Held {
    let store = node.status().await.expect("status").store.expect("a store");
    Held { registrations: store.registrations, documents: store.document_entries }
}

/// Waits until `node` counts what the ledger has, then asks every record back. `of` keeps the part of the ledger that the node
/// is to hold; `fetch` also fetches and compares the content of documents.
pub async fn check(node: &Client, ledger: &Ledger, fetch: Option<&Client>) {
    let wanted =
        Held { registrations: ledger.patients.len() as u64, documents: ledger.documents.len() as u64 };
    // However much there is to catch up with, it goes on.
    let (mut before, mut since) = (None, Instant::now());
    loop {
        let held = held_by(node).await;
        if before.replace(held) != Some(held) {
            since = Instant::now();
        }
        assert!(
            held.registrations <= wanted.registrations && held.documents <= wanted.documents,
            "more is held than was ever written: {held:?}, not {wanted:?}"
        );
        if held == wanted {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(120), "it stays at {held:?} of {wanted:?}");
        tokio::task::yield_now().await;
    }
    ask_back(node, ledger, fetch, Exact::Yes).await;
}

/// Asks every record of the ledger back from a node that may hold later writes too.
pub async fn check_at_least(node: &Client, ledger: &Ledger, fetch: Option<&Client>) {
    ask_back(node, ledger, fetch, Exact::OrLater).await;
}

/// Whether the very write that was acknowledged must be held, or it or a later one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exact {
    Yes,
    OrLater,
}

impl Exact {
    fn accepts(self, held: Version, acknowledged: Version) -> bool {
        held == acknowledged || (self == Self::OrLater && held > acknowledged)
    }
}

/// Records asked for at the same time.
const AT_ONCE: usize = 16;

async fn ask_back(node: &Client, ledger: &Ledger, fetch: Option<&Client>, exact: Exact) {
    stream::iter(&ledger.patients)
        .for_each_concurrent(AT_ONCE, |((_, code, local_id), acknowledged)| {
            patient(node, code, local_id, acknowledged, exact)
        })
        .await;
    stream::iter(&ledger.documents)
        .for_each_concurrent(AT_ONCE, |((_, code, document_id), (local_id, acknowledged))| {
            document(node, code, (local_id, document_id), acknowledged, fetch, exact)
        })
        .await;
}

fn local(code: &str, local_id: &str) -> LocalPatient {
    LocalPatient { institution_code: code.into(), source_system: String::new(), local_id: local_id.into() }
}

async fn patient(node: &Client, code: &str, local_id: &str, acknowledged: &Acknowledged, exact: Exact) {
    let query = PatientQuery {
        by: PatientBy::Local(local(code, local_id)),
        limit: 2,
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    let answer = node.find_patients(query).await.expect("find");
    let held: Vec<_> = answer.persons.iter().flat_map(|person| &person.registrations).collect();
    assert_eq!(held.len(), 1, "{local_id} of {code} is held {} times", held.len());
    let (version, wanted) = (held[0].version, acknowledged.version);
    assert!(exact.accepts(version, wanted), "{local_id} of {code} is held as {version}, not {wanted}");
    if version == wanted {
        let marker = held[0].registration.contacts.first().map(|contact| contact.name.as_str());
        assert_eq!(marker, Some(acknowledged.marker.as_str()), "{local_id} of {code} holds another write");
    }
}

async fn document(
    node: &Client,
    code: &str,
    (local_id, document_id): (&str, &str),
    acknowledged: &Acknowledged,
    fetch: Option<&Client>,
    exact: Exact,
) {
    let query = DocumentQuery {
        of: DocumentsOf::Local(local(code, local_id)),
        type_codes: Vec::new(),
        created_from_ms: 0,
        created_to_ms: 0,
        availabilities: Vec::new(),
        page_size: 200,
        page_token: String::new(),
        reach: Reach::Local,
        context: QueryContext::default(),
    };
    let answer = node.find_documents(query).await.expect("find documents");
    let held: Vec<_> = answer.documents.iter().filter(|one| one.entry.document_id == document_id).collect();
    assert_eq!(held.len(), 1, "{document_id} of {code} is held {} times", held.len());
    assert!(exact.accepts(held[0].version, acknowledged.version), "{document_id} of {code}");
    if let Some(reader) = fetch {
        let query = ContentQuery {
            key: held[0].key,
            custodian_path: held[0].custodian_path.parse().ok(),
            as_filed: false,
            offset: 0,
            context: QueryContext::default(),
        };
        let bytes =
            reader.retrieve(query).await.expect("retrieve").read_to_end(1 << 20).await.expect("content");
        assert!(bytes == content(&acknowledged.marker), "{document_id} of {code} has other content");
    }
}
