//! The keys of a fleet in Redis. All of them have one hash tag, so that a cluster keeps them in one place and a script may use several.

use super::settings::FleetName;
use crate::session::gate::Source;

/// How the keys of one fleet begin.
#[derive(Debug, Clone)]
pub(super) struct Keys(String);

impl Keys {
    pub(super) fn of(fleet: &FleetName) -> Keys {
        Keys(format!("lockgate:{{{}}}:", fleet.as_str()))
    }

    /// What all keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.0
    }

    /// A sorted set: the ids of gateways, by when their leases end (milliseconds of Redis' clock).
    pub(super) fn gateways(&self) -> String {
        format!("{}gateways", self.0)
    }

    /// A text: what a gateway says of itself.
    pub(super) fn gateway(&self, id: &str) -> String {
        format!("{}gateway:{id}", self.0)
    }

    /// A hash: the sessions of a gateway.
    pub(super) fn sessions(&self, id: &str) -> String {
        format!("{}sessions:{id}", self.0)
    }

    /// A sorted set: the sessions of a user with a limit, by when they are forgotten unless their gateway says so again. Sessions that came
    /// through others are counted apart.
    pub(super) fn places(&self, user: &str, through_another: bool) -> String {
        let kind = if through_another { "jump" } else { "login" };
        format!("{}places:{kind}:{user}", self.0)
    }

    /// A hash: the sources that are banned, until when, for which time, and by whom.
    pub(super) fn bans(&self) -> String {
        format!("{}bans", self.0)
    }

    /// A number: the points of a source.
    pub(super) fn points(&self, source: Source) -> String {
        format!("{}points:{}", self.0, source.address())
    }

    /// A stream: what every gateway has to hear soon.
    pub(super) fn news(&self) -> String {
        format!("{}news", self.0)
    }

    /// A text that is there as long as somebody follows the events of all gateways.
    pub(super) fn followed(&self) -> String {
        format!("{}followed", self.0)
    }

    /// A text: the id of the gateway that tells the trail of changes of the users of a source.
    pub(super) fn teller(&self, source: &str) -> String {
        format!("{}users:teller:{source}", self.0)
    }

    /// A hash: the users of a source, and what a trail was told last of each.
    pub(super) fn told_users(&self, source: &str) -> String {
        format!("{}users:told:{source}", self.0)
    }

    /// A stream: the events of all gateways, for those who follow them now.
    pub(super) fn events(&self) -> String {
        format!("{}events", self.0)
    }
}
