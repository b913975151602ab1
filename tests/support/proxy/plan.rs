//! Which requests fail, and how.

use std::collections::HashMap;
use std::time::Duration;

use super::request::{Kind, Request};

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and error code, and does not reach the server. A status of 200 makes a success with an
    /// `Error` in its body, as long copies and completions give.
    Status(u16, &'static str),
    /// Its connection is closed before it reaches the server.
    Close,
    /// It reaches the server with one byte of its body changed.
    FlipByte,
    /// It reaches the server, and its connection is closed instead of an answer.
    LoseAnswer,
    /// It reaches the server; its connection is reset after so many bytes of the answer's body, within the head if there is none.
    ResetAnswer(u64),
    /// Its connection is reset after so many bytes of its body, before it reaches the server.
    ResetRequest(u64),
    /// It does not reach the server and is not answered; its connection is closed after this time.
    Hang(Duration),
}

/// How many times in a row a passing fault hits one request.
const MOST_IN_A_ROW: u64 = 2;

/// Which requests fail. The same requests in the same order fail in the same way.
#[derive(Default)]
pub struct Plan(Rule);

#[derive(Default)]
enum Rule {
    #[default]
    None,
    /// Every so many requests one fails, in turn in each of these ways.
    Every { every: u64, count: u64, turn: usize, faults: Vec<Fault>, in_a_row: HashMap<String, u64> },
    /// The request that is the `left`-th from now fails, and with it every further try of it.
    Nth { left: u64, fault: Fault, identity: Option<String> },
    /// So many requests that a test chooses fail.
    Chosen { chosen: Box<dyn Fn(&Request) -> bool + Send>, left: u64, fault: Fault },
}

impl Plan {
    /// No request fails.
    pub fn none() -> Plan {
        Plan::default()
    }

    /// Every `every`-th request fails, with each of `faults` in turn, but no request more than twice in a row: who tries
    /// again wins. `seed` says with which it begins.
    pub fn transient(seed: u64, every: u64, faults: &[Fault]) -> Plan {
        let turn = usize::try_from(seed).unwrap_or(0) % faults.len();
        let count = seed % every;
        Plan(Rule::Every { every, count, turn, faults: faults.to_vec(), in_a_row: HashMap::new() })
    }

    /// The `n`-th request from now, counted from 1, fails for good: so do all its tries.
    pub fn nth(n: u64, fault: Fault) -> Plan {
        Plan(Rule::Nth { left: n, fault, identity: None })
    }

    /// The next `times` requests of this kind fail.
    pub fn kind(kind: Kind, times: u64, fault: Fault) -> Plan {
        Plan::chosen(move |request| request.kind == kind, times, fault)
    }

    /// The next `times` requests that are chosen fail.
    pub fn chosen(chosen: impl Fn(&Request) -> bool + Send + 'static, times: u64, fault: Fault) -> Plan {
        Plan(Rule::Chosen { chosen: Box::new(chosen), left: times, fault })
    }

    /// How this request fails, if it does.
    pub(super) fn judge(&mut self, request: &Request) -> Option<Fault> {
        match &mut self.0 {
            Rule::None => None,
            Rule::Every { every, count, turn, faults, in_a_row } => {
                let failed = in_a_row.entry(request.identity()).or_default();
                *count += 1;
                if !count.is_multiple_of(*every) || *failed == MOST_IN_A_ROW {
                    *failed = 0;
                    return None;
                }
                *failed += 1;
                *turn += 1;
                Some(faults[*turn % faults.len()].fitting(request))
            }
            Rule::Nth { left, fault, identity } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    let chosen = identity.get_or_insert_with(|| request.identity());
                    return (*chosen == request.identity()).then_some(*fault);
                }
                None
            }
            Rule::Chosen { chosen, left, fault } => {
                if *left == 0 || !chosen(request) {
                    return None;
                }
                *left -= 1;
                Some(*fault)
            }
        }
    }
}

impl Fault {
    /// A success with an error in it means something only where the body is read.
    fn fitting(self, request: &Request) -> Fault {
        match (self, request.kind) {
            (Fault::Status(200, _), Kind::Complete | Kind::Copy | Kind::CopyPart) => self,
            (Fault::Status(200, code), _) => Fault::Status(500, code),
            _ => self,
        }
    }
}
