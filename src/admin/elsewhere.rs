//! The events of the other gateways, in the stream of one who follows all of them.
//!
//! They have no `id`: a stream goes on by the place in this gateway's trail, and what the others record while nobody follows is found there.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::broadcast::error::TryRecvError;

use super::state::State;
use crate::audit::search::Judge;
use crate::session::{Following, Tellers, Told};

/// The most bytes of events in one piece, and the most events that are judged for it.
const PIECE: usize = 256 * 1024;
const LINES: usize = 1000;

/// The others, as one sees them who follows.
#[derive(Debug)]
pub(super) struct Elsewhere {
    following: Following,
    /// Who tells, as it was said last.
    said: Option<Tellers>,
}

impl Elsewhere {
    /// From now on; `None` when the gateway belongs to no fleet.
    pub(super) fn of(state: &State) -> Option<Elsewhere> {
        Some(Elsewhere { following: state.around.peers.follow()?, said: None })
    }

    /// Adds what they told since the last time to a piece of the stream. It does not wait.
    pub(super) fn add(&mut self, judge: &Judge, text: &mut String) {
        let tellers = self.following.tellers.borrow_and_update().clone();
        if let Some(tellers) = tellers.filter(|tellers| self.said.as_ref() != Some(tellers)) {
            let _ = write!(text, "event: fleet\ndata: {}\n\n", shown(&tellers));
            self.said = Some(tellers);
        }
        for _ in 0..LINES {
            match self.following.told.try_recv() {
                Ok(told) => add(&told, judge, text),
                Err(TryRecvError::Lagged(_)) => gap(None, text),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
            if text.len() >= PIECE {
                return;
            }
        }
    }
}

fn shown(tellers: &Tellers) -> serde_json::Value {
    let mut shown = json!({ "gateways": tellers.gateways });
    if let Some(what) = &tellers.incomplete {
        shown["incomplete"] = what.as_str().into();
    }
    shown
}

fn add(told: &Arc<Told>, judge: &Judge, text: &mut String) {
    match &**told {
        Told::Gap { gateway } => gap(Some(gateway), text),
        Told::Event { gateway, line } => {
            let Some(rest) = line.strip_prefix('{').filter(|_| judge.fits(line.as_bytes()).is_some()) else { return };
            // Writing to a String cannot fail.
            let _ = write!(text, "event: elsewhere\ndata: {{\"gateway\":{},{rest}\n\n", json!(gateway));
        }
    }
}

fn gap(gateway: Option<&str>, text: &mut String) {
    let whose = gateway.unwrap_or("other gateways");
    let detail = format!("events of {whose} are missing here; they are in the trail there");
    let mut told = json!({ "detail": detail });
    if let Some(gateway) = gateway {
        told["gateway"] = gateway.into();
    }
    let _ = write!(text, "event: gap\ndata: {told}\n\n");
}

#[cfg(test)]
mod tests {
    use tokio::sync::{broadcast, watch};

    use super::*;
    use crate::audit::search::Query;

    fn told(user: &str) -> Told {
        let line = format!("{{\"activity-type\":\"CLOSE\",\"user\":\"{user}\"}}");
        Told::Event { gateway: "edge-\"2\"".to_owned(), line }
    }

    #[test]
    fn events_are_judged_and_shown_with_their_gateway_and_whoever_is_slow_learns_of_it() {
        let (tell, say) = (broadcast::Sender::new(2), watch::Sender::new(None));
        let following = Following { told: tell.subscribe(), tellers: say.subscribe() };
        let mut elsewhere = Elsewhere { following, said: None };
        let judge = Query { user: crate::audit::search::UserPattern::parse("ann").ok(), ..Query::default() }.judge();
        let mut added = || {
            let mut text = String::new();
            elsewhere.add(&judge, &mut text);
            text
        };
        assert_eq!(added(), "");
        let tellers = Tellers { gateways: vec!["edge-2".into()], incomplete: Some("no answer".into()) };
        say.send_replace(Some(tellers));
        assert_eq!(added(), "event: fleet\ndata: {\"gateways\":[\"edge-2\"],\"incomplete\":\"no answer\"}\n\n");
        assert_eq!(added(), "");
        for user in ["ann", "bob"] {
            let _ = tell.send(Arc::new(told(user)));
        }
        let event = r#"{"gateway":"edge-\"2\"","activity-type":"CLOSE","user":"ann"}"#;
        assert_eq!(added(), format!("event: elsewhere\ndata: {event}\n\n"));
        for _ in 0..3 {
            let _ = tell.send(Arc::new(told("bob")));
        }
        assert!(added().starts_with("event: gap\ndata: {\"detail\":\"events of other gateways are missing here"));
        let _ = tell.send(Arc::new(Told::Gap { gateway: "edge-3".into() }));
        assert!(added().contains("\"gateway\":\"edge-3\""));
        say.send_replace(None);
        drop(tell);
        assert_eq!(added(), "");
    }
}
