"""Copies layers by their configs, and carries over everything that a config cannot hold.

`get_config` writes names. A user's function, a `functools.partial`, an unregistered constraint or another layer of the
model has no name by which Keras would find it again, or one by which Keras finds something else. So the config is taken
from a stand-in of the layer, in which such objects are replaced by `Carried` ones, whose config is a number; when the
new layer reads that number it gets the object itself, in any argument.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import tempfile
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import keras

__all__ = [
    "CannotBeCopied",
    "Carried",
    "Copies",
    "carry_flags",
    "carry_settings",
    "carry_state",
    "config_of",
    "copied",
    "has_own_objects",
    "made",
    "names_last_axis",
    "pairs_of_layers",
]

_CURRENT: ContextVar[Copies | None] = ContextVar("copies", default=None)
# What Keras and TensorFlow note down of a layer's parts, beside the attributes by which the layer's class knows them.
_NOTED = (
    "_layers _inbound_nodes _outbound_nodes _losses _metrics _tracker _path _tracked _seed_generators "
    "_trainable_variables _non_trainable_variables _self_unconditional_checkpoint_dependencies "
    "_self_unconditional_dependency_names _self_unconditional_deferred_dependencies "
    "_self_name_based_restores _self_saveable_object_factories"
)
_OF_KERAS = frozenset(_NOTED.split())
_PLAIN = frozenset((bool, int, float, str, type(None)))  # what stands in every config as it is


class CannotBeCopied(TypeError):
    """A layer cannot be copied with the same computation; the message names it."""


@keras.saving.register_keras_serializable("tfcompress")
class Carried:
    """A placeholder for an object in a config. It is callable, as activations and constraints have to be.

    Args:
        key: the number by which the current `Copies` know the object.
    """

    def __init__(self, key: int) -> None:
        self.key = key

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Is never called: the new layer gets the object itself."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns only the number."""
        return {"key": self.key}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Returns the object itself."""
        copies = _CURRENT.get()
        assert copies is not None  # a config with such an entry never leaves the block in which it was made
        return copies.carried(config["key"])


class Copies:
    """The copies of a model's layers while it is copied, as a context manager.

    Args:
        operations: the operations of the model; each is copied once, however many objects hold it.
        copy: how to copy an operation; by default `copied`.
    """

    def __init__(self, operations: Iterable[Any] = (), copy: Callable[[Any], Any] | None = None) -> None:
        self._members = {id(operation): operation for operation in operations}
        self._copy = copied if copy is None else copy
        self._new: dict[int, Any] = {}
        self._objects: list[Any] = []
        self.variables: dict[int, Any] = {}  # id of an old variable -> the new one
        self._owners = {
            id(part): operation
            for operation in self._members.values()
            for part in [operation, *_parts(operation), *_variables(operation)]
        }

    def __enter__(self) -> Copies:
        self._token = _CURRENT.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)

    def new(self, operation: Any) -> Any:
        """Returns the copy of an operation of the model, made when it is first needed."""
        if id(operation) not in self._new:
            self._new[id(operation)] = self._copy(operation)
        return self._new[id(operation)]

    def carried(self, key: int) -> Any:
        """Returns the object for a key; for a layer of the model its copy."""
        original = self._objects[key]
        return self.new(original) if id(original) in self._members else original

    def stand_in(self, layer: Any, known: dict[int, Any] | None = None) -> Any:
        """Returns a layer of the same class and attributes, used only for its config."""
        known = {} if known is None else known
        if id(layer) not in known:
            known[id(layer)] = stand_in = object.__new__(type(layer))
            attributes = vars(stand_in)
            for name, value in vars(layer).items():
                if type(value) in _PLAIN or name in _OF_KERAS or _is_method(layer, name):
                    attributes[name] = value
                else:
                    attributes[name] = self._place(value, layer, known)
        return known[id(layer)]

    def _place(self, value: Any, layer: Any, known: dict[int, Any]) -> Any:
        if isinstance(value, keras.Layer):
            if id(value) in self._members:
                return self._carry(value)
            return value if isinstance(value, keras.Model) else self.stand_in(value, known)
        if isinstance(value, (list, tuple)) and type(value).__name__ in ("list", "tuple", "TrackedList"):
            places = [self._place(entry, layer, known) for entry in value]
            changed = any(new is not old for new, old in zip(places, value, strict=True))
            return (tuple(places) if isinstance(value, tuple) else places) if changed else value
        if isinstance(value, dict):
            changed_dict = {key: self._place(entry, layer, known) for key, entry in value.items()}
            return changed_dict if any(changed_dict[key] is not value[key] for key in value) else value
        if not _has_no_name(value):
            return value
        self.refuse_outside(layer, value)
        return self._carry(value)

    def _carry(self, thing: Any) -> Carried:
        self._objects.append(thing)
        return Carried(len(self._objects) - 1)

    def refuse_outside(self, layer: Any, function: Any) -> None:
        """Refuses a function that reads another layer of the model, because its copy would still read the old one.

        Raises:
            CannotBeCopied: names the layer that holds the function, and the one that it reads.
        """
        itself = self._owners.get(id(layer), layer)
        for thing in _reachable(function):
            owner = self._owners.get(id(thing))
            if owner is not None and owner is not itself and getattr(owner, "variables", None):
                raise CannotBeCopied(
                    f"Expected functions in a model to read no other layer of it. Received: layer "
                    f"{layer.name!r}, whose function reads {owner.name!r}: its copy would still read the old "
                    "one. Write it as a keras.Layer that takes the other layer as an argument of its constructor."
                )


def has_own_objects(operation: Any) -> bool:
    """Whether a layer, or one inside it, has a class or holds a function that is not Keras' own."""
    parts = [operation, *_parts(operation)] if isinstance(operation, keras.Layer) else []
    return any(_is_own(type(part)) or any(map(_has_no_name, _held(part))) for part in parts)


def _held(layer: Any) -> list[Any]:
    """Returns the values of a layer's own attributes, without the methods that Keras adds to them."""
    return [value for name, value in vars(layer).items() if not _is_method(layer, name)]


def _is_method(layer: Any, name: str) -> bool:
    """Whether an attribute of a layer is a method of its class that Keras has wrapped, such as `build`."""
    return isinstance(getattr(type(layer), name, None), types.FunctionType)


def _variables(operation: Any) -> list[Any]:
    return operation.variables if isinstance(operation, keras.Layer) else []


def _parts(operation: Any) -> list[Any]:
    held = isinstance(operation, keras.Layer) and operation._layers
    return operation._flatten_layers(include_self=False) if held else []


def _has_no_name(value: Any) -> bool:
    """Whether Keras would not find this very object again by its config."""
    if not callable(value) or isinstance(value, (type, keras.Layer, keras.Variable, keras.Metric, keras.Optimizer)):
        return False
    if isinstance(value, types.FunctionType):
        return not _is_named_activation(value)
    if isinstance(value, (types.BuiltinFunctionType, types.MethodType, functools.partial)):
        return True
    return type(value).__module__.partition(".")[0] != "keras"


def _is_named_activation(function: Any) -> bool:
    try:
        return keras.activations.get(function.__name__) is function
    except ValueError:
        return False


def _reachable(function: Any) -> Iterator[Any]:
    """Yields everything that a function reads besides its arguments: closure, defaults, globals, inner functions."""
    pending, seen = [function], set[int]()
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, functools.partial):
            pending += [thing.func, *thing.args, *thing.keywords.values()]
        elif isinstance(thing, types.MethodType):
            pending += [thing.__self__, thing.__func__]
        elif isinstance(thing, (list, tuple)) and len(thing) < 1000:
            pending += thing
        elif isinstance(thing, types.FunctionType) and _is_of_a_user(thing):
            pending += [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
            pending += [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
            pending += [thing.__globals__[name] for name in _names(thing.__code__) if name in thing.__globals__]


def _is_of_a_user(function: Any) -> bool:
    return (function.__module__ or "").partition(".")[0] not in ("keras", "tensorflow", "numpy", "jax")


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _names(code: types.CodeType) -> list[str]:
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return [name for name in (*code.co_names, *inner) if not hasattr(builtins, name)]


def config_of(layer: Any) -> dict[str, Any]:
    """Returns a layer's config for the current `Copies`: objects without a name of their own are `Carried`."""
    copies = _CURRENT.get()
    source = layer if copies is None or not isinstance(layer, keras.Layer) else copies.stand_in(layer)
    config: dict[str, Any] = source.get_config()
    return config


def made(template: Any, config: dict[str, Any]) -> Any:
    """Returns a new operation of the class of `template`, from a config, with the names and policies of its parts."""
    cls = type(template)
    if not isinstance(template, keras.Layer):
        return cls.from_config(config)
    own = {type(part).__name__: type(part) for part in [template, *_parts(template)] if _is_own(type(part))}
    with keras.saving.custom_object_scope(own), _policy(template.dtype_policy):
        layer = cls.from_config(_filled_in(config))
    if type(layer) is not cls:
        raise TypeError(f"from_config gives a {type(layer).__name__}.")
    return layer


def _is_own(cls: type) -> bool:
    return cls.__module__.partition(".")[0] != "keras"


def _filled_in(config: Any) -> Any:
    """Returns a config with `Carried` entries replaced by their objects."""
    if isinstance(config, Carried):
        return Carried.from_config(config.get_config())
    if isinstance(config, dict):
        return {key: _filled_in(value) for key, value in config.items()}
    return type(config)(map(_filled_in, config)) if type(config) in (list, tuple) else config


@contextlib.contextmanager
def _policy(policy: Any) -> Iterator[None]:
    """Gives layers that a constructor makes for itself its policy, as in the original model; for this thread only."""
    before = keras.config.dtype_policy()
    if before.name == policy.name or policy.quantization_mode is not None:
        yield
        return
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def copied(layer: Any, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Any:
    """Returns a copy of a layer made from its config, not yet built.

    Args:
        layer: a layer or another operation.
        change: a change of its config before that.
    """
    config = config_of(layer)
    return made(layer, config if change is None else change(config))


def pairs_of_layers(old: Any, new: Any) -> list[tuple[Any, Any]]:
    """Returns pairs of a layer and its copy, with their inner layers; only the first pair if their contents differ."""
    if not isinstance(old, keras.Layer):
        return []
    if not old._layers and not new._layers:
        return [(old, new)]
    olds, news = old._flatten_layers(), new._flatten_layers()
    if [type(layer) for layer in olds] != [type(layer) for layer in news]:
        return [(old, new)]
    return list(zip(olds, news, strict=True))


def carry_settings(old: Any, new: Any) -> None:
    """Carries over settings that no config holds: names, policies, and whether masks are passed on."""
    for before, after in pairs_of_layers(old, new):
        if before is not old and after.name != before.name:
            after.name = before.name
        if after.dtype_policy.name != before.dtype_policy.name and not before.dtype_policy.quantization_mode:
            after.dtype_policy = before.dtype_policy
        if after.supports_masking != before.supports_masking:
            after.supports_masking = before.supports_masking


def carry_state(old: Any, new: Any, built: bool = True) -> None:
    """Carries over state that is not in variables, such as the vocabulary of a lookup.

    Args:
        old: the layer.
        new: its copy.
        built: whether the copy is built; if not, it gets the state that is not stored with variables.
    """
    for before, after in pairs_of_layers(old, new):  # in the order in which Keras reads a file
        has_assets = getattr(type(before), "save_assets", None) is not None
        if has_assets or (built and type(before).save_own_variables.__module__.partition(".")[0] != "keras"):
            store: dict[str, Any] = {}
            before.save_own_variables(store)
            after.load_own_variables(store)
        if has_assets:
            with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
                before.save_assets(folder)
                after.load_assets(folder)


def carry_flags(old: Any, new: Any) -> None:
    """Freezes in a built layer everything that is frozen in the old one: layers, inner layers, single variables."""
    for before, after in pairs_of_layers(old, new):  # what holds others comes before them
        if after.trainable != before.trainable:
            after.trainable = before.trainable
    for before, after in pairs_of_layers(old, new):
        for source, target in zip(before.variables, after.variables, strict=False):
            if source.trainable != target.trainable and source.name == target.name:
                target.trainable = source.trainable


def names_last_axis(layer: Any, config: dict[str, Any], rank: int) -> dict[str, Any]:
    """Returns a config of one of Keras' own layers whose `axis` is -1 if it is the last one.

    Keras omits a static reshape only for the literal -1; that reshape fails if widths are not
    known.
    """
    axis = config.get("axis")
    if _is_own(type(layer)) or axis is None or isinstance(axis, Carried):
        return config

    many = isinstance(axis, (list, tuple))
    if (list(axis) if many else [axis]) != [rank - 1]:  # of several axes the order may count, by which Keras sorts them
        return config
    return {**config, "axis": type(axis)([-1]) if many else -1}
