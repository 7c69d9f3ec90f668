"""What the clients do. Owns: plans for `lab-load`. Called by: `run`, `lab.py`, `storm.py`. Never: knows a peer by name."""

import dataclasses

from network import CLOSED_PORT, GATEWAY, GATEWAY6, NOBODY, ORIGIN, PORT, SILENT, far, far6, sources

REFUSED = f"GET http://{GATEWAY}/ HTTP/1.1\r\nHost: {GATEWAY}\r\nUser-Agent: retrier\r\nAccept: */*\r\n\r\n"
# Those who storm, and those who ask for nothing bad meanwhile.
STORMERS, GOOD = sources(250)[:240], sources(250)[240:]
GOOD_PER_SECOND = 200
CONNECT = f"CONNECT {ORIGIN}:80 HTTP/1.1\r\nHost: {ORIGIN}:80\r\n\r\n"


def get(path, host=ORIGIN):
    """A request that a proxy forwards, or that goes through a tunnel."""
    return f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"


@dataclasses.dataclass(frozen=True)
class Workload:
    """Clients, and what their figure is counted in."""

    addresses: int
    connections: int
    request: str
    kept: bool
    tunnel: bool = False
    pace: object = "closed"
    # What core time is divided by: "completed" (µs each) or "gbit" (ms each); "held": KB of memory each; None: no load.
    per: str | None = "completed"
    status: str = "200"

    def plan(self, peer_tunnels, seconds, warm_up, patience):
        """For `lab-load`. A peer in TCP mode passes the tunnel's inside without being asked for one."""
        def client(name, **more):
            return {"name": name, "patience_s": patience, **more}

        tunnel = CONNECT if self.tunnel and peer_tunnels else None
        classes = [client("load", sources=sources(self.addresses), connections=self.connections, tunnel=tunnel,
                          request=self.request, kept=self.kept, pace=self.pace)]
        return plan_of(classes, seconds, 0 if self.per == "held" else warm_up)

    def smaller(self):
        """The same for a smoke test."""
        return dataclasses.replace(self, connections=min(self.connections, 256))


@dataclasses.dataclass(frozen=True)
class Crowd:
    """Clients that do the same in a storm: each connection again and again, as soon as it is answered or gives up."""

    sources: tuple | list = tuple(STORMERS[:50])
    connections: int = 800
    # What one of them waits for an answer.
    patience: float = 5
    request: str = REFUSED
    tunnel: str | None = None
    # Attempts a second, whatever the answers.
    per_second: int | None = None
    # One attempt on each connection.
    once: bool = False
    # The pause before the next attempt, in ms.
    retry_ms: int | None = None
    # Further keys of the plan: `drip_ms`, `stall_after`.
    manner: dict = dataclasses.field(default_factory=dict)

    def plan(self, name):
        """A class of what `lab-load` reads."""
        pace = {"per_second": self.per_second, "once": self.once} if self.per_second else \
            {"retry_ms": self.retry_ms} if self.retry_ms else "once" if self.once else "closed"
        return {"name": name, "patience_s": self.patience, "sources": list(self.sources), "connections": self.connections,
                "tunnel": self.tunnel, "request": self.request, "kept": False, "pace": pace, **self.manner}

    def smaller(self):
        """The same for a smoke test."""
        return dataclasses.replace(self, connections=min(self.connections, 3000 if self.per_second else 200),
                                   per_second=self.per_second and min(self.per_second, 2000))


@dataclasses.dataclass(frozen=True)
class Storm:
    """Broken clients, and good clients beside them."""

    # By name: `load` is the storm, and what begins with `good` wants nothing bad. A class each of the generator.
    crowds: dict
    seconds: float = 8
    # For how long it is watched afterwards; what the kernel still follows then is counted.
    after: float = 4
    # From where the good client asks.
    good: tuple | list = tuple(GOOD)
    # Whether it is made by `floodgate pcap replay`, from a capture.
    replayed: bool = False
    # SYNs a second from addresses that nobody has, instead of what a crowd does.
    spoofed: int | None = None
    # Whether its clients vanish at the end without a word.
    vanishing: bool = False
    ipv6: bool = False
    per: str = "attempt"

    def plan(self, seconds):
        """For `lab-load`. Nothing is left out: the first second of a storm is a part of it."""
        return plan_of([crowd.plan(name) for name, crowd in self.crowds.items()], seconds, 0,
                       f"[{GATEWAY6}]" if self.ipv6 else GATEWAY)

    def replay(self, program, capture, lanes, seconds):
        """The command that plays the requests of a capture instead: of as many clients as make so many connections, if each
        has so many lanes, which is how many of its attempts were under way at once."""
        load = self.crowds["load"]
        copies = max(1, round(load.connections / len(load.sources) / lanes))
        clients = max(1, min(len(STORMERS), round(load.connections / lanes / copies)))
        return [program, "pcap", "replay", capture, "--to", f"{GATEWAY}:{PORT}", "--retry", "instant",
                "--source", "198.18.1.0/24", "--clients", clients, "--concurrency", copies,
                "--timeout", load.patience, "--duration", seconds, "--json"]

    def spoof(self, program, core, seconds):
        """The command that sends SYNs instead."""
        return [program, f"{GATEWAY}:{PORT}", NOBODY, self.spoofed, seconds, core]

    def smaller(self):
        """The same for a smoke test."""
        crowds = {name: crowd.smaller() for name, crowd in self.crowds.items()}
        return dataclasses.replace(self, crowds=crowds, seconds=1, spoofed=self.spoofed and 2000)

    def patience(self):
        """What the patientest waits."""
        return max((crowd.patience for crowd in self.crowds.values()), default=0)

    def stormers(self):
        """Addresses of those who are bad."""
        return [source for name, crowd in self.crowds.items() if not name.startswith("good") for source in crowd.sources]

    def silent_rate(self):
        """Attempts a second if nobody ever answers: the clients' time-out is what is left to slow them down."""
        return self.crowds["load"].connections / self.crowds["load"].patience


def plan_of(classes, seconds, warm_up, gateway=GATEWAY):
    """What `lab-load` reads."""
    return {"target": f"{gateway}:{PORT}", "settle_s": 60, "warm_up_s": warm_up, "duration_s": seconds, "classes": classes}


WORKLOADS = {
    # Fifty PCs that retry at once, alone: what a refusal costs.
    "refuse": Workload(50, 800, REFUSED, kept=False, status="403"),
    "refuse-64": Workload(16, 64, REFUSED, kept=False, status="403"),
    # The same fifty, good clients beside them, and what it does to the gateway's host.
    "storm": Storm({"load": Crowd()}, after=15),
    "storm-impatient": Storm({"load": Crowd(patience=1)}),
    "storm-patient": Storm({"load": Crowd(patience=30)}, seconds=12),
    "storm-vanished": Storm({"load": Crowd()}, after=15, vanishing=True),
    # They do not wait for an answer before they try again. Their connections are as many as such a rate needs if none ever comes.
    "storm-open": Storm({"load": Crowd(patience=0.8, connections=17_000, per_second=20_000)}, seconds=20),
    "one-client": Storm({"load": Crowd(STORMERS[:1], patience=0.8, connections=6000, per_second=5000)}),
    "many-clients": Storm({"load": Crowd(far(300), patience=0.8, connections=7000, per_second=6000)}),
    "replay": Storm({"load": Crowd()}, replayed=True),
    # The addresses that storm also browse.
    "mixed": Storm({"load": Crowd()}, good=STORMERS[:50]),
    "nat": Storm({"load": Crowd(STORMERS[:1], connections=16)}, good=STORMERS[:1]),
    "dead-destination": Storm({
        "load": Crowd(STORMERS[:20], connections=6000, per_second=1000, request=get("/", f"{ORIGIN}:{CLOSED_PORT}")),
        "silent": Crowd(STORMERS[:20], connections=600, per_second=100, request=get("/", SILENT)),
    }, good=STORMERS[:20]),
    "slow-heads": Storm({
        "load": Crowd(connections=5000, patience=60, retry_ms=1000, manner={"drip_ms": 2000}),
        "mute": Crowd(connections=5000, patience=60, retry_ms=1000, manner={"drip_ms": 60_000}),
    }, seconds=12),
    "stalled": Storm({
        "load": Crowd(connections=200, patience=60, once=True, request=get("/big"), manner={"stall_after": 8 << 20}),
    }, seconds=12),
    "v6-prefix": Storm({"load": Crowd(far6(10_000, 0), patience=0.8, connections=10_000, per_second=5000)}, good=far6(10, 1),
                       ipv6=True),
    "spoofed": Storm({}, spoofed=10_000),
    # Nobody does anything bad in these two, but for a little of what the client always does.
    "flash": Storm({
        "good": Crowd([one for one in far(1000) for _ in range(6)], connections=6000, request=get("/"), per_second=6000, once=True),
    }, seconds=6),
    "wechat-start": Storm({
        "good-tunnels": Crowd(connections=50 * 26, request=get("/"), tunnel=CONNECT, once=True),
        "good": Crowd(connections=50 * 4, request=get("/"), once=True),
        "load": Crowd(connections=50 * 2, retry_ms=1000),
    }, seconds=6),
    "forward": Workload(16, 64, get("/"), kept=True),
    "connect": Workload(16, 64, get("/"), kept=False, tunnel=True),
    "bulk": Workload(4, 4, get("/big"), kept=True, tunnel=True, per="gbit"),
    "idle-tunnel": Workload(50, 4000, get("/"), kept=True, tunnel=True, pace="hold", per="held"),
    "idle-forward": Workload(50, 4000, get("/"), kept=True, pace="hold", per="held"),
    "rest": Workload(1, 1, get("/"), kept=False, per=None),
}
