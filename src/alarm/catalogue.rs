//! Every alarm there is, in one table.

use crate::outcome::labelled;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// To be known.
    Info,
    /// Somebody should look today.
    Warning,
    /// Users suffer, or are about to.
    Critical,
}

labelled! {
    /// One of them; the label is its id.
    Alarm {
        /// A client asks for this box itself, again and again.
        SelfTargetStorm = "self_target_storm",
        /// A client comes back faster than its limits allow, or with what is no request.
        ReconnectStorm = "reconnect_storm",
        /// A client is kept out in the kernel; resolved when it is let in again.
        ClientFenced = "client_fenced",
        /// Fencing did not lower the load, or cannot be built.
        FenceUseless = "fence_useless",
        /// The box is short of something: the level of pressure is above 0.
        PressureLevel = "pressure_level",
        /// Socket objects of TCP fill the memory.
        Slab = "slab",
        /// TCP's buffers come near `net.ipv4.tcp_mem`.
        TcpMemory = "tcp_memory",
        /// Orphans come near `net.ipv4.tcp_max_orphans`.
        Orphans = "orphans",
        /// Connections in `TIME_WAIT` come near `net.ipv4.tcp_max_tw_buckets`.
        TimeWait = "time_wait",
        /// Open files come near the limit of the process.
        Descriptors = "descriptors",
        /// Local ports towards one destination run out.
        Ports = "ports",
        /// Connections are lost since an accept queue is full.
        ListenOverflows = "listen_overflows",
        /// The kernel's connection tracking comes near `nf_conntrack_max`.
        Conntrack = "conntrack",
        /// Names cannot be resolved.
        DnsFailure = "dns_failure",
        /// Name servers do not answer in time.
        DnsTimeout = "dns_timeout",
        /// An upstream does not accept connections in time.
        ConnectTimeout = "connect_timeout",
        /// An upstream does not answer in time.
        ResponseTimeout = "response_timeout",
        /// An upstream answers with something that is not HTTP.
        InvalidResponse = "invalid_response",
        /// A destination failed many times in a row and is answered for from memory.
        DestinationFenced = "destination_fenced",
        /// Many requests fail.
        ErrorRatio = "error_ratio",
        /// Requests take long.
        Latency = "latency",
        /// Lines of the access log are lost.
        AccessLogDrops = "access_log_drops",
        /// A disk that we write to is full, or nearly.
        DiskFull = "disk_full",
        /// The cores are busy.
        Cpu = "cpu",
        /// The cores wait for a disk.
        IoWait = "io_wait",
        /// The box has little memory left.
        Memory = "memory",
        /// A new configuration was not taken over.
        ReloadFailed = "reload_failed",
        /// A source of figures has stopped reporting.
        NoData = "no_data",
        /// Alarms do not arrive: a webhook, its certificate, or the clock of this box.
        Delivery = "delivery",
        /// A defect of the gateway was contained.
        Panic = "panic",
    }
}
