"""The candidates: floodgate, the bare loop, and Debian's proxies, each configured as well as we know how for one core.

Owns: their configurations. Called by: `run`. Never: starts anything.

To add a peer, add an entry to PEERS and see that `run --smoke --peers NAME` is content. In its texts @DIR@ is the working
directory, @CONFIG@ the peer's configuration there, @GATEWAY@, @PORT@ and @ORIGIN@ are where things are, and
@CONNECTIONS@ and @DESCRIPTORS@ what to be ready for.
"""

import dataclasses
import shlex
import shutil

REFUSALS = ("refuse", "refuse-64")
# Storms of refused requests, and all that a gateway can be asked without CONNECT.
SELF_TARGET = ("storm", "storm-impatient", "storm-patient", "storm-vanished", "storm-open", "one-client", "many-clients", "replay",
               "mixed", "nat", "v6-prefix")
STORMS = (*SELF_TARGET, "dead-destination", "slow-heads", "stalled", "spoofed", "flash")
ABLATED = ("storm", "storm-impatient", "storm-open")
HTTP = (*REFUSALS, *STORMS, "forward", "idle-forward", "rest")
PROXY = (*HTTP, "wechat-start", "connect", "bulk", "idle-tunnel")
# Why somebody has no part in a workload.
CANNOT = {
    **dict.fromkeys(("connect", "bulk", "idle-tunnel", "wechat-start"), "knows no CONNECT"),
    "idle-forward": "keeps no connection alive",
}
FORWARDS_NOTHING = "only refuses"


@dataclasses.dataclass(frozen=True)
class Peer:
    """How to run one."""

    # What it can do.
    workloads: tuple
    line: str
    config: str = ""
    # Further files: (path below @DIR@, text).
    files: tuple = ()
    # What a refusal is to the client: a status, or the name of a failure.
    refusal: str = "403"
    # Whether it has to be asked for a tunnel; one in TCP mode is one.
    tunnels: bool = True
    # Whether it passes good requests on.
    forwards: bool = True
    is_floodgate: bool = False
    # What is added to its configuration where a cost is measured: nothing that is asked for is to be limited or slowed there.
    unguarded: str = ""
    # Rules for nftables on its host.
    rules: str = ""

    def with_settings(self, text):
        """With more in its configuration."""
        return dataclasses.replace(self, config=f"{self.config}{text}\n")

    def program(self):
        """What has to be installed for it."""
        return shlex.split(self.line)[0]

    def is_installed(self):
        """Whether the program is there."""
        return shutil.which(self.program()) is not None


# Programs of Debian: the package, and what prints the version.
PACKAGES = {
    "haproxy": ("haproxy", "haproxy -v"),
    "nginx": ("nginx-light", "nginx -v"),
    "tinyproxy": ("tinyproxy", "tinyproxy -v"),
    "squid": ("squid", "squid -v"),
    "traffic_server": ("trafficserver", "traffic_server -V"),
}


FLOODGATE = """
[[listener]]
address = "0.0.0.0:@PORT@"
[[listener]]
address = "[@GATEWAY6@]:@PORT@"
[runtime]
workers = 1
[clients]
allow = ["198.18.0.0/15", "2001:2::/48"]
[destinations]
allow = ["@ORIGIN@:80", "@ORIGIN@:@CLOSED_PORT@", "@SILENT@:80"]
"""

# Where a cost is measured, to refuse by rate, or to stall, is another answer than the one that is measured.
UNGUARDED = """
[limits]
connections = @CONNECTIONS@
client-connections = @CONNECTIONS@
client-connection-rate = "1000000/s, burst 1000000"
client-request-rate = "1000000/s, burst 1000000"
[guard]
ladder = "answer"
"""

NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile @DESCRIPTORS@; pid @DIR@/nginx.pid; error_log @DIR@/error.log;
events { worker_connections @DESCRIPTORS@; multi_accept on; }
http {
    access_log off; sendfile on; tcp_nopush on;
    keepalive_requests 1000000000; keepalive_timeout 600s; client_header_timeout 600s;
    client_body_temp_path @DIR@/a; proxy_temp_path @DIR@/b; fastcgi_temp_path @DIR@/c; uwsgi_temp_path @DIR@/d;
    scgi_temp_path @DIR@/e;
"""

ORIGIN = NGINX + """
    server { listen @ORIGIN@:80 backlog=4096; root @DIR@/www; location = / { return 200 "a short answer"; } }
}
"""

# A reverse proxy: it cannot be a forward one.
NGINX_PEER = NGINX + """
    upstream origin { server @ORIGIN@:80; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }
    upstream closed { server @ORIGIN@:@CLOSED_PORT@; }
    upstream silent { server @SILENT@:80; }
    map $http_host $to { default origin; @ORIGIN@:@CLOSED_PORT@ closed; @SILENT@ silent; }
    server {
        listen @PORT@ backlog=4096; listen [@GATEWAY6@]:@PORT@ backlog=4096;
        location / {
            proxy_pass http://$to; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
        }
    }
    server { listen @PORT@; listen [@GATEWAY6@]:@PORT@; server_name @GATEWAY@; return @REFUSAL@; }
}
"""

# A reverse proxy too, or a relay of TCP.
HAPROXY = """
global
    maxconn @CONNECTIONS@
    maxpipes 100
    nbthread 1
    log /dev/null local0 emerg
defaults
    timeout connect 5s
    retries 0
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
@DEFAULTS@
frontend front
    bind 0.0.0.0:@PORT@ backlog 4096
    bind [@GATEWAY6@]:@PORT@ backlog 4096
    default_backend origin
@RULES@
backend origin
    server nginx @ORIGIN@:80
backend closed
    server nobody @ORIGIN@:@CLOSED_PORT@
backend silent
    server nobody @SILENT@:80
"""


def haproxy(defaults, rules=""):
    """Its configuration in a mode."""
    return HAPROXY.replace("@DEFAULTS@", defaults).replace("@RULES@", rules)


TINYPROXY = """
Port @PORT@
Listen 0.0.0.0
Listen @GATEWAY6@
Timeout 600
MaxClients @CONNECTIONS@
LogFile "/dev/null"
LogLevel Critical
Filter "@DIR@/filter"
Allow 198.18.0.0/15
Allow 2001:2::/48
ConnectPort 80
DisableViaHeader Yes
"""

SQUID = """
http_port 0.0.0.0:@PORT@
http_port [@GATEWAY6@]:@PORT@
pid_filename @DIR@/squid.pid
cache deny all
cache_mem 8 MB
memory_pools on
access_log none
cache_log @DIR@/squid.log
coredump_dir @DIR@
acl own dst @GATEWAY@
http_access deny own
http_access allow all
visible_hostname gateway
via off
forwarded_for delete
shutdown_lifetime 0 seconds
pinger_enable off
max_filedescriptors @DESCRIPTORS@
server_persistent_connections on
pconn_timeout 10 minutes
client_idle_pconn_timeout 10 minutes
"""

# A sixth cheaper: no page of 3 KB to a client that does not read it, and no books about clients.
SQUID_SHORT = """
client_db off
error_directory @DIR@/squid-errors
"""

ATS_RECORDS = """
CONFIG proxy.config.http.server_ports STRING @PORT@ @PORT@:ipv6:ip-in=[@GATEWAY6@]
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.exec_thread.affinity INT 0
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.http.connect_ports STRING 80 443
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 600
CONFIG proxy.config.http.keep_alive_no_activity_timeout_out INT 600
CONFIG proxy.config.http.transaction_no_activity_timeout_in INT 600
CONFIG proxy.config.http.transaction_no_activity_timeout_out INT 600
CONFIG proxy.config.http.per_server.min_keep_alive INT 64
CONFIG proxy.config.http.server_session_sharing.pool STRING thread
CONFIG proxy.config.http.insert_request_via_str INT 0
CONFIG proxy.config.http.insert_client_ip INT 0
CONFIG proxy.config.http.insert_squid_x_forwarded_for INT 0
CONFIG proxy.config.net.listen_backlog INT 4096
CONFIG proxy.config.net.connections_throttle INT @DESCRIPTORS@
CONFIG proxy.config.dns.resolv_conf STRING NULL
"""

ATS_FILES = (
    ("ats/runroot.yaml", """
prefix: @DIR@/ats
exec_prefix: @DIR@/ats
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: @DIR@/ats/etc
datadir: @DIR@/ats/data
includedir: /usr/include
libdir: /usr/lib
libexecdir: /usr/lib/trafficserver/modules
localstatedir: @DIR@/ats/var
runtimedir: @DIR@/ats/run
logdir: @DIR@/ats/log
mandir: /usr/share/man
infodir: /usr/share/info
cachedir: @DIR@/ats/cache
"""),
    ("ats/etc/records.config", ATS_RECORDS),
    ("ats/etc/remap.config", "map http://@GATEWAY@/ http://@GATEWAY@/ @action=deny @src_ip=0.0.0.0-255.255.255.255\n"),
    ("ats/etc/ip_allow.yaml", "ip_allow:\n  - apply: in\n    ip_addrs: [0/0, \"::/0\"]\n    action: allow\n    methods: ALL\n"),
    ("ats/etc/storage.config", "@DIR@/ats/cache 32M\n"),
    ("ats/etc/plugin.config", ""),
    *((f"ats/{folder}/.here", "") for folder in ("data", "var", "run", "log", "cache")),
)

HAPROXY_LINE = "haproxy -db -f @CONFIG@"


def haproxy_http(*rules):
    """With these answers to requests for the gateway itself."""
    defaults = "    mode http\n    http-reuse always\n    timeout tarpit 1s"
    rules = ("acl own url_beg http://@GATEWAY@/", *rules, "use_backend closed if { hdr(host) @ORIGIN@:@CLOSED_PORT@ }",
             "use_backend silent if { hdr(host) @SILENT@ }")
    return haproxy(defaults, "\n".join(f"    {rule}" for rule in rules))


# What a client asked of the gateway itself in the last two seconds; its other requests are not counted and not touched.
HAPROXY_RATE = (
    "stick-table type ip size 100k expire 60s store http_req_rate(2s)",
    "http-request track-sc0 src if own",
)
DENY, TARPIT, DROP = ("http-request deny if own", "http-request tarpit deny_status 403 if own", "http-request silent-drop if own")
OFTEN = " { sc0_http_req_rate gt 20 }"
NGINX_LINE = "nginx -c @CONFIG@ -e @DIR@/nginx.log"
# It keeps no connection alive.
TINYPROXY_CAN = tuple(name for name in PROXY if name != "idle-forward")

PEERS = {
    "haproxy": Peer(HTTP, HAPROXY_LINE, haproxy_http(DENY)),
    "haproxy-tarpit": Peer(SELF_TARGET, HAPROXY_LINE, haproxy_http(TARPIT)),
    "haproxy-drop": Peer(SELF_TARGET, HAPROXY_LINE, haproxy_http(DROP)),
    "haproxy-stick-tarpit": Peer(SELF_TARGET, HAPROXY_LINE, haproxy_http(*HAPROXY_RATE, TARPIT + OFTEN, DENY)),
    "haproxy-stick-drop": Peer(SELF_TARGET, HAPROXY_LINE, haproxy_http(*HAPROXY_RATE, DROP + OFTEN, DENY)),
    "haproxy-tcp": Peer(("bulk",), HAPROXY_LINE, haproxy("    mode tcp"), tunnels=False),
    "haproxy-splice": Peer(("bulk",), HAPROXY_LINE, haproxy("    mode tcp\n    option splice-auto"), tunnels=False),
    "nginx": Peer(HTTP, NGINX_LINE, NGINX_PEER.replace("@REFUSAL@", "403")),
    "nginx-444": Peer((*REFUSALS, *SELF_TARGET), NGINX_LINE, NGINX_PEER.replace("@REFUSAL@", "444"), refusal="closed"),
    "tinyproxy": Peer(TINYPROXY_CAN, "tinyproxy -d -c @CONFIG@", TINYPROXY, files=(("filter", "^198\\.18\\.0\\.1\n"),)),
    "squid": Peer(PROXY, "squid -N -f @CONFIG@", SQUID + SQUID_SHORT, files=(("squid-errors/ERR_ACCESS_DENIED", "denied\n"),)),
    "ats": Peer(PROXY, "traffic_server --run-root=@DIR@/ats/runroot.yaml", files=ATS_FILES),
}


# The least that dropping a storm can cost: one rule by hand, of somebody who knows its addresses.
NFT_DROP = """
table ip by-hand {
    chain prerouting {
        type filter hook prerouting priority raw - 10
        ip saddr @STORMERS@ tcp dport @PORT@ tcp flags & (syn | ack) == syn counter drop
    }
}
"""

# Parts of the guard, each alone: what is added to floodgate's configuration. `reset` is the bare loop's.
ABLATION = {
    "answer": '[guard]\nladder = "answer"\n',
    "hold": '[guard]\nstall = "hold"\nfence = "off"\n',
    "drop": '[guard]\nstall = "drop"\nfence = "off"\n',
}


def floodgate(command, settings="", workloads=PROXY, rules=""):
    """A build of floodgate, with further settings."""
    return Peer(workloads, f"{command} run --config @CONFIG@", FLOODGATE + settings, is_floodgate=True, unguarded=UNGUARDED,
                rules=rules)


def nft_drop(command):
    """floodgate behind that rule, so that good requests cost the same."""
    return floodgate(command, '[guard]\nfence = "off"\n', ("storm-open",), NFT_DROP)


def bare(program, close, workloads=(*REFUSALS, *ABLATED, "replay")):
    """The bare loop, which can only refuse; `refusal` is what it says."""
    return Peer(workloads, f"{program} 0.0.0.0:@PORT@ @DIR@/refusal {close}", forwards=False)


def ablation(command, program):
    """floodgate with parts of the guard, and who resets instead; by name."""
    return {name: floodgate(command, settings, ABLATED) for name, settings in ABLATION.items()} | {
        "reset": bare(program, "reset", ABLATED)}


def why_not(name, workload):
    """Why a candidate has no part in a workload; nothing if that goes without saying."""
    if name.startswith("bare") or name == "reset":
        return FORWARDS_NOTHING
    if name in ABLATION or name == "nft-drop":
        return None
    return CANNOT.get(workload)
