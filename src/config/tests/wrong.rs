//! What is said about wrong files.

use super::told;

/// A snippet and all that is told about it.
const WRONG: &[(&str, &[&str])] = &[
    // values
    ("[limits]\nconnections = 0", &["line 2: limits.connections = 0: must be 1 to 1048576; the default is 8192"]),
    ("[limits]\nconnections = -1", &["line 2: limits.connections = -1: must be 1 to 1048576; the default is 8192"]),
    (
        "[limits]\nconnections = 99999999999999999999",
        &["line 2: limits.connections = 99999999999999999999: must be 1 to 1048576; the default is 8192"],
    ),
    (
        "limits.connections = '8192'",
        &["line 1: limits.connections = '8192': expected a whole number, found string; the default is 8192"],
    ),
    (
        "limits.connections = 1.5",
        &["line 1: limits.connections = 1.5: expected a whole number, found float; the default is 8192"],
    ),
    (
        "[timeouts]\nhead = 10",
        &["line 2: timeouts.head = 10: expected a duration such as \"10s\", found integer 10; the default is \"10s\""],
    ),
    (
        "timeouts.head = true",
        &[
            "line 1: timeouts.head = true: expected a duration such as \"10s\", found boolean true; the default is \"10s\"",
        ],
    ),
    (
        "timeouts.head = '10'",
        &[
            "line 1: timeouts.head = '10': cannot be read as a duration; write a whole number and ms, s, m, h or d, such as \"10s\"",
        ],
    ),
    ("timeouts.head = '0s'", &["line 1: timeouts.head = '0s': must be 1ms to 1d; the default is \"10s\""]),
    (
        "limits.target-size = '4KiB'",
        &["line 1: limits.target-size = '4KiB': must be 8000B to 60KiB; the default is \"8KiB\""],
    ),
    ("limits.head-fields = 129", &["line 1: limits.head-fields = 129: must be 1 to 128; the default is 100"]),
    (
        "log.level = 'loud'",
        &[
            "line 1: log.level = 'loud': must be one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"; the default is \"info\"",
        ],
    ),
    (
        "log.access = 'access.log'",
        &[
            "line 1: log.access = 'access.log': is not the absolute path of a file; write a path that begins with /, \"-\" for standard output, or \"\" for none",
        ],
    ),
    (
        "clients.exempt = '10.0.0.1'",
        &[
            "line 1: clients.exempt = '10.0.0.1': expected a list of networks and addresses such as [\"10.0.0.0/8\", \"fd00::/8\"], found string; the default is []",
        ],
    ),
    (
        "[clients]\nexempt = [\n  '10.0.0.1',\n  '10.0.0.1/8',\n  7,\n]",
        &[
            "line 4: clients.exempt[1] = '10.0.0.1/8': has bits set behind the prefix; write \"10.0.0.0/8\" for the network or \"10.0.0.1\" for the address",
            "line 5: clients.exempt[2] = 7: expected a text in quotes, found integer 7; the default is []",
        ],
    ),
    (
        "destinations.connect-ports = [443, 0, '9-8', 0x50]",
        &[
            "line 1: destinations.connect-ports[1] = 0: must be a port, 1 to 65535; the default is [443, 80, 8443]",
            "line 1: destinations.connect-ports[2] = '9-8': the range ends before it begins; write \"8-9\"",
            "line 1: destinations.connect-ports[3] = 0x50: expected a port such as 443 or a range such as \"1024-65535\", found integer 0x50; the default is [443, 80, 8443]",
        ],
    ),
    (
        "self.aliases = ['bad name']",
        &[
            "line 1: self.aliases[0] = 'bad name': is not a host name; write letters, digits, '-' and '_' between dots; no scheme, path or space",
        ],
    ),
    // unknown keys
    ("[limits]\nconections = 5", &["line 2: limits.conections = 5: unknown key; did you mean limits.connections?"]),
    (
        "[limits]\nclient_connection_rate = 5",
        &["line 2: limits.client_connection_rate = 5: unknown key; did you mean limits.client-connection-rate?"],
    ),
    (
        "[timeouts]\ndns-timeout = '5s'",
        &["line 2: timeouts.dns-timeout = '5s': unknown key; did you mean upstream.dns-timeout?"],
    ),
    ("[log]\nzzz = 1", &["line 2: log.zzz = 1: unknown key; `floodgate config` prints every key"]),
    ("level = 'info'", &["line 1: level: unknown key; did you mean log.level?"]),
    ("[limit]\nconnections = 5", &["line 1: limit: unknown key; did you mean [limits]?"]),
    (
        "[[listener]]\naddress = '127.0.0.1:1'\nport = 5",
        &["line 3: listener[0].port = 5: unknown key; `floodgate config` prints every key"],
    ),
    (
        "[alarm]\nmode = 'observe'\nstall = 'auto'",
        &[
            "line 2: alarm.mode = 'observe': unknown key; did you mean listener.mode?",
            "line 3: alarm.stall = 'auto': unknown key; did you mean guard.stall?",
        ],
    ),
    (
        "[admin]\ntoken-file = 'token'",
        &[
            "line 2: admin.token-file = 'token': is not the absolute path of a file; write a path that begins with /, \"auto\", or \"\" for none",
        ],
    ),
    (
        "[admin]\nread-token-file = 'auto'",
        &[
            "line 2: admin.read-token-file = 'auto': is not the absolute path of a file; write a path that begins with /, or \"\" for none",
        ],
    ),
    (
        "[admin]\ntoken-file = '/a/token'\nread-token-file = '/a/token'",
        &[
            "line 3: admin.read-token-file = \"/a/token\": is admin.token-file too: whoever may see could change things; name another file, which is made",
        ],
    ),
    (
        "[[listener]]\naddress = '127.0.0.1:1'\nmode = 'tproxy'",
        &["line 3: listener[0].mode = 'tproxy': transparent modes are not built in this version; write \"explicit\""],
    ),
    (
        "[[listener]]\naddress = '127.0.0.1:1'\nmode = 'loud'",
        &["line 3: listener[0].mode = 'loud': must be \"explicit\"; the default is \"explicit\""],
    ),
    // shape
    (
        "limits = 5",
        &["line 1: limits: expected a table, found integer 5; write [limits] on a line of its own, its keys below"],
    ),
    (
        "[[limits]]",
        &["line 1: limits: expected a table, found array; write [limits] on a line of its own, its keys below"],
    ),
    (
        "[listener]\naddress = '127.0.0.1:1'",
        &["line 1: listener: expected [[listener]], found table; write [[listener]], with two brackets, for each"],
    ),
    ("listener = []", &["line 1: listener = []: nothing to listen on; remove the key for the default"]),
    (
        "listener = [7]",
        &[
            "line 1: listener[0]: expected [[listener]], found integer 7; write [[listener]], with two brackets, for each",
        ],
    ),
    ("\n[[listener]]", &["line 2: listener[0].address: missing; write address = \"0.0.0.0:3128\""]),
    // TOML
    (
        "[limits]\nconnections = \n",
        &[
            "line 2: not TOML: string values must be quoted, expected literal string; see the file that `floodgate config` prints",
        ],
    ),
    (
        "[log]\nlevel = 'info'\nlevel = 'warn'",
        &["line 3: not TOML: duplicate key; see the file that `floodgate config` prints"],
    ),
    (
        "[log]\naccess\nlevel\n",
        &[
            "line 2: not TOML: key with no value, expected `=`; see the file that `floodgate config` prints",
            "line 3: not TOML: key with no value, expected `=`; see the file that `floodgate config` prints",
        ],
    ),
    // between keys
    (
        "[[listener]]\naddress = '127.0.0.1:1'\n[[listener]]\naddress = '127.0.0.1:1'",
        &[
            "line 4: listener[1].address = \"127.0.0.1:1\": the same address as listener[0].address; use another port or remove one of the two",
        ],
    ),
    (
        "[[listener]]\naddress = '0.0.0.0:1'\n[[listener]]\naddress = '[::ffff:127.0.0.1]:1'",
        &[
            "line 4: listener[1].address = \"127.0.0.1:1\": listener[0].address = \"0.0.0.0:1\" takes this port already; use another port or remove one of the two",
        ],
    ),
    (
        "[admin]\naddress = '127.0.0.1:3128'",
        &[
            "line 2: admin.address = \"127.0.0.1:3128\": listener[0].address = \"0.0.0.0:3128\" takes this port already; use another port or remove one of the two",
        ],
    ),
    (
        "[[listener]]\naddress = '127.0.0.1:9128'",
        &[
            "admin.address = \"127.0.0.1:9128\": the same address as listener[0].address; use another port or remove one of the two",
        ],
    ),
    (
        "[limits]\nhead-size = '8000B'",
        &[
            "limits.target-size = \"8KiB\": the target is part of the head, and limits.head-size is only \"8000B\"; lower the one or raise the other",
        ],
    ),
    (
        "[clients]\nallow = []",
        &[
            "line 2: clients.allow = []: nobody would be served; list the networks of the clients, or remove the key for the default",
        ],
    ),
    (
        "[self]\nallow = ['127.0.0.2:9128']",
        &[
            "line 2: self.allow[0] = \"127.0.0.2:9128\": is the port of admin.address: the proxy would be reached through itself; allow another service, or move the listener to another port",
        ],
    ),
    // all at once, in the order of the file
    (
        "[timeouts]\nhead = 1\n[clients]\nallow = []\n[alarms]\n[log]\nlevel = 2",
        &[
            "line 2: timeouts.head = 1: expected a duration such as \"10s\", found integer 1; the default is \"10s\"",
            "line 4: clients.allow = []: nobody would be served; list the networks of the clients, or remove the key for the default",
            "line 5: alarms: unknown key; did you mean [alarm]?",
            "line 7: log.level = 2: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", found integer 2; the default is \"info\"",
        ],
    ),
    // a default that stands for a wrong value conflicts with nothing
    (
        "[[listener]]\naddress = 'x'\n[[listener]]\naddress = '0.0.0.0:3128'",
        &[
            "line 2: listener[0].address = 'x': is not an address and a port; write \"127.0.0.1:3128\" or \"[::1]:3128\"; names are not looked up",
        ],
    ),
    (
        "[limits]\nhead-size = 1\ntarget-size = '60KiB'",
        &["line 2: limits.head-size = 1: expected a size such as \"16KiB\", found integer 1; the default is \"16KiB\""],
    ),
];

#[test]
fn what_is_wrong_is_told() {
    for (text, expected) in WRONG {
        assert_eq!(told(text), *expected, "in:\n{text}");
    }
}
