//! The Helm chart: helm's own lint and template, Kubernetes' schemas for what comes out, and the gateway's own check of the configuration
//! that the chart makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::place::project;
use crate::support::gateway::lockgate;
use crate::support::process::{Finished, LIMIT, run, run_with, tool};
use crate::support::server::folder;

/// The oldest release that the chart is for, and a recent one.
const KUBERNETES: [&str; 2] = ["1.30", "1.34"];

/// A command of helm's about the chart, for a cluster of a release.
fn helm(words: &[&str], release: &str) -> Command {
    let mut command = Command::new(tool("helm"));
    command.args(words).arg(project("deploy/helm/lockgate")).arg(format!("--kube-version={release}.0"));
    command
}

/// All values that come with the chart: none, then each example.
fn examples() -> Vec<Option<PathBuf>> {
    let files = fs::read_dir(project("deploy/helm/examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.map(Some).collect();
    files.push(None);
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    files
}

/// `helm template` with values.
fn render(values: Option<&Path>, more: &[&str]) -> Finished {
    render_for(KUBERNETES[1], values, more)
}

fn render_for(release: &str, values: Option<&Path>, more: &[&str]) -> Finished {
    let mut command = helm(&["template", "edge"], release);
    command.args(["--namespace", "files"]).args(values.map(|file| format!("--values={}", file.display()))).args(more);
    run(&mut command)
}

/// The objects, judged by the schemas of a release.
#[track_caller]
fn judged(rendered: &Finished, release: &str) -> Vec<Value> {
    let mut python = Command::new(tool("kubernetes/bin/python"));
    python.arg("-B").arg(project("tests/artefacts/kubernetes_objects.py")).arg(release);
    let judged = run_with(&mut python, rendered.stdout.as_bytes(), LIMIT).succeeded();
    serde_json::from_str(&judged.stdout).unwrap()
}

#[track_caller]
fn objects(values: Option<&Path>, more: &[&str]) -> Vec<Value> {
    judged(&render(values, more).succeeded(), KUBERNETES[1])
}

#[track_caller]
fn object<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn helm_finds_nothing_to_say() {
    for values in examples() {
        let mut command = helm(&["lint", "--strict"], KUBERNETES[0]);
        command.args(values.iter().map(|file| format!("--values={}", file.display())));
        let linted = run(&mut command).succeeded();
        assert!(linted.stdout.contains("0 chart(s) failed") && !linted.stdout.contains("WARNING"), "{linted}");
    }
}

#[test]
fn kubernetes_accepts_all_objects_of_all_examples() {
    for values in examples() {
        for release in KUBERNETES {
            let rendered = render_for(release, values.as_deref(), &[]).succeeded();
            assert!(judged(&rendered, release).len() >= 4, "{rendered}");
        }
    }
}

#[test]
fn a_wrong_object_is_found() {
    let rendered = render(None, &["--set", "podSecurityContext.runAsNonRoot=perhaps"]);
    let mut python = Command::new(tool("kubernetes/bin/python"));
    python.arg("-B").arg(project("tests/artefacts/kubernetes_objects.py")).arg(KUBERNETES[1]);
    run_with(&mut python, rendered.stdout.as_bytes(), LIMIT).failed().says("runAsNonRoot");
}

/// The gateway accepts what the chart makes of its values, with its folders put where a test may have them.
#[test]
fn the_gateway_accepts_the_configuration_of_every_example() {
    for values in examples() {
        let found = objects(values.as_deref(), &[]);
        let Some(secret) = found.iter().find(|object| object["kind"] == "Secret") else { continue };
        let config = secret["stringData"]["config.yaml"].as_str().unwrap();
        let folder = folder();
        let here = folder.path().display();
        run(lockgate().arg("init").arg(folder.path().join("lib"))).succeeded();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::rename(folder.path().join("lib/ssh_host_ed25519_key"), folder.path().join("ssh_host_ed25519_key")).unwrap();
        let config = config
            .replace("/var/lib/lockgate", &format!("{here}/lib"))
            .replace("/run/lockgate", &format!("{here}/run"))
            .replace("/etc/lockgate/keys", &here.to_string());
        let file = folder.path().join("config.yaml");
        fs::write(&file, config).unwrap();
        let mut check = lockgate();
        check.args(["check", "--config"]).arg(&file).env("POD_NAME", "edge-lockgate-0");
        check.env("AWS_ACCESS_KEY_ID", "an-id").env("AWS_SECRET_ACCESS_KEY", "a-secret");
        let checked = run(&mut check);
        assert!(checked.status.success(), "{values:?}: {checked}");
    }
}

#[test]
fn a_drain_that_does_not_fit_is_refused() {
    for (more, number) in [
        (vec!["--set", "terminationGracePeriodSeconds=97"], "97"),
        (vec!["--set", "config.limits.drain=2m"], "157"),
        (vec!["--set", "drain.preStopSeconds=40"], "122"),
        (vec!["--set", "existingConfigSecret=own,drain.seconds=100"], "137"),
    ] {
        render(None, &more).failed().says("terminationGracePeriodSeconds").says(number);
    }
    for fine in ["terminationGracePeriodSeconds=98", "config.limits.drain=1m", "config.limits.drain=500ms"] {
        render(None, &["--set", fine]).succeeded();
    }
    render(None, &["--set", "config.limits.drain=soon"]).failed().says("is not a duration");
}

#[test]
fn a_misspelt_value_is_refused() {
    render(None, &["--set", "replicas=3"]).failed().says("replicas");
    render(None, &["--set", "service.externalTrafficPolicy=Lokal"]).failed().says("externalTrafficPolicy");
}

#[test]
fn pods_are_replaced_when_the_configuration_changes() {
    let sum = |more: &[&str]| {
        let found = objects(None, more);
        object(&found, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"].clone()
    };
    let before = sum(&[]);
    assert!(before.is_string());
    assert_eq!(sum(&["--set", "replicaCount=5"]), before);
    assert_ne!(sum(&["--set", "config.limits.sessions=7"]), before);
}

#[test]
fn pods_are_restricted_and_end_in_order() {
    let found = objects(None, &[]);
    let pod = &object(&found, "StatefulSet")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    // The other policy opens the signing key to the group, and the gateway refuses it.
    assert_eq!(pod["securityContext"]["fsGroupChangePolicy"], "OnRootMismatch");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in [&pod["containers"][0], &pod["initContainers"][0]] {
        assert_eq!(
            container["securityContext"],
            json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true })
        );
    }
    let gateway = &pod["containers"][0];
    assert_eq!(gateway["lifecycle"]["preStop"]["sleep"]["seconds"], 15);
    assert_eq!(gateway["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(gateway["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(pod["terminationGracePeriodSeconds"], 120);
}

#[test]
fn what_is_asked_for_reaches_the_objects() {
    let found = objects(Some(&project("deploy/helm/examples/own-balancer.yaml")), &[]);
    let service = object(&found, "Service");
    assert_eq!(
        (&service["spec"]["type"], &service["spec"]["ports"][0]["nodePort"]),
        (&json!("NodePort"), &json!(30022))
    );
    let monitor = object(&found, "PodMonitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(
        monitor["spec"]["podMetricsEndpoints"],
        json!([{ "port": "health", "path": "/metrics", "interval": "30s" }])
    );
    assert_eq!(object(&found, "HorizontalPodAutoscaler")["spec"]["maxReplicas"], 8);
    let set = object(&found, "StatefulSet");
    assert!(set["spec"].get("replicas").is_none(), "the autoscaler decides");
    let policy = object(&found, "NetworkPolicy");
    assert_eq!(policy["spec"]["ingress"][0]["from"].as_array().unwrap().len(), 2);
    let gateway = &set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(gateway["envFrom"], json!([{ "secretRef": { "name": "lake-credentials" } }]));
    assert!(
        gateway["env"].to_string().contains("SSL_CERT_FILE")
            && gateway["volumeMounts"].to_string().contains("certificates")
    );

    let found = objects(Some(&project("deploy/helm/examples/without-volumes.yaml")), &[]);
    let set = object(&found, "StatefulSet");
    assert!(set["spec"].get("volumeClaimTemplates").is_none());
    assert!(!found.iter().any(|object| object["kind"] == "Secret" || object["kind"] == "PodDisruptionBudget"));
    let volumes = set["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(
        volumes.contains("\"secretName\":\"lockgate-configuration\"") && volumes.contains("\"name\":\"state\""),
        "{volumes}"
    );

    let found = objects(Some(&project("deploy/helm/examples/aws.yaml")), &[]);
    let service = object(&found, "Service");
    assert_eq!(service["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-proxy-protocol"], "*");
}
