//! The way to one destination: its address and its secret read, a message posted, the answer judged.
//!
//! Owns: [`Transport`] and what a webhook makes of it. Called by: the destination, `alarm test`. Never: keeps a message, or
//! tries twice.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::command;
use super::endpoint::{Endpoint, Trust};
use super::failure::{Failure, Trouble};
use super::item::Item;
use super::kinds::{self, Answer, Post, Standing};
use super::report::Report;
use crate::config::settings::{Webhook, WebhookKind, WebhookPlace};

/// Takes messages somewhere.
pub(super) trait Transport: Send + Sync + 'static {
    /// Takes one there.
    fn send(&self, item: &Item) -> impl Future<Output = Result<(), Failure>> + Send;

    /// When what stands there is to be told again, if anything does.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Tells it.
    fn repeat(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }
}

/// The way to a webhook.
#[derive(Debug)]
pub(super) struct Way {
    webhook: Webhook,
    trust: Trust,
    report: Arc<Report>,
    /// Read when it is first needed, and again after whatever may be its fault.
    endpoint: Mutex<Option<Arc<Endpoint>>>,
    standing: Standing,
    /// When what stands was last told.
    told: Mutex<Option<Instant>>,
}

impl Way {
    pub(super) fn new(webhook: Webhook, trust: Trust, report: Arc<Report>) -> Self {
        Self {
            webhook,
            trust,
            report,
            endpoint: Mutex::default(),
            standing: Standing::default(),
            told: Mutex::default(),
        }
    }

    /// What it was told stays told: the configuration was read again.
    pub(super) fn succeed(mut self, before: &Self) -> Self {
        self.standing = before.standing.take();
        self.told = Mutex::new(*before.told.lock());
        self
    }

    async fn endpoint(&self) -> Result<Arc<Endpoint>, Failure> {
        let known = self.endpoint.lock().clone();
        if let Some(endpoint) = known {
            return Ok(endpoint);
        }
        let (webhook, trust) = (self.webhook.clone(), self.trust.clone());
        let load = tokio::task::spawn_blocking(move || Endpoint::load(&webhook, &trust));
        let loaded = load.await.map_err(|error| Failure::new(Trouble::Setting, error.to_string()))??;
        let loaded = Arc::new(loaded);
        *self.endpoint.lock() = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Posts to the endpoint; `make` makes the request, or finds that there is nothing to say.
    async fn post(&self, make: impl FnOnce(&Endpoint, SystemTime) -> Option<Post> + Send) -> Result<(), Failure> {
        let endpoint = self.endpoint().await?;
        let now = SystemTime::now();
        let Some(post) = make(&endpoint, now) else { return Ok(()) };
        let result = self.exchange(&endpoint, post, now).await;
        result.map_err(|failure| {
            // The file may hold another address, or another key, by now.
            if failure.trouble.is_lasting() {
                *self.endpoint.lock() = None;
            }
            clock_to_blame(failure, self.report.skew())
        })
    }

    async fn exchange(&self, endpoint: &Endpoint, post: Post, now: SystemTime) -> Result<(), Failure> {
        let kind = self.webhook.kind;
        let reply = endpoint.client.send(post, kinds::needs_body(kind)).await?;
        if let Some(date) = reply.date {
            self.report.date(date, now);
        }
        // Before anything is cut: of a key that is cut in two, half would be left.
        let body = endpoint.without_secrets(&String::from_utf8_lossy(&reply.body));
        kinds::judge(kind, &Answer { status: reply.status, retry_after: reply.retry_after, body: body.as_bytes() })
    }
}

/// A key or a certificate that is refused while our clock differs much from others' is not to blame.
fn clock_to_blame(failure: Failure, skew: Option<i64>) -> Failure {
    let by_time = matches!(failure.trouble, Trouble::Refused | Trouble::Certificate | Trouble::Clock);
    let Some(skew) = skew.filter(|_| by_time) else { return failure };
    let side = if skew > 0 { "behind" } else { "ahead of" };
    let span = crate::admin::words::span(std::time::Duration::from_secs(skew.unsigned_abs()));
    let why = format!("{}; the clock of this box is {span} {side} that of the other side", failure.why);
    Failure { wait: failure.wait, ..Failure::new(Trouble::Clock, why) }
}

impl Transport for Way {
    async fn send(&self, item: &Item) -> Result<(), Failure> {
        match (&self.webhook.place, self.webhook.kind) {
            (WebhookPlace::Command(command), _) => command::run(command, item).await,
            (WebhookPlace::Url(_) | WebhookPlace::UrlFile(_), WebhookKind::Alertmanager) => {
                self.post(|endpoint, now| Some(self.standing.post(&endpoint.url, item, now))).await?;
                let begins = self.standing.is_empty();
                self.standing.heard(item, SystemTime::now());
                if begins {
                    *self.told.lock() = Some(Instant::now());
                }
                Ok(())
            }
            (WebhookPlace::Url(_) | WebhookPlace::UrlFile(_), _) => {
                let post = |endpoint: &Endpoint, now| {
                    Some(kinds::post(&self.webhook, &endpoint.url, endpoint.secret.as_deref(), item, now))
                };
                self.post(post).await
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let told = *self.told.lock();
        let told = told?;
        (!self.standing.is_empty()).then(|| told + kinds::REPEAT)
    }

    async fn repeat(&self) -> Result<(), Failure> {
        *self.told.lock() = Some(Instant::now());
        self.post(|endpoint, now| self.standing.again(&endpoint.url, now)).await
    }
}

#[cfg(test)]
mod tests {
    use super::clock_to_blame;
    use crate::alarm::deliver::failure::{Failure, Trouble};

    #[test]
    fn a_clock_that_is_wrong_is_to_blame_for_what_depends_on_it() {
        let refused = Failure::new(Trouble::Refused, "code 310000: invalid timestamp");
        assert_eq!(clock_to_blame(refused.clone(), None), refused);
        let blamed = clock_to_blame(refused, Some(7_200));
        assert_eq!(blamed.trouble, Trouble::Clock);
        assert_eq!(
            blamed.why,
            "code 310000: invalid timestamp; the clock of this box is 2 h 0 min behind that of the other side"
        );
        let expired = Failure::new(Trouble::Certificate, "its certificate was valid until yesterday");
        assert!(clock_to_blame(expired, Some(-86_400)).why.ends_with("is 1 d 0 h ahead of that of the other side"));
        let timeout = Failure::new(Trouble::Timeout, "nothing came");
        assert_eq!(clock_to_blame(timeout.clone(), Some(7_200)), timeout);
    }
}
