//! A parser that was written for the records that AWS Transfer Family publishes reads Lockgate's events, in their forms.

use serde::Deserialize;

/// The records as published: every field a text; what no example leaves out must be there.
#[derive(Debug, Deserialize)]
#[serde(tag = "activity-type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "kebab-case")]
#[allow(dead_code)]
enum Published {
    Connected {
        role: String,
        ciphers: String,
        client: String,
        source_ip: String,
        resource_arn: String,
        home_dir: String,
        user: String,
        kex: String,
        session_id: String,
        macs: Option<String>,
        ssh_public_key: Option<String>,
        ssh_public_key_fingerprint: Option<String>,
        ssh_public_key_type: Option<String>,
    },
    AuthFailure {
        method: String,
        source_ip: String,
        resource_arn: String,
        message: String,
        user: String,
    },
    KexFailure {
        source_ip: String,
        resource_arn: String,
        message: String,
        kex: String,
    },
    Open {
        mode: String,
        path: String,
        resource_arn: String,
        session_id: String,
    },
    Close {
        path: String,
        resource_arn: String,
        bytes_in: Option<String>,
        bytes_out: Option<String>,
        session_id: String,
    },
    Disconnected {
        resource_arn: String,
        session_id: String,
    },
}

/// The published examples, with their long values cut short.
const EXAMPLES: &str = r#"
{"role":"arn:aws:iam::111:role/r","activity-type":"CONNECTED","macs":"<implicit>,<implicit>","ciphers":"aes256-gcm@openssh.com,aes256-gcm@openssh.com","client":"SSH-2.0-OpenSSH_8.7","source-ip":"192.0.2.1","resource-arn":"arn:aws:transfer:ap-northeast-1:111:server/s-1","home-dir":"LOGICAL","user":"user0001","kex":"curve25519-sha256","session-id":"0049cd844c7536c06a89"}
{"role":"arn","activity-type":"CONNECTED","ciphers":"chacha20-poly1305@openssh.com,chacha20-poly1305@openssh.com","client":"SSH-2.0-OpenSSH_7.4","source-ip":"192.0.2.1","resource-arn":"arn","home-dir":"/test/log-me","ssh-public-key":"AAAAC3Nza","ssh-public-key-fingerprint":"SHA256:BY3g","ssh-public-key-type":"ssh-ed25519","user":"log-me","kex":"ecdh-sha2-nistp256","session-id":"9ca9a0e1cec6ad9d"}
{"mode":"CREATE|TRUNCATE|WRITE","path":"/bucket/log-me/config-file","activity-type":"OPEN","resource-arn":"arn","session-id":"9ca9a0e1cec6ad9d"}
{"mode":"READ","path":"/bucket/example","activity-type":"OPEN","resource-arn":"arn","session-id":"9ca9a0e1cec6ad9d"}
{"path":"/bucket/example","activity-type":"CLOSE","resource-arn":"arn","bytes-in":"121","session-id":"9ca9a0e1cec6ad9d"}
{"activity-type":"DISCONNECTED","resource-arn":"arn","session-id":"9ca9a0e1cec6ad9d"}
{"method":"password","activity-type":"AUTH_FAILURE","source-ip":"192.0.2.1","resource-arn":"arn","message":"Invalid user name or password","user":"exampleUser"}
{"method":"publickey","activity-type":"AUTH_FAILURE","source-ip":"192.0.2.1","resource-arn":"arn","message":"ED25519 SHA256:BY3g","user":"user0001"}
{"activity-type":"KEX_FAILURE","source-ip":"192.0.2.1","resource-arn":"arn","message":"no matching host key type found","kex":"ecdh-sha2-nistp256"}
"#;

const GOLDEN: &str = include_str!("../../src/audit/tests/golden.ndjson");

const KINDS: [&str; 6] = ["CONNECTED", "AUTH_FAILURE", "KEX_FAILURE", "OPEN", "CLOSE", "DISCONNECTED"];

#[test]
fn a_parser_of_the_published_records_reads_the_events() {
    let mut read = 0;
    let golden =
        GOLDEN.lines().filter(|line| KINDS.iter().any(|kind| line.contains(&format!("\"activity-type\":\"{kind}\""))));
    for line in EXAMPLES.trim().lines().chain(golden) {
        let record: Published = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Published::Close { bytes_in, bytes_out, .. } = &record {
            let bytes = bytes_in.as_ref().or(bytes_out.as_ref()).expect("bytes");
            assert!(bytes.parse::<u64>().is_ok(), "{line}");
        }
        if let Published::Connected { ciphers, home_dir, .. } = &record {
            assert!(ciphers.split(',').count() == 2 && !home_dir.is_empty(), "{line}");
        }
        read += 1;
    }
    assert!(read >= 9 + KINDS.len(), "{read} records");
}
