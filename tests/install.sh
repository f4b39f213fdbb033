#!/usr/bin/env bash
# Installs heliod twice and lives with it: once below DESTDIR, where every file and mode is looked at, and once into a
# temporary prefix, where the init script starts, reloads, restarts and stops it while clients are connected.
#   tests/install.sh [BUILD]    BUILD: directory for a Release build (default build/install-test)
# Needs root for the init script, by sudo -n if need be. Leaves nothing behind but BUILD. Exit 1 names what failed.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
build=${1:-$root/build/install-test}
failed=0
tmp=
holder=

ok() { echo "ok   $*"; }
bad() { # what, then the words of whoever failed
    echo "FAIL $1"
    [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/     | /'
    failed=1
}
die() {
    bad "$@"
    exit 1
}
check() { # what command…: its output is shown only when it fails
    local what=$1 out
    shift
    if out=$("$@" 2>&1); then ok "$what"; else bad "$what" "${out:-it was: $*}"; fi
}
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# ---- the end, whatever happens ----

clean_up() {
    status=$?
    [ -z "$holder" ] || kill "$holder" 2>/dev/null
    if [ -n "$tmp" ]; then
        if [ -s "$tmp/run/heliod.pid" ]; then
            read -r pid _ <"$tmp/run/heliod.pid"
            [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != heliod ] || as_root kill -KILL "$pid"
        fi
        as_root rm -rf "$tmp"
    fi
    trap - EXIT
    [ $failed -eq 0 ] || status=1
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM

await() { # seconds command…
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

# ---- what it takes ----

for tool in cmake ninja mandoc curl redis-server /usr/bin/python3; do
    command -v "$tool" >/dev/null || die "needs $tool (see scripts/packages.sh)"
done
as_root true 2>/dev/null || die "the init script needs root: run this as root, or let sudo -n work"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/heliod-install.XXXXXX") || exit 1
chmod 755 "$tmp" # the workers' user has to get to run_dir

configure_and_build() { # cmake arguments…
    cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSANITIZE= -DWERROR=ON "$@" >"$tmp/build.log" 2>&1 &&
        ninja -C "$build" heliod heliod-worker helioctl >>"$tmp/build.log" 2>&1 ||
        die "build ($*)" "$(tail -n 40 "$tmp/build.log")"
}
install_it() { # DESTDIR. Not `ninja install`: that would build the unit tests first
    DESTDIR=$1 cmake --install "$build" >"$tmp/install.log" 2>&1 || die "install" "$(tail -n 40 "$tmp/install.log")"
}

# ---- below DESTDIR ----

configure_and_build -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_SYSCONFDIR=etc
dest=$tmp/dest
umask 022
install_it "$dest"
ok "builds and installs below DESTDIR"

expected() {
    cat <<LIST
640 etc/heliod/heliod.yaml
644 etc/logrotate.d/heliod
644 usr/lib/systemd/system/heliod.service
644 usr/lib/sysusers.d/heliod.conf
644 usr/share/bash-completion/completions/helioctl
644 usr/share/man/man5/heliod.yaml.5
644 usr/share/man/man7/heliod-errors.7
644 usr/share/man/man7/heliod-protocol.7
644 usr/share/man/man8/helioctl.8
644 usr/share/man/man8/heliod.8
755 etc/init.d/heliod
755 usr/libexec/heliod/heliod-worker
755 usr/sbin/helioctl
755 usr/sbin/heliod
LIST
}
found=$(cd "$dest" && find . ! -type d -printf '%m %P\n' | sort)
if [ "$found" = "$(expected)" ]; then
    ok "every file is in its place with its mode, and no other"
else
    bad "files and modes (< expected, > found)" "$(diff <(expected) <(printf '%s\n' "$found"))"
fi

no_marks() { ! grep -rnE '@[A-Z_]+@' "$dest/etc" "$dest/usr/lib"; }
check "no place for a path is left empty" no_marks
check "no file knows DESTDIR" eval "! grep -rl '$dest' '$dest'"
version=$(sed -n 's/^project(heliod VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
check "heliod -V says $version" test "$("$dest/usr/sbin/heliod" -V)" = "heliod $version"
check "helioctl version says $version" eval "'$dest/usr/sbin/helioctl' version | grep -qF '$version'"
check "the sample configuration is accepted" "$dest/usr/sbin/heliod" -t --worker "$dest/usr/libexec/heliod/heliod-worker" \
    -c "$dest/etc/heliod/heliod.yaml"

for page in "$dest"/usr/share/man/man?/*; do
    renders() {
        mandoc -Tutf8 "$page" >"$tmp/page" && [ "$(wc -l <"$tmp/page")" -gt 20 ] &&
            { ! command -v man >/dev/null || man -l "$page" >/dev/null; }
    }
    check "$(basename "$page") renders" renders
done

check "the init script is a good shell script" sh -n "$dest/etc/init.d/heliod"
completes() {
    bash -c ". '$dest/usr/share/bash-completion/completions/helioctl'
             COMP_WORDS=('$dest/usr/sbin/helioctl' sho) COMP_CWORD=1
             _helioctl && [ \"\${COMPREPLY[0]}\" = show ]"
}
check "bash completes sho to show" completes
if command -v systemd-analyze >/dev/null && command -v systemd-sysusers >/dev/null; then
    # It looks for the programs too; they are below DESTDIR here.
    sed "s|=/usr/sbin/|=$dest/usr/sbin/|" "$dest/usr/lib/systemd/system/heliod.service" >"$tmp/heliod.service"
    unit_is_good() { ! systemd-analyze verify --man=no "$tmp/heliod.service" 2>&1 | grep -F "heliod.service:"; }
    check "systemd takes the unit" unit_is_good
fi
if command -v logrotate >/dev/null; then
    rotates() { as_root logrotate -d -s "$tmp/logrotate.state" "$tmp/logrotate.conf" 2>&1 | tee "$tmp/logrotate.out" | grep -i '^error' && return 1 || return 0; }
    cp "$dest/etc/logrotate.d/heliod" "$tmp/logrotate.conf"
    as_root chown 0:0 "$tmp/logrotate.conf"
    check "logrotate takes its file" rotates
fi

# ---- into a prefix of its own ----

export HELIOD_TEST_PORT
HELIOD_TEST_PORT=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
port=$HELIOD_TEST_PORT
conf=$tmp/etc/heliod/heliod.yaml
init=$tmp/etc/init.d/heliod
mkdir -p "$tmp/etc/heliod" "$tmp/log"
good_conf() { # more lines
    cat <<YAML
workers: 2
user: nobody
run_dir: $tmp/run
log: {level: info, target: $tmp/log/heliod.log}
listeners:
  - {address: "127.0.0.1:$port"}
endpoints:
  - {path: /ws, protocol: events, auth: {method: anonymous}}
YAML
    [ $# -eq 0 ] || printf '%s\n' "$@"
}
good_conf >"$conf"
configure_and_build -DCMAKE_INSTALL_PREFIX="$tmp/usr" -DCMAKE_INSTALL_SYSCONFDIR="$tmp/etc"
install_it ""
check "an existing heliod.yaml is kept as it is" diff <(good_conf) "$conf"

control() { # exit-status action: runs the init script and compares
    local want=$1 action=$2 got
    as_root "$init" "$action" </dev/null >"$tmp/said" 2>&1
    got=$?
    if [ $got -eq "$want" ]; then
        ok "$action exits $want: $(head -n 1 "$tmp/said")"
    else
        bad "$action exits $got, not $want" "$(cat "$tmp/said"; tail -n 20 "$tmp/log/heliod.log" 2>/dev/null)"
    fi
}
says() { check "it says: $1" grep -qF -- "$1" "$tmp/said"; }
get() { curl -fsS -m 10 "http://127.0.0.1:$port$1"; }
websocket() { # path, Python statements that may use ws
    timeout 20 /usr/bin/python3 - "$port" "$@" <<'PY'
import asyncio, json, sys, websockets
async def main(port, path, do):
    async with websockets.connect("ws://127.0.0.1:%s%s" % (port, path)) as ws:
        ns = {"ws": ws, "json": json}
        exec("async def run():\n " + do, ns)
        await ns["run"]()
asyncio.run(main(*sys.argv[1:4]))
PY
}
authenticates() {
    # shellcheck disable=SC2016
    websocket /ws 'await ws.send("{\"event\":\"authenticate\"}"); assert json.loads(await ws.recv())["event"] == "connected"'
}
echoes() { websocket /second 'await ws.send("hello"); assert await ws.recv() == "hello"'; }
workers_of_nobody() {
    local n=0 uid
    uid=$(id -u nobody)
    for dir in /proc/[0-9]*; do
        [ "$(cat "$dir/comm" 2>/dev/null)" = heliod-worker ] || continue
        grep -qzF "$tmp/run" "$dir/cmdline" 2>/dev/null || continue
        awk -v uid="$uid" '/^Uid:/ { exit !($2 == uid && $3 == uid && $4 == uid) }' "$dir/status" || return 1
        n=$((n + 1))
    done
    [ $n -eq 2 ]
}
nothing_runs() {
    local dir
    for dir in /proc/[0-9]*; do
        ! grep -qzF "$tmp/" "$dir/cmdline" 2>/dev/null || ! grep -qE '^(heliod|redis)' "$dir/comm" 2>/dev/null ||
            { echo "still there: ${dir#/proc/} $(tr '\0' ' ' <"$dir/cmdline")"; return 1; }
    done
}
hold() { # a client that stays, and at its end writes down how it was told
    : >"$tmp/held"
    timeout 120 /usr/bin/python3 - "$port" "$tmp/held" <<'PY' &
import asyncio, sys, websockets
async def main(port, out):
    async with websockets.connect("ws://127.0.0.1:%s/ws" % port, ping_interval=None) as ws:
        await ws.send('{"event":"authenticate"}')
        await ws.recv()
        print("connected", file=open(out, "a"))
        try:
            await ws.recv()
        except websockets.ConnectionClosed:
            pass
        print(ws.close_code, ws.close_reason, file=open(out, "a"))
asyncio.run(main(*sys.argv[1:]))
PY
    holder=$!
    await 20 grep -q connected "$tmp/held" || bad "a client that stays cannot connect" "$(cat "$tmp/held")"
}

control 2 nonsense
control 3 status
control 0 stop
control 7 reload
control 0 configtest

control 0 start
check "/ready answers" get /ready
check "a client authenticates" authenticates
check "both workers are nobody's" workers_of_nobody
check "the control socket is root's alone" test "$(stat -c '%U %a' "$tmp/run/heliod.sock")" = "root 600"
control 0 status
control 0 start
says "is running already"
hold

good_conf "  - {path: /second, protocol: echo}" >"$conf"
control 0 reload
check "the new endpoint is there" echoes

good_conf "  - {path: /second, protocol: echo, max_mesage: 1KiB}" >"$conf"
line=$(grep -n max_mesage "$conf" | cut -d : -f 1)
control 1 reload
says "$conf:$line:"
says "max_message"
control 6 configtest
control 6 restart
check "the old configuration stands" echoes
{ echo "redis: {prefix: other}"; good_conf; } >"$conf"
control 1 reload
says "redis.prefix cannot change"
check "the client that stays was not touched" test "$(cat "$tmp/held")" = connected

good_conf >"$conf"
mv "$tmp/log/heliod.log" "$tmp/log/heliod.log.1"
awk '/postrotate/ { on = 1; next } /endscript/ { on = 0 } on' "$tmp/etc/logrotate.d/heliod" |
    sed "s|/run/heliod|$tmp/run|g" >"$tmp/postrotate"
as_root sh "$tmp/postrotate"
check "the log is reopened after a rotation" await 10 test -s "$tmp/log/heliod.log"

control 0 force-reload
control 0 restart
wait "$holder"
holder=
check "restart told the client: 1001 Server shutting down" grep -qx "1001 Server shutting down" "$tmp/held"
check "/ready answers again" get /ready
check "a client authenticates again" authenticates
control 0 try-restart

# A supervisor that was killed leaves a pidfile; its workers and its Redis end by themselves.
read -r pid _ <"$tmp/run/heliod.pid"
as_root kill -KILL "$pid"
await 5 test ! -e "/proc/$pid"
control 1 status
check "workers and Redis follow a killed supervisor" await 20 nothing_runs
control 0 start
check "and it starts again" get /ready

control 0 stop
control 3 status
control 0 stop
control 0 try-restart
check "nothing runs any more" nothing_runs
check "nobody listens any more" eval "! curl -s -m 2 http://127.0.0.1:$port/health"
check "run_dir is empty" test -z "$(ls -A "$tmp/run" 2>/dev/null)"

# A start that cannot succeed says why, with a status of its own.
sleep_forever() { exec /usr/bin/python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $port)); s.listen(); print('listening', flush=True); time.sleep(60)"; }
sleep_forever >"$tmp/holds" &
holder=$!
await 10 grep -q listening "$tmp/holds"
control 1 start
says "127.0.0.1:$port: address already in use"
says "$holder"
kill "$holder"
wait "$holder" 2>/dev/null
holder=
echo "workers: many" >"$conf"
control 6 start
says "$conf:1:"
rm -f "$conf"
control 6 start
chmod -x "$tmp/usr/sbin/heliod"
control 5 start

exit $failed
