//! Why a message did not arrive: in one word, in a sentence, and what to do about it.

use std::time::Duration;

use crate::outcome::labelled;

labelled! {
    /// What kind of trouble it is.
    Trouble {
        /// A file of the webhook cannot be used: the address, the secret, the certificates, the program.
        Setting = "setting",
        /// The name of the host is not resolved.
        Name = "name",
        /// Nobody accepts the connection, or it breaks.
        Connection = "connection",
        /// No answer in time.
        Timeout = "timeout",
        /// The server's certificate is not to be trusted.
        Certificate = "certificate",
        /// The clock of this box is wrong, as far as the other side tells.
        Clock = "clock",
        /// The other side has a defect: a status 5xx, or an answer that is none.
        Server = "server",
        /// More was sent than is permitted.
        Rate = "rate",
        /// The other side does not let us in: a wrong key, an address that is no longer one.
        Refused = "refused",
        /// The other side does not take this message, and never will.
        Message = "message",
        /// The program failed.
        Program = "program",
    }
}

impl Trouble {
    /// Whether it stays until somebody does something about it, so that it is told and counted apart.
    pub const fn is_lasting(self) -> bool {
        matches!(self, Self::Setting | Self::Certificate | Self::Refused | Self::Message)
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Setting => "mend the file, then send SIGHUP; `floodgate check` tells whether it is right",
            Self::Name => "check the host in the address, and the name servers of this box (getent hosts HOST)",
            Self::Connection => "check that the host is reachable from this box: route, firewall, port (curl -v)",
            Self::Timeout => "check the way there (curl -v); the message is sent again",
            Self::Certificate => {
                "if it is a private CA, name its certificate in ca-file; update ca-certificates; else somebody is in between"
            }
            Self::Clock => "set the clock of this box (timedatectl; systemctl status systemd-timesyncd)",
            Self::Server => "the other side is in trouble; the message is sent again",
            Self::Rate => "nothing: it is sent again later; fewer alarms (severity, silences) would help",
            Self::Refused => "make a new address or key on the other side and put it into url-file or secret-file",
            Self::Message => "check format and mention; if they are right, this is a defect of floodgate",
            Self::Program => "run it by hand with a message on its standard input",
        }
    }
}

/// A message did not arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// In one word.
    pub trouble: Trouble,
    /// In a sentence without the address or a key.
    pub why: String,
    /// The other side asks not to be asked before.
    pub wait: Option<Duration>,
}

impl Failure {
    /// Without a wait.
    pub fn new(trouble: Trouble, why: impl Into<String>) -> Self {
        Self { trouble, why: line(&why.into()), wait: None }
    }
}

/// At most so many characters of what a stranger said.
const SHOWN: usize = 200;

/// On one line, without control characters, cut.
pub(super) fn line(text: &str) -> String {
    let mut line: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}
