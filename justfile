# What a person runs. Bare `just` lists it; anything with logic is a subcommand of `cargo xtask`.

[private]
default:
    @just --list --unsorted

# Real telemetry from publish to document, with corrupt events and the audit
demo *args:
    cargo run --release -- demo {{args}}

# The server, with the configuration in ./tidegate.toml if there is one
run *args:
    cargo run --release -- run {{args}}

# Every test
test *args:
    cargo test --workspace {{args}}

# Formatting, lints, documentation
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The whole system from seeds, with everything that can go wrong: `just sim --many 1000`, `just sim --seed 7 --trace`
sim *args:
    cargo xtask sim {{args}}

# telemetry-1m: throughput, CPU, memory and latency beside the floor of this machine
bench *args:
    cargo xtask bench telemetry-1m {{args}}

# Holds the program to its OpenAPI document, with schemathesis; `just contract --help` says how to choose
contract *args:
    cargo xtask contract {{args}}

# Writes the generated reference pages again
docs:
    TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate reference

# Exactly what CI runs
ci:
    bash .ci/run
