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
)
test_packages=(python3-numpy python3-torch)

packages=("${build_packages[@]}")
case "${1:-build}" in
  build) ;;
  test) packages+=("${test_packages[@]}") ;;
  *) echo "usage: $0 [build|test]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "error: this script installs with apt-get; on another system install the counterparts of: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "error: run as root or install sudo; missing packages: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "Installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
