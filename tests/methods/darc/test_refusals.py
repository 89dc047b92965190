"""What DARC refuses, before it has read any data: pieces that LiteRT lacks, costs, budgets, units, replacements."""

import keras
import pytest
import small_tasks
from keras import layers

import tfcompress
from tfcompress.costs import Term, register_metric, unregister_metric
from tfcompress.export import MissingOperatorError
from tfcompress.methods import DARC
from tfcompress.replacements import Replacement


class Unread:
    """Data that nobody may look at."""

    @property
    def shape(self):
        raise AssertionError("data was read")

    __iter__ = __len__ = __getitem__ = __array__ = shape


class Own(Replacement):
    """A 1x1 convolution, and layers behind it."""

    def __init__(self, name, *behind):
        self.name, self.behind = name, behind

    def layers(self, part):
        if not part.convolves:
            return None
        first = layers.Conv2D(part.channels_out, 1, part.strides, name="first", use_bias=False)
        return [first, *(layer.from_config(layer.get_config()) for layer in self.behind)]


class Unregistered(layers.Layer):
    def call(self, x):
        return x


@keras.saving.register_keras_serializable("somebody")
class Registered(Unregistered):
    pass


# Such as the classes of a notebook have it.
Unregistered.__module__ = Registered.__module__ = "__main__"


def refused(match, method=None, error=ValueError, **budget):
    with pytest.raises(error, match=match):
        tfcompress.compress(
            small_tasks.residual_network(activation="softmax"),
            method or DARC(),
            (Unread(), Unread()),
            verbose=0,
            **budget or {"flops_budget": 0.5},
        )


def test_an_operator_that_litert_lacks_is_named_with_the_replacement():
    flat = layers.Reshape((4, 4, 6, 1), name="flat")
    volume = Own("volume", flat, layers.MaxPooling3D(1, name="pool"), layers.Reshape((4, 4, 6), name="back"))
    message = "'volume' in the place of 'stem', whose layer 'stem_pool' needs MaxPool3D, an operator that LiteRT lacks"
    method = DARC(replacements=(volume,), unit=("stem",), minimize="latency_ms")
    refused(message, method, MissingOperatorError, flops_budget=0.97)


@pytest.mark.parametrize("number", [-1, float("nan"), 0.5])
def test_costs_that_are_no_whole_numbers_of_0_or_more(number):
    """Of a replacement alone: the original has none of its layers."""
    register_metric("price", lambda node: [Term(number)] * isinstance(node.node.operation, layers.DepthwiseConv2D))
    try:
        refused(
            r"factor of a term of 'price' at 'stem_depthwise'.*0 or more.*Received.*=" + str(number),
            DARC(unit=("stem",), minimize="price"),
        )
    finally:
        unregister_metric("price")


def test_a_cost_that_no_replacement_lowers():
    register_metric("price", lambda node: [Term(1)] * isinstance(node.node.operation, layers.Dense))
    try:
        refused(r"`minimize` to be a cost that .* lowers, of \['macs', 'params', 'bytes'\]", DARC(minimize="price"))
    finally:
        unregister_metric("price")


def test_a_budget_below_the_cheapest_combination_says_which_that_is_and_its_share():
    """Kernels of 3x3 become 1x1; norms of 6, 5 and 7 channels and the head of 24 * 4 + 4 stay."""
    share = (6 + 12 * 12 + 36 + 100) / (9 * (6 + 12 * 12) + 36 + 100)
    refused(
        rf"at least {share:.3f}\d of the original \(286 of 1,486 parameters\).*params_budget=0.1.*"
        r"The cheapest in params: 0 of 5 units stay as they are, 5 become 1x1FC\.",
        params_budget=0.1,
    )


def test_limits_that_can_be_held_one_by_one_but_not_together():
    """The replacement has 48 parameters less, and one layer more, which has a price."""
    register_metric("price", lambda node: [Term(2 if node.node.operation.name.endswith("dear") else 1)])
    try:
        few = Own("few", layers.Activation("relu", name="dear"))
        refused(
            "each of which can be met, but not all at once",
            DARC(replacements=(few,), unit=("stem",)),
            budget={"params": 1440, "price": 1.0},
        )
    finally:
        unregister_metric("price")


def test_a_missing_budget_says_that_latency_can_be_limited_too():
    refused("none of `flops_budget`, `params_budget` and `latency_budget`", budget={})


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("stem_bn", r"`unit`.*that one of \['3x3DS', '1x1FC', '3x3\+1x1'\] could replace.*Received: \('stem_bn',\)"),
        (("stem", "block1_conv1"), r"`unit` to name layers and regions. Received: \('stem', 'block1_conv1'\)"),
        ("image", r"`unit` to name layers and regions. Received: \('image',\).*an input of the model"),
        ("nothing", r"`unit` to name layers of 'small'. Received: \['nothing'\]"),
    ],
    ids=["nothing replaces it", "no region", "an input", "unknown"],
)
def test_names_that_are_no_region_or_one_that_nothing_replaces(unit, message):
    refused(message, DARC(unit=("block2_conv1", unit)))


@pytest.mark.parametrize("layer", [Unregistered(), Registered()])
def test_layers_that_are_not_of_keras(layer):
    refused(
        rf"Replacement 'own' of 'stem': .*stock Keras layers.*Received: \['(somebody>)?{type(layer).__name__}'\]",
        DARC(replacements=(Own("own", layer),)),
    )


def test_a_name_that_is_taken():
    with pytest.raises(ValueError, match=r"names of their own, none of them 'original'"):
        DARC(replacements=(Own("original"),))
