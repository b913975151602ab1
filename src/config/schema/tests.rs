//! The schema says what the parser reads: the same keys, and the same values of each, in both directions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::super::fetch::{Sources, fetch_all};
use super::super::problem::{Problem, Problems};
use super::super::reader::{Item, Place};
use super::super::tree::{self, Node};
use super::super::{raw, tree::Value as Written};
use super::*;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| jsonschema::draft7::new(&SCHEMA).unwrap());

/// What the parser knows of a key that the schema cannot say: to name it is an error, and the message is better than "unknown key".
const KNOWN_TO_REFUSE: [(&str, &str); 3] =
    [("events[0]", "path"), ("users_from[0]", "http"), ("users_from[1]", "keys")];

/// Panics when a configuration that the parser accepts is none of the schema.
#[track_caller]
pub(in crate::config) fn assert_fits(text: &str) {
    let mut problems = Problems::new(Path::new("c"));
    let document = json_of(&tree::parse(text, &mut problems).unwrap());
    if let Some(error) = VALIDATOR.iter_errors(&document).next() {
        panic!("{}: {error}; the parser accepts it (src/config/schema)\n{text}", error.instance_path());
    }
}

/// Every key of the schema, by its name.
pub(in crate::config) fn keys() -> BTreeSet<String> {
    let mut found = Vec::new();
    all_sections(&SCHEMA, &mut found);
    found.iter().flat_map(|section| section["properties"].as_object().unwrap().keys().cloned()).collect()
}

fn json_of(node: &Node) -> Value {
    match &node.value {
        Written::Null | Written::Broken => Value::Null,
        Written::Bool(value) => (*value).into(),
        Written::Integer(number) => i64::try_from(*number).unwrap().into(),
        Written::Float(number) => (*number).into(),
        Written::Text(text) => text.text.expose().into(),
        Written::List(list) => list.iter().map(json_of).collect(),
        Written::Map(pairs) => {
            Value::Object(pairs.iter().map(|(key, value)| (Place::name_of(key), json_of(value))).collect::<Map<_, _>>())
        }
    }
}

fn full() -> Value {
    let mut problems = Problems::new(Path::new("full.yaml"));
    json_of(&tree::parse(include_str!("full.yaml"), &mut problems).unwrap())
}

/// What the parser says of the shape of a document, after `${env:V}` became `fetched`.
fn judged(document: &Value, fetched: &str) -> Vec<Problem> {
    let mut problems = Problems::new(Path::new("c"));
    let mut root = tree::parse(&document.to_string(), &mut problems).unwrap();
    let environment = |_: &str| Some(fetched.to_owned());
    let sources = Sources { environment: &environment, folder: PathBuf::from("/") };
    fetch_all(&mut root, &Place::root(), &sources, &mut problems);
    raw::read(&Item::root(&root), &mut problems);
    problems.list().to_vec()
}

/// All ways to a value, as JSON pointers; the document itself is none.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.replace('/', "~1"), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let at = format!("{at}/{name}");
        found.push(at.clone());
        pointers(child, &at, found);
    }
}

/// A pointer as the parser names the place.
fn place(pointer: &str) -> String {
    let mut place = Place::root();
    for part in pointer.split('/').skip(1).map(|part| part.replace("~1", "/")) {
        place = match part.parse() {
            Ok(index) => place.element(index),
            Err(_) => place.key(&part),
        };
    }
    place.to_string()
}

/// The forms that a value may have: the schema itself, or what stands in its `anyOf`.
fn forms(schema: &Value) -> Vec<&Value> {
    match schema["anyOf"].as_array() {
        Some(forms) if schema.get("properties").is_none() => forms.iter().flat_map(forms_of).collect(),
        _ => vec![schema],
    }
}

fn forms_of(schema: &Value) -> Vec<&Value> {
    forms(schema)
}

/// The sections of a document with their pointers.
fn sections<'a>(schema: &'a Value, value: &Value, at: &str, found: &mut Vec<(String, &'a Value)>) {
    let form = forms(schema).into_iter().find(|form| jsonschema::draft7::is_valid(form, value));
    let form = form.unwrap_or_else(|| panic!("no form of {at} fits {value}"));
    match value {
        Value::Object(map) => {
            if form.get("properties").is_some() {
                found.push((at.to_owned(), form));
            }
            for (key, value) in map {
                let of_key = form["properties"].get(key).unwrap_or(&form["additionalProperties"]);
                sections(of_key, value, &format!("{at}/{}", key.replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                sections(&form["items"], value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Every section of the schema.
fn all_sections<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    for form in forms(schema) {
        if let Some(properties) = form["properties"].as_object() {
            found.push(form);
            properties.values().for_each(|value| all_sections(value, found));
        }
        for inner in ["items", "additionalProperties"] {
            form.get(inner).filter(|inner| inner.is_object()).into_iter().for_each(|inner| all_sections(inner, found));
        }
    }
}

#[test]
fn it_is_a_schema_and_says_what_each_key_is_for() {
    assert!(jsonschema::draft7::meta::is_valid(&SCHEMA));
    let mut all = Vec::new();
    all_sections(&SCHEMA, &mut all);
    for section in all {
        assert_eq!(section["additionalProperties"], false, "{section}");
        for (key, value) in section["properties"].as_object().unwrap() {
            let about = value["description"].as_str().unwrap_or_default();
            assert!(about.len() > 5 && about.ends_with('.'), "{key}: {about:?}");
        }
    }
}

#[test]
fn the_full_document_has_every_section_and_every_key_and_fits_both() {
    let document = full();
    assert_eq!(judged(&document, ""), []);
    assert_fits(include_str!("full.yaml"));
    let mut used = Vec::new();
    sections(&SCHEMA, &document, "", &mut used);
    let mut all = Vec::new();
    all_sections(&SCHEMA, &mut all);
    for section in all {
        let of_it: Vec<&str> = used.iter().filter(|(_, used)| *used == section).map(|(at, _)| at.as_str()).collect();
        for key in section["properties"].as_object().unwrap().keys() {
            let stands = of_it.iter().any(|at| document.pointer(at).unwrap().get(key).is_some());
            // `version` is for one format only, and a file has one format.
            assert!(stands || key == "version", "{key} is not in full.yaml, in a section like {of_it:?}");
        }
    }
}

#[test]
fn the_parser_and_the_schema_know_the_same_keys() {
    let document = full();
    let mut found = Vec::new();
    sections(&SCHEMA, &document, "", &mut found);
    assert!(found.len() > 30, "{}", found.len());
    for (pointer, section) in found {
        let mut with_unknown = document.clone();
        with_unknown.pointer_mut(&pointer).unwrap()["qqqqqqqqqqqqqqqq"] = json!("x");
        assert!(!VALIDATOR.is_valid(&with_unknown), "the schema accepts an unknown key in {pointer}");
        let problems = judged(&with_unknown, "");
        let keys = problems.iter().find_map(|problem| problem.text.strip_prefix("unknown key; the keys here are "));
        let keys = keys.unwrap_or_else(|| panic!("the parser accepts an unknown key in {pointer}: {problems:?}"));
        let place = place(&pointer);
        let refused = |key: &&str| KNOWN_TO_REFUSE.contains(&(place.as_str(), key));
        let parser: BTreeSet<&str> =
            keys.split(", ").map(|key| key.trim_matches('"')).filter(|key| !refused(key)).collect();
        let schema: BTreeSet<&str> = section["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(schema, parser, "the schema (left) and the parser (right) differ in {place:?}: src/config/schema");
    }
}

/// Each value of the full document in turn becomes something else, or goes: both accept it, or both refuse it.
#[test]
fn the_parser_and_the_schema_judge_each_value_alike() {
    let others = [
        json!(null),
        json!(true),
        json!(7),
        json!(-1),
        json!(1.5),
        json!("qqqq"),
        json!("5m"),
        json!("512MiB"),
        json!([]),
        json!(["qqqq"]),
        json!([7]),
        json!({}),
        json!({ "qqqq": "x" }),
    ];
    let document = full();
    let mut all = Vec::new();
    pointers(&document, "", &mut all);
    for pointer in &all {
        for other in &others {
            let mut changed = document.clone();
            *changed.pointer_mut(pointer).unwrap() = other.clone();
            assert_alike(&changed, pointer, other);
        }
        let (above, last) = pointer.rsplit_once('/').unwrap();
        let mut changed = document.clone();
        if let Value::Object(map) = changed.pointer_mut(above).unwrap() {
            map.remove(&last.replace("~1", "/"));
            assert_alike(&changed, pointer, &json!("(removed)"));
        }
    }
}

#[track_caller]
fn assert_alike(document: &Value, pointer: &str, other: &Value) {
    let problems = judged(document, "");
    // The bounds of a size or a duration with a unit are not for a pattern.
    let is_bound = |problem: &Problem| other.is_string() && problem.text.starts_with("must be from");
    if problems.iter().any(is_bound) {
        return;
    }
    let schema = VALIDATOR.iter_errors(document).next().map(|error| error.to_string());
    assert_eq!(problems.is_empty(), schema.is_none(), "{pointer} = {other}: {problems:?}, {schema:?}");
    for words in problems.iter().filter_map(|problem| words_of(&problem.text)) {
        for word in words {
            let mut right = document.clone();
            *right.pointer_mut(pointer).unwrap() = match other {
                Value::Array(_) => json!([word]),
                Value::Object(map) => map.keys().map(|key| (key.clone(), json!(word))).collect(),
                _ => json!(word),
            };
            let found = judged(&right, "");
            assert_eq!(found.is_empty(), VALIDATOR.is_valid(&right), "{pointer} = {word}: {found:?}");
            assert!(found.is_empty() || pointer.ends_with("/sink") || pointer.ends_with("/format"), "{found:?}");
        }
    }
}

/// The words that the parser offers.
fn words_of(text: &str) -> Option<Vec<String>> {
    let (_, words) = text.split_once(" is not one of ").or(text.split_once("the permissions are "))?;
    Some(words.split(", ").map(|word| word.trim_matches('"').to_owned()).collect())
}

/// What is fetched is known only when it is read: the schema accepts a reference in the place of each value.
#[test]
fn a_reference_may_stand_for_each_value() {
    let document = full();
    let mut all = Vec::new();
    pointers(&document, "", &mut all);
    let mut replaced = 0;
    for pointer in &all {
        let text = match document.pointer(pointer).unwrap() {
            Value::String(text) => text.clone(),
            value @ (Value::Bool(_) | Value::Number(_)) => value.to_string(),
            _ => continue,
        };
        // The kind of a sink, and the format that a version belongs to, decide what else there may be.
        if pointer.ends_with("/sink") || pointer.ends_with("/format") {
            continue;
        }
        let mut changed = document.clone();
        *changed.pointer_mut(pointer).unwrap() = json!("${env:V}");
        assert_eq!(judged(&changed, &text), [], "{pointer}");
        assert!(VALIDATOR.is_valid(&changed), "{pointer}: {:?}", VALIDATOR.iter_errors(&changed).next());
        replaced += 1;
    }
    assert!(replaced > 150, "{replaced}");
}
