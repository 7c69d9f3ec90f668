//! The gateway itself: its configuration, its figures, its alarms, its defects.

use std::time::Duration;

use super::{Row, Severity, Unit, both};

pub(super) static RELOAD_FAILED: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: None,
    clear: None,
    unit: Unit::Nothing,
    why: "Somebody has just changed something and believes it to be in force. The next reload that succeeds ends it.",
    subject: None,
    placeholders: &["file", "why"],
    title: both("The new configuration was not taken over", "新配置未生效"),
    over: both("The configuration was taken over", "配置已成功加载"),
    compared: both(
        "A reload (SIGHUP) was refused; over at the next that succeeds",
        "重新加载配置（SIGHUP）失败；下次成功加载时恢复",
    ),
    meaning: both(
        "{file} was refused as a whole: {why}. The gateway goes on with what it had; after a restart it would not \
         start.",
        "配置文件 {file} 被整体拒绝：{why}。网关继续使用原有配置；但若此时重启，将无法启动。",
    ),
    steps: &[
        both(
            "`floodgate check --config {file}` tells every problem with its line and what to write instead.",
            "`floodgate check --config {file}` 会列出所有问题、所在行和改法。",
        ),
        both(
            "Is it a key that needs a restart? The log names it: `journalctl -u floodgate -n 50`. Then restart at a \
             quiet hour.",
            "若修改的配置项需要重启才能生效，日志中会指出：`journalctl -u floodgate -n 50`，请在业务低峰时重启。",
        ),
        both("Correct the file, then `systemctl reload floodgate`.", "修正后执行 `systemctl reload floodgate`。"),
    ],
};

pub(super) static NO_DATA: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_secs(10),
    fire: None,
    clear: None,
    unit: Unit::Nothing,
    why: "Ten readings in a row: a single one may fail for want of memory or of a descriptor.",
    subject: Some("source"),
    placeholders: &["source", "why"],
    title: both("{source} no longer reports", "{source} 已停止提供数据"),
    over: both("{source} reports again", "{source} 已恢复提供数据"),
    compared: both("A source that has reported before cannot be read any more", "原本可读的数据来源无法再读取"),
    meaning: both(
        "The figures that come from {source} are missing: {why}. Alarms that depend on them cannot be given. They are \
         not quiet because all is well.",
        "来自 {source} 的数据缺失：{why}。依赖它的告警无法触发，此时没有告警并不代表一切正常。",
    ),
    steps: &[
        both("Can it be read at all? `head -3 {source}` as root.", "以 root 身份检查能否读取：`head -3 {source}`。"),
        both(
            "It can: `systemctl restart floodgate` at a quiet hour, since some files are opened only at the start, \
             with rights that are given up afterwards.",
            "可以读取：部分文件只在启动时打开，之后权限已放弃，请在业务低峰时执行 `systemctl restart floodgate`。",
        ),
        both(
            "It cannot: see `dmesg -T | tail -50`, and whether /proc is mounted as before (`findmnt /proc`).",
            "无法读取：查看 `dmesg -T | tail -50`，并确认 /proc 的挂载没有变化（`findmnt /proc`）。",
        ),
    ],
};

pub(super) static DELIVERY: Row = Row {
    severity: Severity::Warning,
    hold: Duration::from_mins(1),
    fire: None,
    clear: None,
    unit: Unit::Nothing,
    why: "A delivery is tried again for a minute before anybody is told: a webhook that restarts is back by then.",
    subject: Some("webhook"),
    placeholders: &["webhook", "why"],
    title: both("Alarms do not arrive at {webhook}", "告警无法送达 {webhook}"),
    over: both("Alarms arrive at {webhook} again", "{webhook} 已恢复送达"),
    compared: both("No message was accepted by a delivery, though there are some", "有告警待发送，但投递持续失败"),
    meaning: both(
        "The last attempt failed: {why}. Messages wait on the disk and are sent in their order as soon as it works \
         again; only when that queue is full the oldest are dropped, and counted.",
        "最近一次失败的原因：{why}。待发送的告警保存在磁盘队列中，恢复后按顺序补发；仅当队列写满时才丢弃最早的告警，并计数。",
    ),
    steps: &[
        both(
            "Try it: `floodgate alarm test` says for each delivery whether it was accepted.",
            "测试：`floodgate alarm test` 会逐一报告每个接收端是否送达。",
        ),
        both(
            "Certificate: is the clock right (`timedatectl`), are the roots there (`ls -l \
             /etc/ssl/certs/ca-certificates.crt`)?",
            "证书错误：检查时钟（`timedatectl`）和根证书（`ls -l /etc/ssl/certs/ca-certificates.crt`）。",
        ),
        both(
            "Refused by the service: its key was deleted or changed (correct the url-file), or too many messages in a \
             minute.",
            "被服务端拒绝：机器人 key 已删除或更换（请更新 url-file），或每分钟发送过多。",
        ),
        both(
            "No connection: this box itself must get out to it; a firewall may let only others pass.",
            "无法连接：本机自身需要能访问该服务，防火墙可能只放行了其他机器。",
        ),
    ],
};

pub(super) static PANIC: Row = Row {
    severity: Severity::Warning,
    hold: Duration::ZERO,
    fire: None,
    clear: None,
    unit: Unit::Nothing,
    why: "There should be none; each is a defect that somebody should repair.",
    subject: None,
    placeholders: &["why"],
    title: both("A defect of the gateway was contained", "网关内部缺陷已被隔离"),
    over: both("The defect has not shown itself again", "该缺陷未再出现"),
    compared: both("A task of the gateway panicked", "网关的某个任务发生 panic"),
    meaning: both(
        "Serving one connection went wrong in a way that must not happen ({why}). That connection was lost; the others \
         go on, and no restart is needed.",
        "处理某条连接时出现了不应发生的错误（{why}）。该连接已中断，其他连接不受影响，无需重启。",
    ),
    steps: &[
        both(
            "Keep what the log says: `journalctl -u floodgate -n 2000 | grep -A 20 panicked > /tmp/panic.txt`.",
            "保存日志：`journalctl -u floodgate -n 2000 | grep -A 20 panicked > /tmp/panic.txt`。",
        ),
        both(
            "Report it with that, `floodgate --version`, and the request of the sample.",
            "将该日志、`floodgate --version` 的输出和样本中的请求一并反馈给开发者。",
        ),
        both(
            "If one client causes it again and again: keep it out at the firewall until it is repaired.",
            "若由某个客户端反复触发：修复前可在防火墙上阻断该客户端。",
        ),
    ],
};
