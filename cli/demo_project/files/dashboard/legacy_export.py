"""The XML export of the old dashboard. The accounting system that read it was switched off."""

HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE report SYSTEM "report-1.4.dtd">
<report xmlns="urn:example:report" xmlns:sales="urn:example:sales" version="1.4">
  <meta>
    <generator>dashboard</generator>
    <encoding>UTF-8</encoding>
  </meta>
"""

FOOTER = """</report>
"""


def escape(text):
    """Text as XML wants it."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        text = text.replace(character, entity)
    return text


def export_row(month, currency, amount):
    """One sale."""
    return f'  <sales:row month="{escape(month)}" currency="{escape(currency)}" amount="{amount:.2f}"/>\n'


def export_xml(rows):
    """All sales as one document."""
    return HEADER + "".join(export_row(*row) for row in rows) + FOOTER
