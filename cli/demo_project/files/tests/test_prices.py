import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from shop.prices import total


class Prices(unittest.TestCase):
    def test_prices_are_added(self):
        self.assertEqual(total(["1.25", "2.30"]), "3.55")

    def test_discount_is_a_percentage(self):
        self.assertEqual(total(["40.00", "10.50"], 10), "45.45")

    def test_cents_are_always_there(self):
        self.assertEqual(total(["10.00", "2.50"]), "12.50")

    def test_half_a_cent_is_rounded_up(self):
        self.assertEqual(total(["2.675"]), "2.68")


if __name__ == "__main__":
    unittest.main()
