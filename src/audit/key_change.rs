//! The key of a trail changes while the gateway runs. Whoever changes it leaves it in the folder of the chain with its endorsement
//! (`succession`), and asks for a reload. In one step then, a checkpoint that the new key signs and that shows the endorsement gets its place
//! in the chain, and no later one is signed by the key before. A process that is killed before that step goes on with the new key at its
//! start, whose checkpoint shows the same.

use std::path::Path;
use std::time::Duration;

use super::Recorder;
use super::signer::Signer;
use super::signing::SigningKey;

/// `operation` of the ERROR that tells of a key that is not taken.
const OPERATION: &str = "CHANGE_KEY";

/// How often the folder is read, and how long after a failure: somebody may be changing the key just now.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);

impl Recorder {
    /// Lets the key that lies in the folder of the chain sign from now on, if it is another one than that which signs now and that one endorses
    /// it, if through others in between. It returns when the checkpoint that says so is written, or could not be: then it waits, as every
    /// event of the gateway. The fingerprint of the new key; `None` when it is the same one, or there is none.
    ///
    /// When this future is dropped, the key has changed or not; the trail is whole in both cases.
    ///
    /// # Errors
    /// A sentence: the folder cannot be read, or its key is not endorsed. It is in the log and in the trail as well, and the key that signed
    /// before goes on.
    pub async fn take_key(&self) -> Result<Option<String>, String> {
        let Some(folder) = self.chain_folder() else { return Ok(None) };
        let next = match read(folder).await {
            Ok(next) => next,
            Err(what) => return Err(self.refuse_key(what)),
        };
        let (is_same, follows) = {
            let signer = self.notary().signer();
            (next.is_same(&signer), next.follows(&signer))
        };
        let new = next.key().filter(|_| !is_same).map(|key| key.fingerprint().to_owned());
        let Some(new) = new else { return Ok(None) };
        if !follows {
            let private = SigningKey::private_in(folder);
            return Err(self.refuse_key(format!(
                "{} holds the key {new}, which the one that signs the trail does not endorse; put that one back, and change it with `lockgate audit \
                 rotate-key`",
                private.display()
            )));
        }
        let Some(answer) = self.notary().pass_to(next).await else { return Ok(None) };
        tracing::info!("the key {new} signs the trail from now on; the one before endorses it");
        // Whether it could be written is the sinks' to say.
        let _ = answer.await;
        Ok(Some(new))
    }

    fn refuse_key(&self, what: String) -> String {
        let signs = self.chain().key.unwrap_or_default();
        let message = format!("{what}. The trail goes on with the key {signs}");
        tracing::error!("{message}");
        self.record_error(OPERATION, message.clone());
        message
    }
}

/// The key of a folder and what leads to it.
async fn read(folder: &Path) -> Result<Signer, String> {
    let mut failure = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let folder = folder.to_owned();
        match tokio::task::spawn_blocking(move || Signer::read(&folder)).await {
            Ok(Ok(signer)) => return Ok(signer),
            Ok(Err(what)) => failure = what,
            Err(error) => failure = error.to_string(),
        }
    }
    Err(failure)
}
