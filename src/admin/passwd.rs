//! The names of this machine's users.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// What is read of the file at most, in bytes.
const MOST: u64 = 1 << 20;

/// The name of a user id, from `/etc/passwd`; `uid 1000` where it does not stand there.
pub(super) fn name_of(uid: u32) -> String {
    let found = File::open("/etc/passwd").ok().and_then(|file| find(BufReader::new(file.take(MOST)), uid));
    found.unwrap_or_else(|| format!("uid {uid}"))
}

fn find(passwd: impl BufRead, uid: u32) -> Option<String> {
    passwd.lines().map_while(Result::ok).find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_of_the_file() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\n:x:7:7::/:\nann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\n";
        assert_eq!(find(passwd.as_bytes(), 0).as_deref(), Some("root"));
        assert_eq!(find(passwd.as_bytes(), 1000).as_deref(), Some("ann"));
        assert_eq!(find(passwd.as_bytes(), 7), None);
        assert_eq!(find(passwd.as_bytes(), 1), None);
        assert_eq!(name_of(u32::MAX - 7), "uid 4294967288");
    }
}
