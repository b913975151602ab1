"""ProFTPD with mod_sftp, from Debian's packages but not installed: they are fetched with the libraries that are missing and unpacked
beside the other tools, so that no service starts and nothing on the machine changes."""

import glob
import os
import re
import shutil
import subprocess

from .place import TOOLS, Missing

PACKAGES = ["proftpd-core", "proftpd-mod-crypto"]


def unpacked():
    """The folder with /usr in it."""
    folder = os.path.join(TOOLS, "proftpd")
    if not os.path.exists(os.path.join(folder, "usr/sbin/proftpd")):
        fetch(folder)
    return folder


def fetch(folder):
    if not shutil.which("apt-get"):
        raise Missing("proftpd is fetched with apt-get, which is not here")
    plan = subprocess.run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", *PACKAGES], capture_output=True, text=True
    )
    names = sorted({*PACKAGES, *re.findall(r"^Inst (\S+)", plan.stdout, re.M)})
    if plan.returncode != 0:
        raise Missing(f"apt-get knows no {' and '.join(PACKAGES)}: {plan.stderr.strip()}; try apt-get update")
    partial = folder + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    done = subprocess.run(["apt-get", "download", "-qq", *names], cwd=partial, capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"apt-get download {' '.join(names)}: {done.stderr.strip()}")
    for package in glob.glob(os.path.join(partial, "*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, partial], check=True)
        os.remove(package)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(partial, folder)


def libraries(folder):
    """The environment in which the program finds its libraries."""
    found = {os.path.dirname(path) for path in glob.glob(os.path.join(folder, "usr/lib/*/lib*.so*"))}
    return {"LD_LIBRARY_PATH": ":".join(sorted(found))}
