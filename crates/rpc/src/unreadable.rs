//! Requests that are no messages of the protocol: not protobuf, not UTF-8 where text belongs, or too long.
//!
//! They are refused by tonic before a handler sees them, as `INTERNAL` or `OUT_OF_RANGE` without a reason. A caller gets
//! `INVALID_ARGUMENT` with a machine-readable reason and the field instead.

use std::collections::HashMap;

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::error::DOMAIN;

/// How prost's text for a message that it cannot read begins.
const UNDECODABLE: &str = "failed to decode Protobuf message: ";
/// How tonic's text for a message over the limit begins.
const TOO_LONG: &str = "Error, decoded message length too large";

/// The refusal of a handler, or of what stands before it, with the reason that it lacks.
pub(crate) fn explained(reply: Response<Body>) -> Response<Body> {
    if !reply.headers().contains_key("grpc-status") {
        return reply;
    }
    match Status::from_header_map(reply.headers()).as_ref().and_then(reason) {
        Some(status) => status.into_http(),
        None => reply,
    }
}

/// The same for an error of a stream of requests.
pub(crate) fn explain(status: Status) -> Status {
    reason(&status).unwrap_or(status)
}

/// What to say instead; none for a status that is somebody else's.
fn reason(status: &Status) -> Option<Status> {
    if !status.details().is_empty() {
        return None;
    }
    let text = status.message();
    if let (Code::Internal, Some(text)) = (status.code(), text.strip_prefix(UNDECODABLE)) {
        let (field, why) = field_and_why(text);
        return Some(refusal("MALFORMED_MESSAGE", &field, why));
    }
    (status.code() == Code::OutOfRange && text.starts_with(TOO_LONG))
        .then(|| refusal("MESSAGE_TOO_LONG", "", "the message is longer than this call takes"))
}

/// Prost names message and field from the inside out, then what is wrong: `B.c: A.b: invalid …`. No value is in it.
fn field_and_why(text: &str) -> (String, &str) {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some((place, further)) = rest.split_once(": ") {
        let Some((message, field)) = place.split_once('.').filter(|_| !place.contains(' ')) else { break };
        if message.is_empty() {
            break;
        }
        fields.push(field);
        rest = further;
    }
    fields.reverse();
    (fields.join("."), rest)
}

fn refusal(reason: &str, field: &str, why: &str) -> Status {
    let mut details = ErrorDetails::new();
    if !field.is_empty() {
        details.set_bad_request(vec![FieldViolation {
            field: field.to_owned(),
            description: why.to_owned(),
            reason: reason.to_owned(),
            localized_message: None,
        }]);
    }
    details.set_error_info(reason, DOMAIN, HashMap::from([("field".to_owned(), field.to_owned())]));
    let at = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let text = format!("the request is no message of the protocol: {at}{why}");
    Status::with_error_details(Code::InvalidArgument, text, details)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use wire::v1;

    use super::*;

    #[test]
    fn text_that_is_no_utf8_is_refused_with_its_field() {
        let registration = model::body::Registration { name: "AA".into(), ..Default::default() };
        let request = v1::RegisterRequest { registration: Some(registration), ..Default::default() };
        let mut bytes = request.encode_to_vec();
        let at = bytes.windows(2).position(|two| two == b"AA").unwrap();
        bytes[at] = 0xFF;
        let error = v1::RegisterRequest::decode(&bytes[..]).unwrap_err();
        let status = explain(Status::internal(error.to_string()));
        assert_eq!(status.code(), Code::InvalidArgument);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["field"].as_str()),
            ("MALFORMED_MESSAGE", "registration.name")
        );
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "registration.name");
    }

    #[test]
    fn what_has_a_reason_or_another_cause_stays() {
        let ours = crate::error::status_for(Code::Internal, "X", "failed to decode Protobuf message: y");
        assert_eq!(explain(ours.clone()).message(), ours.message());
        assert_eq!(explain(Status::internal("a bug")).code(), Code::Internal);
        assert_eq!(explain(Status::out_of_range("a page")).code(), Code::OutOfRange);
    }
}
