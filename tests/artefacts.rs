//! `deploy/`: each artefact is built as its script builds it, judged by a program that knows its kind, and run: the service and the package
//! under a systemd of their own, the static program and the image on a root that has nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "artefacts/balancer.rs"]
mod balancer;
#[path = "artefacts/compose.rs"]
mod compose;
#[path = "artefacts/container.rs"]
mod container;
#[path = "artefacts/debian.rs"]
mod debian;
#[path = "artefacts/helm.rs"]
mod helm;
#[path = "artefacts/machine.rs"]
mod machine;
#[path = "artefacts/manual.rs"]
mod manual;
#[path = "artefacts/package.rs"]
mod package;
#[path = "artefacts/place.rs"]
mod place;
#[path = "artefacts/service.rs"]
mod service;
#[path = "artefacts/static_program.rs"]
mod static_program;
#[path = "support/mod.rs"]
mod support;
