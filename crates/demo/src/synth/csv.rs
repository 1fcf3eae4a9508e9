//! Population files: the CSV of the project's reference data, read and written as a stream.
//!
//! `registrations.csv` has one registration a row, in order of arrival, columns found by name; `truth.csv` has who each is
//! really about, in the same order. A resident's ethnicity is written by name there and by code in a registration; one that
//! GB/T 3304 lacks (`外籍`) reads as unknown.

use std::fmt;
use std::io::{Read, Write};

use model::RegionCode;
use model::body::{Address, Contact, Identifier, Registration};
use model::codes;

use super::day::{Day, Moment};
use super::facility::{Facilities, FacilityError};
use super::tags::Tags;
use super::{SynthError, SyntheticRegistration, Truth};

/// Columns of `registrations.csv`.
const COLUMNS: [&str; 14] = [
    "reg_id",
    "facility",
    "county",
    "reg_time",
    "name",
    "sex",
    "birth_date",
    "id_type",
    "id_no",
    "phone",
    "address",
    "ethnicity",
    "contact_name",
    "contact_relation",
];
/// Columns of `truth.csv`.
const TRUTH_COLUMNS: [&str; 4] = ["reg_id", "person_id", "household_id", "tags"];

/// Why a row cannot be used. Names the column, never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Not CSV: an open quote, or not UTF-8.
    Csv,
    /// Another number of fields than the header has.
    Width,
    Empty(&'static str),
    TooLong(&'static str),
    Malformed(&'static str),
    Facility(FacilityError),
    /// The county is not the facility's.
    OtherCounty,
    /// The row of `truth.csv` is about another registration.
    OtherRegistration,
    /// `truth.csv` ended before `registrations.csv`, or goes on after it.
    TruthLength,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csv => f.write_str("not CSV in UTF-8"),
            Self::Width => f.write_str("not as many fields as the header has"),
            Self::Empty(column) => write!(f, "{column} is empty"),
            Self::TooLong(column) => write!(f, "{column} is too long"),
            Self::Malformed(column) => write!(f, "{column} is malformed"),
            Self::Facility(error) => write!(f, "{error}"),
            Self::OtherCounty => f.write_str("county is not the facility's"),
            Self::OtherRegistration => f.write_str("truth and registration have different reg_id"),
            Self::TruthLength => f.write_str("truth and registrations have different numbers of rows"),
        }
    }
}

/// Reads registrations, in order, as an iterator. After an error the stream can go on with the next row.
pub struct Reader<R> {
    rows: Rows<R, 14>,
    truth: Option<Rows<R, 4>>,
    facilities: Facilities,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Reads `registrations.csv` for hospitals of these facilities' tree.
    pub fn new(registrations: R, facilities: Facilities) -> Result<Self, SynthError> {
        Ok(Self { rows: Rows::new(registrations, COLUMNS)?, truth: None, facilities })
    }

    /// The same with the truth beside it, row by row.
    pub fn with_truth(registrations: R, truth: R, facilities: Facilities) -> Result<Self, SynthError> {
        let truth = Some(Rows::new(truth, TRUTH_COLUMNS)?);
        Ok(Self { truth, ..Self::new(registrations, facilities)? })
    }

    /// The hospitals, with those that were met.
    pub fn facilities(&self) -> &Facilities {
        &self.facilities
    }

    fn read(&mut self) -> Result<Option<SyntheticRegistration>, SynthError> {
        let (line, row) = self.rows.next()?;
        let truth = self.truth.as_mut().map(Rows::next).transpose()?.map(|(_, truth)| truth);
        let read = match (row, truth) {
            (None, None | Some(None)) => return Ok(None),
            (Some(row), None) => registration(&row, &mut self.facilities),
            (Some(row), Some(Some(truth))) => registration(&row, &mut self.facilities)
                .and_then(|registration| with_truth(registration, &truth)),
            (None, Some(Some(_))) | (Some(_), Some(None)) => Err(Problem::TruthLength),
        };
        read.map(Some).map_err(|problem| SynthError::Row { line, problem })
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<SyntheticRegistration, SynthError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Rows of a CSV, with the wanted columns in the wanted order.
struct Rows<R, const N: usize> {
    reader: csv::Reader<R>,
    record: csv::StringRecord,
    columns: [usize; N],
}

impl<R: Read, const N: usize> Rows<R, N> {
    fn new(from: R, wanted: [&'static str; N]) -> Result<Self, SynthError> {
        let mut reader = csv::Reader::from_reader(from);
        let header = reader.headers().map_err(|error| row_error(&error, 1))?;
        let mut columns = [0; N];
        for (place, name) in columns.iter_mut().zip(wanted) {
            *place = header.iter().position(|column| column == name).ok_or(SynthError::NoColumn(name))?;
        }
        Ok(Self { reader, record: csv::StringRecord::new(), columns })
    }

    /// The next row and the line it starts on.
    fn next(&mut self) -> Result<(u64, Option<[&str; N]>), SynthError> {
        let line = self.reader.position().line();
        let more = self.reader.read_record(&mut self.record).map_err(|error| row_error(&error, line))?;
        let line = self.record.position().map_or(line, csv::Position::line);
        Ok((line, more.then(|| self.columns.map(|place| &self.record[place]))))
    }
}

/// The CSV reader's own messages can quote a field, so only their kind and place go on.
fn row_error(error: &csv::Error, line: u64) -> SynthError {
    let at = |position: &Option<csv::Position>| position.as_ref().map_or(line, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Io(source) => SynthError::Io(source.kind().into()),
        csv::ErrorKind::UnequalLengths { pos, .. } => {
            SynthError::Row { line: at(pos), problem: Problem::Width }
        }
        csv::ErrorKind::Utf8 { pos, .. } => SynthError::Row { line: at(pos), problem: Problem::Csv },
        _ => SynthError::Row { line, problem: Problem::Csv },
    }
}

fn registration(row: &[&str; 14], facilities: &mut Facilities) -> Result<SyntheticRegistration, Problem> {
    let [
        reg_id,
        facility,
        county,
        reg_time,
        name,
        sex,
        birth_date,
        id_type,
        id_no,
        phone,
        address,
        people,
        contact,
        relation,
    ] = *row;
    let facility = facilities.get(facility).map_err(Problem::Facility)?;
    if county.parse() != Ok(facility.county) {
        return Err(county
            .parse::<RegionCode>()
            .map_or(Problem::Malformed("county"), |_| Problem::OtherCounty));
    }
    if codes::Sex::from_code(sex).is_none() {
        return Err(Problem::Malformed("sex"));
    }
    if !birth_date.is_empty() && Day::parse(birth_date).is_none() {
        return Err(Problem::Malformed("birth_date"));
    }
    if !id_no.is_empty() && codes::identifier_type(id_type).is_none() {
        return Err(Problem::Malformed("id_type"));
    }
    let arrived = Moment::parse(reg_time).ok_or(Problem::Malformed("reg_time"))?;
    let one = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let registration = Registration {
        local_id: required(limited(reg_id, "reg_id", 64)?, "reg_id")?,
        institution_code: facility.code.clone(),
        name: required(limited(name, "name", 128)?, "name")?,
        sex: sex.to_owned(),
        birth_date: birth_date.to_owned(),
        identifiers: one(limited(id_no, "id_no", 64)?)
            .map(|value| Identifier { r#type: id_type.to_owned(), value, assigner: String::new() })
            .into_iter()
            .collect(),
        phones: one(limited(phone, "phone", 32)?).into_iter().collect(),
        addresses: one(limited(address, "address", 256)?)
            .map(|text| Address { text, region_code: String::new() })
            .into_iter()
            .collect(),
        ethnicity: codes::ethnicity_code(people).unwrap_or_default().to_owned(),
        contacts: one(limited(contact, "contact_name", 128)?)
            .map(|name| Contact { name, relation: relation.to_owned(), phone: String::new() })
            .into_iter()
            .collect(),
        registered_date: arrived.day.to_string(),
        ..Registration::default()
    };
    limited(relation, "contact_relation", 32)?;
    Ok(SyntheticRegistration { facility, arrived, registration, truth: None })
}

fn with_truth(
    registration: SyntheticRegistration,
    row: &[&str; 4],
) -> Result<SyntheticRegistration, Problem> {
    let [reg_id, person, household, tags] = *row;
    if reg_id != registration.registration.local_id {
        return Err(Problem::OtherRegistration);
    }
    let number = |text: &str, letter, column| {
        text.strip_prefix(letter).and_then(|digits| digits.parse().ok()).ok_or(Problem::Malformed(column))
    };
    let truth = Truth {
        person: number(person, 'P', "person_id")?,
        household: number(household, 'H', "household_id")?,
        tags: Tags::parse(tags).ok_or(Problem::Malformed("tags"))?,
    };
    Ok(SyntheticRegistration { truth: Some(truth), ..registration })
}

/// The limits are those of `record.proto`, in characters.
fn limited<'t>(text: &'t str, column: &'static str, characters: usize) -> Result<&'t str, Problem> {
    if text.len() <= characters || text.chars().count() <= characters {
        Ok(text)
    } else {
        Err(Problem::TooLong(column))
    }
}

fn required(text: &str, column: &'static str) -> Result<String, Problem> {
    if text.is_empty() { Err(Problem::Empty(column)) } else { Ok(text.to_owned()) }
}

/// Writes `registrations.csv`.
pub struct Writer<W: Write>(csv::Writer<W>);

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new(to: W) -> Result<Self, SynthError> {
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(COLUMNS).map_err(write_error)?;
        Ok(Self(writer))
    }

    /// Writes a row: the first identifier, telephone, address and contact of the registration.
    pub fn write(&mut self, row: &SyntheticRegistration) -> Result<(), SynthError> {
        let Registration { local_id, name, sex, birth_date, ethnicity, .. } = &row.registration;
        let paper = row.registration.identifiers.first();
        let contact = row.registration.contacts.first();
        let people = codes::ETHNICITY.name(ethnicity).unwrap_or_default();
        let fields: [&str; 14] = [
            local_id,
            &row.facility.label,
            row.facility.county.as_str(),
            &row.arrived.to_string(),
            name,
            sex,
            birth_date,
            paper.map_or("", |paper| &paper.r#type),
            paper.map_or("", |paper| &paper.value),
            row.registration.phones.first().map_or("", String::as_str),
            row.registration.addresses.first().map_or("", |address| &address.text),
            people.strip_suffix('族').unwrap_or(people),
            contact.map_or("", |contact| &contact.name),
            contact.map_or("", |contact| &contact.relation),
        ];
        self.0.write_record(fields).map_err(write_error)
    }

    /// Hands everything to the file below.
    pub fn finish(mut self) -> Result<(), SynthError> {
        Ok(self.0.flush()?)
    }
}

/// Writes `truth.csv`, as the scoring tool reads it.
pub struct TruthWriter<W: Write>(csv::Writer<W>);

impl<W: Write> fmt::Debug for TruthWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TruthWriter").finish_non_exhaustive()
    }
}

impl<W: Write> TruthWriter<W> {
    /// Writes the header.
    pub fn new(to: W) -> Result<Self, SynthError> {
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(TRUTH_COLUMNS).map_err(write_error)?;
        Ok(Self(writer))
    }

    /// Writes a row; nothing for a registration whose truth is not known.
    pub fn write(&mut self, row: &SyntheticRegistration) -> Result<(), SynthError> {
        let Some(truth) = row.truth else { return Ok(()) };
        let (person, household) = (format!("P{:07}", truth.person), format!("H{:06}", truth.household));
        let fields = [row.registration.local_id.as_str(), &person, &household, &truth.tags.to_string()];
        self.0.write_record(fields).map_err(write_error)
    }

    /// Hands everything to the file below.
    pub fn finish(mut self) -> Result<(), SynthError> {
        Ok(self.0.flush()?)
    }
}

fn write_error(error: csv::Error) -> SynthError {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => SynthError::Io(source),
        _ => SynthError::Io(std::io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests;
