"""Checks: whatever a client calls the gateway, the gateway does not connect to itself.

Each spelling comes from a client address of its own, so that no limit per client decides about it.
`everything(bench)` yields them in order; the last ones look at the sockets, not at what the gateway says.
"""

import ipaddress
import itertools

from gateway import total
from lab import ADMIN_PORT, GATE4, GATE4_OUT, GATE6, GATE6_OUT, MANY_CLIENTS, PROXY_PORT, expect, tool
from raw import Raw
from traffic import PROXY, PROXY6, answers

NUMBER = int(ipaddress.IPv4Address(GATE4))
BYTES = GATE4.split(".")
MAPPED = f"{NUMBER >> 16:x}:{NUMBER & 0xFFFF:x}"

# Every spelling that some client stack connects to the gateway with.
SELF = [
    GATE4, GATE4_OUT, f"{GATE4}.", f"{GATE4}:{PROXY_PORT}", f"{GATE4}:{ADMIN_PORT}", f"{GATE4}:443", f"{GATE4}:8080",
    str(NUMBER), hex(NUMBER), hex(NUMBER).upper().replace("X", "x"), f"0{NUMBER:o}",
    ".".join(hex(int(b)) for b in BYTES), ".".join(f"0{int(b):o}" for b in BYTES), ".".join(f"000{int(b):o}" for b in BYTES),
    f"{BYTES[0]}.{BYTES[1]}.{int(BYTES[2]) * 256 + int(BYTES[3])}", f"{BYTES[0]}.{int(BYTES[1]) * 65536 + int(BYTES[3])}",
    f"0x{int(BYTES[0]):x}.0{int(BYTES[1]):o}.{BYTES[2]}.{BYTES[3]}",
    f"[::ffff:{GATE4}]", f"[::ffff:{MAPPED}]", f"[::FFFF:{GATE4}]:{PROXY_PORT}", f"[0:0:0:0:0:ffff:{MAPPED}]",
    f"[{GATE6}]", f"[{GATE6_OUT}]:{PROXY_PORT}", f"[{ipaddress.IPv6Address(GATE6).exploded}]", f"[{GATE6.upper()}]",
    "127.0.0.1", "127.0.0.1:9128", "127.1", "127.255.255.254", "0x7f.1", "0177.1", "2130706433", "[::1]", "[::1]:3128", "[::ffff:127.0.0.1]",
    "0.0.0.0", "0", "0x0", "[::]", "[::]:3128",
    "localhost", "LOCALHOST", "localhost.", "localhost:9128", "ip6-localhost",
    "203.0.113.7", "203.0.113.7:8080", "proxy.example.net", "Proxy.Example.NET.:3128",
    "own-name.test", "rebind.test", "rebind-own.test",
]
# Forms that hold the gateway's address and that a router on the way would turn into it.
EMBEDDED = [f"[64:ff9b::{MAPPED}]", f"[::{MAPPED}]", f"[::{GATE4}]", f"[2002:{MAPPED}::1]", "198.18.0.255"]
# Not an address for anybody, or a trick: said to be malformed.
MALFORMED = [f"user@{GATE4}", f"{GATE4}%40origin.test", "%31%32%37.0.0.1", f"{GATE4}:99999", "[::1", "origin.test:80:80", "origin.test@127.0.0.1"]

sources = itertools.cycle(str(address) for address in list(ipaddress.ip_network(MANY_CLIENTS).hosts()))


def ask(bench, request):
    """One request from one client; the answer must be whole and end without a reset."""
    with Raw(bench.lab, next(sources)) as raw:
        raw.send(request)
        answer = raw.head()
        body = raw.rest()
        if answer.status != 200:
            expect(answer.fields.get("content-length") == str(len(body)), f"{len(body)} bytes of body after {answer.fields}")
            expect(answer.fields.get("connection", "").lower() == "close", f"fields {answer.fields}")
        return answer


def refused(bench, request, wanted, error=""):
    """The answer has this status, and says in a field of its own that the gateway gave it (RFC 9209)."""
    answer = ask(bench, request)
    expect(answer.status == wanted, f"status {answer.status}")
    said = answer.fields.get("proxy-status", "")
    expect(said.startswith("floodgate;") and error in said, f"proxy-status {said!r}")


def absolute(host):
    """What a client sends to a proxy."""
    return f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nUser-Agent: check\r\n\r\n"


def connect(host):
    """What a client sends for a tunnel."""
    target = host if ":" in host.rpartition("]")[2] else f"{host}:443"
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"


def origin_form(host):
    """What the broken clients send: the form for an origin, with this box as the host."""
    return f"GET /mmtls/0000 HTTP/1.1\r\nHost: {host}\r\n\r\n"


class Count:
    """How many refusals the metrics must show at the end: the checks that got theirs."""

    refused = 0


def counted(check):
    """Counts a check that went well as one refusal for being self-targeted."""
    def run(bench):
        check(bench)
        Count.refused += 1
    return run


def everything(bench):
    """Every check of this file, in order."""
    yield "the kernel's counter counts", control
    yield "metrics before", remember
    for host in SELF:
        yield f"absolute-form {host}: 403", counted(lambda b, h=host: refused(b, absolute(h), 403, "proxy_loop_detected"))
        yield f"CONNECT {host}: 403", counted(lambda b, h=host: refused(b, connect(h), 403, "proxy_loop_detected"))
    for host in (GATE4, f"{GATE4}:{PROXY_PORT}", f"[{GATE6}]", "localhost", "proxy.example.net"):
        yield f"origin-form {host}: 403", counted(lambda b, h=host: refused(b, origin_form(h), 403, "proxy_loop_detected"))
    for name, args, proxy in (
            ("the gateway's address", (f"http://{GATE4}/",), PROXY), ("its other address", (f"http://{GATE4_OUT}/",), PROXY),
            ("its IPv6 address", (f"http://[{GATE6}]/",), PROXY6), ("https", (f"https://{GATE4}/",), PROXY),
            ("a number", (f"http://{NUMBER}/",), PROXY), ("127.1", ("http://127.1/",), PROXY), ("localhost", ("http://localhost/",), PROXY),
            ("its admin address", (f"http://127.0.0.1:{ADMIN_PORT}/metrics",), PROXY),
            ("as if it were a server", (f"http://{GATE4}:{PROXY_PORT}/",), None)):
        yield f"curl {name}: 403", counted(lambda b, a=args, p=proxy: curl_refused(b, a, p))
    yield "wget the gateway's address: 403", counted(wget_refused)
    yield "address added later", added
    yield "metrics show the refusals", shown
    for host in EMBEDDED:
        yield f"absolute-form {host}: 403", lambda b, h=host: refused(b, absolute(h), 403)
        yield f"CONNECT {host}: 403", lambda b, h=host: refused(b, connect(h), 403)
    for host in MALFORMED:
        yield f"absolute-form {host}: 400", lambda b, h=host: refused(b, absolute(h), 400)
    yield "origin-form of another host: 400", lambda b: refused(b, origin_form("origin.test"), 400)
    yield "no connection to itself: packets", lambda b: expect(b.gateway.own_syns() == 0, f"{b.gateway.own_syns()} SYNs left for its own host")
    yield "no connection to itself: sockets", lambda b: expect(not b.gateway.own_sockets(), f"{b.gateway.own_sockets()[:3]}")


def control(bench):
    """Without the proof that the counter sees such a connection, its zero at the end would mean nothing."""
    for address in ("127.0.0.1", GATE4, f"[{GATE6}]"):
        before = bench.gateway.own_syns()
        bench.lab.run(bench.lab.gate, tool("curl"), "-s", "-m", "2", f"http://{address}:1/")
        expect(bench.gateway.own_syns() > before, f"a connection to {address} was not counted")
    before = bench.gateway.own_syns()
    bench.gateway.ask("/healthz")
    expect(bench.gateway.own_syns() == before, "the tests' own connections are counted")
    bench.lab.run(bench.lab.gate, tool("nft"), "reset", "counters").must()
    expect(bench.gateway.own_syns() == 0, "the counter does not start at zero")


def curl_refused(bench, args, proxy):
    """curl gets the answer of the proxy."""
    source = [] if proxy == PROXY6 else ["--interface", next(sources)]
    answers(bench, "403", *source, *args, proxy=proxy)


def wget_refused(bench):
    """wget ends with its code for an error of the server."""
    result = bench.lab.run(bench.lab.client, tool("wget"), "-S", "-O", "/dev/null", "--tries=1", "--timeout=10", f"http://{GATE4}/",
                           env={"http_proxy": PROXY})
    expect(result.code == 8 and " 403 " in result.err, f"exit {result.code}: {result.err[-200:]}")


def added(bench):
    """An address that the box gets while it runs is its own from the next request on, and no longer when it has lost it."""
    late = "198.18.9.9"
    # Nobody has it: there is no route.
    expect(ask(bench, absolute(late)).status in (502, 504), "the address was taken before")
    bench.lab.ip(bench.lab.gate, "addr", "add", f"{late}/32", "dev", "client0")
    try:
        refused(bench, absolute(late), 403, "proxy_loop_detected")
        Count.refused += 1
        refused(bench, connect(late), 403, "proxy_loop_detected")
        Count.refused += 1
    finally:
        bench.lab.ip(bench.lab.gate, "addr", "del", f"{late}/32", "dev", "client0")
    expect(ask(bench, absolute(late)).status in (502, 504), "it still counts after it was taken away")


def remember(bench):
    """Where the counters stood."""
    bench.before = bench.gateway.metrics()
    expect("floodgate_refusals_total" in bench.before, f"families: {sorted(bench.before)[:20]}")


def shown(bench):
    """Each of these refusals is counted once, as what it is."""
    after = bench.gateway.metrics()
    seen = (total(after, "floodgate_refusals_total", reason="self_target", form="answered")
            - total(bench.before, "floodgate_refusals_total", reason="self_target", form="answered"))
    split = {dict(key)["reason"]: value for key, value in after["floodgate_refusals_total"].items() if value}
    expect(seen == Count.refused, f"{seen:.0f} counted as self_target, {Count.refused} seen by clients; all: {split}")
