//! `document get`: into `FILE.part`, checked, synced, then moved to `FILE`. What is in the part file is not fetched again.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::body::DocumentEntry;
use model::query::ContentQuery;
use model::{NodePath, RecordKey};
use sha2::{Digest, Sha256};
use tonic::Code;

use super::render;
use crate::client::Client;
use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;
use crate::text::{bytes, hex};

#[derive(Clone, clap::Args)]
pub struct Get {
    /// The document as `document find` shows it: KEY@PATH, or KEY alone when this node holds the entry.
    #[arg(value_name = "KEY[@PATH]", value_parser = handle)]
    document: Handle,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Path of the custodian's node, when KEY stands alone.
    #[arg(long, value_name = "PATH")]
    custodian: Option<NodePath>,
    /// Replace FILE if it exists.
    #[arg(long)]
    force: bool,
}

redacted!(Get);

#[derive(Debug, Clone, PartialEq)]
struct Handle {
    key: RecordKey,
    custodian: Option<NodePath>,
}

fn handle(text: &str) -> Result<Handle, String> {
    let (key, custodian) = match text.split_once('@') {
        None => (text, None),
        Some((key, path)) => {
            (key, Some(path.parse().map_err(|error: model::path::PathError| error.to_string())?))
        }
    };
    Ok(Handle { key: key.parse().map_err(|error: model::id::IdError| error.to_string())?, custodian })
}

impl Get {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        if self.out.exists() && !self.force {
            let why = "exists already; choose another name, or replace it with --force".to_owned();
            return Err(CliError::File { path: self.out, why });
        }
        let query = ContentQuery {
            key: self.document.key,
            custodian_path: self.document.custodian.or(self.custodian),
            as_filed: false,
            offset: 0,
            context: connection.context(),
        };
        let mut part = Part::open(&self.out)?;
        let fetched = async { fetch(&connection.client().await?, query, &mut part, output).await };
        let (entry, resumed_at) = match fetched.await {
            Ok(fetched) => fetched,
            Err(error) => {
                part.keep_or_remove(output);
                return Err(error);
            }
        };
        let checked = !entry.sha256.is_empty();
        let sha256 = part.sha256();
        let size = part.size;
        part.finish(&self.out)?;
        if !checked {
            output.note("note: the entry states no hash; the content could not be checked");
        }
        let fetched = json::Fetched {
            file: self.out.display().to_string(),
            bytes: size,
            resumed_at,
            sha256: hex(&sha256),
            checked,
            entry: (&entry).into(),
        };
        output.answer(|| render::fetched(&fetched), || &fetched)
    }
}

/// Fetches what the part file lacks. Answers the entry, and how many bytes were there before.
async fn fetch(
    client: &Client,
    mut query: ContentQuery,
    part: &mut Part,
    output: &Output<'_>,
) -> Result<(DocumentEntry, u64), CliError> {
    query.offset = part.size;
    match attempt(client, query.clone(), part, output).await {
        Ok(entry) => Ok((entry, query.offset)),
        // What was left from an earlier attempt may be another document's, or damaged: once more, from the beginning.
        Err(error) if query.offset > 0 && blames_the_rest(&error) => {
            part.clear()?;
            query.offset = 0;
            Ok((attempt(client, query, part, output).await?, 0))
        }
        Err(error) => Err(error),
    }
}

fn blames_the_rest(error: &CliError) -> bool {
    match error {
        CliError::ContentCorrupt(_) => true,
        CliError::Refused(refusal) => {
            matches!(refusal.code, Code::InvalidArgument | Code::OutOfRange | Code::DataLoss)
        }
        _ => false,
    }
}

const LONGER: CliError = CliError::ContentCorrupt("the content is longer than its entry says");

async fn attempt(
    client: &Client,
    query: ContentQuery,
    part: &mut Part,
    output: &Output<'_>,
) -> Result<DocumentEntry, CliError> {
    let mut retrieval = client.retrieve(query).await?;
    // A reference to content elsewhere may leave out size and hash.
    let size = Some(retrieval.entry.size).filter(|size| *size > 0 || !retrieval.entry.sha256.is_empty());
    let bar = output.bar(retrieval.entry.size, part.size);
    loop {
        if size.is_some_and(|size| part.size > size) {
            return Err(LONGER);
        }
        let Some(chunk) = retrieval.next_chunk().await? else { break };
        part.write(&chunk)?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    let entry = retrieval.entry;
    if size.is_some_and(|size| part.size != size) {
        return Err(CliError::ContentCorrupt("the content is shorter than its entry says"));
    }
    if !entry.sha256.is_empty() && entry.sha256 != Bytes::copy_from_slice(&part.sha256()) {
        return Err(CliError::ContentCorrupt("the content does not have the hash in its entry"));
    }
    Ok(entry)
}

/// The unfinished file: locked, readable by its owner alone, with the hash of what is in it.
struct Part {
    path: PathBuf,
    file: fs::File,
    size: u64,
    hash: Sha256,
}

impl Part {
    fn open(out: &Path) -> Result<Self, CliError> {
        let mut name = out.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let failed = |error: io::Error| CliError::file(&path, &error);
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        if file.try_lock().is_err() {
            return Err(CliError::File {
                path,
                why: "another download is writing to it; wait for that".to_owned(),
            });
        }
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
        Ok(Self { path, file, size, hash })
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), CliError> {
        self.file.write_all(chunk).map_err(|error| CliError::file(&self.path, &error))?;
        self.hash.update(chunk);
        self.size += chunk.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), CliError> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cleared.map_err(|error| CliError::file(&self.path, &error))?;
        (self.size, self.hash) = (0, Sha256::new());
        Ok(())
    }

    fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// After a failure: what is there helps the next attempt; an empty file only puzzles.
    fn keep_or_remove(self, output: &mut Output<'_>) {
        if self.size > 0 {
            output.note(&format!(
                "note: {} are in {}; run it again to go on from there",
                bytes(self.size),
                self.path.display()
            ));
        } else if let Err(error) = fs::remove_file(&self.path) {
            output.note(&format!("note: {} stays behind: {error}", self.path.display()));
        }
    }

    /// Makes it durable under its final name.
    fn finish(self, out: &Path) -> Result<(), CliError> {
        let moved = self.file.sync_all().and_then(|()| fs::rename(&self.path, out));
        let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = moved.and_then(|()| fs::File::open(dir)).and_then(|dir| dir.sync_all());
        synced.map_err(|error| CliError::file(out, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles() {
        let key = "fd068b02febc62566d87f78e11321fa4";
        assert_eq!(handle(key).unwrap(), Handle { key: key.parse().unwrap(), custodian: None });
        let full = handle(&format!("{key}@530000/532900")).unwrap();
        assert_eq!(full.custodian, Some("530000/532900".parse().unwrap()));
        for wrong in ["", "xyz", &key[1..], &format!("{key}@"), &format!("{key}@53")] {
            assert!(handle(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_download_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a.pdf");
        let first = Part::open(&out).unwrap();
        assert!(matches!(Part::open(&out), Err(CliError::File { .. })));
        drop(first);
        assert!(Part::open(&out).is_ok());
    }
}
