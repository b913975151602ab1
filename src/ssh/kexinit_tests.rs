//! The KEXINIT reader on whole, split, hostile and foreign input.
#![allow(clippy::unwrap_used)]

use super::*;

fn list(names: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(names.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(names.as_bytes());
    bytes
}

fn payload(lists: [&str; 10]) -> Vec<u8> {
    let mut bytes = vec![KEXINIT];
    bytes.extend_from_slice(&[7; 16]);
    for names in lists {
        bytes.extend(list(names));
    }
    bytes.extend_from_slice(&[0, 0, 0, 0, 0]);
    bytes
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 4 + (8 - (payload.len() + 9) % 8) % 8;
    let mut bytes = u32::try_from(1 + payload.len() + padding).unwrap().to_be_bytes().to_vec();
    bytes.push(u8::try_from(padding).unwrap());
    bytes.extend_from_slice(payload);
    bytes.extend(std::iter::repeat_n(0, padding));
    bytes
}

const CLIENT: [&str; 10] = [
    "sntrup761x25519-sha512@openssh.com,curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com",
    "ssh-ed25519,rsa-sha2-512",
    "chacha20-poly1305@openssh.com,aes128-ctr",
    "aes128-ctr,chacha20-poly1305@openssh.com",
    "umac-64-etm@openssh.com,hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512,hmac-sha2-256-etm@openssh.com",
    "none,zlib@openssh.com",
    "none",
    "",
    "",
];

fn client() -> KexInit {
    KexInit::parse(&payload(CLIENT)).unwrap()
}

fn server(kex: &str, keys: &str, ciphers: &str, macs: &str) -> KexInit {
    KexInit::parse(&payload([kex, keys, ciphers, ciphers, macs, macs, "none", "none", "", ""])).unwrap()
}

#[test]
fn the_stream_may_be_split_anywhere() {
    let mut bytes = b"hello\r\nSSH-2.0-OpenSSH_9.2p1 Debian\r\n".to_vec();
    bytes.extend(packet(&payload(CLIENT)));
    bytes.extend_from_slice(b"what follows is not looked at");
    for step in [1, 2, 3, 7, 64, bytes.len()] {
        let mut reader = Reader::default();
        for chunk in bytes.chunks(step) {
            reader.take(chunk);
        }
        assert_eq!(reader.version(), Some("SSH-2.0-OpenSSH_9.2p1 Debian"), "{step}");
        assert_eq!(reader.kexinit(), Some(&client()), "{step}");
        assert!(reader.is_done());
        assert!(reader.buffer.is_empty());
    }
}

#[test]
fn messages_that_say_nothing_hide_no_kexinit() {
    let ignore = packet(&[&[2][..], &list("x")].concat());
    let unimplemented = packet(&[3, 0, 0, 0, 0]);
    let debug = packet(&[&[4, 0][..], &list("x"), &list("")].concat());
    for before in
        [&ignore[..], &unimplemented, &debug, &ignore.repeat(10_000), &[ignore.clone(), debug.clone()].concat()]
    {
        let mut reader = Reader::default();
        reader.take(b"SSH-2.0-x\r\n");
        for chunk in [before, &packet(&payload(CLIENT))].concat().chunks(1000) {
            reader.take(chunk);
            assert!(reader.buffer.len() <= 4 + MAX_PACKET);
        }
        assert_eq!(reader.kexinit(), Some(&client()));
    }
    // A name list in one of them is none.
    let mut reader = Reader::default();
    reader.take(&[&b"SSH-2.0-x\r\n"[..], &packet(&[&[2][..], &payload(CLIENT)].concat())].concat());
    assert_eq!((reader.kexinit(), reader.is_done()), (None, false));
}

#[test]
fn hostile_streams_end_the_reader_in_bounded_memory() {
    let endless_line = vec![b'x'; 1 << 20];
    let endless_lines = b"x\n".repeat(1 << 16);
    let mut huge_packet = b"SSH-2.0-x\r\n".to_vec();
    huge_packet.extend_from_slice(&[0xff; 64]);
    let mut empty_packet = b"SSH-2.0-x\r\n".to_vec();
    empty_packet.extend_from_slice(&[0; 8]);
    let mut other_message = b"SSH-2.0-x\r\n".to_vec();
    other_message.extend(packet(&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    let mut bad_padding = b"SSH-2.0-x\r\n".to_vec();
    bad_padding.extend_from_slice(&[0, 0, 0, 4, 255, 20, 0, 0]);
    for stream in [&endless_line[..], &endless_lines, &huge_packet, &empty_packet, &other_message, &bad_padding] {
        let mut reader = Reader::default();
        for chunk in stream.chunks(1000) {
            reader.take(chunk);
            assert!(reader.buffer.len() <= 4 + MAX_PACKET);
        }
        assert!(reader.is_done());
        assert_eq!(reader.kexinit(), None);
    }
}

#[test]
fn truncated_lists_are_no_kexinit() {
    let whole = payload(CLIENT);
    for length in 0..whole.len() - 5 {
        assert_eq!(KexInit::parse(&whole[..length]), None, "{length}");
    }
}

#[test]
fn the_first_name_of_the_client_wins() {
    let server = server(
        "kex-strict-s-v00@openssh.com,curve25519-sha256,mlkem768x25519-sha256",
        "rsa-sha2-512,ssh-ed25519",
        "aes128-ctr,chacha20-poly1305@openssh.com",
        "hmac-sha2-256-etm@openssh.com,hmac-sha2-512",
    );
    let algorithms = negotiate(&client(), &server).unwrap();
    assert_eq!(algorithms.kex, "curve25519-sha256");
    assert_eq!(algorithms.host_key, "ssh-ed25519");
    assert_eq!(algorithms.ciphers.0, "chacha20-poly1305@openssh.com");
    assert_eq!(algorithms.ciphers.1, "chacha20-poly1305@openssh.com");
    assert_eq!(algorithms.macs, ("<implicit>".into(), "<implicit>".into()));
    assert_eq!(algorithms.compression, ("none".into(), "none".into()));
}

#[test]
fn macs_are_chosen_for_each_direction() {
    let server =
        server("curve25519-sha256", "ssh-ed25519", "aes128-ctr", "hmac-sha2-512,hmac-sha2-256-etm@openssh.com");
    let algorithms = negotiate(&client(), &server).unwrap();
    assert_eq!(algorithms.macs, ("hmac-sha2-256-etm@openssh.com".into(), "hmac-sha2-512".into()));
}

#[test]
fn each_list_without_a_common_name_is_named() {
    let all = ["curve25519-sha256", "ssh-ed25519", "aes128-ctr", "hmac-sha2-512,hmac-sha2-256-etm@openssh.com"];
    let without = |at: usize| {
        let mut lists = all;
        lists[at] = "other";
        negotiate(&client(), &server(lists[0], lists[1], lists[2], lists[3])).unwrap_err()
    };
    assert_eq!(without(0), NoCommon::Kex);
    assert_eq!(without(1), NoCommon::HostKey);
    assert_eq!(without(2), NoCommon::Cipher);
    assert_eq!(without(3), NoCommon::Mac);
    // A marker that both sides send is no method.
    let mut marked = client();
    marked.kex = vec!["ext-info-c".into()];
    let same = server("ext-info-c", "ssh-ed25519", "aes128-ctr", "hmac-sha2-512");
    assert_eq!(negotiate(&marked, &same), Err(NoCommon::Kex));
}

#[test]
fn hassh_is_the_md5_of_the_four_lists() {
    let kexinit = KexInit {
        kex: vec!["a".into(), "b".into()],
        host_keys: vec!["k".into()],
        ciphers: (vec!["c".into()], vec!["d".into()]),
        macs: (vec!["e".into()], vec!["f".into()]),
        compression: (vec!["none".into()], vec!["none".into()]),
    };
    // printf 'a,b;c;e;none' | md5sum
    assert_eq!(kexinit.hassh(), "ae34d4009c27a8a58ac41b58763e1725");
    // printf 'a,b;d;f;none' | md5sum
    assert_eq!(kexinit.hassh_of_server(), "70d28de581c8f7ce511421c1e0676070");
}

/// What these versions are known by wherever HASSH is used.
#[test]
fn known_clients_have_the_hassh_that_they_are_known_by() {
    let list = |names: &str| names.split(',').map(str::to_owned).collect::<Vec<_>>();
    let client = |kex: &str, ciphers: &str, macs: &str, compression: &str| KexInit {
        kex: list(kex),
        host_keys: Vec::new(),
        ciphers: (list(ciphers), Vec::new()),
        macs: (list(macs), Vec::new()),
        compression: (list(compression), Vec::new()),
    };
    let openssh_7_7 = client(
        "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,\
         diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
         diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha256,diffie-hellman-group14-sha1,ext-info-c",
        "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
        "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,\
         hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,hmac-sha2-256,hmac-sha2-512,hmac-sha1",
        "none,zlib@openssh.com,zlib",
    );
    assert_eq!(openssh_7_7.hassh(), "06046964c022c6407d15a27b12a6a4fb", "OpenSSH_7.7p1 Ubuntu-4");
    let paramiko_2_4 = client(
        "ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
         diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha1,diffie-hellman-group1-sha1",
        "aes128-ctr,aes192-ctr,aes256-ctr,aes128-cbc,aes192-cbc,aes256-cbc,blowfish-cbc,3des-cbc",
        "hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-md5,hmac-sha1-96,hmac-md5-96",
        "none",
    );
    assert_eq!(paramiko_2_4.hassh(), "b5752e36ba6c5979a575e43178908adf", "paramiko 2.4.1");
}
