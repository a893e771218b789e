#!/usr/bin/env bash
# Installs the Debian packages that txc needs. Does nothing, and needs neither
# network nor root, when they are there already.
#
#   scripts/install-packages.sh build    to build and run
#   scripts/install-packages.sh test     also to run all tests
set -euo pipefail

build_packages=(
  g++ cmake ninja-build ccache git python3 curl ca-certificates
  libmlir-19-dev mlir-19-tools llvm-19-dev llvm-19-tools lld-19 zlib1g-dev libzstd-dev
  libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libpcre2-dev libdnnl-dev libgtest-dev
  libopenmpi-dev openmpi-bin
)
test_packages=(python3-numpy python3-torch)
# Where apt has them (Ubuntu has no chromium); tests that want one are skipped without it.
optional_test_packages=(chromium mandoc bsdextrautils fish zsh)

packages=("${build_packages[@]}")
optional=()
case "${1:-build}" in
  build) ;;
  test) packages+=("${test_packages[@]}"); optional=("${optional_test_packages[@]}") ;;
  *) echo "usage: $0 [build|test]" >&2; exit 2 ;;
esac

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
is_available() { [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]; }

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo)
fi
install() {
  echo "Installing: $*"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "error: this script installs with apt-get; on another system install the counterparts of: ${missing[*]}" >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "error: run as root or install sudo; missing packages: ${missing[*]}" >&2
    exit 1
  fi
  "${as_root[@]}" apt-get update -qq
  install "${missing[@]}"
fi

for package in ${optional[@]+"${optional[@]}"}; do
  if ! is_installed "$package" && is_available "$package"; then
    install "$package" || echo "warning: cannot install $package; the tests that want it are skipped" >&2
  fi
done
