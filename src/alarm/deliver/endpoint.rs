//! What the files of a webhook say: its address, its secret, whom it trusts.
//!
//! Owns: reading and checking those files. Called by: the transport, `floodgate check`. Never: shows a secret.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hyper_rustls::ConfigBuilderExt;
use rustix::fs::OFlags;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use url::Url;

use super::failure::{Failure, Trouble};
use super::http::Client;
use crate::config::settings::{Settings, Webhook, WebhookPlace};
use crate::config::{Problem, webhook_address};

/// Bytes of an address or a secret.
const LONGEST: u64 = 4_096;
/// Bytes of a bundle of certificates: that of all public ones has 220 KB.
const LONGEST_BUNDLE: u64 = 4 << 20;
/// What is shorter is no key.
const KEY: usize = 8;

/// Whom this box trusts, read once for all webhooks.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust(Arc<OnceLock<ClientConfig>>);

impl Trust {
    /// The certificates this box keeps (`/etc/ssl`), else those that Mozilla trusts.
    fn usual(&self) -> Result<ClientConfig, Failure> {
        if let Some(config) = self.0.get() {
            return Ok(config.clone());
        }
        let config = match builder()?.with_native_roots() {
            Ok(builder) => builder.with_no_client_auth(),
            Err(_) => builder()?.with_webpki_roots().with_no_client_auth(),
        };
        Ok(self.0.get_or_init(|| config).clone())
    }
}

/// The provider is named: a second one that is linked in some day makes the default one a panic.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.map_err(|error| Failure::new(Trouble::Setting, error.to_string()))
}

/// Trusts nobody but these.
fn only(path: &Path) -> Result<ClientConfig, String> {
    let bundle = contents(path, LONGEST_BUNDLE)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bundle) {
        let certificate = certificate.map_err(|error| format!("is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    let builder = builder().map_err(|failure| failure.why)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Where a webhook is and how to get there.
pub(super) struct Endpoint {
    pub(super) url: Url,
    pub(super) secret: Option<String>,
    pub(super) client: Client,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One of them cannot be used: which, and why.
    pub(super) fn load(webhook: &Webhook, trust: &Trust) -> Result<Self, Failure> {
        let setting = |path: &Path| {
            let path = path.display().to_string();
            move |why: String| Failure::new(Trouble::Setting, format!("{path}: {why}"))
        };
        let url = match &webhook.place {
            WebhookPlace::Url(url) => url.clone(),
            WebhookPlace::UrlFile(path) => address(path, webhook.plain_http).map_err(setting(path))?,
            WebhookPlace::Command(_) => return Err(Failure::new(Trouble::Setting, "a program has no address")),
        };
        let secret = match &webhook.secret_file {
            Some(path) => Some(secret(path).map_err(setting(path))?),
            None => None,
        };
        let config = match &webhook.ca_file {
            Some(path) => only(path).map_err(setting(path))?,
            None => trust.usual()?,
        };
        Ok(Self { url, secret, client: Client::new(config) })
    }

    /// Other sides repeat what they were asked for: the path, its parts, the query, the secret do not get into a log.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let path = self.url.path();
        let values: Vec<_> = self.url.query_pairs().map(|(_, value)| value).collect();
        let values = values.iter().map(|value| &**value);
        // The whole before its parts.
        let secrets = self.url.query().into_iter().chain([path]).chain(path.split('/')).chain(values);
        let secrets = secrets.chain(self.secret.as_deref()).filter(|secret| secret.len() >= KEY);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }
}

/// The address in a file.
fn address(path: &Path, plain_http: bool) -> Result<Url, String> {
    let text = secret(path)?;
    webhook_address(&text, plain_http).map_err(|(reason, remedy)| format!("the address in it {reason}; {remedy}"))
}

/// The one line in a file that not everybody may read.
fn secret(path: &Path) -> Result<String, String> {
    let bytes = contents(path, LONGEST)?;
    let mode = path.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("everybody on this box may read it or write to it (mode {:o}); chmod 600", mode & 0o777));
    }
    let text = str::from_utf8(bytes.trim_ascii()).unwrap_or_default();
    if text.is_empty() || text.contains(char::is_control) {
        return Err("does not hold one line of text".to_owned());
    }
    Ok(text.to_owned())
}

/// A file, if it is one and not too long. A pipe in its place is not waited for.
fn contents(path: &Path, longest: u64) -> Result<Vec<u8>, String> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return Err("is no file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > longest {
        return Err(format!("is longer than {longest} bytes"));
    }
    Ok(bytes)
}

/// Whether a program can be run, and only by those who may change it.
fn program(path: &str) -> Result<(), String> {
    let about = Path::new(path).metadata().map_err(|error| error.to_string())?;
    if !about.is_file() || about.mode() & 0o111 == 0 {
        return Err("is no program; chmod +x".to_owned());
    }
    if about.mode() & 0o002 != 0 {
        return Err("everybody on this box may change it; chmod o-w".to_owned());
    }
    Ok(())
}

/// What is wrong with the files of the webhooks, as far as who asks may read them.
pub fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, webhook) in settings.webhooks.iter().enumerate() {
        let mut note = |key: &str, value: String, result: Result<(), String>| {
            let Err(why) = result else { return };
            let (reason, remedy) = why.split_once("; ").unwrap_or((&why, "name another file, or mend this one"));
            problems.push(Problem {
                key: format!("alarm.webhook[{index}].{key}"),
                value: format!("\"{value}\""),
                reason: reason.to_owned(),
                remedy: remedy.to_owned(),
                line: None,
            });
        };
        match &webhook.place {
            WebhookPlace::Url(_) => {}
            WebhookPlace::UrlFile(path) => {
                note("url-file", path.display().to_string(), address(path, webhook.plain_http).map(drop));
            }
            WebhookPlace::Command(command) => {
                let path = command.first().map(String::as_str).unwrap_or_default();
                note("command[0]", path.to_owned(), program(path));
            }
        }
        if let Some(path) = &webhook.secret_file {
            note("secret-file", path.display().to_string(), secret(path).map(drop));
        }
        if let Some(path) = &webhook.ca_file {
            note("ca-file", path.display().to_string(), only(path).map(drop));
        }
    }
    problems
}
