//! `check-file-name`, `check-file-handle` and paramiko's `check-file`.

use aws_lc_rs::digest;

use super::pipe::{Answer, Client};
use super::string;
use crate::policy::Permissions;
use crate::session::testing::Home;

const READ: u32 = 0x01;
const PUT: u32 = 0x1a;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

/// The first algorithm of the client's list that is known is taken, wherever it stands.
#[tokio::test]
async fn every_algorithm_is_found_in_a_list() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let data = pattern(100_000);
    client.put("/f", &data).await;
    let f = string("/f");
    let known = [
        ("sha1", &digest::SHA1_FOR_LEGACY_USE_ONLY),
        ("sha224", &digest::SHA224),
        ("sha256", &digest::SHA256),
        ("sha384", &digest::SHA384),
        ("sha512", &digest::SHA512),
    ];
    for (name, algorithm) in known {
        let wanted = [string(name), digest::digest(algorithm, &data).as_ref().to_vec()].concat();
        for list in [name.to_owned(), format!("crc32,{name}"), format!("sha3-256,{name},md5"), format!("{name},blake2")]
        {
            let answer = check(&mut client, "check-file-name", &f, &list, (0, 0, 0)).await;
            assert_eq!((answer.kind, answer.rest.to_vec()), (201, wanted.clone()), "{list}");
        }
    }
    for list in ["crc32", "SHA256", "sha-256", "sha25", "sha2566", ",", "sha3-256,blake2", "sha256 "] {
        let answer = check(&mut client, "check-file-name", &f, list, (0, 0, 0)).await;
        assert_eq!(answer.status(), 8, "{list:?}");
    }
}

fn sha256(data: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, data).as_ref().to_vec()
}

/// Asks for digests of what `name` says, by name or by handle.
async fn check(client: &mut Client, request: &str, name: &[u8], algorithms: &str, range: (u64, u64, u32)) -> Answer {
    let (offset, length, block) = range;
    let fields: [&[u8]; 6] = [
        &string(request),
        name,
        &string(algorithms),
        &offset.to_be_bytes(),
        &length.to_be_bytes(),
        &block.to_be_bytes(),
    ];
    client.call(200, &fields).await
}

#[tokio::test]
async fn digests_of_whole_files_and_of_blocks_are_right() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let data = pattern(1_000_003);
    client.put("/f", &data).await;
    client.put("/empty", b"").await;
    let (f, empty) = (string("/f"), string("/empty"));
    let by_name = |algorithm: &str, digests: Vec<u8>| [string(algorithm), digests].concat();

    let answer = check(&mut client, "check-file-name", &f, "crc32,sha256,md5", (0, 0, 0)).await;
    assert_eq!((answer.kind, answer.rest.to_vec()), (201, by_name("sha256", sha256(&data))));
    let answer = check(&mut client, "check-file-name", &f, "sha256", (100, 500_000, 0)).await;
    assert_eq!(answer.rest.to_vec(), by_name("sha256", sha256(&data[100..500_100])));
    let blocks: Vec<u8> = data[3..].chunks(1000).flat_map(sha256).collect();
    let answer = check(&mut client, "check-file-name", &f, "sha256", (3, u64::MAX, 1000)).await;
    assert_eq!(answer.rest.to_vec(), by_name("sha256", blocks));
    let answer = check(&mut client, "check-file-name", &empty, "sha256", (0, 0, 0)).await;
    assert_eq!(answer.rest.to_vec(), by_name("sha256", sha256(b"")));
    let answer = check(&mut client, "check-file-name", &f, "sha256", (1_000_003, 0, 256)).await;
    assert_eq!(answer.rest.to_vec(), by_name("sha256", Vec::new()), "no blocks in nothing");

    let handle = client.open("/f", READ).await;
    let answer = check(&mut client, "check-file-handle", &handle, "sha256", (0, 0, 0)).await;
    assert_eq!(answer.rest.to_vec(), by_name("sha256", sha256(&data)));
    let answer = check(&mut client, "check-file", &handle, "sha256", (0, 0, 0)).await;
    assert_eq!(
        answer.rest.to_vec(),
        [string("check-file"), by_name("sha256", sha256(&data))].concat(),
        "paramiko's form"
    );
    assert_eq!(client.call(4, &[&handle]).await.status(), 0);

    let closes = home.sink().of("CLOSE");
    let by_name = &closes[2..closes.len() - 1];
    assert_eq!(by_name.len(), 5, "each file that is hashed by name is a file that is read");
    assert!(by_name.iter().all(|close| close["operation"] == "read" && close["bytes-out"] == "0"), "{by_name:?}");
}

#[tokio::test]
async fn what_cannot_be_hashed_is_refused() {
    let only_put = Permissions::WRITE_ONLY;
    let home = Home::new(&[("/", "rw", Permissions::READ_WRITE), ("/in", "in", only_put)]).await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", &pattern(3_000_000)).await;
    client.put("/in/f", b"secret").await;
    let writing = client.open("/g", PUT).await;
    let directory = string(client.call(11, &[&string("/")]).await.string());
    let f = string("/f");
    for (request, name, algorithms, range, status) in [
        ("check-file-name", string("/none"), "md5", (0, 0, 0), 2),
        ("check-file-name", string("/in/f"), "md5", (0, 0, 0), 3),
        ("check-file-name", string("/"), "md5", (0, 0, 0), 4),
        ("check-file-name", f.clone(), "crc32", (0, 0, 0), 8),
        ("check-file-name", f.clone(), "", (0, 0, 0), 8),
        ("check-file-name", f.clone(), "md5", (3_000_001, 0, 0), 4),
        ("check-file-name", f.clone(), "md5", (0, 0, 255), 4),
        ("check-file-name", f.clone(), "md5", (0, 0, 256), 4),
        ("check-file-handle", writing, "md5", (0, 0, 0), 4),
        ("check-file-handle", directory, "md5", (0, 0, 0), 4),
        ("check-file-handle", string("99"), "md5", (0, 0, 0), 4),
    ] {
        let answer = check(&mut client, request, &name, algorithms, range).await;
        assert_eq!(answer.status(), status, "{request} {name:?} {algorithms} {range:?}: {answer:?}");
    }
    let answer = check(&mut client, "check-file-name", &f, "md5", (0, 0, 512)).await;
    assert_eq!(answer.rest.len(), 7 + 5860 * 16);
}

#[tokio::test]
async fn digests_that_nobody_takes_stay_bounded_and_come_later() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", &pattern(2_000_000)).await;
    let mut ids = Vec::new();
    // 12 MB of answers for a window of two.
    for _ in 0..100 {
        let fields: [&[u8]; 6] =
            [&string("check-file-name"), &string("/f"), &string("md5"), &[0; 8], &[0; 8], &256u32.to_be_bytes()];
        ids.push(client.ask(200, &fields).await);
    }
    assert_eq!(client.call(17, &[&string("/other")]).await.status(), 2, "others are answered meanwhile");
    for id in ids {
        assert_eq!(client.answer_to(id).await.rest.len(), 7 + 7813 * 16);
    }
}
