//! How a connection ended, and whose doing that was.

use std::borrow::Cow;

use crate::session::gate::Evicted;

/// How a connection ended: the `reason` and `message` of DISCONNECTED, and the cause, of which `faults` judges whose fault it is.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) reason: Cow<'static, str>,
    pub(super) message: Option<String>,
    /// The administrator who ended it.
    pub(super) by: Option<String>,
    pub(super) cause: Cause,
}

/// Who ended a connection that had not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The client went away, or its attempts were used up.
    Client,
    /// The client broke the protocol.
    Protocol,
    /// The client did not log in in time.
    Grace,
    /// The connection lost its place.
    Evicted(Evicted),
    /// The gateway, for reasons of its own.
    Gateway,
}

impl Ending {
    /// The client went away.
    pub(super) fn of_client() -> Self {
        Ending { reason: "client".into(), message: None, by: None, cause: Cause::Client }
    }

    pub(super) fn of_gateway(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Ending { reason: reason.into(), message: Some(message.into()), by: None, cause: Cause::Gateway }
    }

    pub(super) fn of_grace(message: impl Into<String>) -> Self {
        Ending { cause: Cause::Grace, ..Ending::of_gateway("login-grace", message) }
    }

    pub(super) fn evicted(why: Evicted) -> Self {
        let message = match why {
            Evicted::Crowded(_) => "others needed the place of this connection, which had not logged in",
            Evicted::Banned => "the address failed to log in too often",
        };
        Ending { cause: Cause::Evicted(why), ..Ending::of_gateway("server", message) }
    }

    /// The library ended the session, which had no error.
    pub(super) fn of_library(attempts_used_up: bool) -> Self {
        let message = attempts_used_up.then(|| "too many authentication attempts".to_owned());
        Ending { reason: "server".into(), message, ..Ending::of_client() }
    }

    pub(super) fn of_error(error: &russh::Error) -> Self {
        use std::io::ErrorKind;
        let failed = |cause, message: String| Ending { cause, ..Ending::of_gateway("error", message) };
        match error {
            russh::Error::IO(io) => match io.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ending::of_client(),
                _ => failed(Cause::Client, io.to_string()),
            },
            russh::Error::HUP | russh::Error::Disconnect => Ending::of_client(),
            russh::Error::NoCommonAlgo { .. } => {
                Ending { cause: Cause::Client, ..Ending::of_gateway("server", "no common algorithm") }
            }
            russh::Error::Version => failed(Cause::Protocol, "the client does not speak SSH".into()),
            other => failed(Cause::Protocol, other.to_string()),
        }
    }

    /// How a connection ends that came through the one that ends so.
    pub(super) fn below(&self) -> Ending {
        match &*self.reason {
            "error" => Ending::of_gateway("jump-ended", "the connection that it came through failed"),
            _ => self.clone(),
        }
    }

    /// What the client is told. It need not know which administrator it was.
    pub(super) fn sentence(&self) -> String {
        match (&self.message, &self.by) {
            (Some(message), Some(_)) => format!("ended by an administrator: {message}"),
            (Some(message), None) => message.clone(),
            (None, _) => self.reason.clone().into_owned(),
        }
    }

    /// Whether what the client left open is its own doing.
    pub(super) fn is_of_client(&self) -> bool {
        matches!(self.cause, Cause::Client | Cause::Protocol | Cause::Grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_library_say_who_ended_the_connection() {
        assert_eq!(Ending::of_client().cause, Cause::Client);
        assert_eq!(Ending::of_error(&russh::Error::Version).cause, Cause::Protocol);
        assert_eq!(Ending::of_error(&russh::Error::HUP).cause, Cause::Client);
        assert_eq!(Ending::of_library(true).cause, Cause::Client);
        for ours in [Ending::evicted(Evicted::Banned), Ending::of_gateway("server", "it drains")] {
            assert!(!ours.is_of_client());
        }
    }
}
