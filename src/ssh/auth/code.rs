//! The question for a one-time code, and its answer.

use chrono::Utc;

use super::{Attempts, Why, reason_of};
use crate::audit::{AuthFailureReason, KeyIdentity};
use crate::secret::Secret;
use crate::ssh::codes::CodeVerdict;
use crate::ssh::proof::{Factor, Proof, Verdict};

const METHOD: &str = Proof::Code.method();

impl Attempts {
    /// A code is given. It is looked at only after the other proofs.
    pub(super) async fn code(&mut self, user: &str, code: Secret) -> Verdict {
        self.next_request(user);
        if self.is_banned() {
            return self.reject(METHOD, AuthFailureReason::Banned, self.key_given());
        }
        self.examines(METHOD, None);
        match self.judge_code(&code).await {
            Ok(user) => self.one_is_good(user, Proof::Code),
            Err(why) => self.reject(METHOD, why, self.key_given()),
        }
    }

    async fn judge_code(&self, code: &Secret) -> Result<std::sync::Arc<crate::users::User>, Why> {
        let given = self.given.as_ref().filter(|given| given.owed() == Some(Factor::Code));
        let Some((given, secret)) = given.and_then(|given| Some((given, given.secret()?))) else {
            return Err(AuthFailureReason::NotExamined.into());
        };
        let user = given.user().clone();
        user.admits(self.circumstances()).map_err(reason_of)?;
        let now = Utc::now();
        match self.examiner.codes.judge(&user.name, secret, code, now) {
            CodeVerdict::Right => {
                // Before anybody is let in with it: whoever kills the gateway does not make it good again.
                self.waiting.during(self.examiner.codes.keep(now)).await;
                Ok(user)
            }
            CodeVerdict::Wrong => Err(AuthFailureReason::BadCode.into()),
            CodeVerdict::Used => Err(AuthFailureReason::CodeUsed.into()),
            CodeVerdict::TooMany => Err(AuthFailureReason::TooManyCodes.into()),
        }
    }

    /// The key that was given before, which is as good as known to whoever guesses.
    fn key_given(&self) -> Option<KeyIdentity> {
        self.given.as_ref().and_then(|given| given.key()).cloned()
    }
}
