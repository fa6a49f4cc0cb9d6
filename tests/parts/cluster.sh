# shellcheck shell=bash
# The suite on a real node. It mostly waits, so it runs beside the others.

images() {
    IMAGE_PROFILE=$1 images/build "$target/images" >"$logs/sizes" || return 1
    sed "s/^/figure: image ($1) /" "$logs/sizes"
}

# Prepares what needs no cargo, waits until the foreground has built the rest, and runs the suite.
cluster_tests() {
    local built
    make_environment && tests/cluster/run --prepare && read -r built <"$logs/go" && [[ $built == ok ]] || return 1
    CLUSTER_PYTHON=$(environment)/bin/python CLUSTER_IMAGES=$target/images \
        SCRIPTED_UPSTREAM_BIN=$target/debug/scripted-upstream tests/cluster/run
}

# A suite that mostly waits: it runs beside the others, and is shown at the end. The argument is cargo's profile for the
# images.
start_cluster() {
    local built=no
    mkfifo "$logs/go"
    prepare cluster cluster_tests
    part images images "$1" && part programs programs && built=ok
    # Not by ourselves: the other side opens its end when it is done preparing.
    prepare built tell "$built"
}

tell() { echo "$1" >"$logs/go"; }

end_cluster() {
    local status=0
    wait "${jobs[cluster]}" || status=1
    cat "$logs/cluster"
    return $status
}

# Nobody's own cluster is touched by a plain `tests/run`, and a node of ours needs root and Debian's packages.
has_cluster() {
    unset KUBECONFIG
    [[ ${CI:-} == true || ($(id -u) == 0 && -n $(command -v apt-get)) ]]
}
