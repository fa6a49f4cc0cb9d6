# shellcheck shell=bash
# What the parts of tests/run need and make once, below the cache directory.

control_plane=(etcd k8s helm)
chart_tools=(helm4 helm-docs kube-score gateway-api)

# The first 16 digits of standard input's hash: names what is made from it, so that another lock file makes another.
key() { sha256sum | cut -c1-16; }

# Makes a directory unless it is complete; whoever else wants it waits meanwhile. Its path, the name of its lock, and the
# command that fills it, which gets the path as its last argument. (No `set -e`, which does nothing below `&&` and `||`.)
make_once() (
    dir=$1 lock=$2
    shift 2
    exec 9>"$cache/$lock.lock"
    flock 9 || exit
    [[ -e $dir/complete ]] && exit
    rm -rf "$dir" && mkdir "$dir" && "$@" "$dir" && touch "$dir/complete"
)

# A virtual environment: the lock file and the directory.
fill_venv() {
    python3 -m venv "$2" && "$2/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$1"
}

# Packages from npm: the directory of the lock file and the directory.
fill_npm() (
    cp "$1"/package*.json "$2" && cd "$2" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
)

# The SDKs of Python; compiled parts of them are for one interpreter.
environment() { echo "$cache/venv-$({ cat "$root/tests/clients/requirements.txt"; python3 --version; } | key)"; }

make_environment() { make_once "$(environment)" venv fill_venv "$root/tests/clients/requirements.txt"; }

# The coding agents from npm.
agents() { echo "$cache/agents-$(key <"$root/tests/clients/agents/package-lock.json")"; }

make_agents() { make_once "$(agents)" agents fill_agents; }

fill_agents() {
    # The one script that is needed puts the program for this platform into its place.
    fill_npm "$root/tests/clients/agents" "$1" && (cd "$1/node_modules/@anthropic-ai/claude-code" && node install.cjs)
}

# The SDKs of Node.
node_clients() { echo "$cache/node-clients-$(key <"$root/tests/clients/node/package-lock.json")"; }

make_node_clients() { make_once "$(node_clients)" node-clients fill_npm "$root/tests/clients/node"; }

# Open WebUI pins packages that exist for these versions of Python only.
has_python_for_open_webui() { python3 -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])'; }

open_webui() { echo "$cache/open-webui-$(key <"$root/tests/clients/open_webui/requirements.txt")"; }

make_open_webui() {
    has_python_for_open_webui || return 0
    make_once "$(open_webui)" open-webui fill_venv "$root/tests/clients/open_webui/requirements.txt"
}

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
