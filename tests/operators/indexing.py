"""Random index expressions as plain data: ints, slices, None, Ellipsis, masks, index tensors, lists."""

import random

import numpy as np

SHAPES = ((5,), (4, 3), (3, 4, 2), (2, 3, 4, 2), (1, 4), (0, 3), ())


class Index:
    """A random index expression as plain data; `make(framework)` gives the real one."""

    def __init__(self, rng: random.Random, shape, bad: float = 0.0):
        self.items, self.single = [], False
        dim, rank = 0, len(shape)
        ellipsis = rng.random() < 0.25
        seed = np.random.default_rng(rng.getrandbits(32))
        block = tuple(rng.choice([1, 2, 3]) for _ in range(rng.choice([1, 1, 2])))
        while dim < rank and rng.random() < 0.85:
            if ellipsis and rng.random() < 0.3:
                self.items.append(("ellipsis",))
                ellipsis = False
                dim += rng.randint(0, rank - dim)
                continue
            n = shape[dim]
            kind = rng.choice(
                ["int", "slice", "slice", "none", "tensor", "mask", "array", "list", "0d", "all", "bool"]
                if n
                else ["slice", "all", "none", "mask"]
            )
            low, high = (-n, n - 1) if rng.random() >= bad else (-n - 2, n + 1)
            if kind == "int":
                self.items.append(("int", rng.randint(low, high)))
            elif kind == "all":
                self.items.append(("slice", None, None, None))
            elif kind == "slice":
                ends = [rng.choice([None, rng.randint(-n - 1, n + 1)]) for _ in range(2)]
                self.items.append(("slice", *ends, rng.choice([None, 1, 2, 3]) if rng.random() >= bad / 4 else -1))
            elif kind == "none":
                self.items.append(("none",))
                dim -= 1
            elif kind == "bool":
                if rng.random() < 0.7:
                    continue
                self.items.append(("bool", rng.random() < 0.7))
                dim -= 1
            elif kind == "mask":
                wide = 2 if dim + 1 < rank and rng.random() < 0.3 else 1
                values = seed.integers(0, 2, shape[dim : dim + wide]).astype(bool)
                self.items.append(("mask", values))
                dim += wide - 1
            elif kind == "0d":
                self.items.append(("tensor", np.array(rng.randint(low, high))))
            else:
                small = tuple(1 if rng.random() < 0.2 else b for b in block)[rng.randint(0, len(block) - 1) :]
                values = seed.integers(low, high + 1, small)
                self.items.append((kind, values))
            dim += 1
        if ellipsis and rng.random() < 0.5:
            self.items.append(("ellipsis",))
        self.single = len(self.items) == 1 and rng.random() < 0.5 and self.items[0][0] != "list"

    def make(self, framework):
        found = []
        for kind, *rest in self.items:
            if kind == "int":
                found.append(rest[0])
            elif kind == "slice":
                found.append(slice(*rest))
            elif kind == "none":
                found.append(None)
            elif kind == "ellipsis":
                found.append(Ellipsis)
            elif kind == "bool":
                found.append(rest[0])
            elif kind == "list":
                found.append(rest[0].tolist())
            elif kind == "array":
                found.append(rest[0])
            else:
                found.append(framework.tensor(rest[0]))
        return found[0] if self.single else tuple(found)

    def __repr__(self) -> str:
        return f"x[{', '.join(str(i[1].tolist() if hasattr(i[-1], 'tolist') else i) for i in self.items)}]"


def places_are_distinct(index: Index) -> bool:
    """Whether no place is named twice: the order of such writes is nobody's promise."""
    return all(
        i[0] not in ("tensor", "array", "list") or i[1].size == len(np.unique(i[1])) == 1 or i[1].ndim == 0
        for i in index.items
    )
