"""What the clients do. Owns: plans for `lab-load`. Called by: `run`, `lab.py`, `storm.py`. Never: knows a peer by name."""

import dataclasses

from network import GATEWAY, ORIGIN, PORT, sources

REFUSED = f"GET http://{GATEWAY}/ HTTP/1.1\r\nHost: {GATEWAY}\r\nUser-Agent: retrier\r\nAccept: */*\r\n\r\n"
# Those who storm, and those who ask for nothing bad meanwhile.
STORMERS, GOOD = sources(250)[:240], sources(250)[240:]
GOOD_PER_SECOND = 200
CONNECT = f"CONNECT {ORIGIN}:80 HTTP/1.1\r\nHost: {ORIGIN}:80\r\n\r\n"


def get(path):
    """A request that a proxy forwards, or that goes through a tunnel."""
    return f"GET http://{ORIGIN}{path} HTTP/1.1\r\nHost: {ORIGIN}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"


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
class Storm:
    """Broken clients that ask the gateway for itself, and good clients beside them."""

    # What one of them waits for an answer.
    patience: float
    seconds: float = 8
    addresses: int = 50
    connections: int = 800
    # Attempts a second, whatever the answers; otherwise each tries again as soon as it has one.
    per_second: int | None = None
    # Whether it is made by `floodgate pcap replay`, from a capture.
    replayed: bool = False
    per: str = "attempt"

    def plan(self, seconds):
        """For `lab-load`. Nothing is left out: the first second of a storm is a part of it."""
        pace = {"per_second": self.per_second} if self.per_second else "closed"
        load = {"name": "load", "patience_s": self.patience, "sources": STORMERS[:self.addresses], "connections": self.connections,
                "tunnel": None, "request": REFUSED, "kept": False, "pace": pace}
        return plan_of([load], seconds, 0)

    def replay(self, program, capture, lanes, seconds):
        """The command that plays the requests of a capture instead: of as many clients as make so many connections, if each
        has so many lanes, which is how many of its attempts were under way at once."""
        copies = max(1, round(self.connections / self.addresses / lanes))
        clients = max(1, min(len(STORMERS), round(self.connections / lanes / copies)))
        return [program, "pcap", "replay", capture, "--to", f"{GATEWAY}:{PORT}", "--retry", "instant",
                "--source", "198.18.1.0/24", "--clients", clients, "--concurrency", copies,
                "--timeout", self.patience, "--duration", seconds, "--json"]

    def smaller(self):
        """The same for a smoke test."""
        if self.per_second:
            return dataclasses.replace(self, connections=3000, per_second=2000, seconds=1)
        return dataclasses.replace(self, connections=200, seconds=1)

    def silent_rate(self):
        """Attempts a second if nobody ever answers: the clients' time-out is what is left to slow them down."""
        return self.connections / self.patience


def plan_of(classes, seconds, warm_up):
    """What `lab-load` reads."""
    return {"target": f"{GATEWAY}:{PORT}", "settle_s": 60, "warm_up_s": warm_up, "duration_s": seconds, "classes": classes}


WORKLOADS = {
    # Fifty PCs that retry at once, alone: what a refusal costs.
    "refuse": Workload(50, 800, REFUSED, kept=False, status="403"),
    "refuse-64": Workload(16, 64, REFUSED, kept=False, status="403"),
    # The same fifty, good clients beside them, and what it does to the gateway's host.
    "storm": Storm(patience=5),
    "storm-impatient": Storm(patience=1),
    # They do not wait for an answer before they try again. Their connections are as many as such a rate needs if none ever comes.
    "storm-open": Storm(patience=0.8, seconds=5, connections=17_000, per_second=20_000),
    "replay": Storm(patience=5, replayed=True),
    "forward": Workload(16, 64, get("/"), kept=True),
    "connect": Workload(16, 64, get("/"), kept=False, tunnel=True),
    "bulk": Workload(4, 4, get("/big"), kept=True, tunnel=True, per="gbit"),
    "idle-tunnel": Workload(50, 4000, get("/"), kept=True, tunnel=True, pace="hold", per="held"),
    "idle-forward": Workload(50, 4000, get("/"), kept=True, pace="hold", per="held"),
    "rest": Workload(1, 1, get("/"), kept=False, per=None),
}
