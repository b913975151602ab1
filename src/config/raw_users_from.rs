//! The shape of `users_from`.

use std::time::Duration;

use super::problem::Problems;
use super::raw::text;
use super::raw_users::{Bounds, HomeEntry, read_bounds, read_home};
use super::reader::{At, Item, Section};

/// How often a folder of keys is read if `every` is left out.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// `users_from`, or one element of it
#[derive(Debug)]
pub(super) enum UsersFrom {
    Keys(Keys),
}

/// A folder of keys.
#[derive(Debug)]
pub(super) struct Keys {
    pub folder: Option<At<String>>,
    pub every: Duration,
    pub role: Option<At<String>>,
    pub bounds: Bounds,
    pub home: Option<At<Vec<HomeEntry>>>,
}

/// Reads `users_from`: one source, or a list of them.
pub(super) fn read_users_from(item: &Item<'_>, problems: &mut Problems) -> Vec<UsersFrom> {
    let mut sources = Vec::new();
    for element in item.one_or_more(problems) {
        let Some(section) = element.section(problems) else { continue };
        sources.push(UsersFrom::Keys(read_keys(section, problems)));
    }
    sources
}

fn read_keys(mut section: Section<'_>, problems: &mut Problems) -> Keys {
    let folder =
        section.need("keys", "the store and the folder of the NAME.pub files, as in lake:/public-keys", problems);
    let every = section.take("every");
    let home =
        section.need("home", "what each user sees, as in [{ entry: /, target: \"STORE:/home/${user}\" }]", problems);
    let bounds = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    let keys = Keys {
        folder: folder.and_then(|item| item.placed_text(problems)),
        every: every.and_then(|item| item.duration(bounds, problems)).unwrap_or(EVERY),
        role: text(&mut section, "role", problems),
        bounds: read_bounds(&mut section, problems),
        home: home.map(|item| read_home(&item, problems)),
    };
    section.close(problems);
    keys
}
