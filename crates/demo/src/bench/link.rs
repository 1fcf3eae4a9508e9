//! A node and its parent: draining a backlog, lag, bytes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cli::client::Client;
use model::RegionCode;
use model::body::Registration;
use model::query::{LocalPatient, PatientBy, PatientQuery, QueryContext, Reach};
use serde::Serialize;

use super::{Common, Patients, Tally, bytes_in, hospitals, register_all, tree, until};
use crate::show::DemoError;
use crate::synth;

#[derive(Debug, Clone, clap::Args)]
pub struct LinkBench {
    #[command(flatten)]
    pub(super) common: Common,
    /// Registrations that wait when the parent comes up.
    #[arg(long, default_value_t = 100_000)]
    backlog: u64,
    /// Registrations whose way to the parent is timed one by one.
    #[arg(long, default_value_t = 300)]
    samples: u64,
}

/// Figures of one link.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LinkFigures {
    pub backlog: u64,
    /// From the parent's start to its holding the whole backlog.
    pub drain_s: f64,
    pub records_per_s: f64,
    pub lag_p50_ms: f64,
    pub lag_p99_ms: f64,
    pub bytes_on_disk: u64,
    pub log_bytes: u64,
    pub bytes_of_records: u64,
}

pub(super) async fn run(args: &LinkBench, executable: PathBuf) -> Result<LinkFigures, DemoError> {
    let Common { callers, connections, seed, .. } = args.common;
    let (mut tree, _folder) = tree(&args.common, executable, String::new(), &["530000", "530000/530100"])?;
    let [parent, child] = [tree.paths()[0].clone(), tree.paths()[1].clone()];
    tree.start_all(|_| ()).await?;
    let clients = hospitals(&tree, &child, connections).await?;
    let patients =
        Patients::new("530102".parse().map_err(|_| DemoError::NotShown("no county".into()))?, seed)?;
    // The child may write once the parent has welcomed it; then the parent goes away and the backlog grows.
    until(|| async { Ok(tree.operator(&child).await?.status().await?.writing) }).await?;
    tree.stop(&parent).await?;
    eprintln!("loading {} registrations while the parent is down", args.backlog);
    register_all(callers, &clients, patients.draw(args.backlog)).await?;
    tree.start(&parent).await?;
    eprintln!("the parent is up: draining");
    let above = hospitals(&tree, &parent, 1).await?.remove(0);
    let mut first = None;
    let since = Instant::now();
    until(|| async { Ok(above.status().await?.store.unwrap_or_default().registrations > 0) }).await?;
    first.get_or_insert(Instant::now());
    until(|| async { Ok(above.status().await?.store.unwrap_or_default().registrations >= args.backlog) })
        .await?;
    let drain_s = since.elapsed().as_secs_f64();
    let flowing_s = first.map_or(drain_s, |first| first.elapsed().as_secs_f64());
    eprintln!("timing {} registrations one by one", args.samples);
    let mut lag = lag(&clients[0], &above, patients.draw(args.samples), child.region()).await?;
    let store = tree.operator(&child).await?.status().await?.store.unwrap_or_default();
    tree.stop_all().await?;
    Ok(LinkFigures {
        backlog: args.backlog,
        drain_s,
        records_per_s: args.backlog as f64 / flowing_s,
        lag_p50_ms: lag.quantile(0.5),
        lag_p99_ms: lag.quantile(0.99),
        bytes_on_disk: bytes_in(&tree.node_dir(&child).join("data"))?,
        log_bytes: store.log_bytes,
        bytes_of_records: store.record_bytes,
    })
}

/// From an acknowledgement below to the record being found above.
async fn lag(
    below: &Client,
    above: &Client,
    rows: Vec<Registration>,
    region: RegionCode,
) -> Result<Tally, DemoError> {
    let institution_code = synth::social_credit_code(region, "B0");
    let mut tally = Tally::default();
    for row in rows {
        let local = LocalPatient {
            institution_code: institution_code.clone(),
            source_system: row.source_system.clone(),
            local_id: row.local_id.clone(),
        };
        let query = PatientQuery {
            by: PatientBy::Local(local),
            limit: 1,
            reach: Reach::Local,
            context: QueryContext::default(),
        };
        below.register(row).await?;
        let since = Instant::now();
        while above.find_patients(query.clone()).await?.persons.is_empty() {
            if since.elapsed() > Duration::from_secs(60) {
                return Err(DemoError::NotShown(
                    "a registration did not reach the parent within 60 s".into(),
                ));
            }
        }
        tally.calls += 1;
        tally.micros.push(since.elapsed().as_micros() as u64);
    }
    Ok(tally)
}
