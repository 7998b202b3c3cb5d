"""Amounts with their currency's sign."""


def format_eur(amount):
    """An amount in EUR: thousands apart, two decimals."""
    whole, cents = divmod(round(amount * 100), 100)
    digits = str(whole)
    groups = []
    while len(digits) > 3:
        groups.insert(0, digits[-3:])
        digits = digits[:-3]
    groups.insert(0, digits)
    return "€" + ",".join(groups) + "." + str(cents).zfill(2)


def format_usd(amount):
    """An amount in USD: thousands apart, two decimals."""
    whole, cents = divmod(round(amount * 100), 100)
    digits = str(whole)
    groups = []
    while len(digits) > 3:
        groups.insert(0, digits[-3:])
        digits = digits[:-3]
    groups.insert(0, digits)
    return "$" + ",".join(groups) + "." + str(cents).zfill(2)


def format_gbp(amount):
    """An amount in GBP: thousands apart, two decimals."""
    whole, cents = divmod(round(amount * 100), 100)
    digits = str(whole)
    groups = []
    while len(digits) > 3:
        groups.insert(0, digits[-3:])
        digits = digits[:-3]
    groups.insert(0, digits)
    return "£" + ",".join(groups) + "." + str(cents).zfill(2)
