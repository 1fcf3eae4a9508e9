//! Generated messages and services, and conversions between wire and model.
