"""SVG files without a library. Colours of text and lines follow the reader's dark or light mode; bars have colours that both carry."""

from xml.sax.saxutils import escape

COLOURS = {
    "lockgate": "#2f81f7", "sshd": "#8b949e", "proftpd": "#bc8cff", "rclone": "#d29922", "sftpgo": "#3fb950", "client": "#db61a2",
}
STYLE = """text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-size: 14px; font-weight: 600 } .faint { fill: #59636e }
line, polyline { stroke: #d1d9e0; fill: none } .whisker { stroke: #1f2328 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .faint { fill: #9198a1 } line, polyline { stroke: #3d444d } .whisker { stroke: #e6edf3 } }"""
WIDTH, LEFT, RIGHT, BAR, GAP = 820, 250, 90, 14, 12


def text(x, y, content, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def line(x1, y1, x2, y2, kind=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def document(height, title, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img"'
    return "\n".join([f'{head} aria-label="{escape(title)}">', f"<style>{STYLE}</style>", text(10, 20, title, "title"), *parts, "</svg>\n"])


def legend(names, titles, y):
    parts, x = [], 10
    for name in names:
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" rx="2" fill="{COLOURS[name]}"/>')
        parts.append(text(x + 17, y, titles[name]))
        x += 34 + 8 * len(titles[name])
    return parts


def short(value):
    """Three digits that say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(title, titles, groups):
    """`groups` has a label and, for each server, its name and a low, middle and high value. Longer is more; bars begin at nothing."""
    names = [name for name in COLOURS if any(name == bar[0] for _, bars in groups for bar in bars)]
    most = max((high for _, bars in groups for _, _, _, high in bars), default=0) or 1
    scale = (WIDTH - LEFT - RIGHT) / most
    parts, y = legend(names, titles, 44), 62
    for label, bars in groups:
        parts.append(text(LEFT - 10, y + len(bars) * (BAR + 2) / 2 + 3, label, anchor="end"))
        for name, low, value, high in bars:
            middle = y + BAR / 2
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR}" rx="2" fill="{COLOURS[name]}"/>')
            if high > low:
                parts.append(line(LEFT + low * scale, middle, LEFT + high * scale, middle, "whisker"))
            parts.append(text(LEFT + max(value, high) * scale + 6, middle + 4, short(value), "faint"))
            y += BAR + 2
        y += GAP
    parts.append(line(LEFT, 56, LEFT, y))
    return document(y + 10, title, parts)


def curves(title, titles, places, series):
    """A curve for each of `series`: the server's name, what follows it in the legend, and a value at each of `places` (their labels).
    The places are apart by the same step, the values from nothing up."""
    left, top, bottom, right = 60, 70, 300, WIDTH - 200
    most = max((value for _, _, values in series for value in values), default=0) * 1.1 or 1
    step = (right - left) / max(1, len(places) - 1)
    parts = []
    for tick in range(5):
        value = most * tick / 4
        y = bottom - (bottom - top) * tick / 4
        parts += [line(left, y, right, y), text(left - 6, y + 4, short(value), "faint", "end")]
    parts += [text(left + step * i, bottom + 18, label, "faint", "middle") for i, label in enumerate(places)]
    for number, (name, what, values) in enumerate(series):
        points = [(left + step * i, bottom - (bottom - top) * value / most) for i, value in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if what == "get" else ""
        parts.append(f'<polyline points="{path}" style="stroke: {COLOURS[name]}; stroke-width: 2"{dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[name]}"/>' for x, y in points]
        y = top + 18 * number
        parts.append(f'<polyline points="{right + 20},{y - 4} {right + 44},{y - 4}" style="stroke: {COLOURS[name]}; stroke-width: 2"{dash}/>')
        parts.append(text(right + 50, y, f"{titles[name]} {what}".strip()))
    return document(bottom + 34, title, parts)
