//! What lies behind the gateway: names, destinations, answers.

use std::time::Duration;

use super::{Row, Severity, Unit, both};

/// One a second for ten seconds is no typing error and no single dead link.
const TEN: Duration = Duration::from_secs(10);

pub(super) static DNS_FAILURE: Row = Row {
    severity: Severity::Warning,
    hold: TEN,
    fire: Some(1.0),
    clear: Some(0.1),
    unit: Unit::PerSecond,
    why: "One a second for ten seconds is no person's typing error: it is a program, or the name servers.",
    subject: None,
    placeholders: &["rate", "destination"],
    title: both("Names cannot be resolved: {rate} requests a second fail", "域名解析失败：每秒 {rate} 个请求"),
    over: both("Names are resolved again", "域名解析已恢复"),
    compared: both(
        "Requests whose name does not exist, or has no usable address, reach {fire}",
        "因域名不存在或没有可用地址而失败的请求达到{fire}",
    ),
    meaning: both(
        "The name servers answer, but not with an address. If it is always the same name, a program asks for something \
         that is gone, and nobody else notices. If it is many names, the name servers or their way to the internet are \
         broken.",
        "DNS 服务器有应答，但没有返回可用地址。如果总是同一个域名，说明某个程序在访问已不存在的地址，其他人不受影响；\
         如果涉及很多域名，则是 DNS 服务器或其上级线路出了问题。",
    ),
    steps: &[
        both(
            "Try the name of the sample ({destination}), and one that is surely there: `getent ahosts www.qq.com`.",
            "用样本中的域名（{destination}）测试，再用一个肯定存在的域名测试：`getent ahosts www.qq.com`。",
        ),
        both(
            "The sure one fails, too: ask each server of `/etc/resolv.conf` or `upstream.dns-servers` by itself, \
             `dig @SERVER www.qq.com`; take out those that fail, then `systemctl reload floodgate`.",
            "后者也失败：对 `/etc/resolv.conf` 或 `upstream.dns-servers` 中的每台服务器单独查询 `dig @SERVER www.qq.com`，\
             去掉查询失败的服务器，然后执行 `systemctl reload floodgate`。",
        ),
        both(
            "Only the one fails: find on the status page which client asks for it, and repair or quit its program.",
            "只有前者失败：在状态页找到访问它的客户端，修复或退出对应程序。",
        ),
    ],
};

pub(super) static DNS_TIMEOUT: Row = Row {
    severity: Severity::Critical,
    hold: Duration::from_secs(5),
    fire: Some(1.0),
    clear: Some(0.1),
    unit: Unit::PerSecond,
    why: "A request that times out here has waited for all servers and attempts. Five seconds, the default time-out, \
          in which that goes on are no lost packet.",
    subject: None,
    placeholders: &["rate", "limit"],
    title: both(
        "Name servers do not answer within {limit}: {rate} requests a second fail",
        "DNS 服务器在 {limit} 内无应答：每秒 {rate} 个请求失败",
    ),
    over: both("Name servers answer again", "DNS 服务器已恢复应答"),
    compared: both(
        "Requests whose name was not resolved within upstream.dns-timeout reach {fire}",
        "在 upstream.dns-timeout 内未完成解析的请求达到{fire}",
    ),
    meaning: both(
        "The name servers are down, overloaded, or cannot be reached. Whatever is not in the cache fails with 504 \
         after {limit}; to users the internet is gone.",
        "DNS 服务器宕机、过载或不可达。不在缓存中的域名都会在 {limit} 后返回 504，对用户来说就是断网。",
    ),
    steps: &[
        both(
            "Which servers: `cat /etc/resolv.conf`, or `upstream.dns-servers`. Each by itself: `dig @SERVER \
             www.qq.com`.",
            "确认所用服务器：`cat /etc/resolv.conf` 或 `upstream.dns-servers`，逐台测试：`dig @SERVER www.qq.com`。",
        ),
        both(
            "None answers: is the way out there? `ip route get 223.5.5.5`, then `ping -c 3 223.5.5.5`; and does a \
             firewall let UDP and TCP port 53 pass?",
            "全部无应答：检查出口线路 `ip route get 223.5.5.5`、`ping -c 3 223.5.5.5`，并确认防火墙放行 UDP 和 TCP 53 端口。",
        ),
        both(
            "Others answer (`dig @223.5.5.5 www.qq.com`): put two of them into `upstream.dns-servers`, then \
             `systemctl reload floodgate`.",
            "其他服务器可用（`dig @223.5.5.5 www.qq.com`）：将其中两台写入 `upstream.dns-servers`，然后执行 \
             `systemctl reload floodgate`。",
        ),
    ],
};

pub(super) static CONNECT_TIMEOUT: Row = Row {
    severity: Severity::Warning,
    hold: TEN,
    fire: Some(1.0),
    clear: Some(0.1),
    unit: Unit::PerSecond,
    why: "One a second for ten seconds is more than a person makes with one dead link.",
    subject: None,
    placeholders: &["rate", "limit", "address"],
    title: both("Upstream connect time-out ({limit}): {rate} a second", "上游连接超时（{limit}）：每秒 {rate} 次"),
    over: both("Upstreams accept connections in time again", "上游连接已恢复正常"),
    compared: both(
        "Connections to upstreams that do not stand within alarm.slow (5 s) reach {fire}",
        "未能在 alarm.slow（5 秒）内建立的上游连接达到{fire}",
    ),
    meaning: both(
        "Upstreams do not answer the handshake: they are down, or packets are lost on the way. A single address is its \
         owner's trouble; many at once are the uplink of this gateway.",
        "上游没有响应握手：对方宕机，或报文在沿途丢失。只有一个地址时是对方的问题；同时涉及多个地址，则是本网关的出口线路问题。",
    ),
    steps: &[
        both(
            "One or many? Compare the upstream of the sample with the failing destinations on the status page.",
            "判断是一个还是多个：将样本中的上游地址与状态页中的失败目标进行对照。",
        ),
        both(
            "Many: `ping -c 3 223.5.5.5`, then `ip -s link` (errors, dropped); a saturated uplink shows there, too. \
             Tell the carrier.",
            "多个：`ping -c 3 223.5.5.5`，再看 `ip -s link` 中的 errors 和 dropped；出口带宽跑满也会如此。请联系运营商。",
        ),
        both(
            "One: `mtr -rwc 10 {address}` shows where packets end. Nothing is to be done here: after some failures it \
             is answered for from memory, which spares everybody the wait.",
            "一个：用 `mtr -rwc 10 {address}` 查看中断位置。本机无需处理：连续失败后代理会直接返回错误，不再让用户等待。",
        ),
    ],
};

pub(super) static RESPONSE_TIMEOUT: Row = Row {
    severity: Severity::Warning,
    hold: TEN,
    fire: Some(1.0),
    clear: Some(0.1),
    unit: Unit::PerSecond,
    why: "One a second for ten seconds is more than one slow page that is reloaded.",
    subject: None,
    placeholders: &["rate", "limit", "upstream"],
    title: both("Upstream response time-out ({limit}): {rate} a second", "上游响应超时（{limit}）：每秒 {rate} 次"),
    over: both("Upstreams answer in time again", "上游响应已恢复正常"),
    compared: both(
        "Requests whose answer does not begin within alarm.slow (5 s) reach {fire}",
        "在 alarm.slow（5 秒）内未开始得到响应的请求达到{fire}",
    ),
    meaning: both(
        "The upstream took the request and did not begin to answer it; the client waits on, for as long as \
         upstream.first-byte-timeout. It is overloaded or hangs; or a firewall on the \
         way lets the handshake pass and swallows what follows (then large requests fail and small ones do not: path \
         MTU).",
        "上游接收了请求却迟迟不返回响应，客户端会继续等待，直到 upstream.first-byte-timeout：对方过载或卡死；也可能是沿途防火墙只放行握手、丢弃后续数据\
         （此时小请求正常、大请求失败，多为路径 MTU 问题）。",
    ),
    steps: &[
        both(
            "Ask it directly from this box: `curl -sv -o /dev/null -m 20 http://{upstream}/`.",
            "在本机直接访问：`curl -sv -o /dev/null -m 20 http://{upstream}/`。",
        ),
        both(
            "It answers at once: look for what differs in the request of the sample. It does not: tell whoever runs \
             it.",
            "若能立即响应：对照样本中的请求查找差异；若不能：联系对方运维。",
        ),
        both(
            "Only large requests fail: `sysctl -w net.ipv4.tcp_mtu_probing=1`.",
            "只有大请求失败：`sysctl -w net.ipv4.tcp_mtu_probing=1`。",
        ),
    ],
};

pub(super) static INVALID_RESPONSE: Row = Row {
    severity: Severity::Warning,
    hold: TEN,
    fire: Some(1.0),
    clear: Some(0.1),
    unit: Unit::PerSecond,
    why: "One a second for ten seconds is a service that is broken, not one odd page.",
    subject: None,
    placeholders: &["rate", "upstream"],
    title: both("Invalid upstream response: {rate} a second", "上游返回无效响应：每秒 {rate} 次"),
    over: both("Upstreams answer with HTTP again", "上游响应已恢复为有效的 HTTP"),
    compared: both(
        "Answers of upstreams that are not HTTP/1.1 (RFC 9112) reach {fire}",
        "不符合 HTTP/1.1（RFC 9112）的上游响应达到{fire}",
    ),
    meaning: both(
        "What came back is no HTTP answer, or an ambiguous one that must not be passed on: clients get 502. Usually a \
         port of another protocol (TLS, SSH) was asked in plain HTTP, or a device on the way answers in the origin's \
         place.",
        "返回的内容不是 HTTP 响应，或含义不明确、不能转发，客户端得到 502。常见原因：用明文 HTTP 访问了其他协议的端口\
         （TLS、SSH），或沿途设备冒充上游响应。",
    ),
    steps: &[
        both(
            "Read the first bytes of the answer in the sample: `\\x16\\x03` and `\\x15\\x03` are TLS, `SSH-` is SSH, \
             `HTTP/2` or `PRI` is HTTP/2.",
            "查看样本中响应的前几个字节：`\\x16\\x03`、`\\x15\\x03` 是 TLS，`SSH-` 是 SSH，`HTTP/2` 或 `PRI` 是 HTTP/2。",
        ),
        both(
            "See it yourself: `curl -s --http0.9 -m 5 http://{upstream}/ | head -c 256 | xxd`.",
            "手工验证：`curl -s --http0.9 -m 5 http://{upstream}/ | head -c 256 | xxd`。",
        ),
        both(
            "Correct the address in the client's program (`https://` instead of `http://`, another port), or tell \
             whoever runs the upstream.",
            "更正客户端程序中的地址（改用 `https://` 或其他端口），或通知上游的运维方。",
        ),
    ],
};

pub(super) static DESTINATION_FENCED: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: Some(9.0),
    clear: Some(0.0),
    unit: Unit::Times,
    why: "After three failures a destination is left alone for 1, 2, 4 s and so on: with the ninth in a row, a minute \
          later, it is fenced off for a minute at a time. A restart is over by then.",
    subject: Some("destination"),
    placeholders: &["destination", "used"],
    title: both(
        "{destination} has failed {used} times in a row and is answered for from memory",
        "{destination} 已连续失败 {used} 次，暂不再访问",
    ),
    over: both("{destination} is reached again", "{destination} 已恢复访问"),
    compared: both("Failures in a row of one destination reach {fire}", "同一目标连续失败达到 {fire}"),
    meaning: both(
        "Nobody is sent to it any more: whoever asks gets 502 or 504 at once, which spares the clients the wait and \
         this box the sockets. After a minute a single request tries, and the first that gets through ends it.",
        "代理不再连接该目标：请求会立即得到 502 或 504，用户无需等待，本机也不再消耗套接字。每隔一分钟放行一个请求试探，\
         一旦成功立即恢复。",
    ),
    steps: &[
        both(
            "Try it from this box: `curl -sv -m 10 -o /dev/null http://{destination}/`. Any answer means that it is \
             there.",
            "在本机测试：`curl -sv -m 10 -o /dev/null http://{destination}/`，有任何应答即说明可达。",
        ),
        both(
            "It is there: wait for a minute. It is not: tell whoever runs it, or find out on the status page \
             which client still asks for it.",
            "若可达：等待一分钟即可；若不可达：通知对方运维，或在状态页找出仍在访问它的客户端。",
        ),
        both(
            "Several destinations at once: it is the uplink or DNS of this gateway. `floodgate doctor` tells.",
            "多个目标同时出现：是本网关的出口或 DNS 问题，执行 `floodgate doctor` 排查。",
        ),
    ],
};

pub(super) static ERROR_RATIO: Row = Row {
    severity: Severity::Critical,
    hold: Duration::from_mins(2),
    fire: Some(0.05),
    clear: Some(0.03),
    unit: Unit::Share,
    why: "One request in twenty is what users complain about; two minutes outlast the restart of an upstream.",
    subject: None,
    placeholders: &["used", "reason"],
    title: both("{used} of all requests fail, mostly with {reason}", "请求失败率 {used}，主要原因 {reason}"),
    over: both("Requests succeed again: {used} fail", "请求失败率已回落：{used}"),
    compared: both(
        "Requests that end in 502, 503 or 504 reach {fire} of all that are not refused",
        "以 502、503、504 结束的请求占未被拒绝请求的 {fire}",
    ),
    meaning: both(
        "Users see errors. Refusals do not count here, so that a storm does not look like a failure of the network.",
        "用户已能看到错误页面。被拒绝的请求不计入，因此请求风暴不会被误判为网络故障。",
    ),
    steps: &[
        both(
            "What they fail with: `curl -s http://127.0.0.1:9128/metrics | grep 'outcomes_total{scope=\"request\"' | \
             sort -k2 -rn`.",
            "查看失败类型：`curl -s http://127.0.0.1:9128/metrics | grep 'outcomes_total{scope=\"request\"' | sort -k2 -rn`。",
        ),
        both(
            "`dns_*`: the name servers. `connect_*`, `first_byte_timeout`, `destination_*`: the uplink or one \
             upstream. `overload`: this box. The other alarms say what to do for each.",
            "`dns_*`：DNS 服务器；`connect_*`、`first_byte_timeout`、`destination_*`：出口线路或个别上游；`overload`：\
             本机资源。具体处理见对应告警。",
        ),
        both("`floodgate doctor` looks at all of it at once.", "执行 `floodgate doctor` 做一次全面检查。"),
    ],
};

pub(super) static LATENCY: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_mins(1),
    fire: Some(3.0),
    clear: Some(2.0),
    unit: Unit::Seconds,
    why: "Three seconds are what a person waits for a page; a minute outlasts one slow upstream's hiccup.",
    subject: None,
    placeholders: &["used"],
    title: both("Requests take long: p99 is {used}", "请求延迟过高：p99 为 {used}"),
    over: both("Requests are fast again: p99 is {used}", "请求延迟已恢复：p99 为 {used}"),
    compared: both(
        "The 99th percentile of the time of forwarded requests reaches {fire}",
        "转发请求耗时的 p99 达到 {fire}",
    ),
    meaning: both(
        "One request in a hundred takes longer than that, from its first byte to the end of its answer. Either \
         upstreams are slow (also large downloads over a full uplink), or this box is.",
        "每一百个请求中就有一个耗时超过该值（从请求首字节到响应结束）。原因可能是上游缓慢（包括带宽跑满时的大文件下载），\
         也可能是本机处理不过来。",
    ),
    steps: &[
        both(
            "This box? On the status page, the signal `accept_delay` above 0.5 (20 ms), or pressure above level 0: \
             `floodgate doctor`.",
            "是否本机：状态页中压力指标 `accept_delay` 超过 0.5（即 20 ms），或压力等级大于 0，则执行 `floodgate doctor`。",
        ),
        both(
            "Names or connections? `floodgate_dns_seconds` and `floodgate_upstream_connect_seconds` of the metrics: \
             where most take above 0.5 s, it is DNS or the uplink.",
            "是否 DNS 或链路：查看指标 `floodgate_dns_seconds` 和 `floodgate_upstream_connect_seconds`，若多数超过 0.5 秒，\
             则是 DNS 或出口线路的问题。",
        ),
        both(
            "Neither: a full uplink (`ip -s link` twice, ten seconds apart: bytes) or single slow upstreams; the \
             access log tells which.",
            "都不是：检查出口带宽是否跑满（间隔十秒执行两次 `ip -s link`，比较字节数），或个别上游缓慢（见访问日志）。",
        ),
    ],
};
