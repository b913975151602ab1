//! From the proof to the session: its place, its home, its CONNECTED.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use tokio::sync::OwnedSemaphorePermit;

use super::super::judge;
use super::super::proof::Accepted;
use super::{MOST_OF_A_LOGIN, Visit, Way, note, rejection};
use crate::audit::{Activity, AuthFailureReason, Connected, Origin, Person, Recorded, Reservation};
use crate::session::{Entered, LiveSession, Login, Protocol};

impl Visit {
    /// An attempt succeeded: takes a session's place, builds the home, records CONNECTED. False when one of these fails;
    /// the attempt is then refused.
    pub(in crate::ssh) async fn let_in(&self, accepted: Accepted) -> bool {
        // What fails from here on is not the client's fault.
        self.attempts().await.excuse();
        if self.login().is_some() {
            // Its CONNECTED could not be recorded, and the client tries once more before it hears that the connection ends.
            self.attempts().await.turn_away(accepted, AuthFailureReason::TrailUnavailable);
            return false;
        }
        if matches!(self.way, Way::Socket(_)) && self.shared.gate.banned_for(self.source.ip()).is_some() {
            self.attempts().await.turn_away(accepted, AuthFailureReason::Banned);
            return false;
        }
        let origin = self.origin().await;
        if let Some(judge) = &self.shared.judge
            && let Err(cause) = judge::judge(&**judge, &origin, &accepted).await
        {
            self.attempts().await.turn_away_because(accepted, AuthFailureReason::LoginRefused, cause);
            return false;
        }
        let Ok(place) = self.shared.sessions.clone().try_acquire_owned() else {
            let message = format!("the limit of {} sessions is reached", self.shared.settings.limits.sessions);
            self.record(rejection("too-many-sessions", message)).await;
            return false;
        };
        let person = Person::of(accepted.key.as_ref(), accepted.user.identity.as_deref());
        let live = LiveSession {
            session_id: origin.session_id.clone(),
            user: accepted.user.name.clone(),
            identity: person.identity().map(Arc::from),
            source_ip: origin.source_ip,
            source_port: origin.source_port,
            client: origin.client.clone(),
            method: accepted.method.into(),
            key: accepted.key.clone(),
            since: SystemTime::now(),
            source: accepted.user.source.clone(),
            credential: accepted.key.as_ref().map(|key| key.credential().to_owned()),
            jump: origin.jump.clone(),
            proof_ends: accepted.proof_ends,
        };
        let (session, address) = (live.session_id.clone(), live.source_ip.to_canonical());
        let refused = |error: &dyn std::fmt::Display| {
            let user = &accepted.user.name;
            tracing::error!(%error, %user, %address, %session, "a login is refused");
        };
        let limit = accepted.user.bounds.sessions;
        let Some(entered) = self.shared.registry.enter(live.clone(), limit) else {
            self.attempts().await.turn_away(accepted, AuthFailureReason::TooManySessions);
            return false;
        };
        // Only a limit is asked about, so nobody else waits for it.
        if let Some(limit) = limit
            && !self.shared.peers.claim(&live, limit).await
        {
            self.attempts().await.turn_away(accepted, AuthFailureReason::TooManySessions);
            return false;
        }
        let account = origin.jump.as_ref().and_then(|jump| jump.account());
        if account.is_some_and(|account| !self.is_still_granted(account)) {
            self.attempts().await.turn_away(accepted, AuthFailureReason::AccountNotAllowed);
            return false;
        }
        let protocols = if accepted.only_sftp { &[Protocol::Sftp][..] } else { &Protocol::ALL };
        let origin = Origin { person: Some(person), ..origin };
        let (user, recorder) = (accepted.user.clone(), self.recorder().clone());
        let built = Login::for_protocols(protocols, user, origin.clone(), &self.homes.backing, recorder);
        let login = match built {
            Ok(login) => login,
            Err(error) => {
                refused(&error);
                self.record(Activity::Error(note(error.to_string()))).await;
                return false;
            }
        };
        let room = match login.reserve(MOST_OF_A_LOGIN).await {
            Ok(room) => room,
            Err(error) => {
                refused(&error);
                self.attempts().await.turn_away(accepted, AuthFailureReason::TrailUnavailable);
                return false;
            }
        };
        self.shared.tell_hassh(&self.line);
        let connected = Connected {
            role: accepted.user.role.clone(),
            method: accepted.method,
            second_factor: accepted.second_factor,
            algorithms: self.line.algorithms(),
            key: accepted.key.clone(),
            proxy_header: self.proxy_header,
        };
        let connected = (origin, Activity::Connected(Box::new(connected)), room);
        let Some(recorded) = self.begin_session(connected, login, (place, entered)) else { return false };
        if let Err(error) = recorded.await {
            refused(&error);
            // CONNECTED may be in one of the sinks, or come later: the refusal follows it, and then the end.
            self.attempts().await.turn_away(accepted, AuthFailureReason::TrailUnavailable);
            self.unrecorded.notify_one();
            return false;
        }
        self.attempts().await.succeeded();
        self.let_in.send_replace(true);
        true
    }

    /// The login and its CONNECTED, in one step: neither is without the other, and none comes when the connection has ended
    /// meanwhile.
    fn begin_session(
        &self,
        (origin, connected, room): (Origin, Activity, Reservation),
        login: Arc<Login>,
        place: (OwnedSemaphorePermit, Entered),
    ) -> Option<Recorded> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.is_over || self.is_evicted() || self.login.set(login).is_err() {
            return None;
        }
        if let Some(login) = self.login() {
            place.1.follow(login);
        }
        slots.session = Some(place);
        slots.unauthenticated = None;
        self.metrics().sessions.add(1);
        Some(room.fill(&origin, &connected))
    }

    /// Whether a connection that has not logged in has lost its place.
    fn is_evicted(&self) -> bool {
        matches!(&self.way, Way::Socket(seat) if seat.is_evicted())
    }
}
