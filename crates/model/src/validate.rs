//! What a body must be before it becomes a record. Violations name field, value class and rule, never the value.
//!
//! Limits are those of `proto/tiermesh/v1/record.proto`, in characters (Unicode scalar values) unless they say otherwise;
//! the ones marked *own* are not stated there and only keep a record bounded. Bodies are checked as they will be stored:
//! a caller fills what it assigns (availability, custodian, hashes) first.

mod document;
mod registration;
#[cfg(test)]
mod tests;

pub use document::validate_document_entry;
pub use registration::validate_registration;

/// Patient id in the source system, and document id.
pub const MAX_ID: usize = 64;
/// Source system.
pub const MAX_SOURCE_SYSTEM: usize = 32;
/// Name of a patient, contact or author.
pub const MAX_NAME: usize = 128;
/// Value and assigner of an identifier.
pub const MAX_IDENTIFIER: usize = 64;
/// Identifiers of a registration (own).
pub const MAX_IDENTIFIERS: usize = 16;
/// Phones of a registration.
pub const MAX_PHONES: usize = 8;
/// A phone number.
pub const MAX_PHONE: usize = 32;
/// Addresses of a registration (own).
pub const MAX_ADDRESSES: usize = 8;
/// Full text of an address.
pub const MAX_ADDRESS: usize = 256;
/// Contacts of a registration (own).
pub const MAX_CONTACTS: usize = 8;
/// Relation of a contact.
pub const MAX_RELATION: usize = 32;
/// Title of a document.
pub const MAX_TITLE: usize = 256;
/// Authors of a document.
pub const MAX_AUTHORS: usize = 8;
/// Department.
pub const MAX_DEPARTMENT: usize = 128;
/// Media type.
pub const MAX_MEDIA_TYPE: usize = 128;
/// Language tag (own; RFC 5646 section 4.4.1 asks for 35 at least).
pub const MAX_LANGUAGE: usize = 35;
/// Reason of a deprecation or withdrawal.
pub const MAX_STATUS_REASON: usize = 256;
/// Where the institution holds the content (own).
pub const MAX_REFERENCE: usize = 1024;
/// First millisecond after the year 9999; no time of a document lies beyond (own).
pub const END_OF_TIME_MS: u64 = 253_402_300_800_000;

/// What a violation means for the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The body is not accepted.
    Error,
    /// Accepted as written; the caller should hear of it.
    Warning,
}

/// One rule that a body breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field as in the protocol: `identifiers[0].value`.
    pub field: String,
    /// What kind of value stands there: `local id`, `date`, `resident ID` …
    pub value_class: &'static str,
    /// Stable machine-readable name of the rule: `RESIDENT_ID_CHECK_DIGIT`.
    pub rule: &'static str,
    /// Whether the body is refused for it.
    pub severity: Severity,
    /// The rule in words, for people. Never contains the value.
    pub message: String,
}

/// Whether any violation refuses the body.
pub fn has_errors(violations: &[Violation]) -> bool {
    violations.iter().any(|violation| violation.severity == Severity::Error)
}

/// Rules that apply to many fields. The others stand where they are checked.
mod rule {
    pub const REQUIRED: &str = "REQUIRED";
    pub const TOO_LONG: &str = "TOO_LONG";
    pub const TOO_MANY: &str = "TOO_MANY";
    pub const CONTROL_CHARACTER: &str = "CONTROL_CHARACTER";
    pub const NOT_ASCII: &str = "NOT_ASCII";
    pub const UNKNOWN_CODE: &str = "UNKNOWN_CODE";
}

/// Collects violations of one body.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn error(
        &mut self,
        field: &str,
        value_class: &'static str,
        rule: &'static str,
        message: impl Into<String>,
    ) {
        self.add(field, value_class, rule, Severity::Error, message.into());
    }

    fn warning(
        &mut self,
        field: &str,
        value_class: &'static str,
        rule: &'static str,
        message: impl Into<String>,
    ) {
        self.add(field, value_class, rule, Severity::Warning, message.into());
    }

    fn add(
        &mut self,
        field: &str,
        value_class: &'static str,
        rule: &'static str,
        severity: Severity,
        message: String,
    ) {
        self.0.push(Violation { field: field.to_owned(), value_class, rule, severity, message });
    }

    /// Text that may be empty.
    fn text(&mut self, field: &str, value_class: &'static str, text: &str, max: usize) {
        // Counting the characters of a huge text is not needed to know that it is too long.
        if text.chars().take(max + 1).count() > max {
            self.error(field, value_class, rule::TOO_LONG, format!("at most {max} characters"));
        } else if text.chars().any(char::is_control) {
            self.error(field, value_class, rule::CONTROL_CHARACTER, "control characters are not allowed");
        }
    }

    /// Text that must say something.
    fn required_text(&mut self, field: &str, value_class: &'static str, text: &str, max: usize) {
        if text.chars().all(char::is_whitespace) {
            self.error(field, value_class, rule::REQUIRED, format!("the {value_class} is required"));
        } else {
            self.text(field, value_class, text, max);
        }
    }

    /// A code that must be known.
    fn code(&mut self, field: &str, value_class: &'static str, known: bool, source: &str) {
        if !known {
            self.error(field, value_class, rule::UNKNOWN_CODE, format!("not a code of {source}"));
        }
    }

    /// The institution code must already be canonical, since records and certificates are named by it.
    fn institution_code(&mut self, code: &str) {
        const FIELD: &str = "institution_code";
        const CLASS: &str = "institution code";
        match crate::InstitutionCode::parse(code) {
            Ok(parsed) if parsed.as_str() == code => {}
            Ok(_) => {
                let message = "written in upper case, without spaces and hyphens";
                self.error(FIELD, CLASS, "INSTITUTION_CODE_NOT_CANONICAL", message);
            }
            Err(error) => self.error(FIELD, CLASS, error.rule(), error.to_string()),
        }
    }

    /// The patient's id in its source system, which registrations and documents share.
    fn patient_key(&mut self, local_id: &str, source_system: &str) {
        self.required_text("local_id", "local id", local_id, MAX_ID);
        self.text("source_system", "source system", source_system, MAX_SOURCE_SYSTEM);
        self.one_spelling("local_id", "local id", local_id);
        self.one_spelling("source_system", "source system", source_system);
    }

    /// An id that is hashed into a record's id must have one way to be written.
    fn one_spelling(&mut self, field: &str, value_class: &'static str, id: &str) {
        // Control characters and too much text are reported already, an absent id where it is needed.
        let foreign = |c: char| !c.is_ascii_graphic() && !c.is_control();
        if id.len() <= MAX_ID * 4 && id.chars().any(foreign) && !id.chars().all(char::is_whitespace) {
            self.error(
                field,
                value_class,
                rule::NOT_ASCII,
                "letters, digits and signs of ASCII, without spaces",
            );
        }
    }

    /// Reports a list longer than `max`; the caller checks no more than `max` of its items.
    fn count(&mut self, field: &str, value_class: &'static str, len: usize, max: usize) {
        if len > max {
            self.error(field, value_class, rule::TOO_MANY, format!("at most {max}"));
        }
    }
}
