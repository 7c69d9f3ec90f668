"""What the clients do. Owns: plans for `lab-load`. Called by: `run`. Never: knows a peer by name."""

import dataclasses

from network import GATEWAY, ORIGIN, PORT, sources

REFUSED = f"GET http://{GATEWAY}/ HTTP/1.1\r\nHost: {GATEWAY}\r\nUser-Agent: retrier\r\nAccept: */*\r\n\r\n"
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
    good_per_second: int = 0

    def plan(self, peer_tunnels, seconds, warm_up, patience):
        """For `lab-load`. A peer in TCP mode passes the tunnel's inside without being asked for one."""
        def client(name, **more):
            return {"name": name, "patience_s": patience, **more}

        tunnel = CONNECT if self.tunnel and peer_tunnels else None
        classes = [client("load", sources=sources(self.addresses), connections=self.connections, tunnel=tunnel,
                          request=self.request, kept=self.kept, pace=self.pace)]
        if self.good_per_second:
            classes.append(client("good", sources=["198.18.1.250"], connections=256, request=get("/"), kept=False,
                                  pace={"per_second": self.good_per_second}))
        return {"target": f"{GATEWAY}:{PORT}", "settle_s": 60, "warm_up_s": 0 if self.per == "held" else warm_up,
                "duration_s": seconds, "classes": classes}

    def smaller(self):
        """The same for a smoke test."""
        return dataclasses.replace(self, connections=min(self.connections, 256))


WORKLOADS = {
    # The storm: fifty PCs that retry at once.
    "refuse": Workload(50, 800, REFUSED, kept=False, status="403"),
    "refuse-64": Workload(16, 64, REFUSED, kept=False, status="403"),
    # The storm, and 200 good requests a second beside it whose latency is counted from the time they were due.
    "storm": Workload(50, 800, REFUSED, kept=False, status="403", good_per_second=200),
    "forward": Workload(16, 64, get("/"), kept=True),
    "connect": Workload(16, 64, get("/"), kept=False, tunnel=True),
    "bulk": Workload(4, 4, get("/big"), kept=True, tunnel=True, per="gbit"),
    "idle-tunnel": Workload(50, 4000, get("/"), kept=True, tunnel=True, pace="hold", per="held"),
    "idle-forward": Workload(50, 4000, get("/"), kept=True, pace="hold", per="held"),
    "rest": Workload(1, 1, get("/"), kept=False, per=None),
}
