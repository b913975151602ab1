//! The shape of `fleet`: where gateways find what they share.

use std::time::Duration;

use super::problem::Problems;
use super::raw::text;
use super::reader::{At, Item, Section};
use crate::fleet::USUAL_LEASE;
use crate::secret::Secret;

/// The shortest and the longest lease: what is shorter is lost with a slow call, and what is longer keeps dead sessions too long.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(600);

/// `fleet`
#[derive(Debug)]
pub(super) struct Fleet {
    pub urls: Vec<At<Secret>>,
    pub name: Option<At<String>>,
    pub lease: Duration,
    pub login: Login,
    pub ca_file: Option<At<String>>,
    pub sentinel: Option<Sentinel>,
}

/// `fleet.sentinel`
#[derive(Debug)]
pub(super) struct Sentinel {
    pub master: Option<At<String>>,
    pub login: Login,
}

/// `username` and `password`
#[derive(Debug)]
pub(super) struct Login {
    pub username: Option<At<String>>,
    pub password: Option<At<Secret>>,
}

/// Reads `fleet`.
pub(super) fn read_fleet(item: &Item<'_>, problems: &mut Problems) -> Option<Fleet> {
    let mut section = item.section(problems)?;
    let url = section.need("url", "where Redis or Valkey is, as in rediss://cache.example.org:6379", problems);
    let name = section.need("name", "a name that all gateways of the fleet have in common, as in prod", problems);
    let fleet = Fleet {
        urls: url.map(|item| read_urls(&item, problems)).unwrap_or_default(),
        name: name.and_then(|item| item.placed_text(problems)),
        lease: section.take("lease").and_then(|item| item.duration(LEASES, problems)).unwrap_or(USUAL_LEASE),
        login: read_login(&mut section, problems),
        ca_file: text(&mut section, "ca_file", problems),
        sentinel: section.take("sentinel").and_then(|item| read_sentinel(&item, problems)),
    };
    section.close(problems);
    Some(fleet)
}

/// One URL, or a list of them.
fn read_urls(item: &Item<'_>, problems: &mut Problems) -> Vec<At<Secret>> {
    let items = if item.is_text() { vec![item.clone()] } else { item.list(problems).unwrap_or_default() };
    item.filled("write at least one URL, as in [\"redis://cache.example.org:6379\"]", problems);
    items.iter().filter_map(|item| Some(item.at(item.secret(problems)?))).collect()
}

fn read_sentinel(item: &Item<'_>, problems: &mut Problems) -> Option<Sentinel> {
    let mut section = item.section(problems)?;
    let master = section.need("master", "the name by which the sentinels know the server, as in mymaster", problems);
    let master = master.and_then(|item| item.placed_text(problems));
    let sentinel = Sentinel { master, login: read_login(&mut section, problems) };
    section.close(problems);
    Some(sentinel)
}

fn read_login(section: &mut Section<'_>, problems: &mut Problems) -> Login {
    Login {
        username: text(section, "username", problems),
        password: section.take("password").and_then(|item| Some(item.at(item.credential(problems)?))),
    }
}
