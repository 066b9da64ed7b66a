#!/bin/sh
# Installs the programs of Debian that tests and benchmarks need, as far as they are missing: PostgreSQL, Redis
# and Chromium. Servers that the packages bring along are not started; the tests start their own.
set -eu

missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null ||
    command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing="$missing chromium-headless-shell fonts-dejavu-core"
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "tests: missing:$missing. Install these packages, or run this as root." >&2
        exit 1
    fi
    as_root="sudo"
fi
if ! command -v apt-get >/dev/null; then
    echo "tests: missing:$missing. This is no Debian, so please install them yourself." >&2
    exit 1
fi

echo "tests: installing Debian packages:$missing"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=""
trap 'rm -f "$log"; [ -z "$made_policy" ] || $as_root rm -f "$policy"' EXIT
trap 'exit 1' HUP INT TERM
# This file is how Debian is told not to start the servers of new packages; one that is there already decides.
if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
fi
if ! { $as_root apt-get update -q &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } \
    >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "tests: apt-get could not install$missing" >&2
    exit 1
fi
