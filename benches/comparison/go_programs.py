"""Servers that are distributed as Go modules: built once from the exact version named here, beside the other tools. The module's own
go.sum fixes what they are made of."""

import json
import os
import shutil
import subprocess
import tempfile

from .place import TOOLS, Missing, program

# Module, version, and tags that leave out what no comparison uses.
PROGRAMS = {
    "sftpgo": ("github.com/drakkan/sftpgo/v2", "v2.6.4", "nogcs,noazblob,nosqlite,nomysql,nopgsql,nobolt"),
    "rclone": ("github.com/rclone/rclone", "v1.76.0", ""),
}


def sftpgo():
    """The path of SFTPGo: what the variable names, or the version above."""
    return program("sftpgo", variable="SFTPGO") if "SFTPGO" in os.environ else built("sftpgo")


def rclone():
    """The path of rclone, like SFTPGo's. Where it cannot be built, Debian's is used, which is years older."""
    if "RCLONE" in os.environ:
        return program("rclone", variable="RCLONE")
    try:
        return built("rclone")
    except Missing:
        return program("rclone", "rclone")


def built(name):
    """The path of the program. Fails where there is no Go, or the module cannot be had."""
    module, version, tags = PROGRAMS[name]
    path = os.path.join(TOOLS, f"{name}-{version}")
    if not os.access(path, os.X_OK):
        build(module, version, tags, path)
    return path


def build(module, version, tags, path):
    if not shutil.which("go"):
        raise Missing(f"{module} is built with Go, which is not here")
    os.makedirs(TOOLS, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-trimpath -modcacherw"}
        described = go(["mod", "download", "-json", f"{module}@{version}"], folder, environment)
        # A copy, because `go install` refuses a module that replaces some of its dependencies.
        source = os.path.join(folder, "source")
        shutil.copytree(json.loads(described)["Dir"], source, copy_function=shutil.copyfile)
        program = os.path.join(folder, "program")
        go(["build", "-ldflags", "-s -w", "-tags", tags, "-o", program, "."], source, environment)
        os.rename(program, path)


def go(arguments, folder, environment):
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"go {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    return done.stdout
