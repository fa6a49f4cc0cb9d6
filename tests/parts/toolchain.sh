# shellcheck shell=bash
# Which Rust is used.

# rust-toolchain.toml names a release, and rustup would download it even where the default toolchain is that very
# release, installed as `stable`. There the default is used, under the name it has.
use_toolchain() {
    local pinned default
    [[ -z ${RUSTUP_TOOLCHAIN:-} ]] && command -v rustup >/dev/null || return 0
    pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    ! rustup toolchain list | grep -q "^$pinned-" || return 0
    default=$(rustup default 2>/dev/null) || return 0
    default=${default%% *}
    if [[ $(rustup run "$default" rustc --version 2>/dev/null) == "rustc $pinned "* ]]; then
        export RUSTUP_TOOLCHAIN=$default
    fi
}
