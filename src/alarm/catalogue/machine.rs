//! The box around the gateway: cores, memory, disks.

use std::time::Duration;

use super::{Row, Severity, Unit, both};

pub(super) static ACCESS_LOG_DROPS: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: None,
    clear: None,
    unit: Unit::Nothing,
    why: "Every lost line is one too many for whoever needs the log as evidence.",
    subject: None,
    placeholders: &["file", "why"],
    title: both("Lines of the access log are lost", "访问日志有丢失"),
    over: both("The access log is complete again", "访问日志已恢复完整"),
    compared: both("A line of the access log was dropped", "有访问日志被丢弃"),
    meaning: both(
        "The log in {file} cannot be written as fast as requests come, or not at all: {why}. The gateway does not wait \
         for it: lines are dropped and counted, traffic goes on.",
        "日志 {file} 的写入跟不上请求速度，或根本无法写入：{why}。网关不会等待日志：丢弃的行会被计数，流量不受影响。",
    ),
    steps: &[
        both("Is there room? `df -h {file}` and `df -i {file}`.", "检查磁盘空间：`df -h {file}` 和 `df -i {file}`。"),
        both(
            "May it be written? `ls -l {file}`; it must belong to the account the gateway runs as (`ps -o user= -C \
             floodgate`).",
            "检查权限：`ls -l {file}`，文件必须属于网关的运行账号（`ps -o user= -C floodgate`）。",
        ),
        both(
            "Is the disk slow? `iostat -x 5 3`: %util near 100. Then put the log onto another disk: `log.access` \
             (takes a restart).",
            "检查磁盘是否过慢：`iostat -x 5 3` 中 %util 接近 100。可将日志改到其他磁盘：`log.access`（需重启）。",
        ),
    ],
};

pub(super) static DISK_FULL: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_secs(10),
    fire: Some(0.9),
    clear: Some(0.85),
    unit: Unit::Share,
    why: "A tenth of a small disk is an hour or a day of logs: time to act. The gateway itself does without a disk.",
    subject: Some("file"),
    placeholders: &["file", "used", "limit"],
    title: both(
        "The disk of {file} is nearly full: {used} of {limit}",
        "{file} 所在磁盘即将写满：{used}，容量 {limit}",
    ),
    over: both(
        "The disk of {file} has room again: {used} of {limit}",
        "{file} 所在磁盘空间已恢复：{used}，容量 {limit}",
    ),
    compared: both("A disk that the gateway writes to is {fire} full", "网关写入的磁盘使用率达到 {fire}"),
    meaning: both(
        "When it is full, lines of the access log and alarms that wait for a delivery are lost. Traffic goes on.",
        "写满后访问日志和待发送的告警会丢失，流量不受影响。",
    ),
    steps: &[
        both(
            "What fills it: `du -xh --max-depth=2 $(df --output=target {file} | tail -1) 2>/dev/null | sort -h | tail \
             -20`.",
            "查看占用：`du -xh --max-depth=2 $(df --output=target {file} | tail -1) 2>/dev/null | sort -h | tail -20`。",
        ),
        both(
            "Old logs: `journalctl --vacuum-size=200M`, and delete rotated files of the access log. If the access log \
             itself was moved: `kill -USR1 $(pidof floodgate)` opens a new one.",
            "清理旧日志：`journalctl --vacuum-size=200M`，并删除已轮转的访问日志。若移走了当前访问日志，执行 \
             `kill -USR1 $(pidof floodgate)` 以重新打开文件。",
        ),
        both(
            "Deleted, and nothing became free? `lsof -nP +L1` shows who still holds deleted files.",
            "删除后空间未释放：`lsof -nP +L1` 可查看仍被占用的已删除文件。",
        ),
        both(
            "So that it does not come back: `logrotate` with a size for the access log.",
            "避免再次发生：用 `logrotate` 按大小轮转访问日志。",
        ),
    ],
};

pub(super) static CPU: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_mins(1),
    fire: Some(0.9),
    clear: Some(0.75),
    unit: Unit::Share,
    why: "A box may be busy for moments: a minute at nine tenths leaves nothing for a burst. iowait does not count as \
          busy.",
    subject: None,
    placeholders: &["used"],
    title: both("The cores are busy: {used}", "CPU 使用率过高：{used}"),
    over: both("The cores have time again: {used}", "CPU 使用率已回落：{used}"),
    compared: both("All cores together are {fire} busy", "整机 CPU 使用率达到 {fire}"),
    meaning: both(
        "Nothing is left for a burst: connections wait before they are looked at, and everybody's pages get slower.",
        "已没有余量应对突发流量：连接要排队等待处理，所有人的访问都会变慢。",
    ),
    steps: &[
        both(
            "Who is it: `top -b -n 1 -o %CPU | head -20`. `ksoftirqd` there means packets, not programs.",
            "查看占用者：`top -b -n 1 -o %CPU | head -20`。若是 `ksoftirqd`，说明压力来自网络报文而不是程序。",
        ),
        both(
            "floodgate: see on the status page which client makes most connections, and whether it storms.",
            "若是 floodgate：在状态页查看哪个客户端连接最多，是否存在请求风暴。",
        ),
        both(
            "ksoftirqd: `mpstat -P ALL 5 1` (%soft on one core alone: the network card has one queue), `ethtool -l \
             IFACE`.",
            "若是 ksoftirqd：`mpstat -P ALL 5 1`（若 %soft 只集中在一个核，说明网卡只有单队列），`ethtool -l IFACE`。",
        ),
        both(
            "Something else: move it to another box, or `renice 10 PID`.",
            "若是其他程序：迁移到其他机器，或执行 `renice 10 PID`。",
        ),
    ],
};

pub(super) static IO_WAIT: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_secs(30),
    fire: Some(0.3),
    clear: Some(0.15),
    unit: Unit::Share,
    why: "A proxy hardly uses its disk. The boxes that fell over had 82%; 30% for half a minute is no backup of a log.",
    subject: None,
    placeholders: &["used"],
    title: both("The cores wait for a disk: iowait {used}", "CPU 等待磁盘：iowait {used}"),
    over: both("The cores no longer wait for a disk: iowait {used}", "磁盘等待已恢复正常：iowait {used}"),
    compared: both("iowait of all cores together reaches {fire}", "整机 iowait 达到 {fire}"),
    meaning: both(
        "A gateway has little to do with its disk. If it waits for it nevertheless, memory is short and the kernel \
         reads programs from the disk again and again, or some program writes a lot.",
        "网关本身很少读写磁盘。出现明显等待，通常是内存不足、内核反复从磁盘换入程序，或有程序在大量写盘。",
    ),
    steps: &[
        both(
            "Memory or disk? `vmstat 1 10`: si and so above 0, or free memory near 0, are memory; then see the alarm \
             memory.",
            "区分内存还是磁盘：`vmstat 1 10` 中 si、so 大于 0 或空闲内存接近 0，则是内存问题，按内存告警处理。",
        ),
        both(
            "Who reads and writes: `pidstat -d 5 1` or `iotop -bon1`.",
            "查看读写者：`pidstat -d 5 1` 或 `iotop -bon1`。",
        ),
        both(
            "Is the disk itself ill? `iostat -x 5 3` (await above 100 ms at few requests), `dmesg -T | tail -50`.",
            "检查磁盘是否故障：`iostat -x 5 3`（请求不多但 await 超过 100 ms），`dmesg -T | tail -50`。",
        ),
    ],
};

pub(super) static MEMORY: Row = Row {
    severity: Severity::Critical,
    hold: Duration::from_secs(10),
    fire: Some(0.9),
    clear: Some(0.85),
    unit: Unit::Share,
    why: "What is available includes the page cache. With less than a tenth of 2 GB the kernel begins to take \
          programs' pages away.",
    subject: None,
    placeholders: &["used", "limit", "forecast"],
    title: both("The box has little memory left: {used} of {limit} used", "可用内存不足：已用 {used}，共 {limit}"),
    over: both("The box has memory again: {used} of {limit} used", "可用内存已恢复：已用 {used}，共 {limit}"),
    compared: both(
        "Memory that is not available (MemTotal less MemAvailable) reaches {fire}",
        "不可用内存（MemTotal 减 MemAvailable）达到 {fire}",
    ),
    meaning: both(
        "The kernel takes the page cache away first, so that programs are read from the disk again (iowait); then it \
         kills one. Time until then: {forecast}.",
        "内核会先回收页缓存，导致程序反复从磁盘读入（iowait 升高），随后开始杀进程。按目前趋势，距离耗尽：{forecast}。",
    ),
    steps: &[
        both(
            "Programs or kernel? `ps -eo rss,comm --sort=-rss | head`, and `grep -E 'MemAvailable|Slab|SUnreclaim' \
             /proc/meminfo`.",
            "区分程序还是内核：`ps -eo rss,comm --sort=-rss | head`，`grep -E 'MemAvailable|Slab|SUnreclaim' /proc/meminfo`。",
        ),
        both(
            "Kernel (SUnreclaim is large): `slabtop -o -s c | head -20`. TCP, TCPv6, sock_inode_cache are connections: \
             `floodgate doctor`.",
            "内核占用大（SUnreclaim 高）：`slabtop -o -s c | head -20`；若是 TCP、TCPv6、sock_inode_cache，说明是连接造成的，\
             执行 `floodgate doctor`。",
        ),
        both("A program: restart it or take it off this box.", "某个程序占用大：重启它，或将其移出本机。"),
    ],
};
