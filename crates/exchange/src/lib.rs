//! Use cases: register, submit, find, retrieve, route, status.
