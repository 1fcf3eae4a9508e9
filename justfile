# One recipe checks everything: just verify
verify: fmt clippy test deny

fmt:
    cargo fmt --all -- --check

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

test:
    cargo test --workspace

deny:
    cargo deny check bans licenses sources

# The independent Python client (installs grpcio into a virtual environment of its own).
python:
    bash tests/python/run

demo:
    cargo run --release -- demo

# Many more kills and power losses than CI runs.
crash kills="200" losses="200":
    TIERMESH_KILLS={{kills}} TIERMESH_LOSSES={{losses}} cargo test --release -p tests --test crash -- --nocapture
