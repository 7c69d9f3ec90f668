//! `[[alarm.webhook]]`.

use std::path::PathBuf;

use super::super::keys::Listed;
use super::super::settings::{MessageFormat, WebhookKind, WebhookPlace};
use super::super::{Settings, print, webhook};
use super::told;
use crate::alarm::Language;
use crate::alarm::Severity;

#[test]
fn each_kind_reads_what_goes_with_it() {
    let text = "[[alarm.webhook]]\nkind = 'wecom'\nurl-file = '/etc/floodgate/wecom'\nseverity = 'critical'\nlanguage = 'zh'\n\
        format = 'markdown'\nmention = ['@all', 'zhang.san']\n\
        [[alarm.webhook]]\nkind = 'dingtalk'\nurl-file = '/d'\nsecret-file = '/s'\nmention = ['13800000000']\n\
        [[alarm.webhook]]\nkind = 'feishu'\nurl-file = '/f'\nsecret-file = '/s'\nmention = ['ou_7d8a']\n\
        [[alarm.webhook]]\nkind = 'slack'\nurl-file = '/l'\nca-file = '/ca.pem'\nmention = ['U024BE7LH']\n\
        [[alarm.webhook]]\nkind = 'alertmanager'\nurl = 'http://10.0.0.9:9093'\nplain-http = true\n\
        [[alarm.webhook]]\nkind = 'json'\nurl = 'https://alerts.example.net/x?y=1'\nsecret-file = '/s'\n\
        [[alarm.webhook]]\nkind = 'command'\ncommand = ['/usr/local/bin/tell', '-x', '']\n";
    let settings = Settings::from_toml(text).unwrap();
    let webhooks = &settings.webhooks;
    assert_eq!(webhooks.iter().map(|webhook| webhook.kind).collect::<Vec<_>>(), WebhookKind::ALL);
    let wecom = &webhooks[0];
    assert_eq!(wecom.place, WebhookPlace::UrlFile(PathBuf::from("/etc/floodgate/wecom")));
    assert_eq!((wecom.severity, wecom.language), (Severity::Critical, Some(Language::Chinese)));
    assert_eq!((wecom.format, wecom.mention.len()), (MessageFormat::Markdown, 2));
    assert_eq!((webhooks[1].severity, webhooks[1].language), (Severity::Info, None), "the defaults");
    assert_eq!(webhooks[3].ca_file, Some(PathBuf::from("/ca.pem")));
    assert!(matches!(&webhooks[4].place, WebhookPlace::Url(url) if url.as_str() == "http://10.0.0.9:9093/"));
    let command = ["/usr/local/bin/tell", "-x", ""].map(str::to_owned).to_vec();
    assert_eq!(webhooks[6].place, WebhookPlace::Command(command));
    assert!(Settings::defaults().webhooks.is_empty());
}

#[test]
fn the_printed_keys_are_those_that_are_read() {
    let printed = print();
    for key in webhook::listed() {
        let row = Listed::row(*key);
        assert!(printed.contains(&format!("\n#{} = {}\n", row.name, row.default)), "{}", row.path);
        let unknown = format!("[[alarm.webhook]]\nkind = 'json'\nurl = 'https://h/'\n{}x = 1", row.name);
        assert!(told(&unknown).iter().any(|line| line.contains("unknown key")), "{}", row.path);
    }
    // What is printed as a comment can be taken out of it.
    let (_, example) = printed.split_once("#[[alarm.webhook]]\n").unwrap();
    let (example, _) = example.split_once("\n[").unwrap();
    let keys = example.lines().filter(|line| !line.starts_with("# ")).map(|line| line.trim_start_matches('#'));
    let keys: Vec<_> = keys.filter(|line| !line.is_empty()).collect();
    assert_eq!(keys.len(), webhook::listed().len(), "{keys:?}");
    let uncommented = format!("[[alarm.webhook]]\n{}", keys.join("\n"));
    let problems = told(&uncommented);
    let foreign = ["url", "command", "secret-file"];
    assert_eq!(problems.len(), foreign.len(), "only what is foreign to the first kind is wrong: {problems:?}");
}

#[test]
fn what_does_not_go_together_is_told() {
    let one = |lines: &str| told(&format!("[[alarm.webhook]]\n{lines}"));
    for (lines, expected) in [
        ("url-file = '/x'", "line 1: alarm.webhook[0].kind: missing; write kind = \"wecom\""),
        (
            "kind = 'wecom'",
            "line 1: alarm.webhook[0].url-file: missing; write url-file = \"/etc/floodgate/webhook\", a file with the address",
        ),
        (
            "kind = 'wecom'\nurl-file = '/x'\nsecret-file = '/s'",
            "line 4: alarm.webhook[0].secret-file: does not go with kind = \"wecom\"; remove it",
        ),
        (
            "kind = 'json'\nurl-file = '/x'\nurl = 'https://h/'",
            "line 1: alarm.webhook[0].url: there is a url-file, too; remove one of the two",
        ),
        (
            "kind = 'command'",
            "line 1: alarm.webhook[0].command: names no program; write command = [\"/absolute/path\"]",
        ),
        (
            "kind = 'command'\ncommand = ['tell']",
            "line 1: alarm.webhook[0].command: names no program; write command = [\"/absolute/path\"]",
        ),
        (
            "kind = 'command'\ncommand = ['/bin/tell']\nca-file = '/x'",
            "line 4: alarm.webhook[0].ca-file: does not go with kind = \"command\"; remove it",
        ),
        (
            "kind = 'alertmanager'\nurl = 'http://10.0.0.9:9093'",
            "line 1: alarm.webhook[0].url: would send alarms, and the key in the address, unencrypted; write https://; or, to an address of this box or of a private network, set plain-http = true",
        ),
        (
            "kind = 'json'\nurl = 'ftp://h/'",
            "line 3: alarm.webhook[0].url = 'ftp://h/': is neither https nor http; write https://HOST/PATH",
        ),
        (
            "kind = 'slack'\nurl-file = 'x'",
            "line 3: alarm.webhook[0].url-file = 'x': is not the absolute path of a file; write a path that begins with /",
        ),
        (
            "kind = 'slack'\nurl-file = '/x'\nplain-http = 1",
            "line 4: alarm.webhook[0].plain-http = 1: expected true or false, found integer 1; the default is false",
        ),
        (
            "kind = 'slack'\nurl-file = '/x'\nmention = ['<!channel>']",
            "line 4: alarm.webhook[0].mention[0] = '<!channel>': is nobody's user id or telephone number; write letters, digits, '@', '_', '-', '.' and '+', or \"@all\" for everybody",
        ),
        (
            "kind = 'slack'\nurl-file = '/x'\n[[alarm.webhook]]\nkind = 'slack'\nurl-file = '/x'\nseverity = 'critical'",
            "line 4: alarm.webhook[1]: goes where alarm.webhook[0] goes, and every message would arrive twice; remove one of the two",
        ),
        (
            "kind = 'slack'\nurl-file = '/x'\nseverty = 'critical'",
            "line 4: alarm.webhook[0].severty = 'critical': unknown key; did you mean alarm.webhook.severity?",
        ),
    ] {
        assert_eq!(one(lines), [expected], "{lines}");
    }
    assert_eq!(
        told("[alarm]\nwebhook = 7"),
        [
            "line 2: alarm.webhook: expected [[alarm.webhook]], found integer 7; write [[alarm.webhook]], with two brackets, for each"
        ]
    );
    let many = "[[alarm.webhook]]\nkind = 'slack'\nurl-file = '/x'\n".repeat(17);
    assert!(told(&many).iter().any(|line| line.contains("more than 16 webhooks")));
}

#[test]
fn an_address_in_the_wrong_place_is_not_shown() {
    let secret = "0123-4567-key";
    let problems =
        told(&format!("[[alarm.webhook]]\nkind = 'wecom'\nurl = 'https://qyapi.weixin.qq.com/send?key={secret}'"));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("its address is a secret") && !problems[0].contains(secret), "{problems:?}");
}

#[test]
fn unencrypted_only_where_nobody_listens() {
    for (text, plain, taken) in [
        ("https://hooks.example.net/a", false, true),
        ("http://127.0.0.1:9/a", true, true),
        ("http://[::1]:9/a", true, true),
        ("http://localhost/a", true, true),
        ("http://192.168.1.2/a", true, true),
        ("http://[fd00::1]/a", true, true),
        ("http://127.0.0.1:9/a", false, false),
        ("http://8.8.8.8/a", true, false),
        ("http://hooks.example.net/a", true, false),
        ("http://localhost.example.net/a", true, false),
        ("http://[2001:db8::1]/a", true, false),
        ("https://user:pass@h/", true, false),
        ("https:///", false, false),
        ("unix:/run/x", true, false),
        ("", true, false),
        ("h/a", true, false),
    ] {
        assert_eq!(webhook::address(text, plain).is_ok(), taken, "{text}");
    }
}
