"""The origin's side: what it serves, to whom it says who it is, and the name server that knows it.

Owns: the files under `www`, the certificates, nginx, the DNS answers, and two servers that do what nginx does not.
Called by: `run`, once. Never: speaks to the gateway's own address.
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import socket
import struct
import tarfile
import threading
import zipfile

from lab import GATE4, ORIGIN4, ORIGIN6, command, tool, wait_for

BIG_SIZE = 20 * 1024 * 1024
SLOW_SIZE = 4 * 1024 * 1024
# Switches protocols, and waits for the end of what it is told; IPv4 only.
UPGRADE_PORT, PATIENT_PORT = 8090, 8443

# What the name server says. `rebind.test` is what an attacker's name server says of his own name.
NAMES = {
    "origin.test": [ORIGIN4, ORIGIN6],
    "www.origin.test": [ORIGIN4],
    "six.origin.test": [ORIGIN6],
    "rebind.test": ["127.0.0.1"],
    "rebind-own.test": [GATE4],
}

NGINX = """
# One server in a namespace of its own: root only so that it can read the files of a test started by root.
user root;
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx-error.log;
events {{ worker_connections 2048; }}
http {{
    access_log {dir}/nginx-access.log;
    client_body_temp_path {dir}/nginx-body;
    proxy_temp_path {dir}/nginx-proxy;
    fastcgi_temp_path {dir}/nginx-fastcgi;
    uwsgi_temp_path {dir}/nginx-uwsgi;
    scgi_temp_path {dir}/nginx-scgi;
    types {{ text/html html; text/javascript js; text/css css; application/json json; text/plain txt; }}
    default_type application/octet-stream;
    client_max_body_size 64m;
    keepalive_requests 10000;
    ssl_certificate {dir}/server.pem;
    ssl_certificate_key {dir}/server.key;
    server {{
        listen {v4}:80; listen [{v6}]:80; listen {v4}:443 ssl; listen [{v6}]:443 ssl;
        server_name origin.test www.origin.test six.origin.test hosts-file.test;
        root {dir}/www;
        location /upload/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
        location /slow/ {{ limit_rate 512k; }}
        location /compressed/ {{ gzip on; gzip_proxied any; gzip_types *; gzip_min_length 1; }}
        location /npm/ {{ default_type application/json; }}
        location = /moved {{ return 302 $scheme://www.origin.test/hello.txt; }}
        location = /seen {{
            return 200 "$request_method $request_uri $server_protocol\\nhost=$http_host\\nvia=$http_via\\nproxy-connection=$http_proxy_connection\\nproxy-authorization=$http_proxy_authorization\\nconnection-named=$http_x_named\\ncookie=$http_cookie\\nfrom=$remote_addr\\n";
        }}
    }}
}}
"""

PAGE = """<!doctype html><html><head><title>floodgate</title><link rel="stylesheet" href="/style.css">
<script src="/app.js"></script></head><body><p id="said">nothing</p>{images}</body></html>
"""
# The page changes itself only after a script was loaded and another answer was fetched by it.
SCRIPT = """const asked = new XMLHttpRequest(); asked.open("GET", "/word.json", false); asked.send();
addEventListener("load", () => { document.getElementById("said").textContent =
  "page says " + JSON.parse(asked.responseText).word + " " + [...document.images].filter(i => i.naturalWidth == 1).length; });
"""
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
IMAGES = 12


class Origin:
    """The origin and what there is to be fetched from it."""

    def __init__(self, lab):
        self.lab = lab
        self.www = lab.dir / "www"
        self.ca = lab.dir / "ca.pem"
        self.big = os.urandom(BIG_SIZE)
        self.commit = ""

    def start(self):
        """Makes the content, then starts the servers and waits until they listen."""
        self.www.mkdir()
        self._files()
        self._certificates()
        self._repository()
        self._wheel()
        self._package()
        self.lab.serve(self._names(socket.AF_INET, ORIGIN4))
        self.lab.serve(self._listen(UPGRADE_PORT, self._switch))
        self.lab.serve(self._listen(PATIENT_PORT, self._patient))
        conf = self.lab.dir / "nginx.conf"
        conf.write_text(NGINX.format(dir=self.lab.dir, v4=ORIGIN4, v6=ORIGIN6))
        nginx = self.lab.start(self.lab.origin, [tool("nginx"), "-c", conf, "-e", self.lab.dir / "nginx-error.log"],
                               self.lab.dir / "nginx-start.log")
        wait_for(f"nginx, whose log says: {(self.lab.dir / 'nginx-start.log').read_text()[-300:]}",
                 lambda: nginx.poll() is None and self._listens())

    def _listens(self):
        with self.lab.socket(self.lab.origin) as probe:
            return probe.connect_ex((ORIGIN4, 443)) == 0

    def _files(self):
        for folder in ("upload", "slow", "compressed", "images"):
            (self.www / folder).mkdir()
        (self.www / "hello.txt").write_text("hello from the origin\n")
        (self.www / "big.bin").write_bytes(self.big)
        (self.www / "slow" / "slow.bin").write_bytes(self.big[:SLOW_SIZE])
        (self.www / "compressed" / "text.txt").write_text("".join(f"line {n}\n" for n in range(50_000)))
        for n in range(200):
            (self.www / f"many-{n}.txt").write_text(f"file {n}\n")
        images = "".join(f'<img src="/images/{n}.gif">' for n in range(IMAGES))
        (self.www / "page.html").write_text(PAGE.format(images=images))
        (self.www / "app.js").write_text(SCRIPT)
        (self.www / "style.css").write_text("p { color: green }\n")
        (self.www / "word.json").write_text('{"word": "open"}')
        for n in range(IMAGES):
            (self.www / "images" / f"{n}.gif").write_bytes(PIXEL)

    def _certificates(self):
        """A certificate authority for this run, and a certificate of it for the origin's names."""
        where, names = self.lab.dir, ",".join(f"DNS:{n}" for n in (*NAMES, "hosts-file.test"))
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command("openssl", "req", "-x509", *key, "-keyout", where / "ca.key", "-out", self.ca, "-days", "2",
                "-subj", "/CN=floodgate test authority", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        command("openssl", "req", *key, "-keyout", where / "server.key", "-out", where / "server.csr",
                "-subj", "/CN=origin.test")
        (where / "server.ext").write_text(
            f"subjectAltName={names},IP:{ORIGIN4}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
            "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
        command("openssl", "x509", "-req", "-in", where / "server.csr", "-CA", self.ca, "-CAkey", where / "ca.key",
                "-CAcreateserial", "-out", where / "server.pem", "-days", "2", "-extfile", where / "server.ext")

    def _repository(self):
        """A bare repository that plain files serve (git's dumb protocol): many requests, one after another."""
        work, bare = self.lab.dir / "work-tree", self.www / "repo.git"
        env = {**self.lab.environment(), "GIT_CONFIG_NOSYSTEM": "1"}
        who = ["-c", "user.name=floodgate", "-c", "user.email=floodgate@origin.test"]
        command("git", "init", "-q", "-b", "main", work, env=env)
        for n in range(20):
            (work / f"file-{n}.txt").write_text(f"content {n}\n" * 100)
            command("git", "-C", work, "add", "-A", env=env)
            command("git", "-C", work, *who, "commit", "-q", "-m", f"Change {n}", env=env)
        self.commit = command("git", "-C", work, "rev-parse", "HEAD", env=env).strip()
        command("git", "clone", "-q", "--bare", work, bare, env=env)
        command("git", "-C", bare, "update-server-info", env=env)

    def _wheel(self):
        """A Python package of one file, and the index page that lists it (PEP 503)."""
        name, info = "fg_probe-1.0-py3-none-any.whl", "fg_probe-1.0.dist-info"
        files = {"fg_probe.py": 'WORD = "installed through the gateway"\n',
                 f"{info}/METADATA": "Metadata-Version: 2.1\nName: fg-probe\nVersion: 1.0\n",
                 f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: floodgate\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
        files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        folder = self.www / "simple" / "fg-probe"
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / name, "w") as wheel:
            for path, text in files.items():
                wheel.writestr(path, text)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "index.html").write_text(f'<!doctype html><html><body><a href="{name}#sha256={digest}">{name}</a></body></html>')

    def _package(self):
        """A JavaScript package of one file, and the document that describes it."""
        manifest = {"name": "fg-probe", "version": "1.0.0", "main": "index.js", "license": "MIT"}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for path, text in (("package.json", json.dumps(manifest)), ("index.js", 'module.exports = "through the gateway";\n')):
                entry = tarfile.TarInfo(f"package/{path}")
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
        for scheme in ("http", "https"):
            folder = self.www / "npm" / scheme
            (folder / "tarballs").mkdir(parents=True)
            (folder / "tarballs" / "fg-probe-1.0.0.tgz").write_bytes(packed.getvalue())
            dist = {"tarball": f"{scheme}://origin.test/npm/{scheme}/tarballs/fg-probe-1.0.0.tgz",
                    "shasum": hashlib.sha1(packed.getvalue()).hexdigest(),
                    "integrity": "sha512-" + base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()}
            (folder / "fg-probe").write_text(json.dumps({
                "name": "fg-probe", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {**manifest, "dist": dist}}}))

    # -- the two servers that no Debian package is needed for

    def _names(self, family, address):
        """A name server: A and AAAA of `NAMES`, NXDOMAIN for every other name (RFC 1035)."""
        udp = self.lab.socket(self.lab.origin, family, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        udp.settimeout(0.5)

        def answer(query):
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
                at += 1 + query[at]
            question, (kind,) = query[12:at + 5], struct.unpack("!H", query[at + 1:at + 3])
            known = NAMES.get(".".join(labels))
            wanted = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
            records = b""
            count = 0
            for address in known or []:
                if wanted is not None and (":" in address) == (wanted == socket.AF_INET6):
                    raw = socket.inet_pton(wanted, address)
                    records += struct.pack("!HHHIH", 0xC00C, kind, 1, 1, len(raw)) + raw
                    count += 1
            flags = 0x8580 if known is not None else 0x8583
            return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + question + records

        def work():
            while not self.lab.closing.is_set():
                try:
                    query, peer = udp.recvfrom(4096)
                    udp.sendto(answer(query), peer)
                except (TimeoutError, IndexError, struct.error, OSError):
                    continue
        return work

    def _listen(self, port, talk):
        """A server with a thread for each connection."""
        door = self.lab.socket(self.lab.origin)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((ORIGIN4, port))
        door.listen(8)
        door.settimeout(0.5)

        def guarded(peer):
            with peer, contextlib.suppress(OSError):
                peer.settimeout(20)
                talk(peer)

        def work():
            while not self.lab.closing.is_set():
                try:
                    peer, _ = door.accept()
                except (TimeoutError, OSError):
                    continue
                threading.Thread(target=guarded, args=(peer,), daemon=True).start()
        return work

    @staticmethod
    def _switch(peer):
        """Answers 101 and then says everything it hears in capitals (RFC 9110 section 7.8)."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = peer.recv(4096)
            if not piece:
                return
            head += piece
        if b"\r\nupgrade: shout\r\n" not in head.lower():
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n")
        while piece := peer.recv(4096):
            peer.sendall(piece.upper())

    def _patient(self, peer):
        """Says how much it heard, and then a lot, once the other side has ended (nginx would take that for a vanished client)."""
        heard = 0
        while piece := peer.recv(65536):
            heard += len(piece)
        peer.sendall(b"%d\n" % heard + self.big)
