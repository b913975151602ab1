//! The description of the API against what is served: a validator of OpenAPI, and thousands of calls that are made of it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::administered_with;
use crate::support::process::{run, run_with, tool};
use serde_json::json;

/// How long the calls may take: for hangs only.
const CALLS_WITHIN: Duration = Duration::from_secs(600);

fn python_tool(name: &str) -> Command {
    Command::new(tool("openapi").join("bin").join(name))
}

#[test]
fn the_description_is_valid_and_calls_made_of_it_find_nothing() {
    let administered = administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    });
    administered.door.client.sftp("mkdir /a").succeeded();
    let described = administered.tcp.get("/openapi.json").body;
    let file = administered.door.setup.folder().join("openapi.json");
    fs::write(&file, &described).unwrap();
    run(python_tool("openapi-spec-validator").arg(&file)).succeeded();

    let crate::support::http::Place::Tcp(address) = &administered.tcp else { panic!("no address") };
    let mut schemathesis = python_tool("st");
    schemathesis.arg("run").arg(format!("http://{address}/openapi.json"));
    schemathesis.args(["--header", &format!("Authorization: Bearer {}", administered.tokens.operator)]);
    // The one would end the gateway, the others never end.
    for path in ["/api/v1/drain", "/api/v1/events/stream", "/api/v1/status/stream"] {
        schemathesis.args(["--exclude-path", path]);
    }
    schemathesis.args([
        "--max-examples",
        "25",
        "--seed",
        "1",
        "--request-timeout",
        "60",
        "--no-color",
        "--warnings",
        "off",
    ]);
    // What a value means is beyond a schema: that an address is banned, that a pattern of paths can be read.
    schemathesis.args(["--exclude-checks", "positive_data_acceptance"]);
    schemathesis.args(["--phases", "examples,coverage,fuzzing", "--generation-database", "none"]);
    schemathesis.current_dir(administered.door.setup.folder());
    run_with(&mut schemathesis, b"", CALLS_WITHIN).succeeded();
    assert_eq!(administered.socket.get("/healthz").status, 200);
    let log = administered.door.gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}
