//! What a security key (FIDO) has to show with each signature: that its user touched it, and perhaps that it knows who that is.

/// The user touched the key.
const TOUCHED: u8 = 0x01;
/// The key has verified its user, by a PIN or a finger.
const VERIFIED: u8 = 0x04;

/// What is demanded, as OpenSSH has it: a touch, unless `no-touch-required` is said, and verification if `verify-required` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    pub(super) touch: bool,
    pub(super) verified: bool,
}

/// What a signature does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Nobody touched the key.
    Touch,
    /// The key has not verified its user.
    Verification,
}

impl Presence {
    /// Judges what a security key says of its signature; any other key says nothing, and nothing is demanded of it.
    ///
    /// # Errors
    /// What is missing.
    pub fn judge(self, flags: Option<u8>) -> Result<(), Absent> {
        let Some(flags) = flags else { return Ok(()) };
        if self.touch && flags & TOUCHED == 0 {
            return Err(Absent::Touch);
        }
        if self.verified && flags & VERIFIED == 0 { Err(Absent::Verification) } else { Ok(()) }
    }
}

impl Default for Presence {
    fn default() -> Self {
        Presence { touch: true, verified: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_is_demanded_unless_it_is_said_otherwise() {
        let (usual, none) = (Presence::default(), Presence { touch: false, verified: false });
        let both = Presence { touch: true, verified: true };
        for (demanded, flags, expected) in [
            (usual, Some(0), Err(Absent::Touch)),
            (usual, Some(4), Err(Absent::Touch)),
            (usual, Some(1), Ok(())),
            (none, Some(0), Ok(())),
            (both, Some(1), Err(Absent::Verification)),
            (both, Some(5), Ok(())),
            (Presence { touch: false, verified: true }, Some(4), Ok(())),
            (both, None, Ok(())),
        ] {
            assert_eq!(demanded.judge(flags), expected, "{demanded:?} {flags:?}");
        }
    }
}
