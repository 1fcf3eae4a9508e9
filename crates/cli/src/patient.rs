//! `patient register|find|show`.

mod file;
mod render;

use std::path::PathBuf;

use model::body::{Address, Identifier, Registration};
use model::query::{LocalPatient, MAX_PERSONS, PatientBy, PatientQuery, Reach, Search};
use model::{Number, PartialDate, RegionCode, Version, codes};
use wire::v1;

use crate::connection::Connection;
use crate::error::CliError;
use crate::json;
use crate::output::Output;

/// Registers, finds and shows patients.
#[derive(Clone, clap::Subcommand)]
pub enum Patient {
    /// Registers or updates a patient of the calling institution, or withdraws one from the index.
    Register(Box<Register>),
    /// Finds persons by identifier, telephone, number or local id, or by what is known of their name, best first.
    Find(Box<Find>),
    /// Shows everything known of one person: registrations, and the nodes they come from.
    Show(Show),
}

#[derive(Clone, clap::Args)]
pub struct Register {
    /// The registration as JSON (fields as in proto/tiermesh/v1/record.proto), `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "Fields", required_unless_present = "local_id")]
    file: Option<PathBuf>,
    #[command(flatten)]
    fields: Fields,
    /// Change only if this is the version held (term.epoch.seq).
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<Version>,
    /// Withdraw the patient from the index; only the ids are needed.
    #[arg(long)]
    withdraw: bool,
}

#[derive(Clone, clap::Args)]
#[group(id = "Fields", multiple = true)]
struct Fields {
    /// Patient id in the source system.
    #[arg(long, value_name = "ID")]
    local_id: Option<String>,
    /// Assigning system within the institution, when it has several.
    #[arg(long, value_name = "SYSTEM")]
    source_system: Option<String>,
    /// Code of the institution; the certificate's when left out.
    #[arg(long, value_name = "CODE")]
    institution: Option<String>,
    /// Name as written, with its middle dot if it has one.
    #[arg(long)]
    name: Option<String>,
    /// GB/T 2261.1: 1 男, 2 女, 0 unknown, 9 unspecified.
    #[arg(long, value_name = "CODE")]
    sex: Option<String>,
    /// YYYY-MM-DD, YYYY-MM or YYYY.
    #[arg(long, value_name = "DATE")]
    birth_date: Option<String>,
    /// Number of the identity document.
    #[arg(long, value_name = "VALUE")]
    id: Option<String>,
    /// Class of --id: 01 resident ID, 03 passport, … (CV02.01.101), HC, EHC, EHR.
    #[arg(long, value_name = "TYPE", requires = "id", default_value = codes::RESIDENT_ID)]
    id_type: String,
    /// A further identifier; repeatable.
    #[arg(long, value_name = "TYPE=VALUE", value_parser = identifier)]
    identifier: Vec<(String, String)>,
    /// Repeatable.
    #[arg(long)]
    phone: Vec<String>,
    /// Full text of the address.
    #[arg(long, value_name = "TEXT")]
    address: Option<String>,
    /// GB/T 2260 region of the address.
    #[arg(long, value_name = "CODE", requires = "address")]
    region: Option<String>,
    /// GB/T 3304 code, or the name: 白族.
    #[arg(long)]
    ethnicity: Option<String>,
    /// GB/T 2261.2 code.
    #[arg(long, value_name = "CODE")]
    marital_status: Option<String>,
    /// YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    deceased_date: Option<String>,
    /// YYYY-MM-DD: the day on which the hospital first registered the patient, if that was not today.
    #[arg(long, value_name = "DATE")]
    registered_date: Option<String>,
}

fn identifier(text: &str) -> Result<(String, String), &'static str> {
    let (class, value) = text.split_once('=').ok_or("is written TYPE=VALUE, for example EHC=1234567")?;
    Ok((class.to_owned(), value.to_owned()))
}

/// The class that stands for every one.
const ANY_TYPE: &str = "any";

/// One person, named by something exact.
#[derive(Clone, clap::Args)]
pub(crate) struct Exactly {
    /// Number of an identity document.
    #[arg(long, value_name = "VALUE", group = "patient")]
    id: Option<String>,
    /// Class of --id: 01 resident ID, 03 passport, … (CV02.01.101), HC, EHC, EHR, or `any` [default: 01].
    #[arg(long, value_name = "TYPE", requires = "id")]
    id_type: Option<String>,
    /// Person index number.
    #[arg(long, group = "patient")]
    number: Option<Number>,
    /// Patient id in an institution's source system.
    #[arg(long, value_name = "ID", group = "patient")]
    local_id: Option<String>,
    /// With --local-id: the assigning system, when the institution has several.
    #[arg(long, value_name = "SYSTEM", requires = "local_id")]
    source_system: Option<String>,
    /// With --local-id: code of the institution; the certificate's when left out.
    #[arg(long, value_name = "CODE", requires = "local_id")]
    institution: Option<String>,
}

/// What of [`Exactly`] was given.
pub(crate) enum Named {
    Identifier(Identifier),
    Number(Number),
    Local(LocalPatient),
}

impl Exactly {
    /// What was given, if anything. clap waives "requires" where the wanted option conflicts with one that is there, so
    /// what goes with another option is checked here: ignored in silence, it would be a question nobody asked.
    pub fn named(&self) -> Result<Option<Named>, CliError> {
        if self.id.is_none() && self.id_type.is_some() {
            return Err(CliError::Usage("--id-type goes with --id"));
        }
        if self.local_id.is_none() && (self.source_system.is_some() || self.institution.is_some()) {
            return Err(CliError::Usage("--source-system and --institution go with --local-id"));
        }
        let identifier = |value: &String| {
            let r#type = match self.id_type.as_deref() {
                Some(ANY_TYPE) => String::new(),
                named => named.unwrap_or(codes::RESIDENT_ID).to_owned(),
            };
            Named::Identifier(Identifier { r#type, value: value.clone(), assigner: String::new() })
        };
        let local = |local_id: &String| {
            Named::Local(LocalPatient {
                institution_code: self.institution.clone().unwrap_or_default(),
                source_system: self.source_system.clone().unwrap_or_default(),
                local_id: local_id.clone(),
            })
        };
        let by_id = self.id.as_ref().map(identifier).or(self.number.map(Named::Number));
        Ok(by_id.or_else(|| self.local_id.as_ref().map(local)))
    }
}

impl From<Named> for PatientBy {
    fn from(named: Named) -> Self {
        match named {
            Named::Identifier(identifier) => Self::Identifier(identifier),
            Named::Number(number) => Self::Number(number),
            Named::Local(local) => Self::Local(local),
        }
    }
}

#[derive(Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("patient").required(true))]
pub struct Find {
    #[command(flatten)]
    exactly: Exactly,
    /// A telephone number, however it is written.
    #[arg(long, group = "patient")]
    phone: Option<String>,
    /// Name in characters (homophones are found as well) or in pinyin: `zhangwei`, `"zhang wei"`; `zgq` with --birth-date.
    #[arg(long, group = "patient")]
    name: Option<String>,
    /// With --name: it is only a part of the name; one character needs --birth-date or --region.
    #[arg(long, requires = "name")]
    part: bool,
    /// With --name: YYYY-MM-DD, YYYY-MM or YYYY; another year is not looked at, another day ranks lower.
    #[arg(long, value_name = "DATE", requires = "name")]
    birth_date: Option<PartialDate>,
    /// With --name: GB/T 2261.1; the other sex ranks lower.
    #[arg(long, value_name = "CODE", requires = "name")]
    sex: Option<String>,
    /// With --name: registered at the node of this region, or below it.
    #[arg(long, value_name = "CODE", requires = "name")]
    region: Option<RegionCode>,
    /// Most persons to answer.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=MAX_PERSONS as i64))]
    limit: u32,
    #[command(flatten)]
    how_far: HowFar,
}

#[derive(Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("patient").required(true))]
pub struct Show {
    #[command(flatten)]
    exactly: Exactly,
    #[command(flatten)]
    how_far: HowFar,
}

redacted!(Patient, Register, Find, Show);

/// How far a question goes.
#[derive(Clone, clap::Args)]
pub(crate) struct HowFar {
    /// Look only in this node's own store.
    #[arg(long)]
    here: bool,
    /// Ask the nodes above even if what they know of the person is held here, as of some seconds ago.
    #[arg(long, conflicts_with = "here")]
    fresh: bool,
}

impl HowFar {
    pub(crate) fn reach(&self) -> Reach {
        match (self.here, self.fresh) {
            (true, _) => Reach::Local,
            (false, true) => Reach::Fresh,
            (false, false) => Reach::Tree,
        }
    }
}

impl Patient {
    pub(crate) async fn run(
        self,
        connection: &Connection<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), CliError> {
        match self {
            Self::Register(register) => register.run(connection, output).await,
            Self::Find(find) => {
                let by = find.by()?;
                let limit = find.limit as usize;
                ask(
                    connection,
                    output,
                    PatientQuery { by, limit, reach: find.how_far.reach(), context: connection.context() },
                    render::list,
                )
                .await
            }
            Self::Show(show) => {
                let by = show.exactly.named()?.ok_or(WHOM)?.into();
                ask(
                    connection,
                    output,
                    PatientQuery {
                        by,
                        limit: MAX_PERSONS,
                        reach: show.how_far.reach(),
                        context: connection.context(),
                    },
                    render::details,
                )
                .await
            }
        }
    }
}

/// clap requires one of them; this is what it would say.
pub(crate) const WHOM: CliError = CliError::Usage("say which patient: --id, --number or --local-id");

async fn ask(
    connection: &Connection<'_>,
    output: &mut Output<'_>,
    query: PatientQuery,
    render: fn(&model::query::PatientAnswer) -> String,
) -> Result<(), CliError> {
    let answer = connection.client().await?.find_patients(query).await?;
    output.answer(|| render(&answer), || json::Persons::from(&answer))?;
    if answer.persons.is_empty() {
        return Err(CliError::nothing("no such patient", answer.scope.complete));
    }
    if answer.truncated {
        output.note("note: more persons match; narrow the search, or raise --limit");
    }
    Ok(())
}

impl Find {
    fn by(&self) -> Result<PatientBy, CliError> {
        let described = self.birth_date.is_some() || self.sex.is_some() || self.region.is_some();
        if self.name.is_none() && (self.part || described) {
            return Err(CliError::Usage("--part, --birth-date, --sex and --region go with --name"));
        }
        let search = |name: &String| {
            PatientBy::Search(Search {
                name: name.clone(),
                part: self.part,
                birth_date: self.birth_date,
                sex: self.sex.clone().unwrap_or_default(),
                region: self.region,
            })
        };
        let phone = || self.phone.clone().map(PatientBy::Phone);
        let exactly = self.exactly.named()?.map(PatientBy::from).or_else(phone);
        exactly
            .or_else(|| self.name.as_ref().map(search))
            .ok_or(CliError::Usage("say which patient: --id, --phone, --number, --local-id or --name"))
    }
}

impl Register {
    async fn run(self, connection: &Connection<'_>, output: &mut Output<'_>) -> Result<(), CliError> {
        let request = self.request()?;
        let reply = connection.client().await?.change_patient(request).await?;
        output.answer(|| render::registered(&reply), || json::Registered::from(&reply))
    }

    fn request(self) -> Result<v1::RegisterRequest, CliError> {
        let registration = match &self.file {
            Some(file) => file::read(file)?,
            None => self.fields.registration(),
        };
        Ok(v1::RegisterRequest {
            registration: Some(registration),
            expected_version: self.expected_version.map(|version| version.to_string()).unwrap_or_default(),
            withdraw: self.withdraw,
            ..Default::default()
        })
    }
}

impl Fields {
    fn registration(self) -> Registration {
        let own = self.id.map(|value| (self.id_type, value));
        let identifiers = own.into_iter().chain(self.identifier);
        let identifiers =
            identifiers.map(|(r#type, value)| Identifier { r#type, value, assigner: String::new() });
        let region_code = self.region.unwrap_or_default();
        let ethnicity = self.ethnicity.unwrap_or_default();
        Registration {
            local_id: self.local_id.unwrap_or_default(),
            source_system: self.source_system.unwrap_or_default(),
            institution_code: self.institution.unwrap_or_default(),
            name: self.name.unwrap_or_default(),
            sex: self.sex.unwrap_or_default(),
            birth_date: self.birth_date.unwrap_or_default(),
            identifiers: identifiers.collect(),
            phones: self.phone,
            addresses: self
                .address
                .into_iter()
                .map(|text| Address { text, region_code: region_code.clone() })
                .collect(),
            ethnicity: codes::ethnicity_code(&ethnicity).map_or(ethnicity, str::to_owned),
            marital_status: self.marital_status.unwrap_or_default(),
            deceased_date: self.deceased_date.unwrap_or_default(),
            registered_date: self.registered_date.unwrap_or_default(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests;
