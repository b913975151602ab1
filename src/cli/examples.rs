//! What follows the options in `--help`: commands to copy, exit codes, the environment.

/// Of the program as a whole.
pub(super) const PROGRAM: &str = "\
Examples:
  lockgate demo                                        try it: keys, a user, a store, and commands to paste
  lockgate init /etc/lockgate                          begin with a gateway of your own
  lockgate check --config /etc/lockgate/config.yaml    report every problem of a configuration
  lockgate serve --config /etc/lockgate/config.yaml    run it
  lockgate audit verify /var/log/lockgate --key signing_key.pub

Exit codes:
  0  success
  1  a failure at run time; the answer is negative (a trail that is not whole, a gateway that is not ready); a file or folder that the
     configuration names cannot be used
  2  invalid arguments, or an invalid configuration

Environment:
  LOCKGATE_CONFIG  the configuration, where --config is not given
  RUST_LOG         which log lines are written to standard error, as in info or lockgate=debug";

/// `demo`
pub(super) const DEMO: &str = "\
Examples:
  lockgate demo                     on 127.0.0.1:2022, with files in ./lockgate-demo
  lockgate demo --listen 2200       on another port
  lockgate demo --bastion           with a target to reach through a jump (ProxyJump)";

/// `init`
pub(super) const INIT: &str = "\
Example:
  lockgate init /etc/lockgate && lockgate check --config /etc/lockgate/config.yaml";

/// `serve`
pub(super) const SERVE: &str = "\
Examples:
  lockgate serve --config /etc/lockgate/config.yaml
  LOCKGATE_CONFIG=/etc/lockgate/config.yaml lockgate serve --log-format json";

/// `check`
pub(super) const CHECK: &str = "\
Examples:
  lockgate check --config config.yaml             the file, and the keys and folders that it names
  lockgate check --online --config config.yaml    also each store, source of users, provider and sink";

/// `audit verify`
pub(super) const VERIFY: &str = "\
Examples:
  lockgate audit verify /var/log/lockgate --key signing_key.pub
  lockgate audit verify /var/log/lockgate --key signing_key.pub --state /etc/lockgate/audit
  lockgate audit verify --config config.yaml lake:/audit --key signing_key.pub --witness";

/// `audit search`
pub(super) const SEARCH: &str = "\
Examples:
  lockgate audit search /var/log/lockgate --user ann --path '/incoming/**' --since 2d
  lockgate audit search /var/log/lockgate --activity AUTH_FAILURE --address 192.0.2.0/24 --format csv";

/// `audit manifest`
pub(super) const MANIFEST: &str = "\
Examples:
  lockgate audit manifest /var/log/lockgate --user ann > SHA256SUMS && sha256sum --check SHA256SUMS
  lockgate audit manifest /var/log/lockgate --direction sent --since 7d --format csv";

/// `audit replay`
pub(super) const REPLAY: &str = "\
Example:
  lockgate audit replay 0049cd84 /var/log/lockgate";

/// `users`
pub(super) const USERS: &str = "\
Examples:
  lockgate users list
  lockgate users show ann --address 192.0.2.7    why ann cannot log in from there";

/// `sessions`
pub(super) const SESSIONS: &str = "\
Examples:
  lockgate sessions list --user ann
  lockgate sessions end 0049cd84 --reason \"key reported stolen\"";

/// `events`
pub(super) const EVENTS: &str = "\
Examples:
  lockgate events follow --user ann
  lockgate events follow --last 20 --status denied";

/// `generate`
pub(super) const GENERATE: &str = "\
Examples:
  lockgate generate completions bash > /etc/bash_completion.d/lockgate
  lockgate generate man /usr/local/share/man/man1
  lockgate generate schema > config.schema.json";

/// `migrate`
pub(super) const MIGRATE: &str = "\
Examples:
  aws transfer describe-user --server-id s-1234567890abcdef0 --user-name ann > ann.json
  lockgate migrate transfer-family ann.json ben.json --out lockgate.yaml
  lockgate migrate sftpgo dump.json --out lockgate.yaml";
