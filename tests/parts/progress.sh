# shellcheck shell=bash
# What runs, how long that took before, and how it went.

declare -A jobs=()
names=() times=() verdicts=()
# A part that cannot run here and may be left out even under CI ends with this status and says why.
skipped=77

declare -A about=(
    [format]="is the code formatted"
    [lengths]="are files short"
    [arrows]="do crates depend in one direction"
    [structure]="circles between files, clocks, tasks, versions"
    [clippy]="compiles everything for clippy"
    [licences]="licences, banned crates and sources of dependencies"
    [advisories]="published vulnerabilities of dependencies"
    [images]="compiles the programs as they are shipped"
    [programs]="compiles everything with debug information"
    [rust]="compiles and runs the tests of all crates, with a real API server"
    [unit]="compiles and runs the tests of all crates but the harness's"
    [harness]="the harness's own tests"
    [inprocess]="the gateway in one process, the scripted upstream behind it"
    [controlplane]="the operator against a real API server"
    [chart]="what helm renders, before a real API server"
    [endtoend]="operator and gateways on a real API server, while parts fail"
    [hostile]="attacks on the built gateway under a memory limit"
    [clients]="the vendors' SDKs and coding agents, through the gateway"
    [cluster]="chart and apps on a real node, while parts fail"
    [codec]="CPU per KiB of hostile input"
    [bench]="what a request costs beside nginx and a bare proxy"
    [tools]="builds etcd, kube-apiserver, helm and what examines the chart (minutes, once)"
    [environment]="installs the Python SDKs (once)"
    [agents]="installs the coding agents (once)"
    [open-webui]="installs Open WebUI (minutes, once)"
    [fuzz]="changes seeds at random and watches for what does not hold"
    [release]="a release without its images, and whether it is whole"
    [cargo-deny]="compiles cargo-deny (minutes, once)"
    [cargo-cyclonedx]="compiles cargo-cyclonedx (minutes, once)"
    [cargo-fuzz]="compiles cargo-fuzz (once)"
)

# What still runs in the background ends with us; the cluster takes its node away first.
finish() {
    local job
    # A background shell that is ended before it has given up our traps comes here as well.
    [[ $BASHPID == "$$" ]] || return 0
    for job in "${jobs[@]}"; do kill -- "-$job" 2>/dev/null; done
    for job in "${jobs[@]}"; do while kill -0 -- "-$job" 2>/dev/null; do sleep 0.1; done; done
    rm -rf "$logs"
}

# Says what begins, and how long it took the last time that it went well.
announce() {
    local last=$cache/durations/$1 line="=== $1"
    [[ -z ${about[$1]:-} ]] || line+=": ${about[$1]}"
    if [[ -s $last ]]; then line+=" (last time $(readable "$(<"$last")"))"; fi
    echo "$line"
}

remember() {
    mkdir -p "$cache/durations"
    echo "$2" >"$cache/durations/$1"
}

# Seconds as a person says them.
readable() {
    if (($1 < 120)); then echo "$1 s"; else echo "$((($1 + 30) / 60)) min"; fi
}

# Runs a command as a part of the summary.
part() {
    local name=$1 started=$SECONDS verdict=ok status=0
    shift
    announce "$name"
    "$@" || status=$?
    case $status in
        0) remember "$name" "$((SECONDS - started))" ;;
        "$skipped") verdict=skipped ;;
        *)
            verdict=FAILED
            echo "=== $name FAILED" >&2
            ;;
    esac
    names+=("$name") times+=("$((SECONDS - started))") verdicts+=("$verdict")
}

# Starts a command in the background, once; its output is shown if it fails.
prepare() {
    local name=$1
    shift
    [[ -n ${jobs[$name]:-} ]] && return
    set -m # a process group of its own, so that all of it can be ended
    "$@" >"$logs/$name" 2>&1 </dev/null &
    set +m
    jobs[$name]=$!
}

# Waits for a background command. What takes long is announced, and shows every half minute how far it is.
ready() {
    local name=$1 started=$SECONDS status=0 pulse
    heartbeat "$name" &
    pulse=$!
    wait "${jobs[$name]}" || status=$?
    kill "$pulse" 2>/dev/null
    wait "$pulse" 2>/dev/null
    [[ $status == 0 ]] || { cat "$logs/$name"; return 1; }
    ((SECONDS - started < 5)) || remember "$name" "$((SECONDS - started))"
}

heartbeat() {
    local name=$1 waited=2
    # A `sleep` outlives what it belongs to and must not hold the output open.
    sleep 2 &>/dev/null
    announce "$name"
    while sleep 30 &>/dev/null; do
        waited=$((waited + 30))
        echo "    still at $name after $(readable $waited): $(tail -n 1 "$logs/$name" 2>/dev/null | cut -c1-120)"
    done
}

summary() {
    local i failed=0
    echo
    for i in "${!names[@]}"; do
        printf '%-14s %5d s  %s\n' "${names[i]}" "${times[i]}" "${verdicts[i]}"
        [[ ${verdicts[i]} != FAILED ]] || failed=1
    done
    printf '%-14s %5d s  %s\n' total "$SECONDS" "$([[ $failed == 0 ]] && echo ok || echo FAILED)"
    return $failed
}
