//! What a small box dies of: memory and tables of the kernel, and the pressure that is made of them.

use std::time::Duration;

use super::{Row, Severity, Unit, both};

/// Five readings: a burst that is over by then needs nobody.
const FIVE: Duration = Duration::from_secs(5);

pub(super) static PRESSURE: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_secs(10),
    fire: Some(1.0),
    clear: Some(0.0),
    unit: Unit::Level,
    why: "Level 1 is the first that does anything (docs/GUARD.md). Ten seconds are five times what a level is held at \
          least: what is shorter has passed before somebody has read about it. Each level is told by itself: 1 as info, 3 \
          as critical.",
    subject: Some("level"),
    placeholders: &["level", "signal", "used", "forecast"],
    title: both(
        "The box is short of something: pressure level {level}, because of {signal}",
        "本机资源紧张：压力等级 {level}，主因 {signal}",
    ),
    over: both("Pressure is below level {level} again", "压力等级已回落到 {level} 级以下"),
    compared: both("Pressure reaches {fire}", "压力达到 {fire}"),
    meaning: both(
        "The signal {signal} stands at {used} of what there is, and decides the level. At level 1 idle connections are \
         closed sooner, at 2 the clients with the most connections get no new ones, at 3 nobody does. Time until it \
         has run out: {forecast}.",
        "压力指标 {signal} 已用到 {used}，由它决定当前等级。1 级会更早关闭空闲连接，2 级不再接受占用最多的客户端的新连接，\
         3 级不再接受任何新连接。按目前趋势，距离耗尽：{forecast}。",
    ),
    steps: &[
        both(
            "`floodgate doctor` follows the chain from the symptom to the culprit and says what to change.",
            "执行 `floodgate doctor`：它会从症状一路查到原因，并给出需要修改的设置。",
        ),
        both(
            "On the status page, see which client holds most of the kernel's memory, and what it does.",
            "在状态页查看哪个客户端占用内核内存最多、在做什么。",
        ),
        both(
            "If nobody stands out, the box is too small for its load: give it more memory, or move clients to another \
             gateway.",
            "如果没有明显的异常客户端，说明本机规格不足：增加内存，或将部分客户端迁移到其他网关。",
        ),
    ],
};

pub(super) static SLAB: Row = Row {
    severity: Severity::Critical,
    hold: FIVE,
    fire: Some(0.7),
    clear: Some(0.6),
    unit: Unit::Share,
    why: "The whole is 15% of the RAM: boxes of 2 GB fell over with 300 MB in these caches. At 70% of it new \
          connections of the heaviest clients are refused (pressure level 2).",
    subject: None,
    placeholders: &["used", "limit", "forecast"],
    title: both(
        "TCP's socket objects fill the memory: {used} of {limit}",
        "TCP 套接字对象（slab）大量占用内存：{used}，上限 {limit}",
    ),
    over: both(
        "TCP's socket objects take less memory again: {used} of {limit}",
        "TCP 套接字对象（slab）占用已回落：{used}，上限 {limit}",
    ),
    compared: both(
        "TCP's slab caches reach {fire} of what they may take (15% of the RAM)",
        "TCP 的 slab 缓存达到允许值（内存的 15%）的 {fire}",
    ),
    meaning: both(
        "Every connection costs the kernel some KB of objects (caches TCP, TCPv6, sock_inode_cache) that no sysctl \
         limits. Near {limit} they displace the page cache, the disk is read again and again, and the box stands \
         still. Time until then: {forecast}.",
        "每条连接都要占用数 KB 内核内存（slab 中的 TCP、TCPv6、sock_inode_cache 对象），且没有任何 sysctl 可以限制。接近 {limit} \
         时会挤占页缓存，磁盘被反复读取，整机卡死。按目前趋势，距离上限：{forecast}。",
    ),
    steps: &[
        both(
            "`floodgate doctor` names which cache grows and who makes it grow.",
            "执行 `floodgate doctor`，确认是哪个缓存在增长、由谁造成。",
        ),
        both(
            "Connections by client: `ss -Htn state established | awk '{print $4}' | sed 's/:[0-9]*$//' | sort | uniq \
             -c | sort -rn | head`. Those of other programs: `ss -tnp | grep -v floodgate`.",
            "按客户端统计连接：`ss -Htn state established | awk '{print $4}' | sed 's/:[0-9]*$//' | sort | uniq -c | sort -rn | \
             head`；其他程序的连接：`ss -tnp | grep -v floodgate`。",
        ),
        both(
            "Lower what may be open: `limits.connections`, `limits.client-connections`, `timeouts.tunnel-idle`; then \
             `systemctl reload floodgate`.",
            "收紧允许的连接：调低 `limits.connections`、`limits.client-connections`、`timeouts.tunnel-idle`，\
             然后执行 `systemctl reload floodgate`。",
        ),
    ],
};

pub(super) static TCP_MEMORY: Row = Row {
    severity: Severity::Critical,
    hold: FIVE,
    fire: Some(0.7),
    clear: Some(0.6),
    unit: Unit::Share,
    why: "As the signal `tcp_memory` has it, 70% are 87% of the second number of net.ipv4.tcp_mem: shortly before the \
          kernel shrinks everybody's windows.",
    subject: None,
    placeholders: &["used", "limit", "forecast"],
    title: both("TCP's buffers are nearly used up: {used} of {limit}", "TCP 缓冲区内存即将耗尽：{used}，上限 {limit}"),
    over: both("TCP's buffers have room again: {used} of {limit}", "TCP 缓冲区内存已回落：{used}，上限 {limit}"),
    compared: both("The signal tcp_memory reaches {fire}", "压力指标 tcp_memory 达到 {fire}"),
    meaning: both(
        "Data that nobody has read, or acknowledged, waits in the kernel. At the second number of `net.ipv4.tcp_mem` \
         everybody's windows shrink, at the third what arrives is thrown away and connections are reset. Time until \
         then: {forecast}.",
        "未被读取或未被确认的数据滞留在内核中。达到 `net.ipv4.tcp_mem` 的第二个值时，所有连接的窗口都会缩小；达到第三个值时，\
         收到的数据会被丢弃，连接被重置。按目前趋势，距离上限：{forecast}。",
    ),
    steps: &[
        both(
            "Who holds it: in `ss -tnm`, the numbers after r and t in skmem are bytes of a connection. Many with the \
             same client are downloads that it does not read.",
            "查看占用者：`ss -tnm` 输出的 skmem 中，r 和 t 后的数字是该连接占用的字节数。同一客户端大量出现，说明它没有在读取下载的数据。",
        ),
        both(
            "Limit what one connection may take to 1 MiB: `sysctl -w net.ipv4.tcp_rmem=\"4096 131072 1048576\"` and \
             `sysctl -w net.ipv4.tcp_wmem=\"4096 16384 1048576\"`.",
            "将单条连接的缓冲区上限设为 1 MiB：`sysctl -w net.ipv4.tcp_rmem=\"4096 131072 1048576\"`，\
             `sysctl -w net.ipv4.tcp_wmem=\"4096 16384 1048576\"`。",
        ),
        both(
            "Only if `free -m` shows memory to spare, raise the three numbers of `sysctl net.ipv4.tcp_mem` (pages of 4 \
             KB).",
            "仅当 `free -m` 显示内存有富余时，才调高 `sysctl net.ipv4.tcp_mem` 的三个值（单位为 4 KB 的页）。",
        ),
    ],
};

pub(super) static ORPHANS: Row = Row {
    severity: Severity::Warning,
    hold: FIVE,
    fire: Some(0.4),
    clear: Some(0.3),
    unit: Unit::Share,
    why: "From half of the limit on the kernel resets those whose peer is silent (tcp_check_oom): a tenth before.",
    subject: None,
    placeholders: &["used", "limit", "forecast"],
    title: both("Many orphaned sockets: {used} of {limit}", "孤儿套接字（orphan）过多：{used}，上限 {limit}"),
    over: both("Fewer orphaned sockets again: {used} of {limit}", "孤儿套接字（orphan）已回落：{used}，上限 {limit}"),
    compared: both(
        "Orphans reach {fire} of net.ipv4.tcp_max_orphans",
        "孤儿套接字达到 net.ipv4.tcp_max_orphans 的 {fire}",
    ),
    meaning: both(
        "Orphans are connections that their program has closed and the kernel still has data of to deliver, mostly to \
         clients that have vanished; up to 64 KB each. From half of the limit on the kernel cuts some off, at the \
         limit all: answers are lost. Time until then: {forecast}.",
        "孤儿套接字是程序已关闭、但内核仍有数据待发送的连接，对端多半已经消失，每个最多占用 64 KB。超过上限的一半时，\
         内核开始强制断开其中一部分；达到上限时全部断开，应答会丢失。按目前趋势，距离上限：{forecast}。",
    ),
    steps: &[
        both(
            "Whom they wait for: `ss -Htn state fin-wait-1 state last-ack state closing | awk '{print $NF}' | \
             sed 's/:[0-9]*$//' | sort | uniq -c | sort -rn | head`.",
            "查看它们在等待谁：`ss -Htn state fin-wait-1 state last-ack state closing | awk '{print $NF}' | \
             sed 's/:[0-9]*$//' | sort | uniq -c | sort -rn | head`。",
        ),
        both(
            "Let the kernel give up sooner: `sysctl -w net.ipv4.tcp_orphan_retries=3` and `sysctl -w \
             net.ipv4.tcp_fin_timeout=20`.",
            "让内核更早放弃：`sysctl -w net.ipv4.tcp_orphan_retries=3`，`sysctl -w net.ipv4.tcp_fin_timeout=20`。",
        ),
        both(
            "One address with most of them: look for what is wrong on the way to it (a broken radio link, a firewall \
             that forgets connections).",
            "若集中在某个地址，检查到它的链路（无线信号差、中间防火墙丢失会话等）。",
        ),
    ],
};

pub(super) static TIME_WAIT: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_secs(10),
    fire: Some(0.8),
    clear: Some(0.6),
    unit: Unit::Share,
    why: "The table may be full without harm for a moment, since the kernel then does without; at 83% pressure level 1 \
          begins. An entry lasts 60 s, so that ten seconds are no burst.",
    subject: None,
    placeholders: &["used", "limit"],
    title: both("Many connections in TIME_WAIT: {used} of {limit}", "TIME_WAIT 连接过多：{used}，上限 {limit}"),
    over: both("Fewer connections in TIME_WAIT again: {used} of {limit}", "TIME_WAIT 连接已回落：{used}，上限 {limit}"),
    compared: both(
        "TIME_WAIT reaches {fire} of net.ipv4.tcp_max_tw_buckets",
        "TIME_WAIT 达到 net.ipv4.tcp_max_tw_buckets 的 {fire}",
    ),
    meaning: both(
        "Whoever closes first keeps a record of the connection for 60 s. Towards one destination each occupies a local \
         port. Beyond the limit the kernel keeps none, and late packets may meet a new connection.",
        "主动关闭的一方会将连接记录保留 60 秒；对同一目标，每条记录占用一个本地端口。超过上限后内核不再保留记录，\
         迟到的报文可能被新连接误收。",
    ),
    steps: &[
        both(
            "Towards whom: `ss -Htn state time-wait | awk '{print $4}' | sort | uniq -c | sort -rn | head`. Addresses \
             of clients change their port each time, destinations do not.",
            "查看对端分布：`ss -Htn state time-wait | awk '{print $4}' | sort | uniq -c | sort -rn | head`。\
             目标地址端口固定，客户端的端口则每次不同。",
        ),
        both(
            "Towards a destination: `sysctl -w net.ipv4.tcp_tw_reuse=1` lets a port be used again after a second.",
            "集中在某个目标时：`sysctl -w net.ipv4.tcp_tw_reuse=1`，端口一秒后即可复用。",
        ),
        both(
            "Towards clients: see on the status page who opens so many connections. floodgate itself closes without \
             TIME_WAIT from half of the limit on; if they still grow, they belong to another program (`ss -tnp`).",
            "集中在客户端时：在状态页查看谁在频繁新建连接。超过上限的一半后，floodgate 自身关闭连接不再产生 TIME_WAIT；\
             若仍在增长，则属于其他程序（`ss -tnp`）。",
        ),
    ],
};

pub(super) static DESCRIPTORS: Row = Row {
    severity: Severity::Critical,
    hold: FIVE,
    fire: Some(0.8),
    clear: Some(0.7),
    unit: Unit::Share,
    why: "At nine tenths of what is there clients are closed unanswered; a tenth before.",
    subject: None,
    placeholders: &["used", "limit"],
    title: both("Open files near the limit: {used} of {limit}", "文件描述符即将耗尽：{used}，上限 {limit}"),
    over: both("Open files away from the limit again: {used} of {limit}", "文件描述符已回落：{used}，上限 {limit}"),
    compared: both(
        "Open files of the gateway reach {fire} of RLIMIT_NOFILE",
        "网关打开的文件描述符达到 RLIMIT_NOFILE 的 {fire}",
    ),
    meaning: both(
        "Every client connection takes a file descriptor, and one more for its destination. From 90% on new \
         connections are closed unanswered.",
        "每条客户端连接占用一个文件描述符，连接目标再占用一个。超过 90% 后，新连接会被直接关闭，不作应答。",
    ),
    steps: &[
        both(
            "See on the status page who has most connections open, and whether the tunnels are idle.",
            "在状态页查看谁打开的连接最多，隧道是否空闲。",
        ),
        both(
            "Raise the limit to twice `limits.connections` or more: `systemctl edit floodgate`, there \
             `LimitNOFILE=65536` under `[Service]`; a restart puts it in force.",
            "将上限提高到 `limits.connections` 的两倍以上：执行 `systemctl edit floodgate`，在 `[Service]` 下写入 \
             `LimitNOFILE=65536`，重启服务后生效。",
        ),
        both(
            "Without a restart: lower `timeouts.tunnel-idle` and `limits.client-connections`, then `systemctl reload \
             floodgate`.",
            "不重启的办法：调低 `timeouts.tunnel-idle` 和 `limits.client-connections`，然后执行 `systemctl reload floodgate`。",
        ),
    ],
};

pub(super) static PORTS: Row = Row {
    severity: Severity::Warning,
    hold: FIVE,
    fire: Some(0.75),
    clear: Some(0.6),
    unit: Unit::Share,
    why: "At 90% further connections to that destination are refused; at a few hundred new ones a second the last 15% \
          are gone within ten seconds or twenty.",
    subject: Some("destination"),
    placeholders: &["destination", "used", "limit"],
    title: both(
        "Local ports towards {destination} run out: {used} of {limit}",
        "到 {destination} 的本地端口即将耗尽：{used}，上限 {limit}",
    ),
    over: both(
        "Enough local ports towards {destination} again: {used} of {limit}",
        "到 {destination} 的本地端口占用已回落：{used}，上限 {limit}",
    ),
    compared: both(
        "Connections to one destination reach {fire} of the local ports (net.ipv4.ip_local_port_range)",
        "到同一目标的连接达到本地端口数（net.ipv4.ip_local_port_range）的 {fire}",
    ),
    meaning: both(
        "Each connection to the same address and port needs a local port of its own, and there are {limit}. From 90% \
         on further requests for it get 503. Other destinations are not concerned.",
        "到同一地址和端口的每条连接都需要一个独立的本地端口，总共只有 {limit} 个。超过 90% 后，对它的新请求将得到 503；\
         其他目标不受影响。",
    ),
    steps: &[
        both(
            "Who wants it: see the clients on the status page. Thousands of connections to one destination are one \
             program's.",
            "查看是谁在访问：见状态页的客户端列表。对同一目标有数千条连接，通常是某个程序造成的。",
        ),
        both(
            "More ports: `sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"`.",
            "扩大端口范围：`sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"`。",
        ),
        both(
            "If `ss -Htn state time-wait dst {destination} | wc -l` is most of them: `sysctl -w \
             net.ipv4.tcp_tw_reuse=1`.",
            "如果 `ss -Htn state time-wait dst {destination} | wc -l` 占了大部分：`sysctl -w net.ipv4.tcp_tw_reuse=1`。",
        ),
    ],
};

pub(super) static LISTEN_OVERFLOWS: Row = Row {
    severity: Severity::Critical,
    hold: Duration::from_secs(3),
    fire: Some(5.0),
    clear: Some(0.5),
    unit: Unit::PerSecond,
    why: "A lost handshake costs its client a second or more. Five a second for three seconds are no single burst; one \
          browser opens six.",
    subject: None,
    placeholders: &["rate"],
    title: both(
        "Connections are lost since an accept queue is full: {rate} a second",
        "全连接队列（accept 队列）溢出，每秒丢失 {rate} 个连接",
    ),
    over: both("Accept queues have room again", "全连接队列（accept 队列）已恢复正常"),
    compared: both(
        "Handshakes dropped by the kernel (ListenDrops) reach {fire}",
        "内核丢弃的握手（ListenDrops）达到{fire}",
    ),
    meaning: both(
        "Clients connect faster than a program accepts. The kernel drops their handshakes, and each of them waits for \
         a second or more before it tries again. The counter goes for the whole box: the program need not be \
         floodgate.",
        "客户端建立连接的速度超过了程序接受的速度，内核丢弃握手，客户端要等一秒以上才会重试。该计数针对整机，\
         溢出的未必是 floodgate。",
    ),
    steps: &[
        both(
            "Which listener: in `ss -lnt`, Recv-Q (waiting) near Send-Q (places).",
            "定位监听端口：在 `ss -lnt` 中查看 Recv-Q（等待数）接近 Send-Q（队列长度）的一行。",
        ),
        both(
            "It is not floodgate's: look at that program; `floodgate doctor` tells more.",
            "如果不是 floodgate 的端口：检查对应程序；`floodgate doctor` 会给出更多线索。",
        ),
        both(
            "It is floodgate's, with few places (128): `sysctl -w net.core.somaxconn=4096`, then restart it.",
            "如果是 floodgate 的端口且队列很短（128）：执行 `sysctl -w net.core.somaxconn=4096`，然后重启 floodgate。",
        ),
        both(
            "It is floodgate's, with 4,096 places: its cores are busy. See `top -H -p $(pidof floodgate)` and who \
             storms.",
            "如果队列已是 4096：说明 CPU 繁忙，用 `top -H -p $(pidof floodgate)` 查看，并找出冲击来源。",
        ),
    ],
};

pub(super) static CONNTRACK: Row = Row {
    severity: Severity::Critical,
    hold: FIVE,
    fire: Some(0.8),
    clear: Some(0.7),
    unit: Unit::Share,
    why: "When the table is full, every new connection of everybody is dropped, SSH included: a fifth of it is the \
          time to act.",
    subject: None,
    placeholders: &["used", "limit", "forecast"],
    title: both(
        "The table of connection tracking fills: {used} of {limit}",
        "连接跟踪表（conntrack）即将占满：{used}，上限 {limit}",
    ),
    over: both(
        "The table of connection tracking has room again: {used} of {limit}",
        "连接跟踪表（conntrack）已回落：{used}，上限 {limit}",
    ),
    compared: both(
        "Tracked connections reach {fire} of nf_conntrack_max",
        "连接跟踪条目达到 nf_conntrack_max 的 {fire}",
    ),
    meaning: both(
        "The kernel's firewall remembers every connection; of one whose client has vanished, for five days by default. \
         When the table is full, it drops each new connection to or through this box, yours too. Time until then: \
         {forecast}.",
        "内核防火墙会跟踪每条连接；客户端已消失的连接默认要保留五天。表满之后，所有进出本机的新连接都会被丢弃，包括运维登录（SSH）。\
         按目前趋势，距离占满：{forecast}。",
    ),
    steps: &[
        both(
            "More room at once (256 bytes and more each): `sysctl -w net.netfilter.nf_conntrack_max=131072`.",
            "立即扩容（每条 256 字节以上）：`sysctl -w net.netfilter.nf_conntrack_max=131072`。",
        ),
        both(
            "Who fills it: `conntrack -L 2>/dev/null | grep -o 'src=[^ ]*' | sort | uniq -c | sort -rn | head`.",
            "查看来源：`conntrack -L 2>/dev/null | grep -o 'src=[^ ]*' | sort | uniq -c | sort -rn | head`。",
        ),
        both(
            "Forget the vanished after two hours: `sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=7440`. \
             What is in the table already keeps its time.",
            "两小时后即清除已失联的连接：`sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=7440`。已在表中的条目仍按原时限。",
        ),
    ],
};
