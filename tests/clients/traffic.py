"""Checks: real programs fetch, upload, clone and install through the gateway.

Each check is one program doing one thing that people do. `everything(bench)` yields them in order.
"""

import gzip
import hashlib
import itertools
import pathlib
import sys

from lab import CLIENT4, GATE4, GATE6, ORIGIN4, ORIGIN6, PROXY_PORT, STRANGER4, Missing, expect, tool
from origin import BIG_SIZE, IMAGES, PATIENT_PORT, UPGRADE_PORT
from raw import Raw

PROXY = f"http://{GATE4}:{PROXY_PORT}"
PROXY6 = f"http://[{GATE6}]:{PROXY_PORT}"
HELLO = "hello from the origin\n"


def curl(bench, *args, proxy=PROXY, timeout=40):
    """curl on the client, through the gateway."""
    how = ["-x", proxy] if proxy else []
    return bench.lab.run(bench.lab.client, tool("curl"), "-sS", "-m", timeout - 5, "--cacert", bench.origin.ca, *how,
                         *args, timeout=timeout)


def status(bench, *args, **kwargs):
    """The status curl saw, of the proxy or of the origin: `000` when there was none."""
    result = curl(bench, "-o", "/dev/null", "-w", "%{http_code} %{http_connect}", *args, **kwargs)
    code, connect = result.text.split()
    return code if code != "000" else connect


def says(bench, text, *args, **kwargs):
    """Expects curl to be content and to print this text."""
    seen = curl(bench, *args, **kwargs).must().text
    expect(seen == text, f"body {seen[:200]!r}")


def answers(bench, wanted, *args, **kwargs):
    """Expects this status."""
    seen = status(bench, *args, **kwargs)
    expect(seen == wanted, f"status {seen}, not {wanted}")


def same_bytes(seen, wanted):
    """Expects the same bytes, compared by digest."""
    mine, theirs = (hashlib.sha256(data).hexdigest() for data in (seen, wanted))
    expect(mine == theirs, f"{len(seen)} bytes with sha256 {mine[:16]}…, not {len(wanted)} with {theirs[:16]}…")


# -- curl

def curl_checks():
    """Yields (name, function)."""
    yield "the client has no other way", lambda b: expect(
        curl(b, "--connect-timeout", "2", f"http://{ORIGIN4}/hello.txt", proxy=None).code == 7, "it reached the origin without a proxy")
    yield "curl http", lambda b: says(b, HELLO, "http://origin.test/hello.txt")
    yield "curl http, name of /etc/hosts", lambda b: says(b, HELLO, "http://hosts-file.test/hello.txt")
    yield "curl http, IPv4 literal", lambda b: says(b, HELLO, f"http://{ORIGIN4}/hello.txt")
    yield "curl http, IPv6 literal", lambda b: says(b, HELLO, f"http://[{ORIGIN6}]/hello.txt")
    yield "curl http, name with IPv6 only", lambda b: says(b, HELLO, "http://six.origin.test/hello.txt")
    yield "curl http, gateway over IPv6", lambda b: says(b, HELLO, "http://origin.test/hello.txt", proxy=PROXY6)
    yield "curl https", lambda b: says(b, HELLO, "https://origin.test/hello.txt")
    yield "curl https, gateway over IPv6", lambda b: says(b, HELLO, "https://origin.test/hello.txt", proxy=PROXY6)
    yield "curl https, HTTP/1.0 CONNECT", lambda b: says(
        b, HELLO, "--proxy1.0", f"{GATE4}:{PROXY_PORT}", "https://origin.test/hello.txt", proxy=None)
    yield "curl http in a tunnel", lambda b: says(b, HELLO, "-p", "http://origin.test/hello.txt")
    yield "curl https, IPv6 literal in CONNECT", lambda b: says(
        b, HELLO, "-k", f"https://[{ORIGIN6}]/hello.txt")
    yield "curl http/1.0", lambda b: says(b, HELLO, "--http1.0", "http://origin.test/hello.txt")
    yield "curl follows from http to http", lambda b: says(b, HELLO, "-L", "http://origin.test/moved")
    yield "curl HEAD", head
    yield "curl range", ranges
    yield "curl 304", not_modified
    yield "curl 404 of the origin", lambda b: answers(b, "404", "http://origin.test/nothing-here")
    yield "curl compressed, chunked", compressed
    yield "curl keeps the connection", keeps
    yield "curl 200 files, 50 at once", parallel
    yield "curl fields that end at the proxy", fields
    for scheme in ("http", "https"):
        yield f"curl PUT {scheme}", lambda b, s=scheme: put(b, s)
        yield f"curl PUT {scheme}, chunked, no length", lambda b, s=scheme: put(b, s, "-H", "Transfer-Encoding: chunked", "-H", "Content-Length:")
        yield f"curl 20 MB {scheme}", lambda b, s=scheme: same_bytes(curl(b, f"{s}://origin.test/big.bin").must().out, b.origin.big)
    yield "curl 20 MB http, slow reader", lambda b: same_bytes(
        curl(b, "--limit-rate", "8M", "http://origin.test/big.bin").must().out, b.origin.big)
    yield "upgrade to another protocol", upgrade
    yield "tunnel, client half-closes", half_close


def head(bench):
    """A HEAD answer has a length and no body; the connection goes on."""
    seen = curl(bench, "-I", "http://origin.test/hello.txt", "http://origin.test/big.bin").must().text.lower()
    expect(seen.count("200 ok") == 2 and f"content-length: {BIG_SIZE}" in seen, seen[:300])


def ranges(bench):
    """A part of a file, and only that part."""
    seen = curl(bench, "-r", "1000-1999", "-w", "%{http_code}", "http://origin.test/big.bin").must().out
    expect(seen == bench.origin.big[1000:2000] + b"206", f"{len(seen)} bytes ending {seen[-3:]!r}")


def not_modified(bench):
    """304 has a Content-Length of something that does not come."""
    kept = bench.lab.dir / "kept.txt"
    curl(bench, "-R", "-o", kept, "http://origin.test/hello.txt").must()
    seen = curl(bench, "-z", kept, "-o", "/dev/null", "-w", "%{http_code} ", "http://origin.test/hello.txt",
                "-o", "/dev/null", "http://origin.test/hello.txt").must().text.split()
    expect(seen == ["304", "304"] or seen == ["304", "200"], f"statuses {seen}")


def compressed(bench):
    """nginx sends what it compresses on the fly in chunks; curl unpacks it."""
    wanted = (bench.origin.www / "compressed" / "text.txt").read_bytes()
    same_bytes(curl(bench, "--compressed", "http://origin.test/compressed/text.txt").must().out, wanted)
    packed = curl(bench, "-H", "Accept-Encoding: gzip", "-D", bench.lab.dir / "heads", "http://origin.test/compressed/text.txt").must().out
    heads = (bench.lab.dir / "heads").read_text().lower()
    expect("transfer-encoding: chunked" in heads, heads[:300])
    same_bytes(gzip.decompress(packed), wanted)


def keeps(bench):
    """Five requests of one client are one connection to the gateway."""
    urls = itertools.chain.from_iterable((["-o", "/dev/null", f"http://origin.test/many-{n}.txt"]) for n in range(5))
    seen = curl(bench, "-w", "%{num_connects}", *urls).must().text
    expect(seen == "10000", f"connections per request {seen}")


def parallel(bench):
    """Many connections at once, each answer its own."""
    into = bench.lab.dir / "many"
    into.mkdir()
    curl(bench, "-Z", "--parallel-max", "50", "--parallel-immediate", "--output-dir", into, "-O", "http://origin.test/many-[0-199].txt").must()
    wrong = [n for n in range(200) if (into / f"many-{n}.txt").read_text() != f"file {n}\n"]
    expect(not wrong, f"wrong answers for {wrong[:10]}")


def fields(bench):
    """What belongs to one hop stays there; Host is the target's; the rest passes (RFC 9110 sections 7.6.1 to 7.6.3)."""
    seen = curl(bench, "-H", "X-Named: secret", "-H", "Connection: x-named, keep-alive", "-H", "Host: somewhere.else.test",
                "-H", "Proxy-Connection: keep-alive", "-H", "Proxy-Authorization: Basic Zm9v", "-H", "Cookie: a=b; c",
                "http://origin.test/seen?a=b%20c&d=/../").must().text
    lines = dict(line.partition("=")[::2] for line in seen.splitlines()[1:])
    expect(seen.startswith("GET /seen?a=b%20c&d=/../ HTTP/1.1\n"), seen)
    expect(lines["host"] == "origin.test", seen)
    expect(not lines["connection-named"] and not lines["proxy-connection"] and not lines["proxy-authorization"], seen)
    expect(lines["cookie"] == "a=b; c" and lines["via"].startswith("1.1 "), seen)


def put(bench, scheme, *args):
    """An upload of 3 MB (curl asks first: `Expect: 100-continue`) arrives byte by byte."""
    name, body = f"put-{scheme}-{len(args)}.bin", bench.origin.big[:3 * 1024 * 1024]
    (bench.lab.dir / name).write_bytes(body)
    curl(bench, "--fail", *args, "-T", bench.lab.dir / name, f"{scheme}://origin.test/upload/{name}").must()
    same_bytes((bench.origin.www / "upload" / name).read_bytes(), body)


def upgrade(bench):
    """After 101 the connection belongs to the other protocol, both ways."""
    with Raw(bench.lab, CLIENT4) as raw:
        raw.send(f"GET http://{ORIGIN4}:{UPGRADE_PORT}/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
        answer = raw.head()
        expect(answer.status == 101, f"status {answer.status}")
        raw.send("over ")
        expect(raw.exactly(5) == b"OVER ", "the first bytes did not come back")
        raw.send("and out")
        raw.half_close()
        rest = raw.rest()
        expect(rest == b"AND OUT", f"then {rest!r}")


def half_close(bench):
    """A client that has said all it has to say still gets the answer."""
    with Raw(bench.lab, CLIENT4) as raw:
        raw.send(f"CONNECT origin.test:{PATIENT_PORT} HTTP/1.1\r\nHost: origin.test:{PATIENT_PORT}\r\n\r\n")
        expect(raw.head().status == 200, "no tunnel")
        raw.send(bench.origin.big[:300_000])
        raw.half_close()
        heard, _, answer = raw.rest().partition(b"\n")
        expect(heard == b"300000", f"the origin heard {heard[:20]!r} bytes")
        same_bytes(answer, bench.origin.big)


# -- other programs

def wget(bench, scheme):
    """wget, which speaks to a proxy in its own way."""
    into = bench.lab.dir / f"wget-{scheme}.bin"
    bench.lab.run(bench.lab.client, tool("wget"), "-q", "-O", into, "--tries=1", "--timeout=20", f"--ca-certificate={bench.origin.ca}",
                  f"{scheme}://origin.test/big.bin", env={"http_proxy": PROXY, "https_proxy": PROXY}, timeout=60).must()
    same_bytes(into.read_bytes(), bench.origin.big)


def git(bench, scheme):
    """git clones a repository."""
    into = bench.lab.dir / f"clone-{scheme}"
    env = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    bench.lab.run(bench.lab.client, tool("git"), "-c", f"http.proxy={PROXY}", "-c", f"http.sslCAInfo={bench.origin.ca}",
                  "clone", "-q", f"{scheme}://origin.test/repo.git", into, env=env, timeout=60).must()
    seen = bench.lab.run(bench.lab.client, tool("git"), "-C", into, "rev-parse", "HEAD", env=env).must().text.strip()
    expect(seen == bench.origin.commit, f"HEAD is {seen}")
    bench.lab.run(bench.lab.client, tool("git"), "-C", into, "fsck", "--strict", env=env).must()


def python_with_pip(bench):
    """An interpreter that has pip."""
    for python in (sys.executable, "/usr/bin/python3"):
        if pathlib.Path(python).exists() and bench.lab.run(bench.lab.client, python, "-m", "pip", "--version").code == 0:
            return python
    raise Missing("pip is not installed")


def pip(bench, scheme, what):
    """pip reads an index and fetches from it; installed, the package can be imported."""
    python, into = python_with_pip(bench), bench.lab.dir / f"pip-{what}-{scheme}"
    target = ["--dest", into] if what == "download" else ["--target", into]
    bench.lab.run(bench.lab.client, python, "-m", "pip", "--isolated", "--disable-pip-version-check", what, "-q", "--no-deps", "--no-cache-dir",
                  "--retries", "0", "--timeout", "20", "--proxy", PROXY, "--cert", bench.origin.ca, "--index-url", f"{scheme}://origin.test/simple/",
                  *(["--trusted-host", "origin.test"] if scheme == "http" else []), *target, "fg-probe==1.0", timeout=90).must()
    if what == "download":
        expect((into / "fg_probe-1.0-py3-none-any.whl").exists(), f"it left {[p.name for p in into.iterdir()]}")
    else:
        seen = bench.lab.run(bench.lab.client, python, "-c", "import fg_probe; print(fg_probe.WORD)", env={"PYTHONPATH": str(into)}).must().text
        expect(seen == "installed through the gateway\n", seen)


def npm(bench, scheme, what):
    """npm reads a package's description; `pack` fetches it, `install` unpacks it too."""
    into = bench.lab.dir / f"npm-{what}-{scheme}"
    into.mkdir()
    env = {f"npm_config_{key}": str(value) for key, value in {
        "registry": f"{scheme}://origin.test/npm/{scheme}/", "proxy": PROXY, "https_proxy": PROXY, "noproxy": "", "cafile": bench.origin.ca,
        "cache": into / "cache", "globalconfig": into / "global-npmrc", "userconfig": into / "npmrc", "update_notifier": "false", "audit": "false",
        "fund": "false", "fetch_retries": 0, "fetch_timeout": 20000, "loglevel": "error"}.items()}
    args = {"view": ["fg-probe", "version"], "pack": ["fg-probe"], "install": ["--prefix", into, "fg-probe"]}[what]
    seen = bench.lab.run(bench.lab.client, tool("npm"), what, *args, env=env, cwd=into, timeout=90).must().text
    if what == "view":
        expect(seen.strip().strip("'") == "1.0.0", seen)
    elif what == "pack":
        expect((into / "fg-probe-1.0.0.tgz").exists(), seen)
    else:
        expect("through the gateway" in (into / "node_modules/fg-probe/index.js").read_text(), seen)


def chromium(bench, scheme):
    """A browser loads a page with a style sheet, a script, a request of the script's and images, and the script has run."""
    profile = bench.lab.dir / f"chromium-{scheme}"
    seen = bench.lab.run(
        bench.lab.client, tool("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
        f"--user-data-dir={profile}", f"--proxy-server={PROXY}", "--ignore-certificate-errors", "--dump-dom",
        f"{scheme}://origin.test/page.html", timeout=90).must().text
    expect(f"page says open {IMAGES}" in seen, f"the page reads {seen[-300:]!r}")


def program_checks():
    """Yields (name, function)."""
    for scheme in ("http", "https"):
        yield f"wget {scheme}", lambda b, s=scheme: wget(b, s)
        yield f"git clone {scheme}", lambda b, s=scheme: git(b, s)
        for what in ("download", "install"):
            yield f"pip {what} {scheme}", lambda b, s=scheme, w=what: pip(b, s, w)
        for what in ("view", "pack", "install"):
            yield f"npm {what} {scheme}", lambda b, s=scheme, w=what: npm(b, s, w)
        yield f"chromium {scheme}", lambda b, s=scheme: chromium(b, s)


# -- what the gateway says by itself

def refusal_checks():
    """Yields (name, function)."""
    yield "name that does not exist: 502", lambda b: answers(b, "502", "http://no-such-name.test/")
    yield "name that does not exist, CONNECT: 502", lambda b: answers(b, "502", "https://no-such-name.test/")
    yield "origin refuses: 502", lambda b: answers(b, "502", "http://origin.test:8081/")
    yield "origin refuses, CONNECT: 502", lambda b: answers(b, "502", f"https://six.origin.test:{PATIENT_PORT}/")
    yield "port for nobody: 403", lambda b: answers(b, "403", "http://origin.test:25/")
    yield "port for nobody, CONNECT: 403", lambda b: answers(b, "403", "https://origin.test:22/")
    for host in ("192.168.7.7", "10.1.2.3", "172.16.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "[fe80::1]", "[fd00::1]", "[ff02::1]"):
        yield f"destination {host}: 403", lambda b, h=host: answers(b, "403", f"http://{h}/")
    yield "TRACE: 405", lambda b: answers(b, "405", "-X", "TRACE", "http://origin.test/hello.txt")
    yield "stranger: closed unanswered", stranger


def stranger(bench):
    """A client that is on no list gets no byte; closed at once, to curl it may look as if it had not been connected."""
    result = curl(bench, "--interface", STRANGER4, "-o", "/dev/null", "-w", "%{http_code}", "http://origin.test/hello.txt")
    expect(result.code in (7, 52, 56) and result.text == "000", f"exit {result.code}, status {result.text}")


def everything(_bench):
    """Every check of this file, in order."""
    yield from curl_checks()
    yield from program_checks()
    yield from refusal_checks()
