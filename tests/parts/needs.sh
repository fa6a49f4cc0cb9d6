# shellcheck shell=bash
# What the parts of tests/run need and make once, below the cache directory.

control_plane=(etcd k8s helm)
chart_tools=(helm4 helm-docs kube-score gateway-api)

# A virtual environment named after the lock file and the interpreter.
environment() {
    local key
    key=$({ cat "$root/tests/clients/requirements.txt"; python3 --version; } | sha256sum | cut -c1-16)
    echo "$cache/venv-$key"
}

make_environment() (
    set -e
    local dir
    dir=$(environment)
    exec 9>"$cache/venv.lock"
    flock 9
    [[ -e $dir/complete ]] && exit
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$root/tests/clients/requirements.txt"
    touch "$dir/complete"
)

# The coding agents from npm, named after their lock file.
agents() { echo "$cache/agents-$(sha256sum "$root/tests/clients/agents/package-lock.json" | cut -c1-16)"; }

make_agents() (
    set -e
    local dir
    dir=$(agents)
    exec 9>"$cache/agents.lock"
    flock 9
    [[ -e $dir/complete ]] && exit
    rm -rf "$dir"
    mkdir "$dir"
    cp "$root"/tests/clients/agents/package*.json "$dir"
    cd "$dir"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    # The one script that is needed: it puts the program for this platform into its place.
    (cd node_modules/@anthropic-ai/claude-code && node install.cjs)
    touch complete
)

# The SDKs of Node, named after their lock file.
node_clients() { echo "$cache/node-clients-$(sha256sum "$root/tests/clients/node/package-lock.json" | cut -c1-16)"; }

make_node_clients() (
    set -e
    local dir
    dir=$(node_clients)
    exec 9>"$cache/node-clients.lock"
    flock 9
    [[ -e $dir/complete ]] && exit
    rm -rf "$dir"
    mkdir "$dir"
    cp "$root"/tests/clients/node/package*.json "$dir"
    cd "$dir"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    touch complete
)

# Open WebUI pins packages that exist for these versions of Python only.
has_python_for_open_webui() { python3 -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])'; }

open_webui() { echo "$cache/open-webui-$(sha256sum "$root/tests/clients/open_webui/requirements.txt" | cut -c1-16)"; }

make_open_webui() (
    set -e
    has_python_for_open_webui || exit 0
    local dir
    dir=$(open_webui)
    exec 9>"$cache/open-webui.lock"
    flock 9
    [[ -e $dir/complete ]] && exit
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$root/tests/clients/open_webui/requirements.txt"
    touch "$dir/complete"
)

prepare_clients() {
    prepare environment make_environment
    prepare agents make_agents
    prepare node-clients make_node_clients
    prepare open-webui make_open_webui
}

cargo_deny_version=0.20.2
cargo_cyclonedx_version=0.5.9
cargo_fuzz_version=0.13.2

# A program from crates.io, in a directory of its own: its name and its version.
make_cargo_tool() (
    set -e
    local dir=$cache/$1-$2
    [[ -x $dir/bin/$1 ]] && exit
    exec 9>"$cache/$1.lock"
    flock 9
    [[ -x $dir/bin/$1 ]] && exit
    # A target directory of its own: cargo would otherwise wait for the lock of ours.
    CARGO_TARGET_DIR=$cache/$1-build cargo install --quiet --locked --root "$dir" "$1@$2"
    rm -rf "$cache/$1-build"
)
