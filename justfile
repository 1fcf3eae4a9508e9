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
    TIERMESH_KILLS={{kills}} TIERMESH_LOSSES={{losses}} cargo test --release -p tests --test crash --test power_loss -- --nocapture

# COUNT seeds of the simulation from FROM on, optimised. What ran before is not run again: where to go on and the counts so far
# are kept in target/simulate.FROM.COUNT.CODE until COUNT is reached.
simulate FROM COUNT:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p target
    # Of other code nothing counts.
    code=$(git rev-parse --short HEAD)$(git diff --quiet HEAD || git diff HEAD | sha256sum | cut -c 1-8)
    mark=target/simulate.{{FROM}}.{{COUNT}}.$code next={{FROM}} end=$(({{FROM}} + {{COUNT}})) passed=0 failed=0
    [[ ! -f $mark ]] || read -r next passed failed < "$mark"
    # Whom tokio wakes first is then drawn from the seed as well.
    export RUSTFLAGS="--cfg tokio_unstable"
    cargo test --profile sim -p tests --test simulation --no-run
    while ((next < end)); do
        to=$((next + 100 < end ? next + 100 : end))
        said=$(TIERMESH_SEEDS=$next..$to cargo test --profile sim --quiet -p tests --test simulation nothing_acknowledged -- --nocapture || true)
        [[ $said =~ ([0-9]+)" passed, "([0-9]+)" failed" ]] || { echo "$said"; exit 1; }
        ((passed += BASH_REMATCH[1], failed += BASH_REMATCH[2])) || true
        grep "^seed" <<< "$said" | grep -v " faults, " || true
        next=$to
        echo "$next $passed $failed" > "$mark"
        echo "up to $next: $passed passed, $failed failed"
    done
    rm -f "$mark"
    echo "$passed passed, $failed failed"
    ((failed == 0))

# Plants the bugs of tests/plants one at a time in a copy of the tree and says which seed of the simulation finds each.
plants *NAMES:
    tests/plants/run {{NAMES}}

# Many more rounds of real faults than CI runs: frozen nodes, bad lines, full and failing disks, a thin line. As root; tests/tools
# installs what is missing.
faults rounds="40":
    TIERMESH_ROUNDS={{rounds}} cargo test --release -p tests --test faults -- --nocapture --test-threads 6
