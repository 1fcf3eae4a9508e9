//! Online commands: a client over the public protocol.
