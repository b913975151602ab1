//! More than one server of Redis: a list, sentinels, a cluster.

use std::time::Instant;

use serde_json::json;

use super::{Administered, gateways, member, two_with, until_alone, until_sessions, until_together};
use crate::support::process::{LIMIT, until};
use crate::support::redis::{Redis, Sentinel, url_of};
use crate::support::server::free_port;
use crate::support::sftp::Sftp;

#[test]
fn servers_are_tried_in_their_order() {
    let redis = Redis::start();
    let one = member("edge-1", "", |setup| {
        setup.config["fleet"]["url"] = json!([url_of(free_port()), redis.url()]);
    });
    until_together(&one);
    assert!(one.door.gateway.events.of_type("FLEET_ALONE").is_empty());
    redis.kill();
    let why =
        until("both failures", LIMIT, || Some(until_alone(&one)).filter(|why| why.matches("redis://").count() == 2));
    assert!(why.contains(&redis.url()), "{why}");
}

#[test]
fn a_replica_is_not_enough() {
    let redis = Redis::start();
    let replica = Redis::start_replica(&redis);
    let one = member("edge-1", &replica.url(), |_| ());
    until("a reason", LIMIT, || until_alone(&one).contains("a replica, which cannot be written").then_some(()));
    one.door.client.sftp("pwd").succeeded();
    let second = member("edge-2", "", |setup| setup.config["fleet"]["url"] = json!([replica.url(), redis.url()]));
    until_together(&second);
}

#[test]
fn sentinels_lead_to_the_server_that_can_be_written_also_after_a_fail_over() {
    let redis = Redis::start();
    let replica = Redis::start_replica(&redis);
    let sentinel = Sentinel::start(&redis);
    let [one, other] = two_with(&url_of(sentinel.port), |setup| {
        setup.config["fleet"]["sentinel"] = json!({ "master": "prod-master" });
    });
    let _session = Sftp::connect(&one.door.client, LIMIT);
    until_sessions(&other, &[("edge-1", "alice")]);
    redis.kill();
    let killed = Instant::now();
    until_alone(&one);
    one.door.client.sftp("pwd").succeeded();
    until_together(&one);
    until_together(&other);
    eprintln!("after the server was killed, the fleet was together over its replica after {:?}", killed.elapsed());
    assert!(replica.information("replication").contains("role:master"));
    until_sessions(&other, &[("edge-1", "alice")]);
}

#[test]
fn an_unknown_name_is_reported() {
    let redis = Redis::start();
    let _replica = Redis::start_replica(&redis);
    let sentinel = Sentinel::start(&redis);
    let one = member("edge-1", &url_of(sentinel.port), |setup| {
        setup.config["fleet"]["sentinel"] = json!({ "master": "other" });
    });
    until("a reason", LIMIT, || until_alone(&one).contains("knows no \"other\"").then_some(()));
}

#[test]
fn any_node_of_a_cluster_leads_to_the_keys() {
    let nodes = Redis::start_cluster();
    let ones: Vec<Administered> =
        ["edge-1", "edge-2"].iter().zip(&nodes).map(|(name, node)| member(name, &node.url(), |_| ())).collect();
    ones.iter().for_each(until_together);
    assert_eq!(gateways(&ones[0]), ["edge-1", "edge-2"]);
    let _session = Sftp::connect(&ones[0].door.client, LIMIT);
    until_sessions(&ones[1], &[("edge-1", "alice")]);
    let with_keys: Vec<bool> = nodes.iter().map(|node| !node.keys("lockgate:{prod}:").is_empty()).collect();
    assert_eq!(with_keys.iter().filter(|has| **has).count(), 1, "all keys lie in one slot");
}
