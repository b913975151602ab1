//! Every request on a path with a set of permissions: what docs/SEMANTICS.md says under Permissions, written once more.
//!
//! The table is the same for stores in the process and on servers, so unit tests and tests of the whole gateway share it.

/// The permissions, by the bits of a set.
pub const NAMES: [&str; 7] = ["list", "read", "write", "overwrite", "delete", "rename", "mkdir"];

/// How many sets there are.
pub const SETS: u32 = 1 << NAMES.len();

fn flags(set: u32) -> [bool; 7] {
    std::array::from_fn(|place| set & (1 << place) != 0)
}

/// The names of a set, for messages.
fn names(set: u32) -> String {
    let of = NAMES.iter().zip(flags(set)).filter(|(_, has)| *has).map(|(name, _)| *name);
    format!("[{}]", of.collect::<Vec<_>>().join(", "))
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

/// The code of a STATUS; 0 for an answer with content.
fn status(kind: u8, rest: &[u8]) -> u32 {
    match (kind, rest.first_chunk()) {
        (STATUS, Some(code)) => u32::from_be_bytes(*code),
        _ => OK,
    }
}

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const WRITE_DATA: u8 = 6;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const EXTENDED: u8 = 200;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const ATTRS: u8 = 105;

const OK: u32 = 0;
const NO_SUCH_FILE: u32 = 2;
const DENIED: u32 = 3;
const FAILURE: u32 = 4;

const READ: u32 = 1;
const WRITE: u32 = 2;
const CREATE: u32 = 8;
const PUT: u32 = 2 | 8 | 16;
const NEW: u32 = PUT | 32;

/// What a set of permissions is expected to allow.
struct May {
    any: bool,
    list: bool,
    read: bool,
    write: bool,
    overwrite: bool,
    delete: bool,
    rename: bool,
    mkdir: bool,
    see: bool,
    set_own: bool,
}

impl May {
    /// By the flags of [`NAMES`].
    fn of(flags: [bool; 7]) -> May {
        let [list, read, write, overwrite, delete, rename, mkdir] = flags;
        let any = list || read || write || overwrite || delete || rename || mkdir;
        let see = list || read || overwrite;
        let set_own = write || overwrite || mkdir;
        May { any, list, read, write, overwrite, delete, rename, mkdir, see, set_own }
    }

    /// `yes` where it is allowed, otherwise denied.
    fn denied_or(allowed: bool, yes: u32) -> u32 {
        if allowed { yes } else { DENIED }
    }

    /// A new file of a name that is free.
    fn create(&self, directory_is_there: bool) -> u32 {
        match (self.write, self.overwrite) {
            (true, _) if directory_is_there || self.mkdir => OK,
            (true, _) | (false, true) => NO_SUCH_FILE,
            (false, false) => DENIED,
        }
    }

    /// To change attributes of somebody else's file.
    fn set_others(&self) -> u32 {
        match (self.overwrite, self.set_own, self.see) {
            (true, ..) => OK,
            (false, true, false) => NO_SUCH_FILE,
            (false, true, true) | (false, false, _) => DENIED,
        }
    }
}

/// A channel that speaks SFTP.
pub trait Channel {
    /// A request, and the type of its answer with what follows the id.
    async fn call(&mut self, kind: u8, fields: &[&[u8]]) -> (u8, Vec<u8>);
}

/// One user with some permissions, whose home is `folder` of the owner's, and what the owner put there before.
pub struct Trial<C> {
    client: C,
    owner: C,
    folder: String,
    set: u32,
    store: String,
}

impl<C: Channel> Trial<C> {
    /// Brings what the owner has into `folder` (which is there, and ends without a slash), and tries every request with the
    /// permissions of `set`.
    pub async fn run(client: C, owner: C, folder: &str, set: u32, store: &str) {
        let mut trial = Trial { client, owner, folder: folder.to_owned(), set, store: store.to_owned() };
        for number in 0..16 {
            trial.owner_puts(&format!("/theirs{number}"), b"theirs").await;
        }
        for directory in ["/dir", "/empty"] {
            let path = string(&format!("{folder}{directory}"));
            let (kind, answer) = trial.owner.call(MKDIR, &[&path, &[0; 4]]).await;
            assert_eq!(status(kind, &answer), OK, "MKDIR {directory} by the owner in {store}");
        }
        let may = May::of(flags(set));
        trial.looks(&may).await;
        trial.opens(&may).await;
        trial.names(&may).await;
        trial.attributes(&may).await;
        trial.own(&may).await;
    }

    async fn owner_puts(&mut self, path: &str, data: &[u8]) {
        let path = string(&format!("{}{path}", self.folder));
        let (kind, answer) = self.owner.call(OPEN, &[&path, &PUT.to_be_bytes(), &[0; 4]]).await;
        assert_eq!(kind, HANDLE, "OPEN by the owner in {}: {answer:?}", self.store);
        let length = (data.len() as u32).to_be_bytes();
        let (kind, wrote) = self.owner.call(WRITE_DATA, &[&answer, &[0; 8], &length, data]).await;
        assert_eq!(status(kind, &wrote), OK);
        let (kind, closed) = self.owner.call(CLOSE, &[&answer]).await;
        assert_eq!(status(kind, &closed), OK);
    }

    /// A handle of the user's, as it goes into requests.
    async fn handle(&mut self, path: &str, flags: u32) -> Vec<u8> {
        let (kind, answer) = self.client.call(OPEN, &[&string(path), &flags.to_be_bytes(), &[0; 4]]).await;
        assert_eq!(kind, HANDLE, "OPEN {path} with {} in {}", names(self.set), self.store);
        answer
    }

    #[track_caller]
    fn assert(&self, what: &str, found: u32, wanted: u32) {
        assert_eq!(found, wanted, "{what} with {} in {}", names(self.set), self.store);
    }

    /// The status of a request, or 0 for an answer with content. A handle is closed; its CLOSE counts.
    async fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> u32 {
        let (kind, answer) = self.client.call(kind, fields).await;
        if kind == HANDLE {
            let (kind, closed) = self.client.call(CLOSE, &[&answer]).await;
            return status(kind, &closed);
        }
        status(kind, &answer)
    }

    async fn open(&mut self, path: &str, flags: u32) -> u32 {
        self.ask(OPEN, &[&string(path), &flags.to_be_bytes(), &[0; 4]]).await
    }

    async fn extended(&mut self, name: &str, fields: &[&[u8]]) -> u32 {
        let name = string(name);
        let fields: Vec<&[u8]> = std::iter::once(&name[..]).chain(fields.iter().copied()).collect();
        self.ask(EXTENDED, &fields).await
    }

    async fn has(&mut self, path: &str) -> bool {
        let path = string(&format!("{}{path}", self.folder));
        self.owner.call(STAT, &[&path]).await.0 == ATTRS
    }

    async fn looks(&mut self, may: &May) {
        let seen = May::denied_or(may.any, if may.see { OK } else { NO_SUCH_FILE });
        for kind in [STAT, 7] {
            let found = self.ask(kind, &[&string("/theirs0")]).await;
            self.assert("STAT of another's file", found, seen);
            let found = self.ask(kind, &[&string("/dir")]).await;
            self.assert("STAT of a directory", found, May::denied_or(may.any, OK));
            let found = self.ask(kind, &[&string("/missing")]).await;
            self.assert("STAT of nothing", found, May::denied_or(may.any, NO_SUCH_FILE));
        }
        let found = self.ask(11, &[&string("/dir")]).await;
        self.assert("OPENDIR", found, May::denied_or(may.list, OK));
        let found = self.extended("statvfs@openssh.com", &[&string("/dir")]).await;
        // Whether it is known is the store's matter.
        assert_eq!(found == DENIED, !may.any, "statvfs with {} in {}", names(self.set), self.store);
        let digest = [string("md5"), vec![0; 20]].concat();
        let found = self.extended("check-file-name", &[&string("/theirs0"), &digest]).await;
        self.assert("check-file-name", found, May::denied_or(may.read, OK));
    }

    async fn opens(&mut self, may: &May) {
        for (path, flags, wanted) in [
            ("/theirs0", READ, May::denied_or(may.read, OK)),
            ("/missing", READ, May::denied_or(may.read, NO_SUCH_FILE)),
            ("/theirs1", PUT, May::denied_or(may.overwrite, OK)),
            ("/theirs2", WRITE, May::denied_or(may.overwrite, OK)),
            ("/theirs2", NEW, May::denied_or(may.write || may.overwrite, FAILURE)),
            ("/new-0", PUT, may.create(true)),
            ("/new-1", NEW, may.create(true)),
            ("/dir/new-2", PUT, may.create(true)),
            ("/no/such/new-3", PUT, may.create(false)),
            ("/new-4", READ | WRITE | CREATE, May::denied_or(may.read, may.create(true))),
            ("/new-5", READ | CREATE, May::denied_or(may.read, may.create(true))),
            ("/not/new-6", READ | CREATE, May::denied_or(may.read, may.create(false))),
        ] {
            let found = self.open(path, flags).await;
            self.assert(&format!("OPEN {path} {flags}"), found, wanted);
            let was_there = path.starts_with("/theirs");
            assert_eq!(
                self.has(path).await,
                was_there || wanted == OK,
                "{path} with {} in {}",
                names(self.set),
                self.store
            );
        }
        for directory in ["/no", "/not"] {
            assert_eq!(
                self.has(directory).await,
                self.has(&format!("{directory}/such/new-3")).await || self.has(&format!("{directory}/new-6")).await
            );
        }
    }

    async fn names(&mut self, may: &May) {
        let (from, to) = (string("/theirs6"), string("/theirs7"));
        let cases = [
            ("REMOVE", REMOVE, vec![string("/theirs3")], May::denied_or(may.delete, OK)),
            ("REMOVE of nothing", REMOVE, vec![string("/missing")], May::denied_or(may.delete, NO_SUCH_FILE)),
            ("MKDIR", MKDIR, vec![string("/made"), vec![0; 4]], May::denied_or(may.mkdir, OK)),
            ("MKDIR deep", MKDIR, vec![string("/deep/made"), vec![0; 4]], May::denied_or(may.mkdir, NO_SUCH_FILE)),
            ("RMDIR", RMDIR, vec![string("/empty")], May::denied_or(may.delete, OK)),
            ("RENAME", RENAME, vec![string("/theirs4"), string("/renamed")], May::denied_or(may.rename, OK)),
            (
                "RENAME into nowhere",
                RENAME,
                vec![string("/theirs5"), string("/far/away")],
                May::denied_or(may.rename, if may.mkdir { OK } else { NO_SUCH_FILE }),
            ),
            ("RENAME onto a file", RENAME, vec![from.clone(), to.clone()], May::denied_or(may.rename, FAILURE)),
        ];
        for (what, kind, fields, wanted) in cases {
            let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            let found = self.ask(kind, &fields).await;
            self.assert(what, found, wanted);
        }
        let wanted = May::denied_or(may.rename, if may.overwrite { OK } else { FAILURE });
        let found = self.extended("posix-rename@openssh.com", &[&from, &to]).await;
        self.assert("posix-rename onto a file", found, wanted);
        assert_eq!(self.has("/far").await, may.rename && may.mkdir);
    }

    async fn attributes(&mut self, may: &May) {
        let times = [8, 5, 5].map(u32::to_be_bytes).concat();
        let size = [&1_u32.to_be_bytes()[..], &2_u64.to_be_bytes()].concat();
        let mode = [4, 0o600].map(u32::to_be_bytes).concat();
        for (what, path, change) in
            [("time", "/theirs8", &times), ("size", "/theirs11", &size), ("mode", "/theirs12", &mode)]
        {
            let found = self.ask(SETSTAT, &[&string(path), change]).await;
            self.assert(&format!("SETSTAT {what} of another's file"), found, may.set_others());
        }
        let found = self.extended("lsetstat@openssh.com", &[&string("/theirs9"), &times]).await;
        self.assert("lsetstat of another's file", found, may.set_others());
        for path in ["/theirs8", "/theirs9"] {
            let seen = self.owner.call(STAT, &[&string(&format!("{}{path}", self.folder))]).await.1;
            let is_changed = seen.ends_with(&5_u32.to_be_bytes());
            assert_eq!(is_changed, may.overwrite, "the time of {path} with {} in {}", names(self.set), self.store);
        }
        let found = self.ask(SETSTAT, &[&string("/dir"), &times]).await;
        self.assert("SETSTAT of a directory", found, May::denied_or(may.set_own, OK));
        if may.read {
            // By a handle that reads, no more than by name.
            let handle = self.handle("/theirs10", READ).await;
            let found = self.ask(FSETSTAT, &[&handle, &times]).await;
            self.assert("FSETSTAT", found, may.set_others());
            assert_eq!(self.ask(CLOSE, &[&handle]).await, OK);
        }
    }

    /// What this connection has uploaded itself.
    async fn own(&mut self, may: &May) {
        if !may.write {
            return;
        }
        let times = [8, 7, 7].map(u32::to_be_bytes).concat();
        let size = [&1_u32.to_be_bytes()[..], &2_u64.to_be_bytes()].concat();
        let own = string("/own");
        let handle = self.handle("/own", PUT).await;
        assert_eq!(self.ask(WRITE_DATA, &[&handle, &[0; 8], &string("mine")]).await, OK);
        for round in ["unfinished", "published"] {
            let found = self.ask(STAT, &[&own]).await;
            self.assert(&format!("STAT of an own file, {round}"), found, OK);
            let found = self.ask(SETSTAT, &[&own, &times]).await;
            self.assert(&format!("SETSTAT of an own file, {round}"), found, OK);
            if round == "unfinished" {
                assert_eq!(self.ask(CLOSE, &[&handle]).await, OK);
            }
        }
        let found = self.ask(SETSTAT, &[&own, &size]).await;
        self.assert("SETSTAT size of an own file", found, May::denied_or(may.overwrite, OK));
        let found = self.ask(RENAME, &[&own, &string("/own-2")]).await;
        self.assert("RENAME of an own file", found, OK);
        let found = self.ask(STAT, &[&string("/own-2")]).await;
        self.assert("STAT of a renamed own file", found, OK);
        // Another's file under the name of an own one is another's.
        self.owner_puts("/own-2", b"theirs, and longer").await;
        let found = self.ask(STAT, &[&string("/own-2")]).await;
        self.assert("STAT of what replaced an own file", found, if may.see { OK } else { NO_SUCH_FILE });
        let found = self.ask(SETSTAT, &[&string("/own-2"), &times]).await;
        self.assert("SETSTAT of what replaced an own file", found, may.set_others());
    }
}
