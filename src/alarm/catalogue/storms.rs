//! Clients that come back and back, and what keeps them out.

use std::time::Duration;

use super::{Row, Severity, Unit, both};

pub(super) static SELF_TARGET: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: Some(5.0),
    clear: Some(0.2),
    unit: Unit::PerSecond,
    why: "Five a second are the ten within two seconds at which the guard falls silent: nobody has a reason to ask for \
          the proxy itself that often. 0.2 is one connection that waits for a time-out of five seconds.",
    subject: Some("client"),
    placeholders: &["client", "rate"],
    title: both(
        "{client} asks the proxy for the proxy itself, {rate} times a second",
        "{client} 反复经代理请求代理自身，每秒 {rate} 次",
    ),
    over: both("{client} no longer asks for the proxy itself", "{client} 已不再请求代理自身"),
    compared: both("Requests of one client that name this box reach {fire}", "单个客户端指向本机的请求达到{fire}"),
    meaning: both(
        "A program on that machine takes the proxy for the server it wants: its requests name the proxy's own address, \
         are refused, and come back at once. Unguarded, each of them costs this box two TCP connections, and gateways \
         of 2 GB have fallen over from it. The guard answers the first ones, then falls silent, and keeps the client \
         out in the kernel only if silence does not help. What else the client does goes on.",
        "该机器上的某个程序把代理当成了目标服务器：请求中写的是代理自己的地址，被拒绝后立即重试。若不加防护，每次重试都要消耗\
         本机两条 TCP 连接，2 GB 内存的网关曾因此瘫痪。防护机制先正常拒绝，随后静默（不再应答），仍无效时才在内核中封禁；\
         该客户端的其他流量不受影响。",
    ),
    steps: &[
        both(
            "See what it sends: the request of the sample. For more of it, with the program's name: `timeout 10 \
             tcpdump -ni any -w /tmp/storm.pcap host {client}`, then `floodgate pcap analyze /tmp/storm.pcap`.",
            "查看样本中的请求行，确认它在发什么。需要更多请求及程序名时，执行 \
             `timeout 10 tcpdump -ni any -w /tmp/storm.pcap host {client}`，再执行 `floodgate pcap analyze /tmp/storm.pcap`。",
        ),
        both(
            "Find the machine: `ip neigh show {client}` tells its hardware address. If it is a router, look behind it.",
            "定位机器：`ip neigh show {client}` 可查到其 MAC 地址；若是路由器（NAT），再到它后面查找。",
        ),
        both(
            "Quit and update the program there (old desktop versions of WeChat do this), and check its proxy settings \
             and the PAC file: the proxy's address belongs into the field for the proxy, never into that for a server.",
            "在该机器上退出并升级对应程序（旧版桌面微信有此缺陷），检查其代理设置和 PAC 文件：代理地址只能填在“代理”一栏，\
             不能填成服务器地址。",
        ),
        both(
            "If that address is a service of your own which is to be reached through the proxy, list it in `[self] \
             allow`.",
            "如果该地址确实是需要经代理访问的自有服务，请将其加入 `[self] allow`。",
        ),
    ],
};

pub(super) static RECONNECT: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: Some(10.0),
    clear: Some(0.2),
    unit: Unit::PerSecond,
    why: "Ten a second are the twenty within two seconds at which the guard falls silent: no person and no poll comes \
          back that often. 0.2 is one connection that waits for a time-out of five seconds.",
    subject: Some("client"),
    placeholders: &["client", "rate", "reason"],
    title: both(
        "{client} comes back {rate} times a second and is refused each time ({reason})",
        "{client} 每秒重连 {rate} 次，均被拒绝（{reason}）",
    ),
    over: both("{client} no longer comes back at once", "{client} 已停止频繁重连"),
    compared: both(
        "Refusals of one client that is over its limits, or sends what is no request, reach {fire}",
        "单个客户端因超出限额或请求格式错误而被拒绝的次数达到{fire}",
    ),
    meaning: both(
        "A program on that machine tries again at once whenever it is refused. `malformed`: what it sends is no HTTP \
         request that a proxy can read. `over_limit`: it wants more than one client may have. The guard answers the \
         first ones, then falls silent; its other requests are served.",
        "该机器上的某个程序被拒绝后立即重试。`malformed` 表示它发送的内容不是代理能识别的 HTTP 请求；`over_limit` \
         表示超出了单个客户端的限额。防护机制先正常拒绝，随后静默（不再应答）；该客户端的其他请求照常处理。",
    ),
    steps: &[
        both(
            "Find the machine: `ip neigh show {client}` tells its hardware address. If many PCs share the address \
             (NAT, a terminal server), this may be normal for it: go on with step 3.",
            "定位机器：`ip neigh show {client}` 可查到其 MAC 地址。若该地址由多台电脑共用（NAT、终端服务器），\
             这可能属于正常情况，请直接看第 3 步。",
        ),
        both(
            "`malformed`: the program speaks TLS or SOCKS to an HTTP proxy, or is broken. Correct the type of its \
             proxy, or quit it. See what it sends: `timeout 10 tcpdump -ni any -A host {client}`.",
            "`malformed`：该程序向 HTTP 代理发送了 TLS 或 SOCKS 协议，或程序本身有缺陷。请更正其代理类型，或退出该程序。\
             查看它发送的内容：`timeout 10 tcpdump -ni any -A host {client}`。",
        ),
        both(
            "`over_limit`, and it is to have more: raise `limits.client-connections`, `limits.client-connection-rate` \
             or `limits.client-request-rate`, or list it in `[clients] exempt`; then `systemctl reload floodgate`.",
            "`over_limit` 且确需放宽：调高 `limits.client-connections`、`limits.client-connection-rate` 或 \
             `limits.client-request-rate`，或将其加入 `[clients] exempt`，然后执行 `systemctl reload floodgate`。",
        ),
    ],
};

pub(super) static FENCED: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: None,
    clear: None,
    unit: Unit::Nothing,
    why: "The fence has conditions of its own (docs/GUARD.md): more than 100 connections a second after five seconds \
          of silence, and nothing done for a minute. Whoever is fenced reaches nothing, so it is told at once.",
    subject: Some("client"),
    placeholders: &["client", "rate", "reason", "until"],
    title: both("{client} is kept out in the kernel ({reason})", "{client} 已被内核封禁（{reason}）"),
    over: both("{client} is let in again", "{client} 已解除封禁"),
    compared: both("A client is fenced; over when it is let in again", "客户端被内核封禁；解除封禁时恢复"),
    meaning: both(
        "It stormed on with {rate} connections a second though nobody answered it, and had got nothing else done for a \
         minute. Until {until} the kernel drops its new connections to the proxy, then a few pass as a trial. \
         Connections that stand go on, and nothing but the proxy is closed to it.",
        "静默之后，它仍以每秒 {rate} 条新建连接持续冲击，且一分钟内没有任何正常流量。{until} 之前，内核会丢弃它到代理的\
         新连接，之后先试探性放行少量连接。已建立的连接不受影响，除代理端口外也不限制其他访问。",
    ),
    steps: &[
        both(
            "Find the machine (`ip neigh show {client}`) and quit the program that storms; the sample shows what it \
             asks for.",
            "定位机器（`ip neigh show {client}`），退出造成冲击的程序；样本中可看到它在请求什么。",
        ),
        both(
            "It is let in by itself within seconds after the storm is over. `floodgate fence list` shows what is left \
             of it.",
            "冲击停止后会在数秒内自动解封。`floodgate fence list` 可查看剩余时间。",
        ),
        both(
            "To let it in at once: `floodgate fence release {client}`. It is then not fenced again for ten minutes.",
            "立即解封：`floodgate fence release {client}`。此后十分钟内不会再次封禁。",
        ),
        both(
            "To never fence it: list it in `[clients] exempt`, then `systemctl reload floodgate`.",
            "永不封禁：将其加入 `[clients] exempt`，然后执行 `systemctl reload floodgate`。",
        ),
    ],
};

pub(super) static FENCE_USELESS: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: None,
    clear: None,
    unit: Unit::Nothing,
    why: "Whether a fence helps is measured by the guard itself: five seconds after it was built, less than half of \
          the fenced clients' connections may still arrive.",
    subject: None,
    placeholders: &["why"],
    title: both("Clients storm, and cannot be kept out in the kernel", "客户端持续冲击，但内核封禁未生效"),
    over: both("Clients can be kept out in the kernel again", "内核封禁已恢复正常"),
    compared: both(
        "A fence cannot be built, or more than half of what it is to stop still arrives after five seconds",
        "无法建立内核封禁，或建立五秒后仍有一半以上的连接到达",
    ),
    meaning: both(
        "The guard wants to fence and cannot, or its fence misses: {why}. Storms are still answered with silence, but \
         each of their connections costs this box an accept and a read.",
        "防护机制需要封禁但无法实施，或封禁没有拦住流量：{why}。请求风暴仍会被静默处理，但每条连接仍要耗费本机一次 accept 和一次读取。",
    ),
    steps: &[
        both(
            "Read why: `journalctl -u floodgate -n 200 | grep -i fence`.",
            "查看原因：`journalctl -u floodgate -n 200 | grep -i fence`。",
        ),
        both(
            "A right is missing: `systemctl show floodgate -p AmbientCapabilities` must name cap_net_admin; the unit \
             that comes with floodgate does. A restart puts it in force.",
            "权限不足：`systemctl show floodgate -p AmbientCapabilities` 的输出中必须有 cap_net_admin（随附的 unit 文件已包含），\
             修改后需重启服务。",
        ),
        both(
            "The fence misses: the storm comes in by another way, such as a redirection before it. Compare \
             `nft list ruleset` and `ss -lnt` with where the clients connect to.",
            "封禁未命中：流量经由其他路径进入，例如前面还有一层端口重定向。请对照 `nft list ruleset` 和 `ss -lnt` \
             检查客户端实际连接的地址与端口。",
        ),
        both(
            "Until then cut the client off at the switch or at the firewall before this box; `floodgate doctor` tells \
             who it is.",
            "在此之前，可先在交换机或上级防火墙上阻断该客户端；`floodgate doctor` 会指出是哪一个。",
        ),
    ],
};
