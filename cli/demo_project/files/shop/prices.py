"""Adds up a basket."""


def total(prices, discount_percent=0):
    """What a basket of these prices costs, in whole cents as text: "12.50"."""
    amount = 0.0
    for price in prices:
        amount += float(price)
    amount -= discount_percent
    return str(round(amount, 2))
