//! Failures of connections in words that tell an operator what to do.

use std::error::Error;
use std::io::{self, ErrorKind};

use identity::Refusal;

/// The most telling line for a failure: a refused certificate by its reason, a network error by what to check, anything
/// else as it stands with its causes.
pub fn words(error: &(dyn Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(plain) = plain_words(cause) {
            return plain;
        }
        let text = cause.to_string();
        // Some errors print their cause as well: once is enough.
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    let text = causes.join(": ");
    // The certificate of the side that dials is checked last, so its refusal arrives as an alert on a connection that
    // seemed to stand.
    if text.contains("received fatal alert") {
        format!("{text}; the other end refused us and its log says why")
    } else {
        text
    }
}

fn plain_words(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return tls_words(error);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_words(tls);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            Some("connection refused: does the node run, and at this address?".to_owned())
        }
        ErrorKind::TimedOut => Some("no answer in time: is the address right and the way open?".to_owned()),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            Some("no way to the address: is the network up?".to_owned())
        }
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::ConnectionAborted => Some("the other end cut the connection".to_owned()),
        _ => None,
    }
}

fn tls_words(error: &rustls::Error) -> Option<String> {
    if let Some(refusal) = Refusal::of(error) {
        return Some(refusal.to_string());
    }
    match error {
        rustls::Error::AlertReceived(alert) => {
            Some(format!("the other end refused us (TLS alert {alert:?}) and its log says why"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_found_inside() {
        let inner = rustls::Error::from(Refusal::Protocol);
        let outer = io::Error::new(ErrorKind::InvalidData, inner);
        assert_eq!(words(&outer), Refusal::Protocol.to_string());
    }

    #[test]
    fn network_errors_say_what_to_check() {
        assert!(words(&io::Error::from(ErrorKind::ConnectionRefused)).contains("does the node run"));
        assert!(words(&io::Error::other("odd")).contains("odd"));
    }
}
