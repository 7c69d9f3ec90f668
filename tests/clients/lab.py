"""Three hosts on one machine: a client, the gateway and an origin, each in a network namespace.

Owns: the namespaces, the links between them, every process started in them, one working directory.
Called by: `run` and the checks. Never: touches a process or an interface it did not make.

    client 198.18.0.2 ---- 198.18.0.1 gateway 198.18.1.1 ---- 198.18.1.2 origin
           2001:2::2  ---- 2001:2::1          2001:2:0:1::1 - 2001:2:0:1::2

The addresses are those set aside for benchmarks (RFC 2544, RFC 5180). No host forwards packets and none has a
default route, so whatever a client gets from the origin came through the gateway.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

CLIENT4, CLIENT6 = "198.18.0.2", "2001:2::2"
GATE4, GATE6 = "198.18.0.1", "2001:2::1"
GATE4_OUT, GATE6_OUT = "198.18.1.1", "2001:2:0:1::1"
ORIGIN4, ORIGIN6 = "198.18.1.2", "2001:2:0:1::2"
# Every address of this range is the client's too: one check, one client, so that no limit per client is met by accident.
MANY_CLIENTS = "198.18.0.128/25"
# An address that is on no allow-list (RFC 5737).
STRANGER4 = "192.0.2.10"

PROXY_PORT, ADMIN_PORT = 3128, 9128
# What the tests themselves send inside the gateway's namespace leaves from these ports, outside the kernel's range for
# outgoing connections; everything else on its loopback interface was sent by the gateway.
PROBE_PORTS = "20000-20999"

CLONE_NEWNET = 0x40000000


class Failed(Exception):
    """A check did not see what it should; the message says what it saw."""


class Missing(Exception):
    """A check cannot run here; the message says what is missing."""


def expect(condition, seen):
    """Fails the check unless the condition holds."""
    if not condition:
        raise Failed(seen)


def wait_for(what, condition, seconds=20.0):
    """Waits until the condition is true and returns its value; fails the check when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def tool(name):
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def command(*args, timeout=20, **kwargs):
    """Runs a command of our own to its end; an error of it is an error of ours."""
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False, **kwargs)
    if done.returncode != 0:
        raise Failed(f"{' '.join(str(a) for a in args)}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


class Result:
    """What a client said: its exit code, standard output (bytes) and standard error (text)."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def text(self):
        """Standard output as text."""
        return self.out.decode("utf-8", "replace")

    def must(self):
        """The result itself, if the client was content."""
        expect(self.code == 0, f"exit {self.code}: {(self.err.strip() or self.text.strip())[-400:]}")
        return self


class Lab:
    """The namespaces and what runs in them; a context manager that leaves nothing behind."""

    def __init__(self):
        self.suffix = str(os.getpid())
        self.client, self.gate, self.origin = (f"fg-{role}-{self.suffix}" for role in ("client", "gate", "origin"))
        self.dir = None
        self.children = []
        self.closing = threading.Event()

    # -- setting up and clearing away

    def __enter__(self):
        sweep()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="floodgate-clients-"))
        try:
            (self.dir / "home").mkdir()
            self._hosts_files()
            for name in (self.client, self.gate, self.origin):
                command("ip", "netns", "add", name)
                self.ip(name, "link", "set", "lo", "up")
            self._link(self.client, "gate0", [f"{CLIENT4}/24", f"{CLIENT6}/64"],
                       self.gate, "client0", [f"{GATE4}/24", f"{GATE6}/64"])
            self._link(self.gate, "origin0", [f"{GATE4_OUT}/24", f"{GATE6_OUT}/64"],
                       self.origin, "gate0", [f"{ORIGIN4}/24", f"{ORIGIN6}/64"])
            self.ip(self.client, "route", "add", "local", MANY_CLIENTS, "dev", "lo")
            self.ip(self.client, "addr", "add", f"{STRANGER4}/32", "dev", "gate0")
            self.ip(self.gate, "route", "add", f"{STRANGER4}/32", "dev", "client0")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc):
        self.close()

    def close(self):
        """Ends every process in the namespaces by its id, removes the namespaces and the working directory."""
        self.closing.set()
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
        for name in (self.client, self.gate, self.origin):
            remove_namespace(name)
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
        if self.dir is not None:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _hosts_files(self):
        """What each host finds in /etc (`ip netns exec` mounts these over it). The client knows no name at all."""
        for name, hosts in ((self.client, ""), (self.origin, ""), (self.gate, GATE_HOSTS)):
            folder = pathlib.Path("/etc/netns") / name
            folder.mkdir(parents=True)
            (folder / "hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n" + hosts)
            (folder / "resolv.conf").write_text(f"nameserver {ORIGIN4}\noptions timeout:2 attempts:2\n")

    def _link(self, left, left_port, left_addresses, right, right_port, right_addresses):
        command("ip", "link", "add", left_port, "netns", left, "type", "veth", "peer", "name", right_port, "netns", right)
        for name, port, addresses in ((left, left_port, left_addresses), (right, right_port, right_addresses)):
            for address in addresses:
                # Duplicate address detection would keep an IPv6 address unusable for a second.
                self.ip(name, "addr", "add", address, "dev", port, *(["nodad"] if ":" in address else []))
            self.ip(name, "link", "set", port, "up")

    # -- doing things in a namespace

    def ip(self, namespace, *args):
        """`ip` inside a namespace."""
        return command("ip", "-n", namespace, *args)

    def start(self, namespace, args, log, **kwargs):
        """Starts a process in a namespace; it is ended with the lab. `ip netns exec` becomes the program: same pid."""
        with open(log, "ab") as sink:
            child = subprocess.Popen(["ip", "netns", "exec", namespace, *map(str, args)], stdin=subprocess.DEVNULL,
                                     stdout=sink, stderr=subprocess.STDOUT, env=self.environment(), cwd=self.dir, **kwargs)
        self.children.append(child)
        return child

    def run(self, namespace, *args, timeout=30, env=None, cwd=None):
        """Runs a program in a namespace to its end, with its children, and returns what it said."""
        child = subprocess.Popen(["ip", "netns", "exec", namespace, *map(str, args)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(env),
                                 cwd=cwd or self.dir, start_new_session=True)
        try:
            out, err = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            raise Failed(f"{args[0]} did not end within {timeout} s: {err.decode('utf-8', 'replace')[-300:]}") from None
        return Result(child.returncode, out, err.decode("utf-8", "replace"))

    def environment(self, extra=None):
        """What a program sees of the world: a new home, and none of the proxies and mirrors of whoever runs the tests."""
        return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "HOME": str(self.dir / "home"),
                "TMPDIR": str(self.dir), "LANG": "C.UTF-8", **(extra or {})}

    def socket(self, namespace, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        """A socket that lives in a namespace, for the clients that no program plays (exact bytes on the wire)."""
        made = []
        # setns moves one thread only, so a thread of its own makes the socket and dies in there.
        def make():
            with open(f"/run/netns/{namespace}", "rb") as target:
                if ctypes.CDLL(None, use_errno=True).setns(target.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket(family, kind))
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        expect(made, f"setns to {namespace} was refused")
        made[0].settimeout(20)
        return made[0]

    def serve(self, work):
        """Runs a small server of our own in a thread; it must end soon after `closing` is set."""
        threading.Thread(target=work, daemon=True).start()


# Names of the gateway's /etc/hosts; those of its name server stand in `origin.py`.
GATE_HOSTS = f"{ORIGIN4} hosts-file.test\n{GATE4_OUT} own-name.test\n"


def remove_namespace(name):
    """Ends what still runs in a namespace of ours, and removes it and its files in /etc."""
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)
    # `ip` made none of it, but an empty folder is a trace too.
    with contextlib.suppress(OSError):
        os.rmdir("/etc/netns")


def sweep():
    """Removes the namespaces of earlier runs that were killed before they could."""
    for entry in [*pathlib.Path("/run/netns").glob("fg-*-*"), *pathlib.Path("/etc/netns").glob("fg-*-*")]:
        role, _, pid = entry.name.removeprefix("fg-").partition("-")
        if role in ("client", "gate", "origin") and pid.isdigit() and not pathlib.Path(f"/proc/{pid}").exists():
            remove_namespace(entry.name)
