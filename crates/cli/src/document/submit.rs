//! `document submit`: hashes the file, then streams it.
//!
//! Submitting is idempotent on the document id, so an id made here must be the same when the command is repeated: it is
//! a hash of whose document it is and what is in it. For the same reason a file's creation time is its modification time.

use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use model::RecordId;
use model::body::DocumentEntry;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use wire::v1;

use super::render;
use crate::client::{CHUNK, Client};
use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;
use crate::text::parse_time;

#[derive(Clone, clap::Args)]
pub struct Submit {
    /// The document.
    #[arg(required_unless_present = "reference", conflicts_with = "reference")]
    file: Option<PathBuf>,
    /// Where the institution itself holds the content, instead of a file.
    #[arg(long, value_name = "URL", requires_all = ["id", "created"])]
    reference: Option<String>,
    /// The patient's id in the source system.
    #[arg(long, value_name = "ID")]
    local_id: String,
    /// Assigning system within the institution, when it has several.
    #[arg(long, value_name = "SYSTEM")]
    source_system: Option<String>,
    /// Document type: WS/T 500-2016 (C0007) or WS/T 483-2016 (HSDC00.02).
    #[arg(long = "type", value_name = "CODE")]
    type_code: String,
    /// Title, at most 256 characters.
    #[arg(long, value_name = "TEXT")]
    title: String,
    /// Id of the document within the institution [default: made from patient, type and content].
    #[arg(long, value_name = "DOCUMENT_ID")]
    id: Option<String>,
    /// The document of this id that this one replaces.
    #[arg(long, value_name = "DOCUMENT_ID")]
    replaces: Option<String>,
    /// HL7 confidentiality: U, L, M, N, R or V.
    #[arg(long, value_name = "LEVEL", default_value = "N")]
    confidentiality: String,
    /// Internet media type [default: by the file's name].
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    /// BCP 47 [default: zh-CN].
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// When the document was made, Beijing time: YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS] [default: when the file was changed].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    created: Option<u64>,
    /// Begin of the service documented.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    service_start: Option<u64>,
    /// End of the service documented.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    service_stop: Option<u64>,
    /// Name of an author; repeatable.
    #[arg(long, value_name = "NAME")]
    author: Vec<String>,
    /// Department.
    #[arg(long, value_name = "TEXT")]
    department: Option<String>,
}

redacted!(Submit);

impl Submit {
    pub(crate) async fn run(
        mut self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        let (entry, reply) = if let Some(path) = self.file.take() {
            self.submit_file(&path, connection, output).await?
        } else {
            let entry = self.entry();
            let client = connection.client().await?;
            (entry.clone(), client.submit_reference(entry).await?)
        };
        let id = &entry.document_id;
        output.answer(|| render::submitted(id, &reply), || json::Submitted::new(id, &reply))
    }

    async fn submit_file(
        self,
        path: &Path,
        connection: &Connection<'_>,
        output: &Output<'_>,
    ) -> Result<(DocumentEntry, v1::SubmitDocumentReply), CliError> {
        let failed = |error: io::Error| CliError::file(path, &error);
        let content = Content::of(path).await.map_err(failed)?;
        let mut entry = self.entry();
        entry.size = content.size;
        entry.sha256 = Bytes::copy_from_slice(&content.sha256);
        if entry.created_ms == 0 {
            entry.created_ms = content.changed_ms;
        }
        if entry.media_type.is_empty() {
            media_type(path).clone_into(&mut entry.media_type);
        }
        if entry.document_id.is_empty() {
            entry.document_id = document_id(&entry);
        }
        let client = connection.client().await?;
        let bar = output.bar(content.size, 0);
        let reply = send(&client, entry.clone(), path, bar.clone()).await;
        bar.finish_and_clear();
        Ok((entry, reply?))
    }

    /// The entry without what only the content tells.
    fn entry(self) -> DocumentEntry {
        DocumentEntry {
            document_id: self.id.unwrap_or_default(),
            local_id: self.local_id,
            source_system: self.source_system.unwrap_or_default(),
            type_code: self.type_code,
            title: self.title,
            created_ms: self.created.unwrap_or(0),
            service_start_ms: self.service_start.unwrap_or(0),
            service_stop_ms: self.service_stop.unwrap_or(0),
            authors: self.author,
            department: self.department.unwrap_or_default(),
            confidentiality: self.confidentiality,
            media_type: self.media_type.unwrap_or_default(),
            language: self.language.unwrap_or_default(),
            replaces: self.replaces.unwrap_or_default(),
            reference: self.reference.unwrap_or_default(),
            ..Default::default()
        }
    }
}

async fn send(
    client: &Client,
    entry: DocumentEntry,
    path: &Path,
    bar: ProgressBar,
) -> Result<v1::SubmitDocumentReply, CliError> {
    let file = File::open(path).await.map_err(|error| CliError::file(path, &error))?;
    // What is sent is as long as what was hashed; a file that has grown since is not this document.
    let most = ReaderStream::with_capacity(file.take(entry.size), CHUNK);
    let chunks = most.inspect_ok(move |chunk| bar.inc(chunk.len() as u64));
    client.submit_document(entry, chunks.boxed()).await
}

struct Content {
    size: u64,
    sha256: [u8; 32],
    changed_ms: u64,
}

impl Content {
    async fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        let about = file.metadata().await?;
        if !about.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = file.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
        let changed = about.modified()?.duration_since(UNIX_EPOCH);
        let changed_ms = changed.map_or(0, |since| since.as_millis() as u64);
        Ok(Self { size, sha256: hash.finalize().into(), changed_ms })
    }
}

/// The id of a document that its institution gave none: the same for the same patient, type and content.
fn document_id(entry: &DocumentEntry) -> String {
    let parts = [&entry.source_system, &entry.local_id, &entry.type_code];
    let [system, patient, class] = parts.map(String::as_bytes);
    RecordId::of(&[b"cli document", system, patient, class, &entry.sha256]).to_string()
}

fn media_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "pdf" => "application/pdf",
        "xml" | "cda" => "text/xml",
        "json" => "application/json",
        "txt" => "text/plain",
        "html" | "htm" => "text/html",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "dcm" => "application/dicom",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_id_is_the_same_for_the_same_document_only() {
        let entry = DocumentEntry {
            local_id: "P0001".into(),
            type_code: "C0007".into(),
            sha256: vec![7; 32].into(),
            ..Default::default()
        };
        assert_eq!(document_id(&entry), document_id(&entry.clone()));
        assert_eq!(document_id(&entry).len(), 32);
        for other in [
            DocumentEntry { local_id: "P0002".into(), ..entry.clone() },
            DocumentEntry { type_code: "C0008".into(), ..entry.clone() },
            DocumentEntry { sha256: vec![8; 32].into(), ..entry.clone() },
            DocumentEntry { source_system: "HIS".into(), ..entry.clone() },
        ] {
            assert_ne!(document_id(&other), document_id(&entry));
        }
    }

    #[test]
    fn media_types() {
        for (file, media) in [
            ("a.PDF", "application/pdf"),
            ("报告.xml", "text/xml"),
            ("a", "application/octet-stream"),
            (".txt", "application/octet-stream"),
        ] {
            assert_eq!(media_type(Path::new(file)), media, "{file}");
        }
    }
}
