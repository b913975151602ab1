//! Copies on the server's side (`rewriteTo`): in one request, or between storage classes and places in several rounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{GoogleExtras, json, unreadable};
use crate::stores::object::{Copied, MTIME, ObjectCopy, Replaces, TOKEN, exists, token};
use crate::stores::rest::Ask;
use crate::stores::{StoreErrorKind, StoreResult};

/// What is asked of the source.
const LOOKED_UP: &str = "generation,storageClass,contentType,cacheControl,contentDisposition,contentEncoding,\
                         contentLanguage,customTime,metadata";

/// What is asked of a copy.
const ANSWERED: &str = "done,rewriteToken,resource(generation)";

/// The version that is copied.
#[derive(Deserialize)]
struct Source {
    generation: String,
    #[serde(flatten)]
    kept: Kept,
}

/// What a copy takes over. It is said in full: an object that is copied without saying anything goes to the bucket's own
/// storage class, and one with a class alone loses the rest.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<String, String>>,
}

/// How far a copy is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    done: bool,
    rewrite_token: Option<String>,
    /// The copy, once it is done.
    resource: Option<Made>,
}

#[derive(Deserialize)]
struct Made {
    generation: String,
}

/// Copies an object, or a marker, with its metadata.
pub(super) async fn object(extras: &GoogleExtras, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
    let mut source = look_up(extras, copy.from).await?;
    copy.judge_version(Some(&source.generation))?;
    if let Some(mtime) = copy.mtime {
        source.kept.metadata.get_or_insert_default().insert(MTIME.to_owned(), mtime.to_owned());
    }
    let token = (copy.replaces != Replaces::Anything).then(token);
    if let Some(token) = &token {
        source.kept.metadata.get_or_insert_default().insert(TOKEN.to_owned(), token.clone());
    }
    match rewrite(extras, &source, copy).await {
        // The entity tag of this interface is not the one that reads show.
        Ok(made) => Ok(Copied { etag: None, source: Some(source.generation), made }),
        // The condition that failed may be the source's or the target's.
        Err(error) if copy.replaces != Replaces::Anything && error.kind == StoreErrorKind::Changed => {
            match look_up(extras, copy.to).await {
                // An earlier try has made it, whose answer was lost.
                Ok(found) if found.kept.metadata.as_ref().and_then(|all| all.get(TOKEN)) == token.as_ref() => {
                    Ok(Copied { etag: None, source: Some(source.generation), made: Some(found.generation) })
                }
                Ok(_) if copy.replaces == Replaces::Nothing => Err(exists(copy.to)),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

async fn look_up(extras: &GoogleExtras, key: &str) -> StoreResult<Source> {
    let query = [("fields", LOOKED_UP)];
    let ask = Ask { method: "GET", path: extras.object_path(key)?, query: &query, ..Ask::default() };
    let answer = extras.client.expect("look up", key, ask).await?;
    serde_json::from_slice(&answer.body).map_err(|error| unreadable(key, &error.to_string()))
}

/// Copies; the copy's generation.
async fn rewrite(extras: &GoogleExtras, source: &Source, copy: ObjectCopy<'_>) -> StoreResult<Option<String>> {
    let ObjectCopy { from, to, replaces, .. } = copy;
    let (headers, body) = json(&source.kept)?;
    let path = format!("/storage/v1{}/rewriteTo{}", extras.object_name(from)?, extras.object_name(to)?);
    let mut token: Option<String> = None;
    loop {
        let mut query = vec![("ifSourceGenerationMatch", source.generation.as_str()), ("fields", ANSWERED)];
        match replaces {
            Replaces::Anything => {}
            Replaces::Nothing => query.push(("ifGenerationMatch", "0")),
            Replaces::Version(version) => query.push(("ifGenerationMatch", version)),
        }
        if let Some(token) = &token {
            query.push(("rewriteToken", token));
        }
        let (path, headers, body) = (path.clone(), headers.clone(), body.clone());
        let ask = Ask { method: "POST", path, query: &query, headers, body };
        let answer = extras.client.expect("copy to", to, ask).await?;
        let progress: Progress =
            serde_json::from_slice(&answer.body).map_err(|error| unreadable(from, &error.to_string()))?;
        if progress.done {
            return Ok(progress.resource.map(|made| made.generation));
        }
        token = Some(progress.rewrite_token.ok_or_else(|| unreadable(from, "it gave no token to go on with"))?);
    }
}
