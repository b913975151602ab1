//! The list as one page of HTML, by user and by folder. It loads nothing.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::shown::{Key, Person, Shown};
use crate::audit::read::shown as plain;
use crate::audit::report::STYLE;

pub(super) fn page(shown: &Shown) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Access to " (plain(&shown.server)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Access to " (plain(&shown.server)) }
                    p { "Who can log in, with which keys, and what they reach, as of " (shown.made) "." }
                    @for failure in &shown.failures { p { strong { "Not complete: " } (plain(failure)) } }
                    @for note in &shown.notes { p { (plain(note)) } }
                }
                main {
                    @if !shown.authorities.is_empty() { (authorities(&shown.authorities)) }
                    (by_folder(&shown.users))
                    @for user in &shown.users { (section(user)) }
                }
            }
        }
    }
}

fn authorities(keys: &[Key]) -> Markup {
    html! {
        section {
            h2 { "Authorities" }
            p { "A certificate of one of these logs in as each user whose name, or one of whose principals, it contains." }
            (table(keys))
        }
    }
}

/// Which users reach a folder of a store.
fn by_folder(users: &[Person]) -> Markup {
    let mut folders: BTreeMap<&str, Vec<(&Person, &str)>> = BTreeMap::new();
    for user in users {
        for home in &user.home {
            folders.entry(&home.target).or_default().push((user, &home.permissions));
        }
    }
    html! {
        section {
            h2 { "Folders" }
            @if folders.is_empty() { p { "No user fits." } }
            @else {
                table {
                    thead { tr { th { "Folder" } th { "User" } th { "State" } th { "Permissions" } } }
                    tbody {
                        @for (folder, users) in &folders {
                            @for (user, permissions) in users {
                                tr {
                                    td.name { (plain(folder)) }
                                    td { (plain(&user.name)) }
                                    td { (user.state) }
                                    td { (permissions) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn section(user: &Person) -> Markup {
    let or = |text: String, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text };
    html! {
        section.user {
            h2 { (plain(&user.name)) }
            dl {
                div { dt { "State" } dd { (user.state) } }
                div { dt { "Source" } dd { (plain(&user.source)) } }
                div { dt { "Logs in by" } dd { (user.auth) } }
                div { dt { "Password" } dd { @if user.has_password { "set" } @else { "none" } } }
                div { dt { "Second factor" } dd { (user.second_factor.unwrap_or("none")) } }
                div { dt { "Expires" } dd { (user.expires.as_deref().unwrap_or("never")) } }
                div { dt { "From" } dd { (or(user.allow_from.join(", "), "everywhere")) } }
                div {
                    dt { "Certificates for" }
                    dd {
                        @if user.takes_certificates { (plain(&or(user.principals.join(", "), &user.name))) }
                        @else { "nobody: no certificate is accepted" }
                    }
                }
                div { dt { "Sessions" } dd { (user.sessions.map_or("unlimited".to_owned(), |most| format!("at most {most}"))) } }
            }
            @if !user.keys.is_empty() { h3 { "Keys" } (table(&user.keys)) }
            h3 { "Home" }
            table {
                thead { tr { th { "Path" } th { "Folder" } th { "Permissions" } } }
                tbody {
                    @for home in &user.home {
                        tr {
                            td.name { (plain(&home.place())) }
                            td.name { (plain(&home.target)) }
                            td { (home.permissions) }
                        }
                    }
                }
            }
        }
    }
}

fn table(keys: &[Key]) -> Markup {
    html! {
        table {
            thead { tr { th { "Fingerprint" } th { "Type" } th { "Comment" } th { "Use" } } }
            tbody {
                @for key in keys {
                    tr {
                        td.name { (key.fingerprint) }
                        td { (key.kind) }
                        td.name { (plain(key.comment.as_deref().unwrap_or_default())) }
                        td { (key.usage()) }
                    }
                }
            }
        }
    }
}
