//! Every set of permissions against both directions of `scp`: what docs/SEMANTICS.md says under Permissions.

use std::time::{Duration, SystemTime};

use super::home::Home;
use crate::policy::{Permission, Permissions};

#[tokio::test]
async fn every_set_of_permissions_allows_what_the_table_says() {
    for number in 0..1_u32 << Permission::ALL.len() {
        let has = |place: usize| number & (1 << place) != 0;
        let set: Permissions =
            Permission::ALL.into_iter().enumerate().filter(|(place, _)| has(*place)).map(|(_, one)| one).collect();
        let may = |permission| set.has(permission);
        let home = Home::with_permissions(set).await;
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        home.put_with_time("/in/theirs", "theirs", Some(old)).await;

        for (target, allowed) in [
            ("in/theirs", may(Permission::Overwrite)),
            ("in/new", may(Permission::Write)),
            ("in/none/new", may(Permission::Write) && may(Permission::Mkdir)),
        ] {
            let was_there = home.content(&format!("/{target}")).await;
            let mut scp = home.run(&format!("scp -p -t {target}"));
            scp.client.send("T1500000000 0 1500000000 0\nC0644 4 x\nmine\0").await;
            assert_eq!(scp.end().await.0 == 0, allowed, "{target} with {set:?}");
            let content = home.content(&format!("/{target}")).await;
            assert_eq!(content, if allowed { Some(b"mine".to_vec()) } else { was_there }, "{target} with {set:?}");
        }
        let time = home.stat("/in/theirs").await.unwrap().mtime.unwrap();
        assert_eq!(time != old, may(Permission::Overwrite), "with {set:?}");

        let mut scp = home.run("scp -r -t in");
        scp.client.send("D0755 0 made\nE\n").await;
        assert_eq!(scp.end().await.0 == 0, may(Permission::Mkdir), "a directory with {set:?}");
        assert_eq!(home.stat("/in/made").await.is_some(), may(Permission::Mkdir), "with {set:?}");

        home.put("/in/read", "content").await;
        let mut scp = home.run("scp -f in/read");
        scp.client.send("\0\0\0").await;
        let (status, sent) = scp.end().await;
        let is_sent = sent.windows(7).any(|window| window == b"content");
        assert_eq!((status == 0, is_sent), (may(Permission::Read), may(Permission::Read)), "with {set:?}");
    }
}
