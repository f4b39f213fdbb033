# Sourced by scripts/run and scripts/test: which Debian packages heliod needs, and how to get the missing ones.

BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config libevent-dev libssl-dev libhiredis-dev libyaml-dev libjson-c-dev \
libcurl4-openssl-dev liburing-dev zlib1g-dev redis-server ca-certificates"
TEST_PACKAGES="clang-format libcmocka-dev python3 python3-websockets python3-pytest python3-pytest-xdist python3-redis \
python3-cryptography redis-tools mandoc clang llvm libclang-rt-14-dev curl procps chromium"
# Peers of scripts/bench --install, npm packages beside them. A Node that is no package of Debian's will do.
BENCH_PACKAGES="python3 util-linux nginx-light libnginx-mod-nchan"
command -v node >/dev/null && command -v npm >/dev/null || BENCH_PACKAGES="$BENCH_PACKAGES nodejs npm"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

# Installing redis-server would start a system Redis and enable it at boot (and nginx-light an nginx). heliod runs its own; one
# that was not there before must not be there afterwards. Two halves: the policy that dpkg's scripts ask before they start anything …
without_starting_services() {
    policy=/usr/sbin/policy-rc.d
    if [ -e $policy ]; then # the machine has its own
        "$@"
        return
    fi
    trap 'as_root rm -f $policy; exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
    status=0
    "$@" || status=$?
    as_root rm -f $policy
    trap - INT TERM HUP
    return $status
}

# … and nothing of it at the next boot, nor now, should a policy of the machine's own have let it start. systemctl disable works
# on a machine that systemd does not run, too.
put_to_rest() { # service
    if [ -d /run/systemd/system ]; then
        as_root systemctl --quiet disable --now "$1"
    else
        if command -v systemctl >/dev/null; then as_root systemctl --quiet disable "$1"; fi
        if command -v update-rc.d >/dev/null; then as_root update-rc.d "$1" disable; fi
        if [ -x "/etc/init.d/$1" ]; then as_root "/etc/init.d/$1" stop; fi
    fi >/dev/null 2>&1 || true
}

need_packages() {
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "${missing% }" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "Missing: $missing. Install them with your package manager; apt-get is not here." >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "Missing: $missing. Install them as root (apt-get install $missing); sudo is not here." >&2
        return 1
    fi
    echo "Installing what is missing: $missing"
    new_services=
    case " $missing" in *" redis-server "*) new_services=redis-server ;; esac
    case " $missing" in *" nginx-light "*) [ -e /etc/init.d/nginx ] || new_services="$new_services nginx" ;; esac
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 update >/dev/null || true
    said=$(mktemp)
    # shellcheck disable=SC2086
    if ! without_starting_services as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o Dpkg::Use-Pty=0 --no-install-recommends install $missing >"$said" 2>&1; then
        cat "$said" >&2
        rm -f "$said"
        return 1
    fi
    rm -f "$said"
    for service in $new_services; do put_to_rest "$service"; done
}
