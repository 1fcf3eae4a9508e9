//! The demo's own patient: known in two counties of different prefectures, with a document in the second that a doctor in the
//! first finds and fetches.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

use bytes::Bytes;
use cli::client::Client;
use model::body::{DocumentEntry, Identifier, Registration};
use model::query::{ContentQuery, DocumentQuery, DocumentsOf, PatientBy, PatientQuery, QueryContext, Reach};
use model::{NodePath, RegionCode};

use crate::load::{Hospitals, Item};
use crate::show::{DemoError, Teller, counties_of};
use crate::synth::{self, Facilities, Tree};
use crate::tree::LocalTree;

pub(crate) fn documents_of(of: DocumentsOf, reach: Reach) -> DocumentQuery {
    DocumentQuery {
        of,
        type_codes: Vec::new(),
        created_from_ms: 0,
        created_to_ms: 0,
        availabilities: Vec::new(),
        page_size: 50,
        page_token: String::new(),
        reach,
        context: QueryContext { practitioner: "D001".into(), ..Default::default() },
    }
}

/// One patient known in two counties of different prefectures, with a document in the second.
pub(crate) struct Case {
    pub name: String,
    pub here: NodePath,
    pub there: NodePath,
    here_client: Client,
    there_client: Client,
    here_code: String,
    there_code: String,
    resident_id: String,
    content: Bytes,
}

impl Case {
    pub async fn new(
        tree: &LocalTree,
        hospitals: &mut Hospitals,
        regions: &Tree,
        counties: &[RegionCode],
        nodes: &BTreeSet<NodePath>,
    ) -> Result<Self, DemoError> {
        let paths = counties_of(tree, counties);
        let here = paths.first().cloned().ok_or_else(|| DemoError::NotShown("no county".into()))?;
        let there = paths.iter().rev().find(|path| path.parent() != here.parent()).or(paths.last()).cloned();
        let there = there.ok_or_else(|| DemoError::NotShown("no second county".into()))?;
        let mut facilities = Facilities::new(regions.clone(), nodes.clone());
        let mut code = |path: &NodePath| {
            facilities.get(&format!("{}-Z", path.region())).map(|facility| facility.code.clone())
        };
        let (here_code, there_code) =
            (code(&here).map_err(synth::SynthError::from)?, code(&there).map_err(synth::SynthError::from)?);
        let born =
            synth::Day::from_ymd(1987, 5, 1).ok_or_else(|| DemoError::NotShown("no such day".into()))?;
        let here_client = hospitals.client(tree, &here, &here_code).await?;
        let there_client = hospitals.client(tree, &there, &there_code).await?;
        Ok(Self {
            name: "段·金花".into(),
            resident_id: synth::resident_id(there.region(), born, 468),
            content: Bytes::from(lab_report()),
            here,
            there,
            here_client,
            there_client,
            here_code,
            there_code,
        })
    }

    fn registration(&self, local_id: &str, id_written: String) -> Registration {
        Registration {
            local_id: local_id.into(),
            name: self.name.clone(),
            sex: "2".into(),
            birth_date: "1987-05-01".into(),
            identifiers: vec![Identifier { r#type: "01".into(), value: id_written, assigner: String::new() }],
            ethnicity: "14".into(),
            ..Default::default()
        }
    }

    /// Registers the patient at both hospitals, and submits the document at the second.
    pub async fn file(&self, hospitals: &mut Hospitals) {
        let here = Item::Patient(Box::new(self.registration("DEMO-A-1", self.resident_id.clone())));
        // The other hospital writes the same number in another form.
        let spaced = format!("{} {}", &self.resident_id[..6], self.resident_id[6..].to_lowercase());
        let there = Item::Patient(Box::new(self.registration("DEMO-B-1", spaced)));
        hospitals.send(self.here_client.clone(), self.here_code.clone(), here).await;
        hospitals.send(self.there_client.clone(), self.there_code.clone(), there).await;
        hospitals.settle().await;
        let entry = DocumentEntry {
            document_id: "DEMO-LAB-1".into(),
            local_id: "DEMO-B-1".into(),
            type_code: "C0007".into(),
            title: "检验报告 血常规".into(),
            created_ms: 1_780_000_000_000,
            authors: vec!["杨医生".into()],
            department: "检验科".into(),
            confidentiality: "N".into(),
            media_type: "text/xml".into(),
            ..Default::default()
        };
        hospitals
            .send(
                self.there_client.clone(),
                self.there_code.clone(),
                Item::Document(Box::new(entry), self.content.clone()),
            )
            .await;
    }

    /// Finds the patient from the first county and fetches the document from the second; answers registrations and bytes.
    pub async fn doctor(&self, teller: &Teller) -> Result<(usize, usize), DemoError> {
        let identifier =
            Identifier { r#type: "01".into(), value: self.resident_id.clone(), assigner: String::new() };
        let context = QueryContext { practitioner: "D001".into(), ..Default::default() };
        let query = PatientQuery {
            by: PatientBy::Identifier(identifier.clone()),
            limit: 10,
            reach: Reach::Tree,
            context: context.clone(),
        };
        let since = Instant::now();
        let answer = self.here_client.find_patients(query).await?;
        let found: usize = answer.persons.iter().map(|person| person.registrations.len()).sum();
        teller.say(&format!(
            "  found {} person with {found} registrations in {:.1} ms, answered by {}{}",
            answer.persons.len(),
            since.elapsed().as_secs_f64() * 1000.0,
            answer.scope.answered_by,
            if answer.scope.complete { "" } else { " (not complete)" },
        ));
        let documents = self
            .here_client
            .find_documents(documents_of(DocumentsOf::Identifier(identifier), Reach::Tree))
            .await?;
        let Some(document) = documents.documents.iter().find(|one| one.entry.document_id == "DEMO-LAB-1")
        else {
            return Err(DemoError::NotShown("the document was not found".into()));
        };
        teller.say(&format!(
            "  found 《{}》 of {}, held at {}",
            document.entry.title, document.entry.type_code, document.custodian_path
        ));
        let since = Instant::now();
        let wanted = ContentQuery {
            key: document.key,
            custodian_path: document.custodian_path.parse().ok(),
            as_filed: false,
            offset: 0,
            context,
        };
        let content = self.here_client.retrieve(wanted).await?.read_to_end(1 << 24).await?;
        if content != self.content {
            return Err(DemoError::NotShown("the document that arrived is another".into()));
        }
        teller.say(&format!(
            "  fetched {} bytes through the tree in {:.1} ms, hash checked",
            content.len(),
            since.elapsed().as_secs_f64() * 1000.0
        ));
        Ok((found, content.len()))
    }
}

fn lab_report() -> String {
    let mut rows = String::new();
    for row in 1..200 {
        // Writing to a String cannot fail.
        let _ = writeln!(
            rows,
            "  <检验项目 序号=\"{row}\"><名称>血红蛋白</名称><结果>13{}</结果><单位>g/L</单位></检验项目>",
            row % 10
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<检验报告>\n  <患者>段·金花</患者>\n{rows}</检验报告>\n"
    )
}
