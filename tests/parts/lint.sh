# shellcheck shell=bash
# What is wrong with the code without running it.

# A crate (first argument) must not reach any of the others, by whatever way.
arrow() {
    local crate=$1 reached forbidden failed=0
    shift
    reached=$(cargo tree --locked -p "$crate" -e normal,build --prefix none --format '{p}' | awk '{print $1}' | sort -u) ||
        return 1
    for forbidden in "$@"; do
        if grep -qx "$forbidden" <<<"$reached"; then
            echo "$crate must not depend on $forbidden:"
            cargo tree --locked -p "$crate" -e normal,build -i "$forbidden" | head -20
            failed=1
        fi
    done
    return $failed
}

arrows() {
    local failed=0 crate
    for crate in routeapi-channel routeapi-injection routeapi-compile routeapi-protocol routeapi-metering routeapi-ledger \
        routeapi-process; do
        arrow $crate tokio hyper kube-client routeapi-operator routeapi-dataplane || failed=1
    done
    arrow routeapi-dataplane kube-client kube-runtime routeapi-operator || failed=1
    arrow routeapi-operator routeapi-dataplane || failed=1
    return $failed
}

# No production file is longer than 600 lines; its tests at the end do not count.
lengths() {
    git ls-files -co --exclude-standard '*.rs' | grep -vE '(^|/)tests/([^/]*/)*[^/]*\.rs$|/tests\.rs$' >"$logs/files"
    git ls-files -co --exclude-standard 'tests/harness/*.rs' 'tests/bench/*.rs' 'tests/hostile/*.rs' \
        'tests/lint/src/*.rs' >>"$logs/files"
    local file lines failed=0
    while read -r file; do
        [[ -f $file ]] || continue
        lines=$(awk '/^#\[cfg\(test\)\]/ { exit } { n++ } END { print n + 0 }' "$file")
        if ((lines > 600)); then
            echo "$file has $lines lines; 600 are allowed"
            failed=1
        fi
    done <"$logs/files"
    return $failed
}

# What is left of old faults may only become less; the figures say how much there is.
structure() {
    cargo test --locked -p routeapi-lint -- --show-output >"$logs/structure" || { cat "$logs/structure"; return 1; }
    sed -n 's/^figure: structure: *//p' "$logs/structure"
}

deny() { "$cache/cargo-deny-$cargo_deny_version/bin/cargo-deny" --log-level warn "$@"; }

licences() { ready cargo-deny && deny check bans licenses sources; }

# The database of published vulnerabilities is a Git repository that cannot be reached from everywhere. What was fetched
# last is used then; where there is nothing at all, the part is skipped, and the summary says so.
advisories() {
    ready cargo-deny || return 1
    local fetched=$cache/advisories-fetched status=0
    if timeout 300 "$cache/cargo-deny-$cargo_deny_version/bin/cargo-deny" --log-level error fetch db 2>"$logs/fetch"; then
        date +%s >"$fetched"
    elif [[ -s $fetched ]]; then
        echo "the database cannot be reached; used is what was fetched $((($(date +%s) - $(<"$fetched")) / 86400)) days ago"
    else
        echo "skipped: there is no database of advisories here, and it cannot be reached:"
        grep -m 1 -iE 'failed|error|could not' "$logs/fetch" | cut -c1-200
        return "$skipped"
    fi
    deny check --disable-fetch advisories
}

lint() {
    prepare cargo-deny make_cargo_tool cargo-deny "$cargo_deny_version"
    part format cargo fmt --all --check
    part lengths lengths
    part structure structure
    part arrows arrows
    part clippy cargo clippy --locked --workspace --all-targets -- -D warnings
}

# What cargo-deny finds; it is compiled in the meantime.
audit() {
    part licences licences
    part advisories advisories
}
