"""Makes paramiko wait for a server on a machine that has other things to do. To be imported before it connects."""

import paramiko

HANG = 600

begin = paramiko.Transport.__init__


def begin_patiently(self, *arguments, **named):
    begin(self, *arguments, **named)
    self.banner_timeout = self.handshake_timeout = self.auth_timeout = HANG


paramiko.Transport.__init__ = begin_patiently
