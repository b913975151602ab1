"""The part of the languages of CloudWatch Logs that the tests need: queries of Logs Insights, and filter patterns for JSON.

What is not known here is an error, never passed over.
"""

import math
import re

TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<regex>/(?:[^/\\]|\\.)+/(?=\s|\)|$))|(?P<quoted>`[^`]*`)|(?P<span>\d+[smhd]\b)"""
    r"""|(?P<number>\d+(?:\.\d+)?)|(?P<name>[@A-Za-z_][\w.@]*)|(?P<sign><=|>=|!=|[=<>(),\[\]|%/*+-]))"""
)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def run(query, records):
    """The rows that a query gives."""
    lines = [line for line in query.splitlines() if not line.lstrip().startswith("#")]
    reader = Reader("\n".join(lines))
    rows, shown = records, None
    while True:
        command = reader.word()
        if command == "filter":
            test = reader.expression()
            rows = [row for row in rows if test(row)]
        elif command in ("fields", "display"):
            columns = reader.columns()
            rows = [{**row, **{name: value(row) for name, value in columns}} for row in rows]
            shown = [name for name, _ in columns] if command == "display" else shown
        elif command == "stats":
            rows, shown = reader.stats(rows), None
        elif command == "sort":
            rows = reader.sort(rows)
        elif command == "limit":
            rows = rows[: int(reader.take("number"))]
        else:
            raise SyntaxError(f"no command that is known here: {command}")
        if not reader.accept("|"):
            break
    assert reader.kind is None, f"left over: {reader.value}"
    return [{name: row.get(name) for name in shown} for row in rows] if shown else rows


def matches(pattern, record):
    """Whether a filter pattern for JSON matches: `{ $.field = "value" && ($.other = * || …) }`."""
    inner = re.fullmatch(r"\{(.*)\}", pattern.strip()).group(1)
    # The same expressions in another dress.
    inner = re.sub(r"\$\.([\w-]+)\s*=\s*\*", r"ispresent(`\1`)", inner)
    inner = re.sub(r"\$\.([\w-]+)", r"`\1`", inner).replace("&&", " and ").replace("||", " or ")
    reader = Reader(inner)
    test = reader.expression()
    assert reader.kind is None, f"left over: {reader.value}"
    return test(record)


class Reader:
    """Reads expressions into functions of a row."""

    def __init__(self, text):
        self.text, self.at = text, 0
        self.advance()

    def advance(self):
        found = TOKEN.match(self.text, self.at)
        if found is None:
            assert not self.text[self.at :].strip(), f"cannot be read: {self.text[self.at:]}"
            self.kind, self.value, self.begin = None, None, len(self.text)
            return
        self.kind, self.value, self.at = found.lastgroup, found.group(found.lastgroup), found.end()
        self.begin = found.start(found.lastgroup)

    def take(self, kind, value=None):
        assert self.kind == kind and value in (None, self.value), f"{value or kind} expected, not {self.value}"
        taken = self.value
        self.advance()
        return taken

    def accept(self, value):
        if self.value == value and self.kind in ("sign", "name"):
            self.advance()
            return True
        return False

    def word(self):
        return self.take("name")

    def field(self):
        return self.take("quoted")[1:-1] if self.kind == "quoted" else self.word()

    def expression(self):
        left = self.conjunction()
        while self.accept("or"):
            left = (lambda a, b: lambda row: a(row) or b(row))(left, self.conjunction())
        return left

    def conjunction(self):
        left = self.negation()
        while self.accept("and"):
            left = (lambda a, b: lambda row: a(row) and b(row))(left, self.negation())
        return left

    def negation(self):
        if self.accept("not"):
            inner = self.negation()
            return lambda row: not inner(row)
        return self.comparison()

    def comparison(self):
        left = self.term()
        if self.accept("like"):
            pattern = re.compile(self.take("regex")[1:-1])
            return lambda row: left(row) is not None and pattern.search(str(left(row))) is not None
        negated = self.accept("not")
        if self.accept("in"):
            values = self.list()
            # As in SQL: what is absent is neither in a list nor outside of it.
            return lambda row: left(row) is not None and (left(row) in values) != negated
        assert not negated, "`not` without `in`"
        if self.kind == "sign" and self.value in ("=", "!=", "<", "<=", ">", ">="):
            sign = self.take("sign")
            right = self.term()
            return lambda row: compare(sign, left(row), right(row))
        return left

    def list(self):
        values = []
        self.take("sign", "[")
        while not self.accept("]"):
            values.append(self.take("text")[1:-1])
            self.accept(",")
        return values

    def term(self):
        left = self.value_of()
        while self.kind == "sign" and self.value in ("/", "%"):
            divide = self.take("sign") == "/"
            left = (lambda a, b: lambda row: a(row) / b(row) if divide else a(row) % b(row))(left, self.value_of())
        return left

    def value_of(self):
        if self.accept("("):
            inner = self.expression()
            self.take("sign", ")")
            return inner
        if self.kind == "text":
            text = self.take("text")[1:-1]
            return lambda row: text
        if self.kind == "number":
            number = float(self.take("number"))
            return lambda row: number
        name = self.field()
        return self.call(name) if self.accept("(") else lambda row: row.get(name)

    def call(self, name):
        if name == "bin":
            span = self.take("span")
            self.take("sign", ")")
            length = int(span[:-1]) * SECONDS[span[-1]] * 1000
            return lambda row: row["@timestamp"] // length * length
        arguments = []
        while not self.accept(")"):
            arguments.append(self.expression())
            self.accept(",")
        functions = {
            "ispresent": lambda row: arguments[0](row) is not None,
            "strcontains": lambda row: int(arguments[1](row) in (arguments[0](row) or "")),
            "floor": lambda row: math.floor(arguments[0](row)),
            "toMillis": lambda row: arguments[0](row),
        }
        return functions[name]

    def columns(self):
        """Expressions with their names."""
        columns = []
        while True:
            start = self.begin
            name = self.value.strip("`")
            value = self.expression()
            text = self.text[start : self.begin].strip()
            if self.accept("as"):
                name = self.field()
            elif "(" in text:
                name = text
            columns.append((name, value))
            if not self.accept(","):
                return columns

    def stats(self, rows):
        aggregates = []
        while True:
            function = self.word()
            self.take("sign", "(")
            argument = None
            if not self.accept("*") and self.value != ")":
                argument = self.expression()
            self.take("sign", ")")
            self.take("name", "as")
            aggregates.append((self.field(), function, argument))
            if not self.accept(","):
                break
        keys = self.columns() if self.accept("by") else []
        groups = {}
        for row in rows:
            key = tuple(value(row) for _, value in keys)
            groups.setdefault(key, []).append(row)
        return [
            {**{name: part for (name, _), part in zip(keys, key)}, **{name: aggregate(f, a, group) for name, f, a in aggregates}}
            for key, group in groups.items()
        ]

    def sort(self, rows):
        self.accept("by")
        name = self.field()
        descending = not self.accept("asc") and (self.accept("desc") or True)
        return sorted(rows, key=lambda row: row[name], reverse=descending)


def aggregate(function, argument, rows):
    if function == "count" and argument is None:
        return len(rows)
    values = [value for row in rows if (value := argument(row)) is not None]
    functions = {
        "count": lambda: len(values),
        "count_distinct": lambda: len(set(values)),
        "sum": lambda: sum(map(float, values)),
        "min": lambda: min(values),
        "max": lambda: max(values),
        # Records come in the order of time.
        "latest": lambda: values[-1],
    }
    return functions[function]()


def compare(sign, left, right):
    if left is None or right is None:
        return False
    if isinstance(right, (int, float)) and not isinstance(right, bool):
        left = float(left)
    return {
        "=": left == right, "!=": left != right,
        "<": sign == "<" and left < right, "<=": sign == "<=" and left <= right,
        ">": sign == ">" and left > right, ">=": sign == ">=" and left >= right,
    }[sign]
