//! A capture of a living interface, handed to the analysis packet by packet.
//!
//! Owns: the packet socket (packet(7)) and its time. Called by: the command line, for `--capture`. Never: keeps a packet, sends
//! one, or makes the interface promiscuous.

use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pnet::datalink::{self, Channel, ChannelType, Config, DataLinkReceiver};

/// Packets of an interface are at most so long, segmentation offload included (`GSO_MAX_SIZE`, and headers).
const PACKET: usize = 256 << 10;
/// How long a silent interface is waited for before the clock is looked at.
const PATIENCE: Duration = Duration::from_millis(200);
/// Link types (<https://www.tcpdump.org/linktypes.html>) and the kernel's numbers for them (`linux/if_arp.h`).
const LINKS: [(&str, u32); 4] = [("1", 1), ("772", 1), ("65534", 101), ("512", 9)];

/// A capture that is made while it is read: legacy pcap, microseconds.
pub struct Live {
    receiver: Box<dyn DataLinkReceiver>,
    until: Instant,
    /// What of the file was not read yet.
    pending: Vec<u8>,
    read: usize,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Live {
    /// Listens on this interface for so long, from now on.
    ///
    /// # Errors
    /// There is no such interface, its packets are not understood, or `CAP_NET_RAW` is missing; in words.
    pub fn open(name: &str, time: Duration) -> Result<Self, String> {
        let interfaces = datalink::interfaces();
        let Some(interface) = interfaces.iter().find(|interface| interface.name == name) else {
            // An interface may have any name, one that commands the terminal too.
            let names = interfaces.iter().take(16).map(|interface| interface.name.escape_debug().to_string());
            let names: Vec<_> = names.collect();
            return Err(format!("there is no interface {}; there are {}", name.escape_debug(), names.join(", ")));
        };
        let kind = std::fs::read_to_string(format!("/sys/class/net/{}/type", interface.name)).unwrap_or_default();
        let Some((_, link)) = LINKS.into_iter().find(|(number, _)| *number == kind.trim()) else {
            return Err(format!("{name}: packets of link type {} are not understood", kind.trim().escape_debug()));
        };
        let config = Config {
            write_buffer_size: 0,
            read_buffer_size: PACKET,
            read_timeout: Some(PATIENCE),
            channel_type: ChannelType::Layer2,
            promiscuous: false,
            ..Config::default()
        };
        let receiver = match datalink::channel(interface, config) {
            Ok(Channel::Ethernet(_, receiver)) => receiver,
            Ok(_) => return Err(format!("{name}: the system gives no packets of this interface")),
            Err(error) => return Err(format!("{name}: {error}; run this as root or with CAP_NET_RAW")),
        };
        let mut pending = Vec::with_capacity(PACKET);
        // The header of a file: version 2.4, no time zone, packets of any length.
        pending.extend(0xa1b2_c3d4_u32.to_le_bytes());
        pending.extend([2, 0, 4, 0]);
        pending.extend([0; 8]);
        pending.extend(u32::try_from(PACKET).unwrap_or(u32::MAX).to_le_bytes());
        pending.extend(link.to_le_bytes());
        Ok(Self { receiver, until: Instant::now() + time, pending, read: 0 })
    }

    /// The record of the next packet; false when the time is over.
    fn advance(&mut self) -> io::Result<bool> {
        self.pending.clear();
        self.read = 0;
        while Instant::now() < self.until {
            let packet = match self.receiver.next() {
                Ok(packet) => packet,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
            for part in [seconds, now.subsec_micros(), length, length] {
                self.pending.extend(part.to_le_bytes());
            }
            self.pending.extend_from_slice(packet);
            return Ok(true);
        }
        Ok(false)
    }
}

/// Nothing came in time, or a signal did.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Read for Live {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.pending.len() && !self.advance()? {
            return Ok(0);
        }
        let rest = self.pending.get(self.read..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.read += length;
        Ok(length)
    }
}
