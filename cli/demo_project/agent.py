"""A scripted agent: it reads its prompt from standard input, truly edits the demo project, and needs no key.

Each iteration has its idea, good or bad, so that every verdict can be seen. Standard library only; the demo copies this
file beside its project and runs it with whatever `python3` is there.
"""

import re
import sys
from pathlib import Path


def replace(path: str, old: str, new: str) -> None:
    """Put `new` where `old` stands, once."""
    file = Path(path)
    text = file.read_text(encoding="utf-8")
    if old not in text:
        sys.exit(f"demo agent: {path} is not as expected: no {old!r}")
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def cut(path: str, start: str, end: str) -> None:
    """Take out everything from `start` up to `end`."""
    text = Path(path).read_text(encoding="utf-8")
    found = re.search(re.escape(start) + ".*?" + re.escape(end), text, re.DOTALL)
    replace(path, found.group() if found else start, end)


def drop_legacy_export() -> str:
    replace("dashboard/main.py", "from dashboard.legacy_export import export_xml\n", "")
    Path("dashboard/legacy_export.py").unlink()
    return "dropped the XML export: nothing calls it"


def shorten_months() -> str:
    replace("dashboard/months.py", "[language][number - 1]", "[language][number - 1][:3]")
    cut("dashboard/months.py", '    "de": [', "}\n")
    return "three letters are enough for a month"


def share_one_format() -> str:
    replace("dashboard/main.py", "format_eur, format_gbp, format_usd", "money")
    replace(
        "dashboard/main.py",
        '{"eur": format_eur, "usd": format_usd, "gbp": format_gbp}',
        '{"eur": "€", "usd": "$", "gbp": "£"}',
    )
    replace("dashboard/main.py", "FORMATS[currency](total)", "money(FORMATS[currency], total)")
    Path("dashboard/money.py").write_text(
        '"""Amounts with their currency\'s sign."""\n\n\n'
        "def money(sign, amount):\n"
        '    """An amount: thousands apart, two decimals."""\n'
        '    return f"{sign}{amount:,.2f}"\n',
        encoding="utf-8",
    )
    return "one function formats every currency"


def remember_bars() -> str:
    replace("dashboard/charts.py", '"""Bars for the report."""\n', '"""Bars for the report."""\n\nimport functools\n')
    replace("dashboard/charts.py", "def bar(", "@functools.lru_cache(maxsize=None)\ndef bar(")
    return "cached the bars"


def lose_the_connection() -> str:
    Path("dashboard/charts.py").write_text("def bar(length):\n    return", encoding="utf-8")
    print("demo agent: the connection was lost half way (that is part of the demo)", file=sys.stderr)
    sys.exit(1)


def compute_bars() -> str:
    cut("dashboard/charts.py", "BARS = {", "def bar")
    replace("dashboard/charts.py", "BARS[length]", '"#" * length')
    return "computed the bars instead of listing them"


def keep_one_language() -> str:
    cut("dashboard/months.py", '    "de": [', "}\n")
    return "kept the names of the one language in use"


def fix_the_discount() -> str:
    replace("shop/prices.py", "amount -= discount_percent", "amount -= amount * discount_percent / 100")
    return "the discount is a percentage now"


def fix_the_rounding() -> str:
    title = '"""Adds up a basket."""\n'
    replace("shop/prices.py", title, f"{title}\nfrom decimal import ROUND_HALF_UP, Decimal\n")
    replace("shop/prices.py", "amount = 0.0", 'amount = Decimal("0")')
    replace("shop/prices.py", "float(price)", "Decimal(price)")
    replace("shop/prices.py", "str(round(amount, 2))", 'str(amount.quantize(Decimal("0.01"), ROUND_HALF_UP))')
    return "cents are decimals, and half a cent is rounded up"


SMALLER = [
    drop_legacy_export,
    shorten_months,
    share_one_format,
    remember_bars,
    lose_the_connection,
    compute_bars,
    keep_one_language,
]
FIX = [fix_the_discount, fix_the_rounding]


def main() -> None:
    prompt = sys.stdin.read()
    found = re.search(r"This is iteration (\d+)", prompt)
    number = int(found.group(1)) if found else 1
    ideas = SMALLER if prompt.startswith("make the dashboard bundle smaller") else FIX
    if number > len(ideas):
        print("nothing left to try")
        return
    print(ideas[number - 1]())


if __name__ == "__main__":
    main()
