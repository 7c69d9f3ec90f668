//! Servers that record what they are asked and answer as they are told, messages, webhooks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::alarm::Language;
use crate::alarm::deliver::endpoint::Trust;
use crate::alarm::deliver::failure::Failure;
use crate::alarm::deliver::item::Item;
use crate::alarm::deliver::kinds;
use crate::alarm::deliver::report::Report;
use crate::alarm::deliver::transport::{Transport, Way};
use crate::alarm::{Alarm, Message, Stage};
use crate::config::settings::{MessageFormat, Webhook, WebhookKind, WebhookPlace};

pub(super) fn message(subject: &str, stage: Stage) -> Message {
    let first = SystemTime::now() - Duration::from_mins(1);
    Message {
        alarm: Alarm::ConnectTimeout,
        stage,
        gateway: "gate-1".to_owned(),
        subject: subject.to_owned(),
        first,
        last: first + Duration::from_secs(30),
        count: 1_272,
        window: Duration::from_mins(5),
        values: vec![("limit", "5 s".to_owned())],
        sample: None,
    }
}

pub(super) fn webhook(kind: WebhookKind, place: WebhookPlace) -> Webhook {
    Webhook {
        kind,
        place,
        plain_http: true,
        secret_file: None,
        ca_file: None,
        severity: crate::alarm::Severity::Info,
        language: Some(Language::English),
        format: MessageFormat::Text,
        mention: Vec::new(),
    }
}

/// One of this kind at this address, with what a robot's address has in it.
pub(super) fn at(kind: WebhookKind, url: &str) -> Webhook {
    webhook(kind, WebhookPlace::Url(url.parse().unwrap()))
}

pub(super) fn item(webhook: &Webhook, message: &Message) -> Item {
    Item::new(message, kinds::pack(webhook, message, Language::English), SystemTime::now())
}

/// Sends one message there, past the queues.
pub(super) async fn send(webhook: &Webhook) -> Result<(), Failure> {
    let way = Way::new(webhook.clone(), Trust::default(), Arc::new(Report::default()));
    way.send(&item(webhook, &message("203.0.113.7:443", Stage::Firing))).await
}

/// A file only we can read.
pub(super) fn secret_file(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Says this, and closes.
    Say(String),
    /// Says this, and nothing more, for ever.
    Stop(String),
    /// Says this, and then more of a body than there is memory.
    Endless(String),
    /// Breaks the connection.
    Reset,
    /// Does not even begin to speak TLS.
    Mute,
}

/// A complete answer.
pub(super) fn answer(status: &str, fields: &str, body: &str) -> Act {
    Act::Say(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len()))
}

/// That of a robot that is content.
pub(super) fn content() -> Act {
    answer("200 OK", "", r#"{"errcode":0,"errmsg":"ok","code":0}"#)
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    /// In lower case.
    pub(super) head: String,
    pub(super) body: String,
}

impl Request {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        Some(line.trim())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    news: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Does the same with every request.
    pub(super) async fn start(act: Act) -> Self {
        Self::scripted(move |_| act.clone(), None).await
    }

    /// `act` knows how many requests came before; it is asked for a connection that is not even read from, too.
    pub(super) async fn scripted(act: impl Fn(usize) -> Act + Send + Sync + 'static, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, news) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (seen, told, act) = (Arc::clone(&requests), Arc::clone(&news), Arc::new(act));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, told, act, tls) = (Arc::clone(&seen), Arc::clone(&told), Arc::clone(&act), tls.clone());
                tokio::spawn(async move {
                    let act = act(seen.lock().len());
                    match (act, tls) {
                        (Act::Mute, _) => {
                            told.notify_one();
                            std::future::pending::<()>().await;
                            drop(stream);
                        }
                        (Act::Reset, _) => {
                            let mut stream = stream;
                            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                            read(&mut stream, &seen, &told).await;
                        }
                        (act, None) => speak(stream, act, &seen, &told).await,
                        (act, Some(tls)) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                speak(stream, act, &seen, &told).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests, news, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/cgi-bin/webhook/send?key=0123-secret-4567", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().clone()
    }

    /// Waits until there are so many.
    pub(super) async fn asked(&self, times: usize) -> Vec<Request> {
        loop {
            let news = self.news.notified();
            let requests = self.requests();
            if requests.len() >= times {
                return requests;
            }
            news.await;
        }
    }

    /// Waits until somebody has come.
    pub(super) async fn met(&self) {
        self.news.notified().await;
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), seen: &Mutex<Vec<Request>>, told: &Notify) -> bool {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 4_096]);
    loop {
        // A TLS handshake, and this is none: a real server leaves, too.
        if bytes.first() == Some(&0x16) {
            return false;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let request = Request { head, body: body.to_owned() };
            let length = request.field("content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                seen.lock().push(request);
                told.notify_one();
                return true;
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return false,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}

async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, act: Act, seen: &Mutex<Vec<Request>>, told: &Notify) {
    if !read(&mut stream, seen, told).await {
        return;
    }
    // The client may leave at any time.
    match act {
        Act::Say(text) => {
            stream.write_all(text.as_bytes()).await.unwrap_or_default();
            stream.shutdown().await.unwrap_or_default();
        }
        Act::Stop(text) => {
            stream.write_all(text.as_bytes()).await.unwrap_or_default();
            stream.flush().await.unwrap_or_default();
            std::future::pending::<()>().await;
        }
        Act::Endless(text) => {
            let mut more = stream.write_all(text.as_bytes()).await;
            let much = vec![b'x'; 4_096];
            while more.is_ok() {
                more = stream.write_all(&much).await;
            }
        }
        Act::Reset | Act::Mute => {}
    }
}

/// When a certificate is valid: years.
pub(super) const NOW: (i32, i32) = (2020, 4000);

/// A server's certificate for these names, and its CA in PEM.
pub(super) fn certificate(names: &[&str], (begin, end): (i32, i32)) -> (TlsAcceptor, String) {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "a CA of our own");
    let ca_key = KeyPair::generate().unwrap();
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut leaf = CertificateParams::new(names).unwrap();
    (leaf.not_before, leaf.not_after) = (date_time_ymd(begin, 1, 1), date_time_ymd(end, 1, 1));
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let certificates = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), pem)
}
