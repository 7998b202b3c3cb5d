"""Runs the bundle on some sales and compares the report it prints. Exit 0: it still does its work."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import bundle_size

SALES = """\
2024-01,eur,1234567.891
2024-02,usd,99.5
2024-02,usd,900000
2024-03,gbp,250000
2024-09,eur,0.05
2024-12,usd,617283
"""

EXPECTED = """\
January    €1,234,567.89  ####################
February     $900,099.50  ###############
March        £250,000.00  ####
September          €0.05
December     $617,283.00  ##########
"""


def main():
    bundle = bundle_size.build()
    run = subprocess.run(
        [sys.executable, str(bundle)],
        input=SALES.encode(),
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
    )
    printed = run.stdout.decode()
    if run.returncode or printed != EXPECTED:
        print(run.stderr.decode() + printed, file=sys.stderr)
        sys.exit("The report is not what it was.")


if __name__ == "__main__":
    main()
