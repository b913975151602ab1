"""What a comparison does with what it measured: python3 -m unittest discover benches/comparison -t benches"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as xml
from unittest import mock

from . import document, figures, noise, peers, plots, relay, run
from .figures import quarters, ratios, spread, spreads
from .processes import Server, await_until, descendants

DEEDS = {deed: {"HEAD": 1} for deed in figures.REQUESTS}


def work(title, amount, unit, seconds, cpu=None, **more):
    by = {"seconds": seconds, "cpu": cpu or {name: [0.5] * len(values) for name, values in seconds.items()}, **more}
    return {"title": title, "amount": amount, "unit": unit, "samples": by, "missing": {}, "kept_after": 60}


def results():
    """A run in which Lockgate takes one second for everything, sshd two and rclone three."""
    seconds = {"lockgate": [1.0, 1.1, 0.9], "sshd": [2.0, 2.2, 1.8], "rclone": [3.0, 3.3, 2.7]}
    works = {target.work: work(target.what, 1024, "MiB", dict(seconds)) for target in figures.targets()}
    works["bucket-put"]["samples"]["late"] = {"lockgate": [0.0, 0.0, 0.0], "rclone": [0.0, 1.5, 0.0]}
    works["logins"]["unit"] = "logins"
    works["idle"] = work("idle sessions", 1000, "sessions", {}, each={"lockgate": [40960.0], "sshd": [4e6]},
                         base={"lockgate": [8e6], "sshd": [4e6]}, kept={"lockgate": [1e6], "sshd": [0]})
    works["requests"] = work("requests", 1, "deeds", {}, requests={"lockgate": [DEEDS], "rclone": [{**DEEDS, "get": None}]})
    for key in ("growth-put-1", "growth-put-16", "growth-names-1000"):
        works[key] = work(key, 1024, "MiB", seconds)
    return {
        "date": "2026-11-29", "command": "benches/compare", "versions": {"lockgate": "lockgate 0.1.0", "sshd": "OpenSSH"},
        "machine": {"cpus": 2, "cpu": "a processor", "memory": 24, "kernel": "6.1", "system": "Debian", "client": "OpenSSH", "rounds": 3},
        "absent": {"sftpgo": "it is missing"}, "unfit": [], "works": works, "sinks": "| file | 0.95 |",
        "noise": {"calibrations": [0.2, 0.21], "watches": [{"foreign": 0.01, "stolen": 0.0, "where": "a work"}]},
    }


class Figures(unittest.TestCase):
    def test_a_ratio_is_taken_within_each_round(self):
        slower = work("", 1, "MiB", {"lockgate": [1.0, 10.0], "sshd": [2.0, 20.0]})
        self.assertEqual(ratios(slower, "seconds", "sshd", "lockgate"), [2.0, 2.0])
        self.assertEqual(ratios(slower, "seconds", "proftpd", "lockgate"), [])

    def test_the_spread_is_the_middle_half(self):
        self.assertEqual(quarters([1, 2, 3, 4, 100]), (2, 3, 4))
        self.assertAlmostEqual(spread([1, 2, 3, 4, 100]), 2 / 3)
        self.assertEqual(spread([5]), 0)

    def test_a_target_is_met_from_its_limit_on(self):
        target = next(t for t in figures.targets() if t.work == "tree-put" and t.peer == "sshd")
        self.assertTrue(target.met([1.29, 1.3, 1.31]))
        self.assertFalse(target.met([1.29, 1.29, 5.0]))
        cost = next(t for t in figures.targets() if t.most and t.peer == "sshd")
        self.assertTrue(cost.met([0.8]))
        self.assertFalse(cost.met([0.81]))

    def test_memory_is_compared_with_a_figure_of_its_own(self):
        target = next(t for t in figures.targets() if t.work == "idle")
        self.assertEqual(target.values(results()["works"]), [40.0])


class Noise(unittest.TestCase):
    quiet = [{"foreign": 0.01, "stolen": 0.0, "where": "a work"}]

    def complaints(self, calibrations=(0.2, 0.21), watches=None, spreads=None):
        return noise.complaints(list(calibrations), watches or self.quiet, spreads or {})

    def test_a_quiet_run_has_none(self):
        self.assertEqual(self.complaints(spreads={"a time": 0.1}), [])

    def test_each_kind_of_noise_is_said(self):
        for found, word in (
            (self.complaints(calibrations=(0.2, 0.3)), "calibration"),
            (self.complaints(watches=[*self.quiet, {"foreign": 0.2, "stolen": 0.0, "where": "the second"}]), "the second"),
            (self.complaints(watches=[{"foreign": 0.0, "stolen": 0.2, "where": "a work"}]), "hypervisor"),
            (self.complaints(spreads={"a time": 0.1, "another": 0.5}), "another"),
        ):
            self.assertEqual(len(found), 1, found)
            self.assertIn(word, found[0])
        self.assertIsNone(noise.too_busy(0.1))
        self.assertIn("load average", noise.too_busy(3.0))

    def test_what_others_do_is_seen_and_what_we_do_is_not(self):
        watch = noise.Watch()
        deadline = time.process_time() + 0.5
        while time.process_time() < deadline:
            pass
        counted = watch.now()[3] - watch.start[3]
        self.assertGreaterEqual(counted, 0.4)
        self.assertGreaterEqual(watch.now()[1] - watch.start[1], counted - 0.1)

    def test_the_spread_of_every_time_that_a_target_compares_counts(self):
        works = results()["works"]
        works["tree-put"]["samples"]["seconds"]["sshd"] = [1.0, 9.0, 2.0]
        wide = [what for what, width in spreads(works).items() if width > noise.SPREAD]
        self.assertEqual(len(wide), 1)
        self.assertTrue(wide[0].endswith("sshd"), wide)


class Publishing(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.docs, self.other = os.path.join(folder.name, "docs"), os.path.join(folder.name, "other")
        os.mkdir(self.docs)
        self.before = f"# What a person wrote\n\n{document.HEAD}\n\nold figures\n"
        with open(self.page(), "w", encoding="utf-8") as file:
            file.write(self.before)
        for name, value in (("DOCS", self.docs), ("RAW", os.path.join(folder.name, "target/results.json"))):
            patch = mock.patch.object(run, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def page(self):
        return os.path.join(self.docs, "PERFORMANCE.md")

    def text(self):
        with open(self.page(), encoding="utf-8") as file:
            return file.read()

    def publish(self, unfit, *arguments):
        with contextlib.redirect_stderr(io.StringIO()):
            run.publish({**results(), "unfit": unfit}, *arguments)

    def test_a_noisy_run_changes_nothing(self):
        with self.assertRaises(SystemExit) as refused:
            self.publish(["a busy machine"], True, None)
        self.assertIn("noisy", str(refused.exception))
        self.assertEqual(self.text(), self.before)
        self.assertEqual(os.listdir(self.docs), ["PERFORMANCE.md"])
        self.assertTrue(os.path.exists(run.RAW))

    def test_a_part_or_a_run_for_another_folder_leaves_the_document(self):
        with mock.patch.object(run.tempfile, "mkdtemp", return_value=self.other):
            self.publish([], False, None)
        self.publish(["a busy machine"], True, self.other)
        with open(os.path.join(self.other, "PERFORMANCE.md"), encoding="utf-8") as file:
            self.assertIn("**Not fit to be published**: a busy machine.", file.read())
        self.assertEqual(self.text(), self.before)
        self.assertIn("PERFORMANCE.md", os.listdir(self.other))

    def test_a_quiet_run_replaces_the_figures_and_keeps_what_a_person_wrote(self):
        self.publish([], True, None)
        text = self.text()
        self.assertTrue(text.startswith("# What a person wrote"))
        self.assertNotIn("old figures", text)
        self.assertEqual(text.count(document.HEAD), 1)
        self.publish([], True, None)
        self.assertEqual(self.text(), text)

    def test_a_busy_machine_is_refused_before_anything_begins(self):
        with mock.patch.object(run.noise, "load", return_value=5.0), mock.patch.object(run, "Comparison") as comparison:
            with self.assertRaises(SystemExit) as refused:
                run.main([])
        self.assertIn("load average", str(refused.exception))
        comparison.assert_not_called()


class Document(unittest.TestCase):
    def setUp(self):
        self.files = document.render(results())
        self.text = self.files["PERFORMANCE.md"]

    def test_every_plot_of_the_text_is_there_and_is_svg(self):
        shown = {part.split(")")[0] for part in self.text.split("](")[1:]}
        self.assertEqual(shown, {name for name in self.files if name.endswith(".svg")})
        for name in shown:
            root = xml.fromstring(self.files[name])
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
            self.assertIn("prefers-color-scheme", self.files[name])

    def test_targets_are_met_or_missed_by_what_was_measured(self):
        rows = {row for row in self.text.splitlines() if row.startswith("| ")}
        self.assertIn("| streams at once, put | ≥ 1.3 × sshd | 2.00 (2.00-2.00) | met |", rows)
        self.assertIn("| logins | ≥ 8 × sshd | 2.00 (2.00-2.00) | **missed** |", rows)
        self.assertIn("| logins | ≥ 1.5 × SFTPGo |  | not measured |", rows)
        self.assertTrue(any(row.startswith("| memory of an idle session | ≤ 48 KiB | 40.00") and "met" in row for row in rows))

    def test_who_is_missing_fails_or_answers_early_is_named(self):
        self.assertIn("- SFTPGo: it is missing", self.text)
        self.assertIn("rclone serve answered 1.5 s before the bucket had everything", self.text)
        rows = [row for row in self.text.splitlines() if row.startswith("| get | ")]
        self.assertEqual(rows, ["| get | 1 HEAD | fails | 3 (0 LIST) | met |"])

    def test_a_server_that_failed_has_no_figure(self):
        failed = work("a work", 1, "MiB", {"lockgate": [1.0]})
        failed["missing"]["sshd"] = "it lost bytes"
        self.assertEqual(document.cell(failed, "sshd"), "fails")
        self.assertEqual(document.cell(failed, "rclone"), "–")

    def test_longer_bars_are_more(self):
        drawn = xml.fromstring(plots.bars("title", peers.TITLES, [("work", [("lockgate", 1, 2, 3), ("sshd", 4, 4, 4)])]))
        widths = [float(bar.get("width")) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect") if bar.get("height") == str(plots.BAR)]
        self.assertAlmostEqual(widths[1], 2 * widths[0], delta=0.2)


class Programs(unittest.TestCase):
    def test_requests_are_called_as_they_are_billed(self):
        for expected, method, target, headers in (
            ("LIST", "GET", "/bucket?list-type=2&prefix=a%2F", {}), ("LIST", "GET", "/bucket/?prefix=a", {}), ("GET", "GET", "/bucket/key", {}),
            ("PUT", "PUT", "/bucket/key", {}), ("COPY", "PUT", "/bucket/key", {"x-amz-copy-source": "/bucket/old"}),
            ("UPLOAD", "POST", "/bucket/key?uploads", {}), ("PART", "PUT", "/bucket/key?partNumber=1&uploadId=u", {}),
            ("UPLOAD", "POST", "/bucket/key?uploadId=u", {}), ("HEAD", "HEAD", "/bucket/a/b", {}), ("DELETE", "DELETE", "/bucket/a", {}),
        ):
            self.assertEqual(relay.called(method, target, headers), expected, (method, target))

    def test_processes_that_outlive_their_parent_are_counted_and_ended(self):
        with tempfile.TemporaryDirectory() as folder:
            busy = "for n in $(seq 300000); do :; done; echo done >>log; exec sleep 1000"
            server = Server(["bash", "-c", f"(({busy}) & ); exec sleep 1000"], os.path.join(folder, "log"), cwd=folder)
            try:
                with open(server.log, encoding="utf-8") as log:
                    await_until("the orphan", lambda: "done" in log.read())
                pids = descendants(server.keeper.pid)
                self.assertEqual(len(pids), 3)
                self.assertGreater(server.cpu(), 0.05)
                self.assertGreater(server.memory(), 100_000)
            finally:
                server.stop()
            self.assertEqual([pid for pid in pids if os.path.exists(f"/proc/{pid}")], [])

    def test_a_server_ends_with_the_comparison(self):
        code = "import sys, os, signal; from comparison.processes import Server\n"
        code += "print(Server(['sleep', '1000'], '/dev/null').keeper.pid, flush=True); sys.stdin.read(); os.kill(os.getpid(), signal.SIGKILL)"
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        comparison = subprocess.Popen(
            [sys.executable, "-B", "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        keeper = int(comparison.stdout.readline())
        pids = await_until("the server", lambda: len(found := descendants(keeper)) > 1 and found)
        comparison.communicate()
        await_until("the end of the server", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


if __name__ == "__main__":
    unittest.main()
