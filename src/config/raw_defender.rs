//! The shape of `defender`: what counts how much, and when it leads to a ban.

use std::time::Duration;

use super::problem::Problems;
use super::raw::{DAY, SECOND};
use super::reader::{At, Item};
use crate::session::gate::{DefenderSettings, Weights};

/// The most points that one fault may make, and that a ban may take.
pub(super) const MOST_POINTS: u64 = 1_000_000;

/// `defender`
#[derive(Debug)]
pub(super) struct Defender {
    pub settings: DefenderSettings,
    pub allow: Option<Vec<At<String>>>,
}

/// `None` for `off`.
pub(super) fn read_defender(item: &Item<'_>, problems: &mut Problems) -> Option<Defender> {
    let mut defender = Defender { settings: DefenderSettings::default(), allow: None };
    if item.is_text() {
        // A wrong word leaves the default, which is the safe side.
        return item.choice(&[("off", ())], problems).is_none().then_some(defender);
    }
    let Some(mut section) = item.section(problems) else { return Some(defender) };
    let settings = &mut defender.settings;
    let points = section.take("points").and_then(|item| item.integer(1..=MOST_POINTS, problems));
    settings.points = points.and_then(|number| u32::try_from(number).ok()).unwrap_or(settings.points);
    let mut time = |key, value: &mut Duration| {
        *value = section.take(key).and_then(|item| item.duration(SECOND..=30 * DAY, problems)).unwrap_or(*value);
    };
    time("within", &mut settings.within);
    time("ban", &mut settings.ban);
    time("longest_ban", &mut settings.longest_ban);
    if settings.longest_ban < settings.ban {
        item.problem(problems, "longest_ban is shorter than ban; write a longer time");
    }
    if let Some(item) = section.take("weights") {
        read_weights(&item, &mut settings.weights, problems);
    }
    defender.allow = section.take("allow").map(|item| item.texts(problems).unwrap_or_default());
    section.close(problems);
    Some(defender)
}

fn read_weights(item: &Item<'_>, weights: &mut Weights, problems: &mut Problems) {
    let Some(mut section) = item.section(problems) else { return };
    let mut weight = |key, value: &mut u32| {
        let points = section.take(key).and_then(|item| item.integer(0..=MOST_POINTS, problems));
        *value = points.and_then(|number| u32::try_from(number).ok()).unwrap_or(*value);
    };
    weight("wrong_password", &mut weights.wrong_password);
    weight("wrong_key", &mut weights.wrong_key);
    weight("no_attempt", &mut weights.no_attempt);
    weight("held_place", &mut weights.held_place);
    weight("grace_exceeded", &mut weights.grace_exceeded);
    weight("protocol_error", &mut weights.protocol_error);
    weight("refused", &mut weights.refused);
    section.close(problems);
}
