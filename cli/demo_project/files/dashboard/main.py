"""Reads sales, one `2024-03,eur,129.90` a line, and prints them by month."""

import sys

from dashboard.charts import bar
from dashboard.legacy_export import export_xml
from dashboard.money import format_eur, format_gbp, format_usd
from dashboard.months import month_name

FORMATS = {"eur": format_eur, "usd": format_usd, "gbp": format_gbp}


def report(lines):
    """The report's lines: month, total in its currency, and a bar."""
    totals = {}
    for line in lines:
        month, currency, amount = line.strip().split(",")
        totals[month, currency] = totals.get((month, currency), 0.0) + float(amount)
    largest = max(totals.values())
    for (month, currency), total in sorted(totals.items()):
        name = month_name(int(month[5:]), "en")
        yield f"{name:<10}{FORMATS[currency](total):>14}  {bar(round(20 * total / largest))}".rstrip()


if __name__ == "__main__":
    print("\n".join(report(sys.stdin)))
