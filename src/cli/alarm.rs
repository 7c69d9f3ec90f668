//! `floodgate alarm`: whether alarms arrive.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{ConfigArgs, FAILURE, UNREADABLE, print};
use crate::alarm::deliver::{self, Trial};
use crate::config::{self, LoadError, Overrides};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send one test alarm to every webhook of the configuration, and print for each whether it arrived.
    #[command(after_help = "Example:\n  floodgate alarm test --config /etc/floodgate/floodgate.toml\n\n\
        It reads the files of addresses and secrets: run it as the gateway's user, or as root.")]
    Test(TestArgs),
}

#[derive(clap::Args, Debug)]
pub(super) struct TestArgs {
    #[command(flatten)]
    file: ConfigArgs,
    /// Print JSON: one object per webhook.
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self) -> ExitCode {
        let Self::Test(args) = self;
        let settings = match config::load(args.file.config.as_deref(), &Overrides::default()) {
            Ok(settings) => settings,
            Err(error) => {
                eprintln!("floodgate: {error}");
                return ExitCode::from(if matches!(error, LoadError::Invalid { .. }) { FAILURE } else { UNREADABLE });
            }
        };
        if settings.webhooks.is_empty() {
            eprintln!("floodgate: alarms go nowhere: give a [[alarm.webhook]] (`floodgate config` prints its keys)");
            return ExitCode::from(FAILURE);
        }
        let trials = match deliver::test(&settings) {
            Ok(trials) => trials,
            Err(error) => {
                eprintln!("floodgate: nothing could be sent: {error}; run it again with more memory or descriptors");
                return ExitCode::from(FAILURE);
            }
        };
        let arrived = trials.iter().all(|trial| trial.result.is_ok());
        let told = if args.json { format!("{:#}\n", as_json(&trials)) } else { as_text(&trials) };
        let printed = print(&told);
        if arrived { printed } else { ExitCode::from(FAILURE) }
    }
}

/// A line for each, and what to do.
fn as_text(trials: &[Trial]) -> String {
    trials.iter().fold(String::new(), |text, Trial { destination, result, .. }| {
        text + &match result {
            Ok(()) => format!("{destination}: delivered\n"),
            Err(failure) => {
                format!("{destination}: not delivered: {}\n  to do: {}\n", failure.why, failure.trouble.remedy())
            }
        }
    })
}

fn as_json(trials: &[Trial]) -> Value {
    let trials = trials.iter().map(|Trial { kind, destination, result }| {
        let failure = result.as_ref().err();
        json!({
            "kind": kind.label(),
            "destination": destination,
            "delivered": result.is_ok(),
            "trouble": failure.map(|failure| failure.trouble.label()),
            "why": failure.map(|failure| &failure.why),
            "remedy": failure.map(|failure| failure.trouble.remedy()),
        })
    });
    trials.collect()
}

#[cfg(test)]
mod tests {
    use super::{as_json, as_text};
    use crate::alarm::deliver::{Failure, Trial, Trouble};
    use crate::config::settings::WebhookKind;

    #[test]
    fn each_destination_has_its_line() {
        let trials = [
            Trial { kind: WebhookKind::Wecom, destination: "wecom /etc/x".to_owned(), result: Ok(()) },
            Trial {
                kind: WebhookKind::Slack,
                destination: "slack /etc/y".to_owned(),
                result: Err(Failure::new(Trouble::Program, "exit status: 1\u{1b}[2J")),
            },
        ];
        let expected = "wecom /etc/x: delivered\nslack /etc/y: not delivered: exit status: 1 [2J\n  \
            to do: run it by hand with a message on its standard input\n";
        assert_eq!(as_text(&trials), expected);
        let json = as_json(&trials);
        assert_eq!(json[0]["delivered"], true);
        assert_eq!((&json[1]["trouble"], &json[1]["why"]), (&"program".into(), &"exit status: 1 [2J".into()));
        assert!(json[0]["why"].is_null());
    }
}
