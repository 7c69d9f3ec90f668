"""Checks: what an operator does to a running gateway. `everything(bench)` yields them in order; the last one stops it."""

import json
import signal
import subprocess

from gateway import total
from lab import CLIENT4, GATE4, PROXY_PORT, expect, tool, wait_for
from origin import SLOW_SIZE
from traffic import HELLO, PROXY, curl, same_bytes, says, status


def everything(_bench):
    """Every check of this file, in order."""
    yield "healthz and readyz", healthy
    yield "status is JSON", status_json
    yield "admin: unknown Host is refused", foreign_host
    yield "check accepts the configuration", lambda b: b.lab.run(b.lab.gate, b.gateway.binary, "check", "--config", b.gateway.config).must()
    yield "check accepts what config prints", round_trip
    yield "SIGHUP, bad file: the old one stays", bad_reload
    yield "SIGHUP, good file: it counts", good_reload
    yield "access log has the request", logged
    yield "SIGUSR1: the access log is reopened", reopened
    yield "sums of the counters", sums
    yield "clients that vanish leave no orphan", vanished
    yield "SIGTERM: downloads end, then exit 0", drained


def vanished(bench):
    """There is no way back to them while their answers are on the way: by default the kernel would try for 107 s."""
    # Denied, and not so often that they would be stalled: every one of them is answered.
    request = b"GET http://10.255.0.1/ HTTP/1.1\r\nHost: 10.255.0.1\r\n\r\n"
    clients = [bench.lab.socket(bench.lab.client) for _ in range(40)]
    for client in clients:
        client.connect((GATE4, PROXY_PORT))
    # Sent and cut before the gateway's side can have been acknowledged everywhere: what stays is an orphan of ours.
    bench.lab.ip(bench.lab.gate, "route", "add", "blackhole", f"{CLIENT4}/32")
    try:
        for client in clients:
            client.send(request)
        def orphans():
            return bench.lab.run(bench.lab.gate, tool("ss"), "-tnaH", "state", "fin-wait-1", "state", "last-ack",
                                 f"sport = :{PROXY_PORT}").must().text.splitlines()
        wait_for("the gateway to have closed them all", lambda: len(orphans()) == len(clients))
        wait_for("the last orphan to go", lambda: not orphans(), seconds=30)
    finally:
        bench.lab.ip(bench.lab.gate, "route", "del", "blackhole", f"{CLIENT4}/32")
        for client in clients:
            client.close()


def healthy(bench):
    """Both answer 200 while it serves."""
    for path in ("/healthz", "/readyz"):
        seen = bench.gateway.ask(path, "-o", "/dev/null", "-w", "%{http_code}").must().text
        expect(seen == "200", f"{path}: {seen}")


def status_json(bench):
    """The object of the contract."""
    seen = json.loads(bench.gateway.ask("/api/v1/status", "--fail").must().text)
    missing = {"gateway", "kernel", "traffic"} - seen.keys()
    expect(not missing and seen["gateway"].get("name") == "floodgate", f"without {missing}: {str(seen)[:200]}")


def foreign_host(bench):
    """A page of an attacker's that has the loopback address as its name gets nothing (DNS rebinding)."""
    seen = bench.gateway.ask("/metrics", "-H", "Host: attacker.test", "-o", "/dev/null", "-w", "%{http_code}").must().text
    expect(seen.startswith("4"), f"status {seen}")


def round_trip(bench):
    """The printed defaults are a valid file."""
    printed = bench.lab.dir / "defaults.toml"
    printed.write_bytes(bench.lab.run(bench.lab.gate, bench.gateway.binary, "config").must().out)
    bench.lab.run(bench.lab.gate, bench.gateway.binary, "check", "--config", printed).must()


def bad_reload(bench):
    """It says which key is wrong and goes on with what it had."""
    bench.gateway.reload(deny='"www.origin.test"', extra='\n[limits]\nno-such-key = 1\n')
    wait_for("the gateway to name the bad key", lambda: "no-such-key" in bench.gateway.said())
    says(bench, HELLO, "http://www.origin.test/hello.txt")


def good_reload(bench):
    """The new file counts for new connections; the old one can come back."""
    bench.gateway.reload(deny='"www.origin.test"')
    wait_for("www.origin.test to be denied", lambda: status(bench, "http://www.origin.test/hello.txt") == "403")
    says(bench, HELLO, "http://origin.test/hello.txt")
    bench.gateway.reload()
    wait_for("www.origin.test to be allowed", lambda: status(bench, "http://www.origin.test/hello.txt") == "200")


def in_log(bench, word):
    """Waits for a word in the access log."""
    wait_for(f"{word} in the access log", lambda: bench.gateway.access.exists() and word in bench.gateway.access.read_text(errors="replace"))


def logged(bench):
    """A forwarded request and a tunnel have a line each."""
    status(bench, "http://origin.test/hello.txt?for-the-log")
    in_log(bench, "for-the-log")
    curl(bench, "https://origin.test/hello.txt").must()
    in_log(bench, "CONNECT origin.test:443")


def reopened(bench):
    """What logrotate does."""
    bench.gateway.access.rename(bench.lab.dir / "access.log.1")
    bench.gateway.signal(signal.SIGUSR1)
    wait_for("a new access log", bench.gateway.access.exists)
    status(bench, "http://origin.test/hello.txt?after-rotation")
    in_log(bench, "after-rotation")


def sums(bench):
    """One outcome for each connection and each request, once nothing is open."""
    def quiet():
        seen = bench.gateway.metrics()
        return seen if total(seen, "floodgate_connections_open") == 0 else None
    seen = wait_for("every connection to be closed", quiet, seconds=30)
    for scope, family in (("connection", "floodgate_connections_total"), ("request", "floodgate_requests_total")):
        arrived, ended = total(seen, family), total(seen, "floodgate_outcomes_total", scope=scope)
        expect(arrived == ended and arrived > 0, f"{arrived:.0f} {scope}s arrived, {ended:.0f} ended")


def drained(bench):
    """Both kinds of download go on after SIGTERM, nobody new is served, and it ends as one that was asked to."""
    downloads = []
    for scheme in ("http", "https"):
        into = bench.lab.dir / f"slow-{scheme}.bin"
        child = bench.lab.start(bench.lab.client, [tool("curl"), "-sS", "-m", 60, "-x", PROXY, "--cacert", bench.origin.ca, "-N", "-o", into,
                                                   f"{scheme}://origin.test/slow/slow.bin"], bench.lab.dir / "slow.log")
        downloads.append((scheme, into, child))
    for scheme, into, _ in downloads:
        wait_for(f"the {scheme} download to begin", lambda path=into: path.exists() and path.stat().st_size > 0)
    for scheme, into, _ in downloads:
        expect(into.stat().st_size < SLOW_SIZE, f"the {scheme} download was over before the signal came")
    bench.gateway.signal(signal.SIGTERM)
    wait_for("the listener to close", lambda: curl(bench, "http://origin.test/hello.txt").code == 7)
    for scheme, into, child in downloads:
        expect(child.wait(timeout=40) == 0, f"the {scheme} download ended with {child.returncode}: {(bench.lab.dir / 'slow.log').read_text()}")
        same_bytes(into.read_bytes(), bench.origin.big[:SLOW_SIZE])
    try:
        code = bench.gateway.process.wait(timeout=40)
    except subprocess.TimeoutExpired:
        code = "no end"
    expect(code == 0, f"exit {code}: {bench.gateway.said()[-300:]}")
