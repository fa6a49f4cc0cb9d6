# shellcheck shell=bash
# The suites that run programs.

# All programs with debug information, and the tests with them: without the tests the dependencies would have fewer features,
# and most of them would be compiled twice.
programs() { cargo build --locked --workspace --bins --tests; }

# `cargo test`; under CI an ignored test is a failure too. Compiling shows its progress, and so does each test; what the
# tests that passed have said is left out, the figures among it come at the end.
rust_tests() {
    local status
    cargo test --locked --no-run "$@" || return 1
    cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$logs/cargo" |
        grep --line-buffered -E '^( +Running |test |running )'
    status=${PIPESTATUS[0]}
    [[ $status == 0 ]] || cat "$logs/cargo"
    if [[ ${CI:-} == true ]] && grep -qE '; [1-9][0-9]* ignored;' "$logs/cargo"; then
        echo "ignored tests are not allowed under CI"
        status=1
    fi
    return "$status"
}

# Only the harness needs the control plane: the compiler goes first, while Go is at work.
with_control_plane() {
    cargo test --locked --no-run "$@" && ready tools && rust_tests "$@"
}

python_tests() {
    ready environment && ready agents && ready node-clients && ready open-webui || return 1
    programs || return 1
    local gateway=${ROUTEAPI_BIN:-$target/debug/routeapi}
    if [[ -x $gateway ]]; then export ROUTEAPI_BIN=$gateway; else unset ROUTEAPI_BIN; fi
    AGENTS_BIN=$(agents)/node_modules/.bin
    NODE_CLIENTS=$(node_clients)
    if has_python_for_open_webui; then
        OPEN_WEBUI_BIN=$(open_webui)/bin
    else
        echo "Open WebUI is not tested: it needs Python 3.11 or 3.12"
        OPEN_WEBUI_BIN=
    fi
    export AGENTS_BIN NODE_CLIENTS OPEN_WEBUI_BIN
    export SCRIPTED_UPSTREAM_BIN=$target/debug/scripted-upstream PYTHONDONTWRITEBYTECODE=1
    (cd tests/clients && "$(environment)/bin/python" -m pytest)
}

# The gateway is built by itself, as it is shipped: together with the harness its dependencies would have more features.
bench() {
    if ! command -v nginx >/dev/null; then
        if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
            echo "the benchmark compares with nginx: install it (Debian and Ubuntu: apt-get install nginx-light)"
            return 1
        fi
        apt-get install --yes --no-install-recommends nginx-light || return 1
    fi
    cargo build --locked --release -p routeapi-dataplane --bin routeapi &&
        cargo build --locked --release -p routeapi-tests --bin bench &&
        "$target/release/bench" run --routeapi "$target/release/routeapi" &&
        "$target/release/bench" sidecar --routeapi "$target/release/routeapi" &&
        "$target/release/bench" lookups
}

# The programs as they are shipped: statically linked. The argument is cargo's profile, then arguments of the attacks.
hostile() {
    local profile=$1
    shift
    IMAGE_PROFILE=$profile images/build --binaries "$target/hostile-$profile" &&
        programs &&
        "$target/debug/hostile" --routeapi "$target/hostile-$profile/routeapi" "$@"
}

# Optimised, since it measures CPU; its figures go to the terminal as they come.
scale() {
    local programs=(--locked --profile quick-release -p routeapi-tests --test scale)
    cargo test "${programs[@]}" --no-run && ready tools && ROUTEAPI_SCALE=full cargo test "${programs[@]}"
}

# What the Rust tests measured.
figures() {
    sed -n 's/^figure: //p' "$logs/cargo" >"$logs/figures"
    [[ ! -s $logs/figures ]] || { echo "=== figures" && cat "$logs/figures"; }
}

# Fuzzes every target for FUZZ_SECONDS each (default 60), from the committed seeds. What is found is in fuzz/artifacts; put it
# beside the seeds, where the normal tests replay it.
fuzz() {
    local target status=0
    if ! rustup run nightly rustc --version >/dev/null 2>&1; then
        echo "fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal"
        return 1
    fi
    make_cargo_tool cargo-fuzz "$cargo_fuzz_version" || return 1
    for target in $(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v routeapi); do
        mkdir -p "fuzz/corpus/$target"
        PATH=$cache/cargo-fuzz-$cargo_fuzz_version/bin:$PATH rustup run nightly cargo fuzz run --fuzz-dir fuzz "$target" \
            "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
            -max_total_time="${FUZZ_SECONDS:-60}" -max_len=8192 -timeout=20 -rss_limit_mb=2048 -verbosity=0 \
            -print_final_stats=1 || status=1
    done
    return $status
}
