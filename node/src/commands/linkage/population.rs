//! Populations in files: `registrations.csv`, and `truth.csv` when it is known who is who.
//!
//! Columns are found by name. `reg_id` and `name` must be there; `county`, `reg_time`, `sex`, `birth_date`, `id_type`, `id_no`, `phone`, `address`,
//! `ethnicity`, `contact_name` and `contact_relation` are read when they are. Fields are taken as they stand: what cannot be read does not count.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use linkage::Features;
use model::RegionCode;
use model::body::{Address, Contact, Identifier, Registration};
use model::codes;

/// Registrations in order of arrival.
#[derive(Debug)]
pub struct Population {
    pub ids: Vec<String>,
    /// Each with the county of the institution it was made at.
    pub registrations: Vec<(Registration, Option<RegionCode>)>,
    /// The valid resident ID that stands in each registration, whoever's it is.
    pub resident_ids: Vec<Option<model::ResidentId>>,
    /// Who each registration is really about; none when there is no `truth.csv`.
    pub truth: Option<Vec<String>>,
}

/// Why a population cannot be read. Never holds a value.
#[derive(Debug, thiserror::Error)]
pub enum PopulationError {
    #[error("{0}: {1}")]
    Open(PathBuf, csv::Error),
    #[error(
        "{file}, data row {row}: not CSV in UTF-8 with as many fields as the header has (a spreadsheet saves it as \"CSV UTF-8\")"
    )]
    Row { file: PathBuf, row: usize },
    #[error("{file} has no column {column}")]
    Column { file: PathBuf, column: &'static str },
    #[error("{file}, data row {row}: reg_id is empty or stands in an earlier row")]
    Id { file: PathBuf, row: usize },
    #[error(
        "truth.csv says nothing about {0} of the registrations: each reg_id needs a row with a person_id"
    )]
    Truth(usize),
}

impl Population {
    /// Reads the folder.
    pub fn read(folder: &Path) -> Result<Self, PopulationError> {
        let file = folder.join("registrations.csv");
        let mut rows = Rows::open(&file)?;
        for column in ["reg_id", "name"] {
            rows.needs(column)?;
        }
        let mut population =
            Self { ids: Vec::new(), registrations: Vec::new(), resident_ids: Vec::new(), truth: None };
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some(row) = rows.next()? {
            let id = row.get("reg_id").to_owned();
            if id.is_empty() || places.insert(id.clone(), population.ids.len()).is_some() {
                return Err(PopulationError::Id { file, row: row.number });
            }
            population.ids.push(id);
            population.resident_ids.push(model::ResidentId::parse(row.get("id_no")).ok());
            population.registrations.push(registration(&row));
        }
        let truth = folder.join("truth.csv");
        if truth.exists() {
            population.truth = Some(read_truth(&truth, &places)?);
        }
        Ok(population)
    }

    /// The registrations in the form in which they are compared, in order.
    pub fn features(&self) -> impl Iterator<Item = Features> + '_ {
        self.registrations.iter().map(|(registration, place)| Features::of(registration, place.as_ref()))
    }

    /// The place of a registration.
    pub fn place(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }
}

fn read_truth(file: &Path, places: &HashMap<String, usize>) -> Result<Vec<String>, PopulationError> {
    let mut rows = Rows::open(file)?;
    for column in ["reg_id", "person_id"] {
        rows.needs(column)?;
    }
    let mut truth = vec![String::new(); places.len()];
    while let Some(row) = rows.next()? {
        if let Some(place) = places.get(row.get("reg_id")) {
            row.get("person_id").clone_into(&mut truth[*place]);
        }
    }
    match truth.iter().filter(|person| person.is_empty()).count() {
        0 => Ok(truth),
        missing => Err(PopulationError::Truth(missing)),
    }
}

fn registration(row: &Row<'_>) -> (Registration, Option<RegionCode>) {
    let text = |column| row.get(column).to_owned();
    let some = |column| Some(row.get(column)).filter(|value| !value.is_empty());
    let identifier = |value: &str| Identifier {
        r#type: some("id_type").unwrap_or(codes::OTHER_DOCUMENT).to_owned(),
        value: value.to_owned(),
        assigner: String::new(),
    };
    let contact = |name: &str| Contact {
        name: name.to_owned(),
        relation: text("contact_relation"),
        phone: String::new(),
    };
    let registration = Registration {
        name: text("name"),
        sex: text("sex"),
        birth_date: text("birth_date"),
        identifiers: some("id_no").map(identifier).into_iter().collect(),
        phones: some("phone").map(str::to_owned).into_iter().collect(),
        addresses: some("address")
            .map(|text| Address { text: text.to_owned(), region_code: String::new() })
            .into_iter()
            .collect(),
        ethnicity: codes::ethnicity_code(row.get("ethnicity")).unwrap_or_default().to_owned(),
        contacts: some("contact_name").map(contact).into_iter().collect(),
        registered_date: some("reg_time").and_then(day_of).unwrap_or_default(),
        ..Registration::default()
    };
    (registration, row.get("county").parse().ok())
}

/// The day of `2015-01-01T11:03:13`.
fn day_of(text: &str) -> Option<String> {
    let day = text.get(..10)?;
    day.parse::<model::PartialDate>().ok().filter(|date| date.is_full()).map(|_| day.to_owned())
}

/// Rows of a CSV file with named columns.
struct Rows {
    file: PathBuf,
    reader: csv::Reader<std::fs::File>,
    columns: HashMap<String, usize>,
    record: csv::StringRecord,
    number: usize,
}

struct Row<'a> {
    columns: &'a HashMap<String, usize>,
    record: &'a csv::StringRecord,
    /// Counted from 1, without the header.
    number: usize,
}

impl Row<'_> {
    /// The field, empty when there is no such column.
    fn get(&self, column: &str) -> &str {
        self.columns.get(column).and_then(|place| self.record.get(*place)).unwrap_or_default()
    }
}

impl Rows {
    fn open(file: &Path) -> Result<Self, PopulationError> {
        let failed = |error| PopulationError::Open(file.into(), error);
        let mut reader = csv::Reader::from_path(file).map_err(failed)?;
        let names = reader.headers().map_err(failed)?.iter().enumerate();
        let columns =
            names.map(|(place, name)| (name.trim_start_matches('\u{feff}').to_owned(), place)).collect();
        Ok(Self { file: file.into(), reader, columns, record: csv::StringRecord::new(), number: 0 })
    }

    fn needs(&self, column: &'static str) -> Result<(), PopulationError> {
        let there = self.columns.contains_key(column);
        there.then_some(()).ok_or_else(|| PopulationError::Column { file: self.file.clone(), column })
    }

    fn next(&mut self) -> Result<Option<Row<'_>>, PopulationError> {
        self.number += 1;
        let number = self.number;
        let more = self.reader.read_record(&mut self.record);
        let more = more.map_err(|_| PopulationError::Row { file: self.file.clone(), row: number })?;
        Ok(more.then_some(Row { columns: &self.columns, record: &self.record, number }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(registrations: &str, truth: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("registrations.csv"), registrations).unwrap();
        if let Some(truth) = truth {
            std::fs::write(folder.path().join("truth.csv"), truth).unwrap();
        }
        folder
    }

    #[test]
    fn columns_are_found_by_name() {
        let folder =
            folder("name,reg_id,extra\n张伟,b,1\n李丽,a,2\n", Some("person_id,reg_id\nP1,a\nP2,b\n"));
        let population = Population::read(folder.path()).unwrap();
        assert_eq!(population.ids, ["b", "a"]);
        assert_eq!(population.truth.unwrap(), ["P2", "P1"]);
    }

    #[test]
    fn what_is_wrong_is_named_without_values() {
        for (registrations, truth, error) in [
            ("reg_id\n1\n", None, "no column name"),
            ("reg_id,name\n1,张伟\n1,李丽\n", None, "row 2: reg_id"),
            ("reg_id,name\n1,张伟,3\n", None, "row 1: not CSV"),
            ("reg_id,name\n1,张伟\n2,李丽\n", Some("reg_id,person_id\n1,P\n"), "nothing about 1"),
        ] {
            let folder = folder(registrations, truth);
            let said = Population::read(folder.path()).unwrap_err().to_string();
            assert!(said.contains(error) && !said.contains("张伟"), "{said}");
        }
    }

    #[test]
    fn days_are_days() {
        assert_eq!(day_of("2000-02-29T12:00:00").as_deref(), Some("2000-02-29"));
        for wrong in ["2001-02-29T12:00:00", "2001-02", "yesterday, at noon"] {
            assert_eq!(day_of(wrong), None, "{wrong}");
        }
    }
}
