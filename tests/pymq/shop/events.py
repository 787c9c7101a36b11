"""The Python half of what both languages declare."""

from typing import Dict, List, NamedTuple


class Line(NamedTuple):
    name: str
    amount: int


class OrderPlaced:
    id: str
    total: float
    tags: List[str]
    meta: Dict[str, int]

    def __init__(self, id, total, tags=None, meta=None):
        self.id = id
        self.total = total
        self.tags = tags or []
        self.meta = meta or {}

    def __eq__(self, other):
        return isinstance(other, OrderPlaced) and vars(self) == vars(other)


class Basket:
    lines: List[Line]

    def __init__(self, lines=None):
        self.lines = lines or []


class OutOfStock(Exception):
    pass
