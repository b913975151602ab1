//! Tries again what a collector refused for good: `lockgate audit redeliver`, beside a gateway that runs or alone.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::carrier::Carrier;
use super::held_paths::HeldPaths;
use super::http::Collector;
use super::settings::{SinkSettings, SinkTarget};
use super::undelivered::Undelivered;

/// How long the lock is free between two deliveries: a gateway that runs gets its turn.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of what was set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redelivered {
    /// How messages name the sink.
    pub sink: String,
    /// How many have arrived.
    pub arrived: u64,
    /// How many are still there.
    pub left: u64,
    /// What the collector said last.
    pub refusal: Option<String>,
}

impl SinkSettings {
    /// Posts what was set aside, in its order; `None` for a sink that sets nothing aside. What is refused again stays, and so does
    /// what is about the same file.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub async fn redeliver(&self) -> io::Result<Option<Redelivered>> {
        match &self.target {
            SinkTarget::Http(target) => {
                let collector = Collector::new(target, self.shape.format)?;
                redeliver(&target.spool.folder, target.spool.limit, &collector).await.map(Some)
            }
            _ => Ok(None),
        }
    }
}

async fn redeliver(spool: &Path, limit: u64, collector: &impl Carrier) -> io::Result<Redelivered> {
    let mut undelivered = Undelivered::of(spool, limit);
    let mut done = Redelivered { sink: collector.name(), ..Redelivered::default() };
    let (mut after, mut refused) = (None, HeldPaths::default());
    // Between two, a gateway that runs may look, or put one more there.
    loop {
        // Another command may have delivered the rest.
        let Some(mut locked) = tokio::task::block_in_place(|| undelivered.lock_unless_empty())? else {
            done.left = 0;
            break;
        };
        let next = tokio::task::block_in_place(|| locked.next(after.as_deref(), &mut refused))?;
        done.left = locked.count();
        let Some((name, heading, lines)) = next else { break };
        match collector.deliver(&lines).await {
            Ok(()) => {
                locked.remove(&name)?;
                done.arrived += 1;
                done.left = locked.count();
            }
            Err(refusal) => {
                let is_of_this_one = refusal.is_of_this_one;
                done.refusal = Some(refusal.why);
                if !is_of_this_one {
                    break;
                }
                refused.add(&heading.paths);
            }
        }
        after = Some(name);
        // A gateway that waits for the lock tries it more often than this.
        drop(locked);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(done)
}

#[cfg(test)]
#[path = "redeliver_tests.rs"]
mod tests;
