//! Whole conversations: answers, their order, and how a channel ends.

use std::time::Duration;

use super::pipe::Client;
use super::{packet, string};
use crate::policy::Permissions;
use crate::session::testing::Home;
use crate::sftp::Ended;
use crate::sftp::limits::{MAX_FRAME, MAX_HANDLES};

const READ: u32 = 0x01;
const PUT: u32 = 0x1a;
const NO_ATTRIBUTES: &[u8] = &[0; 4];

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const OP_UNSUPPORTED: u32 = 8;

fn extended(name: &str) -> Vec<u8> {
    string(name)
}

fn activities(home: &Home) -> Vec<String> {
    home.events().iter().map(|event| event["activity-type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_directory_lists_itself_its_parent_and_its_names_however_deep_the_pipeline() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let mut wanted: Vec<String> = (0..300).map(|n| format!("file-{n:03}")).collect();
    for name in &wanted {
        client.put(&format!("/d/{name}"), b"x").await;
    }
    let handle = string(client.call(11, &[&string("/d")]).await.string());
    let mut ids = Vec::new();
    for _ in 0..16 {
        ids.push(client.ask(12, &[&handle]).await);
    }
    let mut names = Vec::new();
    let mut at_end = false;
    for id in ids {
        let answer = client.answer().await;
        assert_eq!(answer.id, id, "order holds");
        if answer.kind == 101 {
            assert_eq!(answer.status(), EOF);
            at_end = true;
        } else {
            assert!(!at_end, "names after the end");
            assert!(answer.rest.len() <= 34_000, "a reply of {} bytes", answer.rest.len());
            names.extend(answer.names());
        }
    }
    assert!(at_end);
    assert_eq!(names[..2], [".", ".."]);
    names.drain(..2);
    names.sort();
    wanted.sort();
    assert_eq!(names, wanted);
    assert_eq!(client.call(4, &[&handle]).await.status(), OK);
    assert_eq!(activities(&home).iter().filter(|a| *a == "LIST").count(), 1);
}

#[tokio::test]
async fn requests_that_depend_on_one_another_keep_their_order() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    // All at once: each needs the one before.
    for _ in 0..20 {
        let requests = [
            packet(14, 1, &[&string("/d"), NO_ATTRIBUTES]),
            packet(17, 2, &[&string("/d")]),
            packet(18, 3, &[&string("/d"), &string("/e")]),
            packet(17, 4, &[&string("/d")]),
            packet(17, 5, &[&string("/e")]),
            packet(15, 6, &[&string("/e")]),
            packet(17, 7, &[&string("/e")]),
        ];
        client.raw(&requests.concat()).await;
        for (id, status) in [
            (1, Some(OK)),
            (2, None),
            (3, Some(OK)),
            (4, Some(NO_SUCH_FILE)),
            (5, None),
            (6, Some(OK)),
            (7, Some(NO_SUCH_FILE)),
        ] {
            let answer = client.answer_to(id).await;
            match status {
                Some(status) => assert_eq!(answer.status(), status, "request {id}"),
                None => assert_eq!(answer.kind, 105, "request {id}: {answer:?}"),
            }
        }
    }
}

#[tokio::test]
async fn each_kind_of_refusal_has_its_status() {
    let home = Home::new(&[("/", "rw", Permissions::READ_WRITE), ("/ro", "ro", Permissions::READ_ONLY)]).await;
    let mut client = Client::start(home.session()).await;
    client.put("/a", b"a").await;
    client.put("/b", b"b").await;
    let open = |path: &str, flags: u32| (3, vec![string(path), flags.to_be_bytes().to_vec(), NO_ATTRIBUTES.to_vec()]);
    type Case = ((u8, Vec<Vec<u8>>), u32);
    let cases: Vec<Case> = vec![
        (open("/none", READ), NO_SUCH_FILE),
        (open("/ro/x", PUT), PERMISSION_DENIED),
        (open("/a", 0x2a), FAILURE),
        ((17, vec![string("/none")]), NO_SUCH_FILE),
        ((17, vec![string("/a\0")]), FAILURE),
        ((11, vec![string("/none")]), NO_SUCH_FILE),
        ((13, vec![string("/none")]), NO_SUCH_FILE),
        ((13, vec![string("/ro/x")]), PERMISSION_DENIED),
        ((15, vec![string("/ro")]), PERMISSION_DENIED),
        ((18, vec![string("/a"), string("/b")]), FAILURE),
        ((18, vec![string("/none"), string("/c")]), NO_SUCH_FILE),
        ((19, vec![string("/a")]), OP_UNSUPPORTED),
        ((20, vec![string("/a"), string("/link")]), OP_UNSUPPORTED),
        ((200, vec![extended("hardlink@openssh.com"), string("/a"), string("/h")]), OP_UNSUPPORTED),
        ((200, vec![extended("nobody@example.com")]), OP_UNSUPPORTED),
        ((200, vec![extended("home-directory"), string("root")]), NO_SUCH_FILE),
        ((200, vec![extended("expand-path@openssh.com"), string("~root/x")]), NO_SUCH_FILE),
        ((200, vec![extended("check-file-name"), string("/a")]), BAD_MESSAGE),
        ((99, vec![]), OP_UNSUPPORTED),
        ((4, vec![string("77")]), FAILURE),
        ((5, vec![string("77"), vec![0; 12]]), FAILURE),
        ((17, vec![vec![0, 0, 0, 9, b'x']]), BAD_MESSAGE),
        ((17, vec![]), BAD_MESSAGE),
    ];
    for ((kind, fields), status) in cases {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        assert_eq!(client.call(kind, &fields).await.status(), status, "type {kind}: {fields:?}");
    }
    assert_eq!(client.call(17, &[&string("/a")]).await.kind, 105, "the channel goes on");
}

#[tokio::test]
async fn a_connection_sees_the_file_that_it_writes_and_others_do_not() {
    let home = Home::open().await;
    let (mut writer, mut beside) = (Client::start(home.session()).await, Client::start(home.session()).await);
    let handle = writer.open("/f", PUT).await;
    assert_eq!(writer.call(6, &[&handle, &[0; 8], &string("12345")]).await.status(), OK);
    for client in [&mut writer, &mut beside] {
        let answer = client.call(17, &[&string("/f")]).await;
        assert_eq!(
            (answer.kind, &answer.rest[4..12]),
            (105, &[0, 0, 0, 0, 0, 0, 0, 5][..]),
            "any channel of the connection"
        );
    }
    // sshfs sets rights and times by name while the file is open.
    let wishes = [0x0cu32, 0o600, 1_400_000_000, 1_400_000_000].map(u32::to_be_bytes).concat();
    assert_eq!(writer.call(9, &[&string("/f"), &wishes]).await.status(), OK);
    let longer = [&[0, 0, 0, 1][..], &9u64.to_be_bytes()].concat();
    assert_eq!(writer.call(9, &[&string("/f"), &longer]).await.status(), OK, "cut or extended by name");
    assert_eq!(writer.call(17, &[&string("/f")]).await.rest[4..12], 9u64.to_be_bytes());
    let path = crate::path::LogicalPath::parse_str("/f").unwrap();
    assert!(Home::open().await.session().stat(&path).await.is_err());
    assert!(home.store().stat(&crate::stores::Key::parse("f").unwrap()).await.is_err(), "it is not published");
    writer.eof();
    assert_eq!(writer.ended().await, Ended::ByClient);
    assert_eq!(beside.call(17, &[&string("/f")]).await.status(), NO_SUCH_FILE, "it was cut off");

    let handle = beside.open("/f", PUT).await;
    assert_eq!(beside.call(9, &[&string("/f"), &wishes]).await.status(), OK);
    assert_eq!(beside.call(4, &[&handle]).await.status(), OK);
    let stat = home.store().stat(&crate::stores::Key::parse("f").unwrap()).await.unwrap();
    let kept = std::time::UNIX_EPOCH + Duration::from_secs(1_400_000_000);
    assert_eq!(stat.mtime, Some(kept), "the time is kept at the CLOSE");
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_channel() {
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    let init = string([1, 0, 0, 0, 3]);
    let before_init: [(&str, Vec<u8>, &str); 4] = [
        ("a request first", packet(17, 1, &[&string("/")]), "before INIT"),
        ("INIT without a version", string([1, 0, 0]), "before INIT"),
        ("nothing in a packet", vec![0; 4], "empty"),
        ("garbage", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "too long"),
    ];
    for (what, raw, why) in before_init {
        let mut client = Client::connect(Home::open().await.session());
        client.raw(&raw).await;
        assert!(matches!(client.ended().await, Ended::Protocol(text) if text.contains(why)), "{what}");
    }
    let after_init: [(&str, Vec<u8>, &str); 4] = [
        ("a second INIT", init, "second INIT"),
        ("no id", string([17, 0, 0, 1]), "without an id"),
        ("nothing in a packet", vec![0; 4], "empty"),
        ("the largest length", vec![255, 255, 255, 255, 1, 0, 0, 0, 3], "too long"),
    ];
    for (what, raw, why) in after_init {
        let mut client = Client::start(Home::open().await.session()).await;
        client.raw(&raw).await;
        assert!(matches!(client.ended().await, Ended::Protocol(text) if text.contains(why)), "{what}");
    }

    let mut client = Client::start(Home::open().await.session()).await;
    client.raw(&[&too_long[..], &[6, 0, 0, 0, 42]].concat()).await;
    let answer = client.answer().await;
    assert_eq!((answer.id, answer.status()), (42, BAD_MESSAGE), "it is answered first");
    assert!(matches!(client.ended().await, Ended::Protocol(_)));

    let mut client = Client::start(Home::open().await.session()).await;
    client.raw(&packet(17, 1, &[&string("/")])[..7]).await;
    client.eof();
    assert!(matches!(client.ended().await, Ended::Protocol(why) if why.contains("inside a packet")));
}

#[tokio::test]
async fn at_the_end_what_was_asked_is_done_and_what_is_open_is_cut_off() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/gone", b"x").await;
    let (closed, open) = (client.open("/closed", PUT).await, client.open("/open", PUT).await);
    let requests = [
        packet(6, 100, &[&closed, &[0; 8], &string("whole")]),
        packet(6, 101, &[&open, &[0; 8], &string("half")]),
        packet(4, 102, &[&closed]),
        packet(13, 103, &[&string("/gone")]),
    ];
    client.raw(&requests.concat()).await;
    client.eof();
    assert_eq!(client.ended().await, Ended::ByClient);
    let events = home.events();
    let of = |activity: &str, path: &str| {
        events.iter().filter(|e| e["activity-type"] == activity && e["logical-path"] == path).count()
    };
    assert_eq!(of("CLOSE", "/closed"), 1);
    assert_eq!(of("PARTIAL_CLOSE", "/open"), 1, "{events:?}");
    assert_eq!(of("DELETE", "/gone"), 1);
    let mut client = Client::start(home.session()).await;
    assert_eq!(client.call(17, &[&string("/closed")]).await.kind, 105);
    for path in ["/open", "/gone"] {
        assert_eq!(client.call(17, &[&string(path)]).await.status(), NO_SUCH_FILE, "{path}");
    }
}

#[tokio::test]
async fn a_channel_that_is_killed_records_the_end_of_its_transfers() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let handle = client.open("/half", PUT).await;
    assert_eq!(client.call(6, &[&handle, &[0; 8], &string("half")]).await.status(), OK);
    client.kill();
    for _ in 0..200 {
        if activities(&home).last().is_some_and(|last| last == "PARTIAL_CLOSE") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", activities(&home));
}

#[tokio::test]
async fn handles_are_bounded_and_come_free_again() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let mut handles = Vec::new();
    for _ in 0..MAX_HANDLES {
        handles.push(string(client.call(11, &[&string("/")]).await.string()));
    }
    assert_eq!(client.call(11, &[&string("/")]).await.status(), FAILURE);
    assert_eq!(client.call(4, &[&handles[7]]).await.status(), OK);
    assert_eq!(client.call(4, &[&handles[7]]).await.status(), FAILURE, "it is closed");
    let new = string(client.call(11, &[&string("/")]).await.string());
    assert!(!handles.contains(&new), "no handle is given twice");
}

#[tokio::test]
async fn reads_have_the_edges_of_openssh() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", b"0123456789").await;
    let handle = client.open("/f", READ).await;
    let mut read =
        async |offset: u64, length: u32| client.call(5, &[&handle, &offset.to_be_bytes(), &length.to_be_bytes()]).await;
    assert_eq!(read(8, 100).await.string(), "89");
    assert_eq!(read(10, 1).await.status(), EOF);
    assert_eq!(read(u64::MAX, u32::MAX).await.status(), EOF);
    assert_eq!(read(3, 0).await.string(), "", "nothing asked, nothing given");
    assert_eq!(read(0, u32::MAX).await.string(), "0123456789");
    let write = client.call(6, &[&handle, &[0; 8], &string("x")]).await;
    assert_eq!(write.status(), FAILURE, "it is open for reading");
    let handle = client.open("/g", PUT).await;
    let far = client.call(6, &[&handle, &(u64::MAX - 1).to_be_bytes(), &string("xyz")]).await;
    assert_eq!(far.status(), FAILURE, "no file reaches so far");
}

#[tokio::test]
async fn extensions_answer_as_openssh_does() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/a", b"new").await;
    client.put("/b", b"old").await;
    let renamed = client.call(200, &[&extended("posix-rename@openssh.com"), &string("/a"), &string("/b")]).await;
    assert_eq!(renamed.status(), OK);
    let b = client.open("/b", READ).await;
    assert_eq!(client.call(5, &[&b, &[0; 8], &[0, 0, 0, 9]]).await.string(), "new");

    let limits = client.call(200, &[&extended("limits@openssh.com")]).await;
    assert_eq!((limits.kind, limits.rest.len()), (201, 32));
    for request in
        [vec![extended("statvfs@openssh.com"), string("/b")], vec![extended("fstatvfs@openssh.com"), b.clone()]]
    {
        let fields: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let answer = client.call(200, &fields).await;
        assert_eq!((answer.kind, answer.rest.len()), (201, 88));
    }
    assert_eq!(client.call(200, &[&extended("fsync@openssh.com"), &b]).await.status(), OK);
    for (path, wanted) in [("~", "/"), ("~/x", "/x"), ("~demo/y/..", "/"), ("z/../q", "/q")] {
        let answer = client.call(200, &[&extended("expand-path@openssh.com"), &string(path)]).await;
        assert_eq!(answer.names(), [wanted], "{path}");
    }
    for user in ["", "demo"] {
        let answer = client.call(200, &[&extended("home-directory"), &string(user)]).await;
        assert_eq!(answer.names(), ["/"]);
    }
    let ids = string(1000u32.to_be_bytes());
    let answer = client.call(200, &[&extended("users-groups-by-id@openssh.com"), &ids, &ids]).await;
    let name = string(string("demo"));
    assert_eq!((answer.kind, answer.rest.to_vec()), (201, [name.clone(), name].concat()));
    let times = [0, 0, 0, 8, 0, 0, 0, 1, 0x65, 0x53, 0xf1, 0];
    let set = client.call(200, &[&extended("lsetstat@openssh.com"), &string("/b"), &times]).await;
    assert_eq!(set.status(), OK);
    assert_eq!(client.call(16, &[&string("x/./y")]).await.names(), ["/x/y"]);
}

#[tokio::test]
async fn a_directory_shows_itself_as_stat_does() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    assert_eq!(client.call(14, &[&string("/d"), &[0; 4]]).await.status(), OK);
    let stat = client.call(17, &[&string("/d")]).await.rest;
    let handle = string(client.call(11, &[&string("/d")]).await.string());
    let listed = client.call(12, &[&handle]).await;
    assert_eq!(listed.names(), [".", ".."]);
    let own = &listed.rest[4 + string(".").len()..];
    let length = usize::try_from(u32::from_be_bytes(own[..4].try_into().unwrap())).unwrap();
    let (longname, attributes) = (std::str::from_utf8(&own[4..4 + length]).unwrap(), &own[4 + length..]);
    assert_eq!(attributes[..stat.len()], stat[..]);
    assert!(longname.starts_with("drwxr-xr-x ") && longname.ends_with(" ."), "{longname}");
}

#[tokio::test]
async fn names_of_others_are_not_told() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    for path in ["~root", "~root/x", "~demo2/x", "~dem", "~Demo"] {
        let answer = client.call(200, &[&extended("expand-path@openssh.com"), &string(path)]).await;
        assert_eq!(answer.status(), NO_SUCH_FILE, "{path}");
    }
    for user in ["root", "Demo", "demo "] {
        let answer = client.call(200, &[&extended("home-directory"), &string(user)]).await;
        assert_eq!(answer.status(), NO_SUCH_FILE, "{user}");
    }
    let request = extended("users-groups-by-id@openssh.com");
    let ids = |ids: &[u32]| string(ids.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<u8>>());
    let names = |names: &[&str]| string(names.iter().flat_map(|name| string(*name)).collect::<Vec<u8>>());
    let answer = client.call(200, &[&request, &ids(&[0, 1000, u32::MAX]), &ids(&[1000, 1001])]).await;
    assert_eq!(
        (answer.kind, answer.rest.to_vec()),
        (201, [names(&["", "demo", ""]), names(&["demo", ""])].concat()),
        "an empty name where there is none"
    );
    let answer = client.call(200, &[&request, &ids(&[]), &ids(&[])]).await;
    assert_eq!((answer.kind, answer.rest.to_vec()), (201, [names(&[]), names(&[])].concat()));
}

#[tokio::test]
async fn copy_data_keeps_its_place_on_both_handles() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let data: Vec<u8> = (0..700_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    client.put("/from", &data).await;
    let (from, to) = (client.open("/from", READ).await, client.open("/to", 0x1b).await);
    let name = extended("copy-data");
    let number = |n: u64| n.to_be_bytes();
    // Everything at once: write, copy all, copy a part over it, read back.
    let requests = [
        packet(6, 1000, &[&to, &number(0), &string("gone")]),
        packet(200, 1001, &[&name, &from, &number(0), &number(0), &to, &number(0)]),
        packet(200, 1002, &[&name, &from, &number(5), &number(3), &to, &number(0)]),
        packet(5, 1003, &[&to, &number(0), &[0, 0, 0, 8]]),
    ];
    client.raw(&requests.concat()).await;
    for id in 1000..1003 {
        let answer = client.answer().await;
        assert_eq!((answer.id, answer.status()), (id, OK));
    }
    assert_eq!(client.answer().await.string()[..], [5, 6, 7, 3, 4, 5, 6, 7]);
    assert_eq!(client.call(4, &[&to]).await.status(), OK);
    let stat = home.store().stat(&crate::stores::Key::parse("to").unwrap()).await.unwrap();
    assert_eq!(stat.size, 700_000);
    let same = client.call(200, &[&name, &from, &number(0), &number(0), &from, &number(9)]).await;
    assert_eq!(same.status(), FAILURE, "one handle");
    let twin = client.open("/from", READ).await;
    let same = client.call(200, &[&name, &from, &number(0), &number(0), &twin, &number(9)]).await;
    assert_eq!(same.status(), FAILURE, "one file");
    let directory = string(client.call(11, &[&string("/")]).await.string());
    let wrong = client.call(200, &[&name, &directory, &number(0), &number(0), &from, &number(9)]).await;
    assert_eq!(wrong.status(), FAILURE, "a directory");
}

#[tokio::test]
async fn directories_and_files_are_not_mistaken_for_each_other() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/d/f", b"x").await;
    let file = client.open("/d/f", READ).await;
    let directory = string(client.call(11, &[&string("/d")]).await.string());
    assert_eq!(client.call(12, &[&file]).await.status(), FAILURE);
    assert_eq!(client.call(5, &[&directory, &[0; 8], &[0, 0, 0, 1]]).await.status(), FAILURE);
    assert_eq!(client.call(6, &[&directory, &[0; 8], &string("x")]).await.status(), FAILURE);
    assert_eq!(client.call(200, &[&extended("fsync@openssh.com"), &directory]).await.status(), FAILURE);
    for (handle, mode) in [(&file, 0x81), (&directory, 0x41)] {
        let answer = client.call(8, &[handle]).await;
        assert_eq!((answer.kind, answer.rest[22]), (105, mode), "{answer:?}");
    }
    assert!(client.is_silent_for(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn a_copy_that_fails_publishes_nothing() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", b"content").await;
    let name = extended("copy-data");
    // As OpenSSH's `cp /f /f`: opened to be emptied, refused, closed.
    let (from, to) = (client.open("/f", READ).await, client.open("/f", 0x1a).await);
    let refused = client.call(200, &[&name, &from, &[0; 16], &to, &[0; 8]]).await;
    assert_eq!(refused.status(), FAILURE);
    assert_eq!(client.call(4, &[&to]).await.status(), FAILURE);
    let stat = home.store().stat(&crate::stores::Key::parse("f").unwrap()).await.unwrap();
    assert_eq!(stat.size, 7, "it is as it was");
    // A client that then writes the file by itself has it.
    let to = client.open("/f", 0x1a).await;
    assert_eq!(client.call(200, &[&name, &from, &[0; 16], &to, &[0; 8]]).await.status(), FAILURE);
    assert_eq!(client.call(6, &[&to, &[0; 8], &string("new")]).await.status(), OK);
    assert_eq!(client.call(4, &[&to]).await.status(), OK);
    let stat = home.store().stat(&crate::stores::Key::parse("f").unwrap()).await.unwrap();
    assert_eq!(stat.size, 3);
    let ends: Vec<_> = home.events().into_iter().filter(|event| event["logical-path"] == "/f").collect();
    assert!(ends.iter().any(|event| event["activity-type"] == "PARTIAL_CLOSE"), "{ends:?}");
}

#[tokio::test]
async fn a_file_is_not_renamed_to_a_name_that_only_a_directory_can_have() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", b"content").await;
    client.put("/taken", b"kept").await;
    let rename = |to: &str| [string("/f"), string(to)].concat();
    for to in ["/there/", "/taken/", "/there/."] {
        assert_eq!(client.call(18, &[&rename(to)]).await.status(), 2, "{to}");
        let posix = [extended("posix-rename@openssh.com"), rename(to)].concat();
        assert_eq!(client.call(200, &[&posix]).await.status(), 2, "{to}");
    }
    assert_eq!(client.call(14, &[&string("/d"), &[0; 4]]).await.status(), 0);
    let directory = [string("/d"), string("/e/")].concat();
    assert_eq!(client.call(18, &[&directory]).await.status(), 0, "a directory may");
    for (name, size) in [("f", 7), ("taken", 4)] {
        assert_eq!(home.store().stat(&crate::stores::Key::parse(name).unwrap()).await.unwrap().size, size);
    }
}
