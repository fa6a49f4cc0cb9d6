# shellcheck shell=bash
# A release without its images, and whether what it contains is whole. The images are tried by the cluster's part.

release() {
    local made=$logs/release version
    ready cargo-cyclonedx && ready tools || return 1
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
    CARGO_CYCLONEDX=$cache/cargo-cyclonedx-$cargo_cyclonedx_version/bin/cargo-cyclonedx \
        release/make --without-images "$made" || return 1
    (cd "$made" && sha256sum --check --quiet SHA256SUMS) || return 1
    # Every image of the chart has the release's tag.
    "$(tests/tools/build helm)/helm" template release --kube-version 1.34.0 "$made/routeapi-$version.tgz" >"$made/objects.yaml" || return 1
    if grep -E '^ *image: ' "$made/objects.yaml" | grep -vE "/?routeapi(-operator)?:$version\"?$"; then
        echo "these images of the chart have another tag than $version"
        return 1
    fi
    grep -c '^kind: CustomResourceDefinition$' "$made/crds.yaml" | grep -qx 3 || { echo "not three CRDs"; return 1; }
    python3 - "$made" "$version" <<'END'
import json, pathlib, sys, tomllib

made, version = pathlib.Path(sys.argv[1]), sys.argv[2]
locked = {(package["name"], package["version"]) for package in tomllib.loads(pathlib.Path("Cargo.lock").read_text())["package"]}
for program, wanted, unwanted in [
    ("routeapi", {"hyper", "rustls", "routeapi-protocol"}, {"kube-client", "routeapi-operator", "tempfile", "rcgen"}),
    ("routeapi-operator", {"kube-client", "rcgen", "routeapi-compile"}, {"routeapi-dataplane", "tempfile"}),
]:
    bom = json.loads((made / f"{program}.cdx.json").read_text())
    assert bom["metadata"]["component"]["version"] == version, bom["metadata"]["component"]
    components = {component["name"]: component for component in bom["components"]}
    assert wanted <= components.keys(), f"{program}: without {wanted - components.keys()}"
    assert not unwanted & components.keys(), f"{program}: with {unwanted & components.keys()}"
    others = {(component["name"], component["version"]) for component in bom["components"]} - locked
    assert not others, f"{program}: not in Cargo.lock: {others}"
    unlicensed = [name for name, component in components.items() if not component.get("licenses")]
    assert not unlicensed, f"{program}: no licence of {unlicensed}"
    print(f"{program}: {len(components)} components")
END
}
