//! `tiermesh recover`: what survives in data of this node's from before a restore, and writing it again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use exchange::{Fate, Survivor, TakenIn};
use model::Kind;
use repository::{ContentLimits, Repository};
use store::{IndexChoice, MemoryIndex, OpenError, Run, Store};

use crate::build::{Built, StartError, build};
use crate::commands::{FAILED, fail, print_json};
use crate::config::Config;
use crate::local;
use crate::seams::{SystemClock, boot_id};

/// Most survivors that are listed one by one for people; `--json` has all.
const LISTED: usize = 200;

/// Lists what only an old data folder of this node has, and writes it again with --import. Stop the node first.
///
/// After a node was restored because its disk was lost, an old backup was started or a clone ran beside it, the data folder
/// from before may hold records that were acknowledged and never reached the node above. Keep that folder; this looks into it.
#[derive(Debug, clap::Args)]
pub struct Recover {
    #[arg(long, default_value = "node.toml")]
    config: PathBuf,
    /// The old data folder. Its unfinished last write, if there is one, is cut off and kept beside it; nothing else changes.
    #[arg(long)]
    from: PathBuf,
    /// Writes what is missing here again, as new versions of this node's.
    #[arg(long)]
    import: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum RecoverError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Exchange(#[from] exchange::ExchangeError),
    #[error("{0} has no folder `log`: is it a data folder of a node?")]
    NoLog(PathBuf),
    #[error("the old data in {place} cannot be opened: {source}")]
    Old { place: PathBuf, source: OpenError },
    #[error("the old documents in {place} cannot be opened: {source}")]
    Content { place: PathBuf, source: repository::RepositoryError },
    #[error(transparent)]
    Local(#[from] local::LocalError),
    #[error("{0}: {1}")]
    Folder(PathBuf, std::io::Error),
    #[error(
        "the node that this configuration names has no records yet: start it, let it be restored, stop it, and try again"
    )]
    Empty,
    #[error("--from is the node's own data folder")]
    Same,
}

pub fn run(args: &Recover) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, cli::Exit::Usage as u8),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, FAILED),
    };
    match runtime.block_on(recover(args, &config)) {
        Ok((survivors, taken)) => {
            tell(args, &survivors, taken);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, FAILED),
    }
}

async fn recover(args: &Recover, config: &Config) -> Result<(Vec<Survivor>, Option<TakenIn>), RecoverError> {
    let folder = |place: &Path| {
        std::fs::canonicalize(place).map_err(|error| RecoverError::Folder(place.to_owned(), error))
    };
    if folder(&args.from)? == folder(&config.data_dir)? {
        return Err(RecoverError::Same);
    }
    if !args.from.join("log").is_dir() {
        return Err(RecoverError::NoLog(args.from.clone()));
    }
    let built = build(config)?;
    if built.store.last_epoch().is_none() || replication::is_restoring(&built.store) {
        return Err(RecoverError::Empty);
    }
    let branch = open_branch(args, config, &built)?;
    let survivors = built.exchange.survivors(&branch)?;
    let missing = survivors.iter().any(|one| one.fate == Fate::Missing);
    let mut taken = None;
    if args.import && missing {
        let place = args.from.join("content");
        let limits = ContentLimits { max_bytes: config.max_content_bytes };
        let content =
            Repository::open(&place, limits).map_err(|source| RecoverError::Content { place, source })?;
        let key = built.identity.signing_key_entry();
        let epoch = built.exchange.begin(key, local::last_epoch(&built.identity_dir)?).await?;
        local::note_epoch(&built.identity_dir, epoch)?;
        taken = Some(built.exchange.take_in(&branch, &content, &survivors).await?);
    }
    drop(branch);
    let Built { store, exchange, services, listener, .. } = built;
    drop((exchange, services, listener));
    store.close().await.map_err(StartError::from)?;
    Ok((survivors, taken))
}

/// The old data's own index is left alone: one is made in memory.
fn open_branch(args: &Recover, config: &Config, built: &Built) -> Result<Store, RecoverError> {
    let place = args.from.join("log");
    let files = store::Files::open(&place).map_err(|error| RecoverError::Folder(place.clone(), error))?;
    let local =
        local::Local::load_or_create(&config.identity_dir, &built.identity, &crate::seams::SystemEntropy)?;
    let options = store::Options {
        storage: Arc::new(files),
        index: IndexChoice::Memory(MemoryIndex::default()),
        derivation: Arc::new(exchange::Terms::new(local.terms)),
        clock: Arc::new(SystemClock),
        boot_id: boot_id(),
        node: local.origin,
        signing: built.identity.signing_key.clone(),
        run: Run::Threads,
        limits: store::Limits::default(),
    };
    let (store, _) = Store::open(options).map_err(|source| RecoverError::Old { place, source })?;
    Ok(store)
}

fn kind(number: u32) -> &'static str {
    match i32::try_from(number).ok().and_then(|number| Kind::try_from(number).ok()) {
        Some(Kind::Registration) => "registration",
        Some(Kind::DocumentEntry) => "document entry",
        _ => "record",
    }
}

fn fate(fate: Fate) -> String {
    match fate {
        Fate::Missing => "missing here".to_owned(),
        Fate::ChangedSince { held } => {
            format!("changed here since ({held}): compare them, and file again what is right")
        }
        Fate::FilesElsewhere => "its institution files with another node now: file it there".to_owned(),
    }
}

fn tell(args: &Recover, survivors: &[Survivor], taken: Option<TakenIn>) {
    if args.json {
        let list: Vec<_> = survivors
            .iter()
            .map(|one| {
                serde_json::json!({
                    "key": one.key.to_string(),
                    "kind": kind(one.kind),
                    "institution": one.institution,
                    "version": one.version.to_string(),
                    "recorded_ms": one.recorded_ms,
                    "missing": one.fate == Fate::Missing,
                    "fate": fate(one.fate),
                })
            })
            .collect();
        print_json(&serde_json::json!({
            "survivors": list,
            "written_again": taken.map(|taken| taken.records),
            "without_content": taken.map(|taken| taken.without_content),
        }));
        return;
    }
    for one in survivors.iter().take(LISTED) {
        let institution = one.institution.as_deref().unwrap_or("unknown institution");
        println!(
            "{}  {}  {institution}  version {}: {}",
            one.key,
            kind(one.kind),
            one.version,
            fate(one.fate)
        );
    }
    if survivors.len() > LISTED {
        println!("… and {} more; --json lists all", survivors.len() - LISTED);
    }
    let missing = survivors.iter().filter(|one| one.fate == Fate::Missing).count();
    match taken {
        Some(TakenIn { records, without_content }) => println!(
            "{records} of {missing} missing records written again, {without_content} left out because their content is gone; start the node"
        ),
        None if missing > 0 => println!("{missing} records are missing here; --import writes them again"),
        None => println!("nothing is missing here that {} has", args.from.display()),
    }
}
