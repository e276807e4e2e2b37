#!/bin/sh
# Runs tests as on an aarch64 CPU, by qemu's emulation of one, with Debian's Python for arm64 and PyPI's wheels.
#
#     sh tests/aarch64.sh -q -k "not fork" tests/compiler tests/nn
#
# The arguments are pytest's. It takes 10 to 30 times as long as without, so Hypothesis' profile is `quick` if none is
# named. Left out are forks of a process that has threads, in which qemu itself fails.
#
# Needs a Debian with its registry and PyPI in reach, and `apt-get install qemu-user`. What is downloaded (about 150 MB)
# lies in $AARCH64_ROOT (default: ~/.cache/tinygrad_seq_aarch64), for the next time too. The system is not changed.
set -eu
root=${AARCH64_ROOT:-$HOME/.cache/tinygrad_seq_aarch64}
debian=$root/debian
site=$root/site
python=$root/python # what tests start as sys.executable: a script, since the kernel cannot run the binary itself

if ! [ -x "$python" ]; then
    command -v qemu-aarch64 > /dev/null || { echo "aarch64.sh: no qemu-aarch64: apt-get install qemu-user" >&2; exit 1; }
    mkdir -p "$root/apt/state/lists/partial" "$root/apt/cache/archives/partial" "$debian"
    : > "$root/apt/status" # nothing is installed, so that all that Python needs is taken
    apt() {
        apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$root/apt/state" \
            -o Dir::Cache="$root/apt/cache" -o Dir::State::status="$root/apt/status" -o Debug::NoLocking=1 "$@"
    }
    apt update
    apt install -y --download-only --no-install-recommends python3.11 libgomp1 libstdc++6
    for package in "$root"/apt/cache/archives/*.deb; do dpkg -x "$package" "$debian"; done
    "${PYTHON:-python3}" -m pip install -q --target "$site" --python-version 3.11 --only-binary=:all: \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
        numpy llvmlite pytest hypothesis
    cat > "$python.part" << END
#!/bin/sh
export PYTHONHOME=$debian/usr PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$site"
exec qemu-aarch64 -L $debian -0 $python $debian/usr/bin/python3.11 "\$@"
END
    chmod +x "$python.part"
    mv "$python.part" "$python"
fi

cd "$(dirname "$0")/.."
HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-quick} PYTHONPATH=$PWD OPENBLAS_NUM_THREADS=1 exec "$python" -m pytest -p no:cacheprovider "$@"
