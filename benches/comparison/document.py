"""docs/PERFORMANCE.md from what was measured."""

from . import noise, plots
from .figures import REQUESTS, quarters, ratios, samples, targets
from .peers import ORDER, TITLES

# How often in a month of a partner exchange, and what a bucket asks for one request.
MONTH = {"put, new": 30_000, "get": 30_000, "rm": 30_000, "stat of a file": 8_640}
PRICES = {"dear": 5e-6, "cheap": 0.4e-6}

HEAD = "<!-- benches/compare writes all below from a run that was quiet enough. -->"


def render(results):
    """Every file by its path in docs/: the figures of the document, and the plots."""
    works = results["works"]
    sections = [
        machine(results), verdicts(works),
        section(works, "Large files", ["sftp-put-aes256-gcm", "sftp-get-aes256-gcm", "sftp-put-chacha20-poly1305",
                "sftp-get-chacha20-poly1305", "scp-put", "scp-get", "jump-put", "jump-get", "streams-put", "streams-get"], "large-files"),
        section(works, "Many small things", ["tree-put", "tree-get", "logins", "listing"], "small"),
        section(works, "An upstream server", [f"upstream-{what}{where}" for where in ("", "-100ms") for what in
                ("put", "get", "tree-put", "tree-get")], "upstream", far_away(works)),
        costs(works),
        section(works, "A bucket", ["bucket-put", "bucket-get", "bucket-rclone", "bucket-sftp", "bucket-rclone-delayed",
                "bucket-sftp-delayed"], "bucket", late(works)),
        requests(works), idle(works), growth(works), sinks(results), absent(results),
    ]
    files = {f"performance/{name}.svg": content for name, content in pictures(works).items()}
    files["PERFORMANCE.md"] = "\n\n".join([HEAD, *filter(None, sections)]) + "\n"
    return files


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def peers_of(works, order=(*ORDER, "client")):
    """Those that were measured in one of the works at least."""
    return [name for name in order if any(name in by for work in works for by in work["samples"].values())]


def machine(results):
    facts = results["machine"]
    versions = [[TITLES[name], version] for name, version in results["versions"].items()]
    counts = f"{facts['rounds']} rounds" if facts["rounds"] > 1 else "one round"
    unfit = "; ".join(results["unfit"])
    return "\n".join([
        "## The run", "", *([f"**Not fit to be published**: {unfit}.", ""] if unfit else []),
        f"{results['date']}, `{results['command']}`: {counts}, in turn from the first to the last and back. {facts['cpus']} × {facts['cpu']}, "
        f"{facts['memory']} GiB, Linux {facts['kernel']}, {facts['system']}. Client: {facts['client']}.", "",
        f"The calibration took {spread_of(results['noise']['calibrations'])} s; others used {worst(results, 'foreign')} of the processors at "
        f"most, a hypervisor {worst(results, 'stolen')}.", "",
        table(["server", "version"], versions),
    ])


def spread_of(values):
    return f"{min(values):.3f} to {max(values):.3f}"


def worst(results, share):
    return f"{100 * max(watch[share] for watch in results['noise']['watches']):.1f} %"


def verdicts(works):
    rows = []
    for target in targets():
        if target.work not in works:
            continue
        values = target.values(works)
        required = target.required().replace(target.peer or " ", TITLES.get(target.peer, " ")).strip()
        if values:
            low, median, high = quarters(values)
            rows.append([target.what, required, f"{median:.2f} ({low:.2f}-{high:.2f})", "met" if target.met(values) else "**missed**"])
        else:
            rows.append([target.what, required, "", "not measured"])
    return "## Targets\n\n" + table(["what", "required", "measured (middle half)", ""], rows) if rows else ""


def cell(work, peer, metric="seconds", scale=1.0):
    """Median, half of the middle half, and how many times ours; a dash where it was not measured."""
    values = samples(work, metric, peer)
    if not values:
        return "fails" if peer in work["missing"] else "–"
    low, median, high = (value * scale for value in quarters(values))
    text = digits(median) + (f" ±{digits((high - low) / 2)}" if len(values) > 1 else "")
    if peer != "lockgate":
        compared = ratios(work, metric, peer, "lockgate")
        text += f" · {quarters(compared)[1]:.2f} ×" if compared else ""
    return text


def digits(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def section(works, title, keys, plot, note=""):
    shown = [works[key] for key in keys if key in works]
    if not shown:
        return ""
    names = peers_of(shown)
    rows = [[work["title"], *(cell(work, name) for name in names)] for work in shown]
    head = ["seconds, and how many times ours", *(TITLES[name] for name in names)]
    return "\n\n".join(filter(None, [f"## {title}", table(head, rows), note, f"![{title}](performance/{plot}.svg)"]))


def far_away(works):
    if not any(key.startswith("upstream") for key in works):
        return ""
    return (
        "Lockgate in front of an sshd, and beside it a client that goes to that sshd itself; then both with 100 ms (there and back) before "
        "the sshd. Every byte is encrypted twice, and every file published under its name when it is whole."
    )


def costs(works):
    """Processor time of the servers: seconds for each GiB, milliseconds for each login and 1,000 names, microseconds for each file."""
    scales = {"MiB": (1024, "s per GiB"), "files": (1e6, "µs per file"), "logins": (1e3, "ms per login"), "names": (1e6, "µs per name")}
    shown = [work for key, work in works.items() if not key.startswith(("growth", "bucket", "idle", "requests", "upstream"))]
    if not shown:
        return ""
    names, rows = peers_of(shown), []
    for work in shown:
        scale, unit = scales[work["unit"]]
        rows.append([work["title"], unit, *(cell(work, name, "cpu", scale / work["amount"]) for name in names)])
    head = ["processor time of the server", "", *(TITLES[name] for name in names)]
    parts = ["## Processor time", table(head, rows)]
    login = works.get("logins")
    if login and samples(login, "cpu", "lockgate"):
        seconds = quarters(samples(login, "cpu", "lockgate"))[1] / login["amount"]
        parts.append(f"So 1,000 logins cost Lockgate {1000 * seconds:.2f} s of processor time. The kernel counts in hundredths of a second.")
    return "\n\n".join([*parts, "![Processor time](performance/processor.svg)"])


def late(works):
    """Who tells the client that it is done before the bucket has everything."""
    found = []
    for work in works.values():
        for name, values in work["samples"].get("late", {}).items():
            if max(values) > 0:
                found.append(f"{TITLES[name]} answered {max(values):.1f} s before the bucket had everything of \"{work['title']}\"")
    return "; ".join(found) + "." if found else ""


def requests(works):
    work = works.get("requests")
    if not work:
        return ""
    names = peers_of([work])
    counted = {name: samples(work, "requests", name)[-1] for name in names}
    rows = []
    for deed, (most, lists) in REQUESTS.items():
        row = [deed]
        for name in names:
            kinds = counted[name][deed]
            row.append("fails" if kinds is None else " ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none")
        ours = counted["lockgate"][deed] or {}
        met = ours and sum(ours.values()) <= most and ours.get("LIST", 0) <= max(lists, 0)
        rows.append([*row, f"{most} ({lists} LIST)", "met" if met else "**missed**"])
    head = ["deed, in a session of its own", *(TITLES[name] for name in names), "at most", ""]
    note = "rclone serve remembers for minutes what a directory holds, and does not see what others change there meanwhile."
    return "\n\n".join(["## Requests to the bucket", table(head, rows), note, month(counted, names)])


def month(counted, names):
    """What the requests of a partner cost in a month."""
    rows = []
    for name in names:
        total = {kind: 0 for kind in ("dear", "cheap")}
        for deed, times in MONTH.items():
            for kind, count in (counted[name][deed] or {}).items():
                if kind != "DELETE":
                    total["cheap" if kind in ("GET", "HEAD") else "dear"] += count * times
        money = total["dear"] * PRICES["dear"] + total["cheap"] * PRICES["cheap"]
        rows.append([TITLES[name], f"{total['dear']:,}", f"{total['cheap']:,}", f"{money:.2f}"])
    deeds = ", ".join(f"{times:,} × {deed}" for deed, times in MONTH.items())
    intro = (
        f"A month with a partner who sends 1,000 files a day, which are fetched and removed, and who looks every five minutes: {deeds}. "
        "At 5 dollars for a million PUT, COPY, LIST and POST, 0.40 for a million GET and HEAD, DELETE free (S3, us-east-1); traffic apart:"
    )
    return intro + "\n\n" + table(["", "PUT, COPY, LIST, POST", "GET, HEAD", "dollars"], rows)


def idle(works):
    work = works.get("idle")
    if not work:
        return ""
    names = peers_of([work])
    rows = []
    for name in names:
        mib = lambda metric: digits(quarters(samples(work, metric, name))[1] / (1 << 20))
        rows.append([TITLES[name], cell(work, name, "each", 1 / 1024), mib("base"), mib("kept")])
    head = [f"{work['title']}, with an SFTP channel", "KiB each, and how many times ours", "MiB before", "MiB more when they are gone"]
    note = f"What stays is looked at {work['kept_after']} s after the last session ended. Pages that processes share count once."
    return "\n\n".join(["## Idle sessions", table(head, rows), note, "![Memory of an idle session](performance/memory.svg)"])


def growth(works):
    parts = []
    for kind, scale, unit, plot in (("put", 1e3, "ms per MiB", "growth-bytes"), ("get", 1e3, "ms per MiB", None),
                                    ("names", 1e6, "µs per name", "growth-names")):
        shown = [work for key, work in works.items() if key.startswith(f"growth-{kind}-")]
        if not shown:
            continue
        names = peers_of(shown)
        rows = [[work["title"], *(cell(work, name, "seconds", scale / work["amount"]) for name in names)] for work in shown]
        parts.append(table([f"{unit}, login included", *(TITLES[name] for name in names)], rows))
        parts += [f"![{unit}](performance/{plot}.svg)"] if plot else []
    return "\n\n".join(["## Growth", *parts]) if parts else ""


def sinks(results):
    if not results.get("sinks"):
        return ""
    return f"## What each sink costs\n\n`cargo bench --bench audit-cost`; \"of the least\" is the speed of one with every event thrown away.\n\n{results['sinks']}"


def absent(results):
    lines = [f"- {TITLES[name]}: {reason}" for name, reason in results["absent"].items()]
    for work in results["works"].values():
        lines += [f"- {work['title']}, {TITLES[name]}: {reason}" for name, reason in work["missing"].items()]
    return "## Not measured\n\n" + "\n".join(lines) if lines else ""


def pictures(works):
    def groups(keys, value):
        found = []
        for key in keys:
            work = works.get(key)
            if work:
                bars = [(name, *value(work, name)) for name in peers_of([work]) if samples(work, "seconds", name)]
                found.append((work["title"].replace("`", ""), bars))
        return found

    def speed(work, name):
        low, median, high = quarters([work["amount"] / value for value in samples(work, "seconds", name)])
        return low, median, high

    def relative(work, name):
        return quarters(ratios(work, "seconds", "lockgate", name))

    def processor(work, name):
        return tuple(1024 * value / work["amount"] for value in quarters(samples(work, "cpu", name)))

    large = [key for key in works if key.startswith(("sftp-", "scp-", "streams-"))]
    small = [key for key in ("tree-put", "tree-get", "logins", "listing") if key in works]
    bucket = [key for key in works if key.startswith("bucket-")]
    upstream = [key for key in works if key.startswith("upstream-")]
    found = {}
    for name, title, keys, value in (
        ("large-files", "MiB a second", large, speed), ("processor", "Seconds of the server's processor time for each GiB", large, processor),
        ("small", "Speed, Lockgate's being 1", small, relative), ("bucket", "Speed with a bucket, Lockgate's being 1", bucket, relative),
        ("upstream", "Speed with an upstream server, Lockgate's being 1", upstream, relative),
    ):
        if keys:
            found[name] = plots.bars(title, TITLES, groups(keys, value))
    if "idle" in works:
        each = works["idle"]["samples"]["each"]
        bars = [(name, *(value / 1024 for value in quarters(values))) for name, values in each.items()]
        found["memory"] = plots.bars("KiB for each idle session", TITLES, [(works["idle"]["title"], bars)])
    return found | growth_pictures(works)


def growth_pictures(works):
    found = {}
    kinds = {"growth-bytes": ("Milliseconds for each MiB, by the size of the files", ("put", "get"), 1e3),
             "growth-names": ("Microseconds for each name of a listing, by how many there are", ("names",), 1e6)}
    for plot, (title, directions, scale) in kinds.items():
        places, series = [], []
        for direction in directions:
            shown = {key: work for key, work in works.items() if key.startswith(f"growth-{direction}-")}
            unit = "" if direction == "names" else " MiB"
            places = [f"{int(key.rsplit('-', 1)[1]):,}{unit}" for key in shown] or places
            for name in peers_of(shown.values()):
                values = [samples(work, "seconds", name) for work in shown.values()]
                if all(values):
                    per = [scale * quarters(v)[1] / work["amount"] for v, work in zip(values, shown.values())]
                    series.append((name, "" if direction == "names" else direction, per))
        if series:
            found[plot] = plots.curves(title, TITLES, places, series)
    return found
