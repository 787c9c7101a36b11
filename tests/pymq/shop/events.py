"""The Python half of what both languages declare."""

from typing import Any, Dict, List, NamedTuple, Set, Tuple


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


class Holder:
    name: str
    tags: Set[str]
    lines: List[Line]
    parts: Dict[str, OrderPlaced]

    def __init__(self, name, tags, lines=None, parts=None):
        self.name, self.tags, self.lines, self.parts = name, tags, lines or [], parts or {}


class When:
    at: str

    def __init__(self, at):
        self.at = at


class Whole:
    n: int

    def __init__(self, n):
        self.n = n


class Bag:
    counts: Dict[str, int]
    pairs: List[Tuple[int, str]]
    data: str
    value: Any

    def __init__(self, counts=None, pairs=None, data=None, value="absent"):
        self.counts, self.pairs, self.data, self.value = counts, pairs, data, value


class OutOfStock(Exception):
    pass
