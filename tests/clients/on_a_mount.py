"""What programs do with files, in a folder that is a mount: FOLDER OPERATION. Each looks at once at what it has done."""

import os
import random
import sqlite3
import sys

folder, operation = sys.argv[1:]
dice = random.Random(12)


def at(name):
    return os.path.join(folder, name)


def contents(name):
    with open(at(name), "rb") as file:
        return file.read()


def expect(name, expected, what):
    found = contents(name)
    assert found == expected, f"{what}: {len(found)} bytes of {len(expected)}, or others: {found[:20]!r}, not {expected[:20]!r}"


def write_close_read():
    """Closed, and read, changed, or opened again in the next moment: that overtakes the end of the upload."""
    for turn in range(80):
        content = dice.randbytes(dice.choice((0, 1, 100, 5_000, 70_000, 300_000)))
        name = f"file {turn % 7}"
        with open(at(name), "wb") as file:
            file.write(content)
        assert os.stat(at(name)).st_size == len(content), f"turn {turn}: size"
        expect(name, content, f"turn {turn}, written")
        with open(at(name), "ab") as file:
            file.write(b"appended")
        with open(at(name), "r+b") as file:
            file.write(b"begin")
        content = b"begin" + (content + b"appended")[5:]
        expect(name, content, f"turn {turn}, changed")
        os.truncate(at(name), len(content) // 2)
        expect(name, content[: len(content) // 2], f"turn {turn}, cut")
        os.rename(at(name), at(name + " moved"))
        expect(name + " moved", content[: len(content) // 2], f"turn {turn}, moved")
        assert not os.path.exists(at(name)), f"turn {turn}: the old name"
        if turn % 3 == 0:
            os.remove(at(name + " moved"))
            assert not os.path.exists(at(name + " moved")), f"turn {turn}: removed"


def replace_before_close():
    """The new file has its name before it is closed."""
    for turn in range(8):
        content = dice.randbytes(dice.choice((10, 40_000, 200_000)))
        # Exclusively, as libraries make a name that nobody has.
        with open(at("document.new"), "xb" if turn % 4 < 2 else "wb") as file:
            file.write(content)
            file.flush()
            if turn % 2:
                os.fsync(file.fileno())
            os.replace(at("document.new"), at("document"))
        expect("document", content, f"turn {turn}")
        assert sorted(os.listdir(folder)) == ["document"], os.listdir(folder)
    # The folder above gets another name.
    os.mkdir(at("new"))
    with open(at("new/inside"), "wb") as file:
        file.write(b"inside")
        file.flush()
        os.rename(at("new"), at("named"))
    expect("named/inside", b"inside", "in a folder that was renamed")
    assert not os.path.exists(at("new"))


def remove_before_close():
    """Given up, and begun again: what was given up comes back in no way."""
    for turn in range(4):
        abandoned = open(at("begun"), "wb")
        abandoned.write(bytes(5_120))
        abandoned.flush()
        os.remove(at("begun"))
        with open(at("begun"), "wb") as file:
            file.write(bytes(100))
        abandoned.close()
        assert os.stat(at("begun")).st_size == 100, f"turn {turn}: {os.stat(at('begun')).st_size}"
        os.utime(at("begun"), (1_000_000_000, 1_000_000_000))
        assert os.stat(at("begun")).st_mtime == 1_000_000_000, f"turn {turn}"
        expect("begun", bytes(100), f"turn {turn}")


def sqlite():
    """A database with its journal, opened again for each transaction as scripts do."""
    rows = {}
    for turn in range(15):
        database = sqlite3.connect(at("database"), timeout=60)
        with database:
            database.execute("create table if not exists kept (id integer primary key, content blob)")
            for _ in range(20):
                key, content = dice.randrange(100), dice.randbytes(dice.choice((10, 1_000, 9_000)))
                database.execute("insert or replace into kept values (?, ?)", (key, content))
                rows[key] = content
        if turn % 5 == 4:
            try:
                with database:
                    database.execute("delete from kept")
                    raise KeyError
            except KeyError:
                pass  # It is rolled back.
        database.close()
        again = sqlite3.connect(at("database"))
        assert dict(again.execute("select id, content from kept")) == rows, f"turn {turn}"
        assert again.execute("pragma integrity_check").fetchone() == ("ok",), f"turn {turn}"
        again.close()
    database = sqlite3.connect(at("database"))
    database.execute("vacuum")
    database.close()
    assert os.listdir(folder) == ["database"], os.listdir(folder)


{
    "write_close_read": write_close_read,
    "replace_before_close": replace_before_close,
    "remove_before_close": remove_before_close,
    "sqlite": sqlite,
}[operation]()
