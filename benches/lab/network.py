"""Three hosts on two cores: clients, the gateway and an origin, each in a network namespace.

Owns: the namespaces, the links, which core works for which host, and every process started in them.
Called by: `lab.py`, `storm.py`. Never: touches a process or an interface it did not make.

    clients 198.18.1.1 … 198.18.1.250 ---- 198.18.0.1 gateway 198.19.0.1 ---- 198.19.0.2 origin
    core 1                                 core 0                             core 1

The addresses are those set aside for benchmarks (RFC 2544, RFC 5180). No host forwards packets and none has a default route. Behind
the clients' router lie further networks: FAR and FAR6, any address of which the clients' host can have, and NOBODY,
where nobody answers. Nobody answers for SILENT either, which lies beside the origin.
"""

import contextlib
import functools
import ipaddress
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

GATEWAY = "198.18.0.1"
GATEWAY_OUT = "198.19.0.1"
ORIGIN = "198.19.0.2"
SILENT = "198.19.0.3"
# Where nothing listens.
CLOSED_PORT = 8081
# The clients' router; no client has its address, since routers are never fenced.
ROUTER = "198.18.0.254"
FAR, NOBODY = "198.18.128.0/17", "198.18.64.0/18"
GATEWAY6, CLIENTS6, FAR6 = "2001:2:0:1::1", "2001:2:0:1::2", "2001:2:0:8000::/49"
PORT = 3128
GATEWAY_CORE, OTHER_CORE = 0, 1
MARK = f"fglab{os.getpid()}"
ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# What a kernel with 2 GB chooses for itself (a hash table of 16,384 connections, and what is derived from it), and what
# the operator of a proxy sets. All of them belong to a namespace. `tcp_mem` and `tcp_max_orphans` do not, and stay as they
# are; `tcp_rmem` and `tcp_wmem` are the same with 2 GB as with more.
SYSCTLS = {
    "net/ipv4/tcp_max_tw_buckets": "8192",
    "net/ipv4/tcp_max_syn_backlog": "128",
    "net/ipv4/ip_local_port_range": "1024 65535",
    "net/ipv4/tcp_tw_reuse": "1",
    "net/core/somaxconn": "4096",
    # Router solicitations and the like are load that nobody asked for.
    "net/ipv6/conf/default/router_solicitations": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/accept_dad": "0",
}

# The kernel's own default. The machine may have another, which a namespace inherits and may not change; a route can.
CONGESTION_CONTROL = "congctl cubic"


# Asking for the state of a connection is what makes the kernel follow connections in a namespace, as a gateway's does.
FOLLOW = "table inet lab { chain pass { type filter hook prerouting priority 0; ct state established accept; }; }"
FOLLOWED = re.compile(r"^ipv[46] +\d+ tcp +6 +\d+ +(\w+) +src=([\d.a-f:]+) ", re.MULTILINE)


class Failed(Exception):
    """The lab itself does not work; the message says why."""


def sources(count):
    """The first addresses of the clients."""
    return [f"198.18.1.{n}" for n in range(1, count + 1)]


def command(*args, **kwargs):
    """Runs a command of our own to its end."""
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=30, check=False, **kwargs)
    if done.returncode != 0:
        raise Failed(f"{' '.join(str(a) for a in args)}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def far(count):
    """So many addresses from behind the clients' router."""
    return [f"198.18.{128 + n // 250}.{1 + n % 250}" for n in range(count)]


def far6(count, net):
    """So many addresses of one /64 of IPv6."""
    return [f"2001:2:0:80{net:02x}::{n:x}" for n in range(1, count + 1)]


class Network:
    """The namespaces and what runs in them; a context manager that leaves nothing behind."""

    numbers = itertools.count()

    def __init__(self):
        number = next(self.numbers)
        self.clients, self.gateway, self.origin = (f"{MARK}-{number}{host}" for host in "cgo")
        self.processes = []

    def __enter__(self):
        try:
            for name in (self.clients, self.gateway, self.origin):
                command("ip", "netns", "add", name)
                self._inside(name, "\n".join(f"echo '{value}' > /proc/sys/{key}" for key, value in SYSCTLS.items()))
                command("ip", "-n", name, "link", "set", "lo", "up")
            self._link("198.18.0.0/16", self.clients, "c0", sources(250), "g0", GATEWAY)
            self._link("198.19.0.0/16", self.origin, "o0", [ORIGIN], "g1", GATEWAY_OUT)
            self._extend()
            self._steer()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc):
        self.close()

    def _link(self, prefix, host, device, addresses, other, gateway_address):
        command("ip", "-n", host, "link", "add", device, "type", "veth", "peer", "name", other, "netns", self.gateway)
        for name, link, given in ((host, device, addresses), (self.gateway, other, [gateway_address])):
            lines = [f"address add {address}/32 dev {link}" for address in given]
            lines += [f"link set {link} up", f"route add {prefix} dev {link} src {given[0]} {CONGESTION_CONTROL}"]
            command("ip", "-n", name, "-batch", "-", input="\n".join(lines))

    def _extend(self):
        """The networks behind the clients' router, the link in IPv6, and the silent neighbour."""
        self._inside(self.clients, "echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind")
        for name, lines in (
            (self.clients, [f"address add {ROUTER}/32 dev c0", f"-6 address add {CLIENTS6}/64 dev c0 nodad", f"route add local {FAR} dev lo",
                            f"-6 route add local {FAR6} dev lo"]),
            (self.gateway, [f"-6 address add {GATEWAY6}/64 dev g0 nodad",
                            *(f"route add {net} via {ROUTER} dev g0 {CONGESTION_CONTROL}" for net in (FAR, NOBODY)),
                            f"-6 route add {FAR6} via {CLIENTS6} dev g0 {CONGESTION_CONTROL}",
                            f"neigh add {SILENT} lladdr 02:00:00:00:00:03 nud permanent dev g1"]),
        ):
            for line in lines:
                command("ip", "-n", name, *line.split())

    def rules(self, text):
        """Loads nftables' rules on the gateway's host."""
        command("ip", "netns", "exec", self.gateway, "nft", "-f", "-", input=text)

    def _inside(self, name, script):
        return command("ip", "netns", "exec", name, "sh", "-euc", script)

    def _steer(self):
        """Receive packet steering: the kernel's work for a packet is done by the core of the host it arrives at, not by
        that of the host that sent it (Documentation/networking/scaling.rst of the kernel). `ip netns exec` mounts the /sys
        of the namespace."""
        devices = (
            (self.clients, "c0", OTHER_CORE), (self.origin, "o0", OTHER_CORE),
            (self.gateway, "g0", GATEWAY_CORE), (self.gateway, "g1", GATEWAY_CORE),
        )
        for name, device, core in devices:
            file = f"/sys/class/net/{device}/queues/rx-0/rps_cpus"
            mask = f"{1 << core:x}"
            with contextlib.suppress(ValueError):
                if int(self._inside(name, f"echo {mask} > {file}; cat {file}").strip().replace(",", ""), 16) == 1 << core:
                    continue
            raise Failed(f"{device}: received packets cannot be steered to core {core} (CONFIG_RPS)")

    def follow(self):
        """Lets the gateway's host follow connections (conntrack); whether its kernel can."""
        line = ["ip", "netns", "exec", self.gateway, "nft", "-f", "-"]
        with contextlib.suppress(OSError):
            return subprocess.run(line, input=FOLLOW.encode(), capture_output=True, timeout=30, check=False).returncode == 0
        return False

    def start(self, name, core, line, urgent=False, **kwargs):
        """Starts a process in a namespace on a core. Its id is that of the program itself. What is urgent goes before
        everything else on this core (SCHED_FIFO)."""
        line = [*(["chrt", "-f", "1"] if urgent and may_be_urgent() else []), *line]
        kwargs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **kwargs}
        line = ["ip", "netns", "exec", name, "taskset", "-c", str(core), *map(str, line)]
        process = subprocess.Popen(line, start_new_session=True, **kwargs)  # pylint: disable=consider-using-with
        self.processes.append(process)
        return process

    def wait_for_listener(self, process, port, log):
        """Until somebody listens on this port in the namespace of the process."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if f":{port:04X} 00000000:0000 0A" in pathlib.Path(f"/proc/{process.pid}/net/tcp").read_text():
                    return
            time.sleep(0.02)
        said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise Failed(f"{' '.join(process.args)} does not listen on {port}: {said}")

    def close(self):
        """Ends every process started here with its descendants, by id, and removes the namespaces; nothing interrupts it."""
        with uninterrupted():
            self._close()

    def _close(self):
        ids = [pid for process in self.processes if process.poll() is None for pid in tree(process.pid)]
        for wait, how in ((5, signal.SIGTERM), (5, signal.SIGKILL)):
            for pid in ids:
                with contextlib.suppress(OSError):
                    os.kill(pid, how)
            deadline = time.monotonic() + wait
            for process in self.processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=max(0.0, deadline - time.monotonic()))
            ids = [pid for pid in ids if is_running(pid)]
            if not ids:
                break
        for process in self.processes:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        for name in (self.clients, self.gateway, self.origin):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=30)


@contextlib.contextmanager
def uninterrupted():
    """Signals that would end us come afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def sweep():
    """Removes what a run left that was killed outright."""
    for line in command("ip", "netns", "list").splitlines():
        found = re.match(r"fglab(\d+)-\d+[cgo]\b", line)
        if found and not pathlib.Path(f"/proc/{found[1]}").exists():
            for pid in command("ip", "netns", "pids", found[0]).split():
                with contextlib.suppress(OSError):
                    os.kill(int(pid), signal.SIGKILL)
            command("ip", "netns", "del", found[0])


def is_running(pid):
    """Whether it is there and not merely waiting to be collected."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tree(pid):
    """A process and its descendants."""
    out = [pid]
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                out += tree(int(child))
    return out


def threads(pid):
    """The threads of a process and its descendants."""
    found = []
    for each in tree(pid):
        with contextlib.suppress(OSError):
            found += [int(task.name) for task in pathlib.Path(f"/proc/{each}/task").iterdir()]
    return found


def cores(pid):
    """The cores that any of its threads may run on."""
    found = set()
    for thread in threads(pid):
        with contextlib.suppress(OSError):
            found |= os.sched_getaffinity(thread)
    return found


def resident_kb(pid):
    """Resident memory of a process and its descendants."""
    size = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    size += int(line.split()[1])
    return size


def peak_kb(pid, reset=False):
    """The most resident memory that a process and its descendants had, each by itself; or begin anew from now."""
    size = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            if reset:
                pathlib.Path(f"/proc/{each}/clear_refs").write_text("5")
            for line in pathlib.Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    size += int(line.split()[1])
    return size


def followed(pid, addresses):
    """Connections of these clients that the kernel still follows in the namespace of a process, by state."""
    addresses, states = {ipaddress.ip_address(one).exploded for one in addresses}, {}
    with contextlib.suppress(OSError):
        for state, source in FOLLOWED.findall(pathlib.Path(f"/proc/{pid}/net/nf_conntrack").read_text()):
            if source in addresses:
                states[state] = states.get(state, 0) + 1
    return states


def followed_max():
    """How many connections the kernel can follow: it drops what would be one more."""
    with contextlib.suppress(OSError):
        return int(pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
    return None


@functools.cache
def may_be_urgent():
    """Whether this machine lets us use its real-time scheduling; some containers do not."""
    with contextlib.suppress(OSError):
        if subprocess.run(["chrt", "-f", "1", "true"], capture_output=True, timeout=30, check=False).returncode == 0:
            return True
    print("no real-time scheduling here: latencies of good requests in a storm include the load's own", file=sys.stderr)
    return False


def core_ticks(core):
    """Its columns in /proc/stat."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *columns = line.split()
        if name == f"cpu{core}":
            return [int(column) for column in columns]
    raise Failed(f"there is no core {core}")


def steered():
    """Packets that each core was sent by another one, so far (received_rps of /proc/net/softnet_stat)."""
    counts = {}
    for index, line in enumerate(pathlib.Path("/proc/net/softnet_stat").read_text().splitlines()):
        columns = [int(column, 16) for column in line.split()]
        counts[columns[12] if len(columns) > 12 else index] = columns[9]
    return counts
