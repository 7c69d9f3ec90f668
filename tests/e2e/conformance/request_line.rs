//! C-01 to C-16: the request line, and what a target becomes on its way.

use std::fs;

use floodgate::config::Settings;
use floodgate::gateway::Gateway;

use super::chain::{Chain, DNS_FAILURE, MALFORMED, SELF_TARGET, TARGET_TOO_LONG, VERSION_UNKNOWN};
use crate::cases::NoNames;
use crate::limits::from;
use crate::rig::{Origin, Rig, eventually, field};

/// What the origin gets of a GET for this path without further fields.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n")
}

#[test]
fn c_01_absolute_form_becomes_origin_form() {
    let chain = Chain::new();
    for scheme in ["http", "HTTP", "hTtP"] {
        chain.passes(format!("GET {scheme}://<origin>/a?b HTTP/1.1\r\nHost: <origin>\r\n\r\n"), get("/a?b"));
    }
    // A slash more belongs to the path, and does not make it an authority.
    chain.passes("GET http://<origin>//o/ HTTP/1.1\r\nHost: <origin>\r\n\r\n", get("//o/"));
    chain.finish();
}

#[test]
fn c_02_host_is_generated_from_the_target() {
    let chain = Chain::new();
    for fields in [
        "Host: evil.test\r\n",
        "host: evil.test:1\r\n",
        "HOST:<proxy>\r\n",
        "Host:\r\n",
        "Host: \t<origin> \t\r\n",
        "Host: [::1]\r\n",
        // As WeChat for Windows writes it.
        "Host: 240e:97c:2f:4001::31\r\n",
    ] {
        chain.passes(format!("GET http://<origin>/ HTTP/1.1\r\n{fields}\r\n"), get("/"));
    }
    // Wherever it stood, it is the first field now, and the only one of its name.
    chain.passes(
        "GET http://<origin>/ HTTP/1.1\r\nA: 1\r\nHost: evil.test\r\nX-Host: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: <origin>\r\nA: 1\r\nX-Host: 2\r\nVia: 1.1 <us>\r\n\r\n",
    );
    // HTTP/1.0 does without.
    chain.passes_and_closes(
        "GET http://<origin>/ HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.0 <us>\r\n\r\n",
    );
    chain.finish();
}

#[test]
fn c_03_host_is_there_once_and_valid() {
    let chain = Chain::new();
    let heads = [
        "",
        "Host: <origin>\r\nHost: <origin>\r\n",
        "Host: <origin>\r\nX: 1\r\nhOST: evil.test\r\n",
        "Host: a,b\r\n",
        "Host: o\0\r\n",
        "Host: o:99999\r\n",
        "Host: o:8o\r\n",
        "Host: o:0\r\n",
        "Host: o:-1\r\n",
        "Host: o:80:80\r\n",
        "Host: a b\r\n",
        "Host: u@o\r\n",
        "Host: o/\r\n",
        "Host: http://o\r\n",
        "Host: [::1\r\n",
        "Host: [o.test]\r\n",
        "Host: \u{fc}.test\r\n",
        "Host : o\r\n",
    ]
    .map(|fields| format!("GET http://<origin>/ HTTP/1.1\r\n{fields}\r\n"));
    chain.refuses(MALFORMED, &heads);
    // The version does not excuse what is there.
    chain.refuses(
        MALFORMED,
        &[
            "GET http://<origin>/ HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET http://<origin>/ HTTP/1.0\r\nHost: a,b\r\n\r\n",
            "CONNECT <origin> HTTP/1.1\r\n\r\n",
            "CONNECT <origin> HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ],
    );
    chain.finish();
}

#[test]
fn c_04_path_and_query_stay_as_they_came() {
    let chain = Chain::new();
    for path in [
        &b"/%7e/../%2F?%0a"[..],
        b"/./a/../../b//c/.",
        b"/%",
        b"/%zz%00?&&=",
        b"/a;b=c/d?e?f/g",
        b"/\"<>\\^`{|}",
        b"/\xc4\xe3\xff?gbk=\x80",
        b"/?",
        b"/@a:b/http://c/",
    ] {
        let request = [b"GET http://<origin>", path, b" HTTP/1.1\r\nHost: <origin>\r\n\r\n"].concat();
        chain.passes(request, [b"GET ", path, b" HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n"].concat());
    }
    chain.finish();
}

#[test]
fn c_05_an_empty_path_becomes_a_slash() {
    let chain = Chain::new();
    chain.passes("GET http://<origin> HTTP/1.1\r\nHost: <origin>\r\n\r\n", get("/"));
    chain.passes("GET http://<origin>?x HTTP/1.1\r\nHost: <origin>\r\n\r\n", get("/?x"));
    chain.passes("GET http://<origin>? HTTP/1.1\r\nHost: <origin>\r\n\r\n", get("/?"));
    chain.passes("GET http://<origin>?/../x HTTP/1.1\r\nHost: <origin>\r\n\r\n", get("/?/../x"));
    chain.finish();
}

#[test]
fn c_06_options_of_an_empty_path_asks_the_whole_server() {
    let chain = Chain::new();
    for (target, at_origin) in [("", "*"), ("/", "/"), ("?", "/?"), ("?x", "/?x"), ("/*", "/*")] {
        chain.passes(
            format!("OPTIONS http://<origin>{target} HTTP/1.1\r\nHost: <origin>\r\n\r\n"),
            format!("OPTIONS {at_origin} HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n"),
        );
    }
    // Only OPTIONS, and case matters.
    chain.passes(
        "options http://<origin> HTTP/1.1\r\nHost: <origin>\r\n\r\n",
        "options / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n",
    );
    chain.finish();
}

#[test]
fn c_07_options_of_an_asterisk_asks_the_proxy() {
    let chain = Chain::new();
    for host in ["<proxy>", "<origin>", "o.test", ""] {
        let answer = chain.rig.ask(chain.fill(format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n")));
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, PATCH\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let rest = ["GET *", "options *", "HEAD *", "CONNECT *", "OPTIONS **", "OPTIONS *?", "OPTIONS */"];
    chain.refuses(MALFORMED, &rest.map(|line| format!("{line} HTTP/1.1\r\nHost: <proxy>\r\n\r\n")));
    chain.finish();
}

#[test]
fn c_08_nothing_is_proxied_by_its_host() {
    let chain = Chain::new();
    chain.refuses(
        MALFORMED,
        &[
            "GET / HTTP/1.1\r\nHost: o.test\r\n\r\n",
            "GET //o.test/ HTTP/1.1\r\nHost: o.test\r\n\r\n",
            "GET /http://<origin>/ HTTP/1.1\r\nHost: o.test\r\n\r\n",
            "POST /mmtls/00006a5e HTTP/1.1\r\nHost: 240e:97c:2f:4001::31\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            // Neither form: a scheme is missing.
            "GET <origin> HTTP/1.1\r\nHost: <origin>\r\n\r\n",
            "GET o.test/ HTTP/1.1\r\nHost: <origin>\r\n\r\n",
            "GET ?x HTTP/1.1\r\nHost: <origin>\r\n\r\n",
        ],
    );
    // An origin on loopback is, by its address, this box; that one may be reached through the proxy changes nothing.
    chain.refuses(
        SELF_TARGET,
        &[
            "GET / HTTP/1.1\r\nHost: <origin>\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: <proxy>\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
        ],
    );
    chain.finish();
}

#[test]
fn c_09_userinfo_is_refused_and_not_logged() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let chain = Chain::with(&format!("[log]\naccess = \"{}\"", log.display()));
    let lines = [
        "GET http://alice:s3cret@<origin>/",
        "GET http://s3cret@<origin>/",
        "GET http://:s3cret@<origin>/",
        "GET http://alice:s3cret@o.test@<origin>/",
        "GET https://alice:s3cret@o.test",
        "CONNECT s3cret@<origin>",
        "CONNECT alice:s3cret@<origin>",
    ];
    let request = |line: &str| chain.fill(format!("{line} HTTP/1.1\r\nHost: <origin>\r\n\r\n"));
    chain.refuses(MALFORMED, &["GET http://@<origin>/", "CONNECT @<origin>"].map(request));
    // Each from a client of its own: of one client's refusals in a second, one is logged.
    for (number, line) in lines.iter().enumerate() {
        let mut client = from([127, 0, 1, u8::try_from(number).unwrap()], chain.rig.proxy);
        let request = request(line);
        client.send(&request);
        MALFORMED.assert_is(&client.read_to_end(), &request);
    }
    // An `@` elsewhere is nobody's name.
    chain.passes("GET http://<origin>/u@p HTTP/1.1\r\nHost: <origin>\r\n\r\n", get("/u@p"));
    let written = || fs::read_to_string(&log).unwrap_or_default();
    eventually("all are logged", || written().matches("***@").count() == lines.len());
    let status = chain.rig.admin("/api/v1/status");
    assert!(status.contains("***@") && !status.contains("s3cret"), "{status}");
    chain.finish();
    assert!(!written().contains("s3cret"), "{}", written());
}

#[test]
fn c_10_one_space_and_nothing_else_in_a_request_line() {
    let chain = Chain::new();
    let lines = [
        "GET  http://<origin>/ HTTP/1.1",
        "GET\thttp://<origin>/ HTTP/1.1",
        "GET http://<origin>/  HTTP/1.1",
        "GET http://<origin>/\tHTTP/1.1",
        "GET http://<origin>/ a HTTP/1.1",
        "GET http://<origin>/ HTTP/1.1 ",
        "GET http://<origin>/ HTTP/1.1\t",
        "GET http://<origin>/ HTTP/1.1 x",
        " GET http://<origin>/ HTTP/1.1",
        "\tGET http://<origin>/ HTTP/1.1",
        "GET http://<origin>/\u{b} HTTP/1.1",
        "GET\u{b}http://<origin>/ HTTP/1.1",
        "GET\u{c}http://<origin>/ HTTP/1.1",
        "GET http://<origin>/\0 HTTP/1.1",
        "GET http://<origin>/\u{7f} HTTP/1.1",
        "GET\rhttp://<origin>/ HTTP/1.1",
        "GET http://<origin>/\r HTTP/1.1",
        "GET http://<origin>/ HTTP/1.1\r",
        "GET http://<origin>/ HTTP/1.1\rHost: <origin>",
        "GET http://<origin>/#fragment HTTP/1.1",
    ];
    chain.refuses(MALFORMED, &lines.map(|line| format!("{line}\r\nHost: <origin>\r\n\r\n")));
    chain.finish();
}

#[test]
fn c_11_versions_are_1_0_and_1_1_to_the_letter() {
    let chain = Chain::new();
    let request = |version: &str| format!("GET http://<origin>/ {version}\r\nHost: <origin>\r\n\r\n");
    chain.refuses(
        MALFORMED,
        &[
            "HTTP/1.32",
            "http/1.1",
            "Http/1.1",
            "HTTP/01.1",
            "HTTP/1.01",
            "HTTP/1",
            "HTTP/1.",
            "HTTP/.1",
            "HTTP/1.1.",
            "HTTP/1,1",
            "HTTP/a.1",
            "HTTP /1.1",
            "HTTPS/1.1",
            "HTTP1.1",
            "HTTP/-1.1",
            "",
        ]
        .map(request),
    );
    chain.refuses(VERSION_UNKNOWN, &["HTTP/2.0", "HTTP/3.0", "HTTP/1.2", "HTTP/1.9", "HTTP/0.9"].map(request));
    // HTTP/0.9 has no version, and no second line to wait for.
    chain.refuses(MALFORMED, &["GET http://<origin>/\r\n", "GET\r\n"]);
    chain.finish();
}

#[test]
fn c_12_the_version_passed_on_is_ours() {
    let chain = Chain::new();
    chain.passes_and_closes(
        "GET http://<origin>/ HTTP/1.0\r\nHost: <origin>\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.0 <us>\r\n\r\n",
    );
    chain.relays(
        "HTTP/1.0 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.0 <us>\r\n\r\nok",
    );
    chain.finish();
}

#[test]
fn c_13_long_targets() {
    let chain = Chain::new();
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    let request = |path: &str| format!("GET http://<origin>{path} HTTP/1.1\r\nHost: <origin>\r\n\r\n");
    chain.passes(request(&target(8000)), get(&target(8000)));
    // `limits.target-size` counts the whole target.
    let most = 8192 - chain.fill("http://<origin>").len();
    chain.passes(request(&target(most)), get(&target(most)));
    chain.refuses(TARGET_TOO_LONG, &[request(&target(most + 1)), request(&target(12_000))]);
    // Known before the target has ended.
    chain.refuses(TARGET_TOO_LONG, &[format!("GET http://<origin>{}", target(9000))]);
    chain.finish();
}

#[test]
fn c_14_methods_are_tokens_and_unknown_ones_pass() {
    let chain = Chain::new();
    for method in ["PURGE", "FOO", "get", "connect", "M-SEARCH", "!#$%&'*+-.^_`|~09", "X"] {
        chain.passes(
            format!("{method} http://<origin>/ HTTP/1.1\r\nHost: <origin>\r\n\r\n"),
            format!("{method} / HTTP/1.1\r\nHost: <origin>\r\nVia: 1.1 <us>\r\n\r\n"),
        );
    }
    let methods = ["G=\":<>(e),[T];?\"", "G\u{e4}T", "GET/", "GET:", "(GET)", "\"GET\"", "G\0T", "@"];
    chain.refuses(MALFORMED, &methods.map(|method| format!("{method} http://<origin>/ HTTP/1.1\r\nHost: o\r\n\r\n")));
    chain.finish();
}

#[test]
fn c_15_other_schemes_are_not_fetched() {
    let chain = Chain::new();
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: o.test\r\n\r\n");
    chain.refuses(
        MALFORMED,
        &[
            "https://o.test/",
            "ftp://o.test/",
            "ws://o.test/",
            "wss://o.test/",
            "gopher://o.test/",
            "httpx://o.test/",
            "file:///etc/passwd",
            "file:/etc/passwd",
            "http:/<origin>/",
            "http:<origin>/",
            "http:\\\\<origin>\\",
            "http:///",
            "://<origin>/",
            "urn:isbn:0",
            "javascript:alert(1)",
        ]
        .map(request),
    );
    // They name this box all the same, and count as what they are: a storm is one in any scheme.
    chain.refuses(SELF_TARGET, &["https://<origin>/", "ftp://<proxy>/"].map(request));
    chain.finish();
}

#[test]
fn c_16_a_host_has_one_meaning() {
    let chain = Chain::new();
    let port = chain.origin.address.port();
    // Every spelling of an allowed address is that address, and is passed on as it.
    for host in
        ["127.1", "127.0.1", "0x7f.1", "0X7F.0.0.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.1."]
    {
        chain.passes(format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"), get("/"));
    }
    chain.passes(format!("GET http://127.0.0.1:0{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"), get("/"));
    let hosts = [
        "[fe80::1%25lo]",
        "[fe80::1%lo]",
        "[o.test]",
        "[127.0.0.1]",
        "[::1",
        "::1]",
        "[]",
        "",
        "%6f.test",
        "127.0.0.%31",
        "b\u{fc}cher.test",
        "o..test",
        ".o.test",
        "o.test..",
        "o test",
        "o,p.test",
        "0x100000000",
        "256.1.1.1",
        "1.2.3.4.5",
        "08.1.1.1",
    ];
    let request = |host: &str| format!("CONNECT {host}:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    chain.refuses(MALFORMED, &hosts.map(request));
    chain.refuses(MALFORMED, &hosts.map(|host| format!("GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n")));
    chain.finish();

    names_in_one_spelling();
}

/// A trailing dot and capitals change nothing, and only A-labels are international.
fn names_in_one_spelling() {
    let (origin, names) = (Origin::ok("by name"), NoNames::start());
    let port = origin.address.port();
    let settings = Settings::from_toml(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken-file = \"\"\n\
         [self]\nallow = [\"localhost:{port}\", \"127.0.0.1:{port}\"]\n[upstream]\ndns-servers = [\"{}\"]",
        names.address
    ));
    let gateway = Gateway::start(settings.unwrap()).unwrap();
    let rig = Rig { proxy: gateway.listeners[0], gateway, folder: tempfile::tempdir().unwrap() };
    for host in ["localhost", "LocalHost", "localhost."] {
        let answer = rig.ask_one(format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(answer.ends_with("by name"), "{host}: {answer}");
    }
    let asked = b"GET http://xn--bcher-kva.test/ HTTP/1.1\r\nHost: x\r\n\r\n";
    DNS_FAILURE.assert_is(&rig.ask(asked), asked);
    rig.settled();
    drop(rig);
    eventually("the origin is left", || !origin.received().is_empty());
    for head in origin.received().concat().split_terminator("\r\n\r\n") {
        assert_eq!(field(head, "host"), Some(&*format!("localhost:{port}")), "{head}");
    }
}
