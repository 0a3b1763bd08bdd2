"""Nested containers as trees: their leaves in order, and back; what `torch.utils._pytree` gives to programs."""

import functools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

__all__ = [
    "Context", "GetAttrKey", "KeyEntry", "KeyPath", "LeafSpec", "MappingKey", "PyTree", "SequenceKey", "TreeSpec",
    "arg_tree_leaves", "is_namedtuple", "is_namedtuple_class", "is_namedtuple_instance", "key_get", "keystr",
    "map_only", "register_pytree_node", "tree_all", "tree_all_only", "tree_any", "tree_any_only", "tree_flatten",
    "tree_flatten_with_path", "tree_is_leaf", "tree_iter", "tree_leaves", "tree_leaves_with_path", "tree_map",
    "tree_map_", "tree_map_only", "tree_map_only_", "tree_map_with_path", "tree_structure", "tree_unflatten",
    "treespec_pprint",
]  # fmt: skip

PyTree = Any
Context = Any


class SequenceKey:
    """A place in a list or tuple."""

    def __init__(self, idx: int):
        self.idx = idx

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def __repr__(self) -> str:
        return f"SequenceKey(idx={self.idx!r})"

    def get(self, sequence):
        return sequence[self.idx]

    def __eq__(self, other) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))


class MappingKey(SequenceKey):
    """A place in a dict."""

    def __init__(self, key):
        self.key = key

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def __repr__(self) -> str:
        return f"MappingKey(key={self.key!r})"

    def get(self, mapping):
        return mapping[self.key]


class GetAttrKey(SequenceKey):
    """A named field."""

    def __init__(self, name: str):
        self.name = name

    def __str__(self) -> str:
        return f".{self.name}"

    def __repr__(self) -> str:
        return f"GetAttrKey(name={self.name!r})"

    def get(self, obj):
        return getattr(obj, self.name)


KeyEntry = SequenceKey
KeyPath = tuple[KeyEntry, ...]


class NodeDef(NamedTuple):
    """How one type of container is taken apart and put together."""

    type: type
    flatten_fn: Callable[[Any], tuple[list, Any]]
    unflatten_fn: Callable[[Iterable, Any], Any]
    flatten_with_keys_fn: Callable | None


def _keyed(fields: Callable[[Any], Iterable], kind: type) -> Callable:
    return lambda d: ([(kind(k), x) for k, x in fields(d)], None)


SUPPORTED_NODES: dict[type, NodeDef] = {}


def register_pytree_node(
    cls: type, flatten_fn: Callable, unflatten_fn: Callable, *, serialized_type_name: str | None = None,
    to_dumpable_context: Callable | None = None, from_dumpable_context: Callable | None = None,
    flatten_with_keys_fn: Callable | None = None,
) -> None:  # fmt: skip
    """Make a class a container: `flatten_fn(x) -> (children, context)`, `unflatten_fn(children, context) -> x`."""
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn)


_register_pytree_node = register_pytree_node


def _in_order(d: dict) -> tuple[list, list]:
    return list(d.values()), list(d)


register_pytree_node(tuple, lambda d: (list(d), None), lambda xs, _: tuple(xs),
    flatten_with_keys_fn=_keyed(enumerate, SequenceKey))  # fmt: skip
register_pytree_node(list, lambda d: (list(d), None), lambda xs, _: list(xs),
    flatten_with_keys_fn=_keyed(enumerate, SequenceKey))  # fmt: skip
register_pytree_node(dict, _in_order, lambda xs, keys: dict(zip(keys, xs)),
    flatten_with_keys_fn=_keyed(lambda d: d.items(), MappingKey))  # fmt: skip
register_pytree_node(OrderedDict, _in_order, lambda xs, keys: OrderedDict(zip(keys, xs)),
    flatten_with_keys_fn=_keyed(lambda d: d.items(), MappingKey))  # fmt: skip
register_pytree_node(
    defaultdict, lambda d: (list(d.values()), [d.default_factory, list(d)]),
    lambda xs, context: defaultdict(context[0], zip(context[1], xs)),
    flatten_with_keys_fn=_keyed(lambda d: d.items(), MappingKey),
)  # fmt: skip
register_pytree_node(deque, lambda d: (list(d), d.maxlen), lambda xs, most: deque(xs, maxlen=most),
    flatten_with_keys_fn=_keyed(enumerate, SequenceKey))  # fmt: skip


class namedtuple:
    """Stands for all classes that `collections.namedtuple` made; their own class is the context."""


SUPPORTED_NODES[namedtuple] = NodeDef(
    namedtuple, lambda d: (list(d), type(d)), lambda xs, cls: cls(*xs),
    _keyed(lambda d: zip(d._fields, d), GetAttrKey),
)  # fmt: skip


def is_namedtuple_class(cls: type) -> bool:
    """Whether a class is one of `collections.namedtuple`."""
    return (
        isinstance(cls, type) and issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)
        and callable(getattr(cls, "_make", None))
    )  # fmt: skip


def is_namedtuple_instance(obj: object) -> bool:
    """Whether an object is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj: object) -> bool:
    """Whether an object is a named tuple, or the class of some."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def _get_node_type(tree: Any) -> Any:
    if type(tree) not in SUPPORTED_NODES and is_namedtuple_instance(tree):
        return namedtuple
    return type(tree)


def tree_is_leaf(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether a value is no container, or `is_leaf` says so."""
    return (is_leaf is not None and is_leaf(tree)) or _get_node_type(tree) not in SUPPORTED_NODES


class TreeSpec:
    """The shape of a tree: everything but the leaves."""

    __slots__ = ("_children", "context", "num_children", "num_leaves", "num_nodes", "type")

    def __init__(self, type: Any, context: Any, children_specs: list["TreeSpec"]):
        self.type, self.context, self._children = type, context, list(children_specs)
        self.num_nodes = 1 + sum(c.num_nodes for c in self._children)
        self.num_leaves = sum(c.num_leaves for c in self._children)
        self.num_children = len(self._children)

    @property
    def children_specs(self) -> list["TreeSpec"]:
        return self._children

    def children(self) -> list["TreeSpec"]:
        return list(self._children)

    def child(self, index: int) -> "TreeSpec":
        return self._children[index]

    def is_leaf(self) -> bool:
        return self.num_nodes == 1 and self.num_leaves == 1

    def __eq__(self, other) -> bool:
        return (
            isinstance(other, TreeSpec) and self.type is other.type and self.context == other.context
            and self._children == other._children
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.type, self.num_leaves, self.num_children))

    def __repr__(self, indent: int = 0) -> str:
        inner = " " * (indent + 2)
        parts = ""
        if self._children:
            shown = [c.__repr__(indent + 2) for c in self._children]
            parts = shown[0] + ("," if len(shown) > 1 else "") + ",".join([f"\n{inner}{c}" for c in shown[1:]])
        return f"TreeSpec({self.type.__name__}, {self.context}, [{parts}])"

    def flatten_up_to(self, tree: PyTree) -> list[PyTree]:
        """The parts of another tree, which is this one with more below its leaves."""
        found: list = []
        self._up_to(tree, found)
        return found

    def _up_to(self, tree: PyTree, found: list) -> None:
        if self.is_leaf():
            found.append(tree)
            return
        kind = _get_node_type(tree)
        if kind is not self.type:
            raise ValueError(f"Type mismatch; expected {self.type!r}, but got {kind!r}.")
        children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
        if len(children) != self.num_children:
            raise ValueError(f"Node arity mismatch; expected {self.num_children}, but got {len(children)}.")
        if kind in (dict, OrderedDict) and set(context) == set(self.context):
            children = [tree[k] for k in self.context]
        elif context != self.context:
            raise ValueError(f"Node context mismatch for custom node type {self.type!r}.")
        for part, spec in zip(children, self._children):
            spec._up_to(part, found)

    def unflatten(self, leaves: Iterable[Any]) -> PyTree:
        """The tree with these leaves."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
                f"holds {self.num_leaves} items ({self})."
            )
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator) -> PyTree:
        if self.is_leaf():
            return next(leaves)
        return SUPPORTED_NODES[self.type].unflatten_fn([c._build(leaves) for c in self._children], self.context)


class LeafSpec(TreeSpec):
    """The shape of a leaf."""

    __slots__ = ()

    def __init__(self):
        super().__init__(None, None, [])
        self.num_leaves = 1

    def __repr__(self, indent: int = 0) -> str:
        return "*"


_LEAF = LeafSpec()


def tree_flatten(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree in order, and its shape."""
    leaves: list = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: PyTree, leaves: list, is_leaf: Callable[[PyTree], bool] | None) -> TreeSpec:
    if tree_is_leaf(tree, is_leaf):
        leaves.append(tree)
        return _LEAF
    kind = _get_node_type(tree)
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    return TreeSpec(kind, context, [_flatten(c, leaves, is_leaf) for c in children])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """The tree of a shape with these leaves."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            f"tree_unflatten(leaves, treespec): Expected `treespec` to be instance of PyTreeSpec but got item of type "
            f"{type(treespec)}."
        )
    return treespec.unflatten(leaves)


def tree_iter(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> Iterator[Any]:
    """The leaves one after another."""
    yield from tree_flatten(tree, is_leaf)[0]


def tree_leaves(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> list[Any]:
    """The leaves in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> TreeSpec:
    """The shape of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> PyTree:
    """The tree of `func(leaf, ...)`; `rests` are trees of the same shape."""
    leaves, spec = tree_flatten(tree, is_leaf)
    return spec.unflatten(map(func, leaves, *[spec.flatten_up_to(r) for r in rests]))


def tree_map_(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> PyTree:
    """`tree_map` for what `func` does, not for what it returns."""
    leaves, spec = tree_flatten(tree, is_leaf)
    deque(map(func, leaves, *[spec.flatten_up_to(r) for r in rests]), maxlen=0)
    return tree


def map_only(type_or_types_or_pred: Any, /) -> Callable[[Callable], Callable[[Any], Any]]:
    """Decorator: the function for values of these types (or that satisfy a predicate), others as they are."""
    kinds = type_or_types_or_pred
    if isinstance(kinds, (type, tuple)) or not callable(kinds):
        pred = lambda x: isinstance(x, kinds)  # noqa: E731
    else:
        pred = kinds

    def wrapper(func: Callable) -> Callable[[Any], Any]:
        @functools.wraps(func)
        def inner(x):
            return func(x) if pred(x) else x

        return inner

    return wrapper


def tree_map_only(
    type_or_types_or_pred: Any, /, func: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """`tree_map` over the leaves of some types."""
    return tree_map(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_map_only_(
    type_or_types_or_pred: Any, /, func: Callable, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """`tree_map_` over the leaves of some types."""
    return tree_map_(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether `pred` holds for all leaves."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether `pred` holds for some leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(
    type_or_types: Any, /, pred: Callable[[Any], bool], tree: PyTree,
    is_leaf: Callable[[PyTree], bool] | None = None,
) -> bool:  # fmt: skip
    """Whether `pred` holds for all leaves of some types."""
    return all(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, type_or_types))


def tree_any_only(
    type_or_types: Any, /, pred: Callable[[Any], bool], tree: PyTree,
    is_leaf: Callable[[PyTree], bool] | None = None,
) -> bool:  # fmt: skip
    """Whether `pred` holds for some leaf of some types."""
    return any(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, type_or_types))


def _broadcast_to_and_flatten(
    tree: PyTree, treespec: TreeSpec, is_leaf: Callable[[PyTree], bool] | None = None
) -> list[Any] | None:
    """The leaves of `tree`, each repeated for all leaves of the part of `treespec` in its place; None: no fit."""
    if tree_is_leaf(tree, is_leaf):
        return [tree] * treespec.num_leaves
    if treespec.is_leaf():
        return None
    kind = _get_node_type(tree)
    if kind is not treespec.type:
        return None
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    if len(children) != treespec.num_children or context != treespec.context:
        return None
    found: list = []
    for part, spec in zip(children, treespec._children):
        flat = _broadcast_to_and_flatten(part, spec, is_leaf)
        if flat is None:
            return None
        found += flat
    return found


def treespec_pprint(treespec: TreeSpec) -> str:
    """The shape as a tree of stars."""
    return repr(treespec.unflatten([_Asterisk()] * treespec.num_leaves))


class _Asterisk:
    def __repr__(self) -> str:
        return "*"


def arg_tree_leaves(*args: PyTree, **kwargs: PyTree) -> list[Any]:
    """The leaves of all arguments."""
    return tree_leaves((args, kwargs))


def _paths(path: KeyPath, tree: PyTree, is_leaf: Callable[[PyTree], bool] | None) -> Iterator[tuple[KeyPath, Any]]:
    if tree_is_leaf(tree, is_leaf):
        yield path, tree
        return
    node = SUPPORTED_NODES[_get_node_type(tree)]
    if node.flatten_with_keys_fn is None:
        raise ValueError(
            f"Did not find a flatten_with_keys_fn for type: {node.type}. Please pass a flatten_with_keys_fn argument "
            "to register_pytree_node."
        )
    for key, part in node.flatten_with_keys_fn(tree)[0]:
        yield from _paths((*path, key), part, is_leaf)


def tree_flatten_with_path(
    tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> tuple[list[tuple[KeyPath, Any]], TreeSpec]:
    """The leaves, each with the keys that lead to it, and the tree's shape."""
    return list(_paths((), tree, is_leaf)), tree_structure(tree, is_leaf)


def tree_leaves_with_path(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> list[tuple[KeyPath, Any]]:
    """The leaves, each with the keys that lead to it."""
    return list(_paths((), tree, is_leaf))


def tree_map_with_path(
    func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """`tree_map` whose function is also given the keys that lead to the leaf."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    keys, leaves = [k for k, _ in pairs], [x for _, x in pairs]
    return spec.unflatten(func(*xs) for xs in zip(keys, leaves, *[spec.flatten_up_to(r) for r in rests]))


def keystr(kp: KeyPath) -> str:
    """Keys as text: "['a'][0].b"."""
    return "".join([str(k) for k in kp])


def key_get(obj: Any, kp: KeyPath) -> Any:
    """What keys lead to."""
    for k in kp:
        obj = k.get(obj)
    return obj
