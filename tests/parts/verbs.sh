# shellcheck shell=bash
# What is repeated while working.

verb_fmt() { cargo fmt --all; }

verb_check() { cargo fmt --all --check && cargo check --locked --workspace --all-targets; }

verb_fix() { cargo clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged && cargo fmt --all; }

# Rewrites what tests compare with. The test that compares does it, when UPDATE is set.
verb_update() {
    local what failed=0
    (($# > 0)) || set -- protocol citations conformance models seeds compile crds chart structure
    for what in "$@"; do
        echo "=== update $what"
        case $what in
            protocol) UPDATE=1 cargo test --locked --quiet -p routeapi-protocol --test golden ;;
            citations) UPDATE=1 cargo test --locked --quiet -p routeapi-protocol --test citations ;;
            seeds) UPDATE=1 cargo test --locked --quiet -p routeapi-protocol --test fuzz ;;
            conformance) UPDATE=1 cargo test --locked --quiet -p routeapi-protocol --test conformance ;;
            models) UPDATE=1 cargo test --locked --quiet -p routeapi-protocol --lib model_table ;;
            compile) UPDATE=1 cargo test --locked --quiet -p routeapi-compile --test golden ;;
            crds)
                UPDATE=1 cargo test --locked --quiet -p routeapi-crds --test generated &&
                    cp crds/*.yaml charts/routeapi/files/crds/
                ;;
            chart)
                "$(tests/tools/build helm-docs)/helm-docs" -c charts/routeapi --sort-values-order file
                ;;
            structure) UPDATE=1 cargo test --locked --quiet -p routeapi-lint --test repository ;;
            *)
                echo "there is nothing called '$what' to update" >&2
                false
                ;;
        esac || failed=1
    done
    git --no-pager diff --stat
    return $failed
}

verb_one() {
    local suite=${1:-}
    shift || true
    case $suite in
        inprocess | controlplane | chart | endtoend)
            [[ $suite == inprocess ]] || tests/tools/build "${control_plane[@]}" "${chart_tools[@]}" >/dev/null || return 1
            cargo test --locked -p routeapi-tests --test "$suite" -- --nocapture "$@"
            ;;
        '')
            echo "usage: tests/run one SUITE [NAME]..." >&2
            return 2
            ;;
        *) cargo test --locked -p "routeapi-$suite" -- --nocapture "$@" ;;
    esac
}
