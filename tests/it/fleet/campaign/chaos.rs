//! What is killed with SIGKILL, and when it is started again.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::{RECONNECTS, Span};
use crate::fleet::LEASE;
use crate::fleet::service::{GATEWAYS, Service};
use crate::support::campaign::Dice;

/// Of so many deaths, one each is that of the Redis that is written, of the S3 server and of HAProxy, and which. Not more often: where the
/// gateways cannot ask each other, no limit is judged, and while nobody is served, nothing is acknowledged.
const ROUND: u64 = 8;
const OF_REDIS: u64 = 2;
const OF_S3: u64 = 4;
const OF_BALANCER: u64 = 6;

/// At first nothing dies: there are files by then, and logins for which a limit is judged.
const CALM: Duration = Duration::from_secs(2);

/// What died, and when.
#[derive(Debug, Default)]
pub struct Deaths {
    pub gateways: Vec<(usize, SystemTime)>,
    /// Of these, how many died while there was no S3 server or no HAProxy.
    pub within: u64,
    /// Deaths of the Redis that is written, those with a fail-over apart.
    pub redis: u64,
    pub fail_overs: u64,
    pub replicas: u64,
    pub balancers: u64,
    /// From the death of the S3 server until it answers again.
    pub s3: Vec<Span>,
    /// When gateways could not ask each other.
    pub apart: Vec<Span>,
    /// When Redis forgot what it was told, until all gateways can have told it again.
    pub forgot: Vec<Span>,
}

/// Kills and starts again, until the time is over.
pub struct Chaos<'a> {
    service: &'a Service,
    dice: Dice,
    /// Which server of Redis is written.
    primary: usize,
    deaths: Deaths,
}

impl<'a> Chaos<'a> {
    pub fn new(service: &'a Service, seed: u64) -> Chaos<'a> {
        Chaos { service, dice: Dice::new(seed), primary: 0, deaths: Deaths::default() }
    }

    /// Each part but the replica dies at least once, however long that takes.
    pub fn run(mut self, time: Duration) -> Deaths {
        let over = Instant::now() + time;
        thread::sleep(CALM);
        for step in 0.. {
            self.pause(2000);
            if Instant::now() >= over && step > OF_BALANCER {
                break;
            }
            match (step % ROUND, self.dice.below(6)) {
                (OF_REDIS, 0..=2) => self.fail_over(),
                (OF_REDIS, _) => self.redis(),
                (OF_S3, _) => self.s3(),
                (OF_BALANCER, _) => self.balancer(),
                (_, 0) => self.replica(),
                _ => self.gateway(),
            }
        }
        self.deaths
    }

    fn pause(&mut self, at_most: u64) {
        thread::sleep(Duration::from_millis(self.dice.below(at_most)));
    }

    fn gateway(&mut self) {
        let number = self.kill_gateway();
        self.pause(1000);
        self.start_gateway(number);
    }

    fn kill_gateway(&mut self) -> usize {
        let number = self.dice.below(GATEWAYS as u64) as usize;
        self.service.members[number].kill();
        self.deaths.gateways.push((number, SystemTime::now()));
        number
    }

    fn start_gateway(&mut self, number: usize) {
        let (began, member) = (SystemTime::now(), &self.service.members[number]);
        member.start();
        // Until it has found Redis, it counts for itself.
        member.until_together();
        self.deaths.apart.push((began, SystemTime::now()));
    }

    /// It comes back on its port, with what it had stored. A gateway that dies meanwhile is tried once without it, and again when it is back:
    /// its service manager would try it every two seconds.
    fn s3(&mut self) {
        let began = SystemTime::now();
        self.service.s3.kill();
        let died = (self.dice.below(2) == 0).then(|| self.kill_gateway());
        match died {
            Some(number) => self.service.members[number].start_in_vain(),
            None => self.pause(2500),
        }
        self.service.s3.start_again();
        self.deaths.s3.push((began, SystemTime::now()));
        if let Some(number) = died {
            self.start_gateway(number);
            self.deaths.within += 1;
        }
    }

    /// All connections of clients are cut, and for some time nobody can connect.
    fn balancer(&mut self) {
        self.service.kill_balancer();
        self.deaths.balancers += 1;
        if self.dice.below(2) == 0 {
            self.gateway();
            self.deaths.within += 1;
        } else {
            self.pause(2500);
        }
        self.service.start_balancer();
    }

    /// The replica becomes the server that is written, without what it had not heard yet; the other one comes back as its replica.
    fn fail_over(&mut self) {
        let began = SystemTime::now();
        let (old, new) = (&self.service.redis[self.primary], &self.service.redis[1 - self.primary]);
        old.kill();
        new.call(&["REPLICAOF", "NO", "ONE"]);
        self.primary = 1 - self.primary;
        self.deaths.fail_overs += 1;
        self.pause(1500);
        old.start_again();
        old.call(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
        self.redis_is_back_since(began);
    }

    /// It comes back without anything.
    fn redis(&mut self) {
        let began = SystemTime::now();
        let (primary, replica) = (&self.service.redis[self.primary], &self.service.redis[1 - self.primary]);
        primary.kill();
        self.deaths.redis += 1;
        self.pause(1500);
        primary.start_again();
        primary.call(&["REPLICAOF", "NO", "ONE"]);
        replica.call(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        self.redis_is_back_since(began);
    }

    /// Nobody misses it.
    fn replica(&mut self) {
        let (primary, replica) = (&self.service.redis[self.primary], &self.service.redis[1 - self.primary]);
        replica.kill();
        self.deaths.replicas += 1;
        self.pause(1500);
        replica.start_again();
        replica.call(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    }

    /// What a gateway had told is there again when it has reconnected, and renewed its lease or read its folder of users.
    fn redis_is_back_since(&mut self, began: SystemTime) {
        let span = (began, SystemTime::now() + RECONNECTS + LEASE);
        self.deaths.apart.push(span);
        self.deaths.forgot.push(span);
    }
}
