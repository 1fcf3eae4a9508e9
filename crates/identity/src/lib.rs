//! Certificate authorities, certificates, verifiers and TLS configuration.
