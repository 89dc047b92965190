"""int4 and mixed files, made of a float32 TFLite file by ai-edge-quantizer (an extra).

`"int4"` stores weights in int4 where LiteRT has operators for it and in int8 elsewhere; activations are float32, and
are quantised at run time. `"mixed"` computes in int8 throughout, with weights in int4 in those operators where answers
stay.
"""

import json
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcompress import expect
from tfcompress.export.differences import relative_error, top1_agreement
from tfcompress.export.errors import ExportError
from tfcompress.export.operators import Operator, operators_of

FORMS = ("int4", "mixed")
INT4_OPERATORS = ("FULLY_CONNECTED", "CONV_2D", "EMBEDDING_LOOKUP")
"""Operators whose weights may be int4, by the policy of ai-edge-quantizer 0.10."""
_STATIC_INT4 = ("FULLY_CONNECTED", "CONV_2D")
_LOSS = 0.01  # of top-1 answers that "mixed" may lose beside the file whose weights are all int8
_ERROR = 2.0  # times the relative error of that file, where there are no top-1 answers
Outputs = Callable[[bytes], list[np.ndarray]]


def require() -> Any:
    """Returns the package ai_edge_quantizer's module `quantizer`.

    Raises:
        ImportError: it is not installed; the message has the line that installs it.
    """
    needs = "makes int4 and mixed files"
    return expect.extra("quantizer", "ai_edge_quantizer.quantizer", needs, "The other forms need no extra.")


def checked_recipe(recipe: Any) -> list[dict[str, Any]] | None:
    """Returns a user's recipe for `"mixed"` as a list of rules, None for None.

    Args:
        recipe: a list of rules as ai-edge-quantizer has them, each a dictionary with "regex", "operation",
            "algorithm_key" and "op_config"; or a JSON file of such a list.

    Raises:
        ValueError: the file is not there or not JSON, or ai-edge-quantizer does not know a rule.
        TypeError: it is of another type.
    """
    if recipe is None:
        return None
    if isinstance(recipe, (str, pathlib.Path)):
        path = expect.path("recipe", recipe, "a JSON file")
        try:
            recipe = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            advice = f"{type(error).__name__}: {error}"
            expect.refuse("recipe", "a JSON file with a recipe of ai-edge-quantizer", str(path), advice)
    if not isinstance(recipe, (list, tuple)) or not recipe or not all(isinstance(rule, dict) for rule in recipe):
        expect.refuse("recipe", "a list of rules of ai-edge-quantizer, or a JSON file", recipe, wrong_type=True)
    require()
    from ai_edge_quantizer import recipe_manager

    try:
        recipe_manager.RecipeManager().load_quantization_recipe(recipe)
    except Exception as error:  # KeyError, ValueError and others, from its own parsing
        advice = f"ai-edge-quantizer says: {type(error).__name__}: {error}"
        expect.refuse("recipe", "a recipe that ai-edge-quantizer knows", recipe, advice)
    return list(recipe)


def int4(content: bytes) -> bytes:
    """Returns a TFLite file with weights in int4, or int8 where there is no int4 operator, and float32 activations.

    Args:
        content: the float32 file.
    """
    require()
    from ai_edge_quantizer import recipe_manager

    rules = recipe_manager.RecipeManager()
    rules.add_dynamic_config(regex=".*", operation_name=_operation("*"), num_bits=8)
    for name in INT4_OPERATORS:
        rules.add_dynamic_config(regex=".*", operation_name=_operation(name), num_bits=4)
    return _quantized(_quantizer(content, rules.get_quantization_recipe()), None)


def mixed(
    content: bytes,
    calibration: list[dict[str, np.ndarray]],
    signature: str,
    outputs: Outputs,
    has_integer_io: bool = False,
    recipe: list[dict[str, Any]] | None = None,
) -> bytes:
    """Returns a TFLite file that computes in int8, with int4 weights in the operators where answers stay.

    The first and the last operator with weights keep int8. All others begin with int4; as long as the file has lost
    more than one point of its top-1 answers on the calibration inputs, the half of them whose weights lose most by
    rounding for each byte saved goes back to int8. So at most some seven files are made.

    Args:
        content: the float32 file.
        calibration: inputs by name, in batches of the file's size.
        signature: name of the file's signature.
        outputs: runs a file on the calibration inputs.
        has_integer_io: whether inputs and outputs are int8.
        recipe: the user's own rules, which are taken as they are.
    """
    samples = {signature: calibration}
    if recipe is not None:
        maker = _quantizer(content, recipe)
        return _quantized(maker, maker.calibrate(samples, num_threads=1) if maker.need_calibration else None)
    ranges = _ranges(content, _static((), has_integer_io), samples)

    def made(chosen: Sequence[Operator]) -> bytes:
        return _quantized(_quantizer(content, _static(chosen, has_integer_io)), ranges)

    expected, plain = outputs(content), made(())
    answers = outputs(plain)
    least, most = top1_agreement(expected, answers), _ERROR * relative_error(expected, answers)
    weighted = [operator for operator in operators_of(content) if operator.weights is not None]
    can_be = [operator for operator in weighted[1:-1] if operator.name in _STATIC_INT4]
    chosen = sorted(can_be, key=_lost_for_a_byte)
    while chosen:
        file = made(chosen)
        answers = outputs(file)
        agrees = top1_agreement(expected, answers)
        stays = (
            relative_error(expected, answers) <= most if agrees is None or least is None else agrees >= least - _LOSS
        )
        if stays:
            return file
        chosen = chosen[: len(chosen) // 2]
    return plain


def _ranges(content: bytes, rules: list[dict[str, Any]], samples: dict[str, Any]) -> Any:
    """Returns the least and greatest numbers of each tensor over all samples.

    The package's own default is a moving average over the samples, which cuts the largest numbers off.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(rules)
    measured = calibrator.Calibrator(bytearray(content), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    measured.calibrate(samples, manager)
    return measured.get_model_qsvs()


def counts(content: bytes) -> tuple[int, int]:
    """Returns how many operators of a file have int4 weights, and how many have weights."""
    weighted = [operator for operator in operators_of(content) if operator.types]
    return sum("INT4" in operator.types for operator in weighted), len(weighted)


def _static(int4_operators: Sequence[Operator], has_integer_io: bool) -> list[dict[str, Any]]:
    from ai_edge_quantizer import recipe_manager

    rules = recipe_manager.RecipeManager()
    rules.add_static_config(regex=".*", operation_name=_operation("*"), activation_num_bits=8, weight_num_bits=8)
    for operator in int4_operators:
        rules.add_static_config(
            regex=f"^{re.escape(operator.output)};?$",
            operation_name=_operation(operator.name),
            activation_num_bits=8,
            weight_num_bits=4,
        )
    if not has_integer_io:
        for name in ("INPUT", "OUTPUT"):
            rules.add_quantization_config(".*", _operation(name), algorithm_key="no_quantize")
    recipe: list[dict[str, Any]] = rules.get_quantization_recipe()
    return recipe


def _lost_by_rounding(operator: Operator) -> float:
    """Returns the share of an operator's weights that int4 loses: 15 steps for each output channel."""
    assert operator.weights is not None
    rows = operator.weights.reshape(len(operator.weights), -1).astype(np.float64)
    steps = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float64).tiny) / 7
    lost = rows - np.round(rows / steps) * steps
    return float(np.linalg.norm(lost) / max(np.linalg.norm(rows), np.finfo(np.float64).tiny))


def _lost_for_a_byte(operator: Operator) -> float:
    assert operator.weights is not None
    return _lost_by_rounding(operator) / operator.weights.size


def _operation(name: str) -> Any:
    from ai_edge_quantizer import qtyping

    return qtyping.TFLOperationName(name)


def _quantizer(content: bytes, recipe: Any) -> Any:
    return require().Quantizer(bytearray(content), recipe)


def _quantized(maker: Any, ranges: Any) -> bytes:
    try:
        result = maker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except Exception as error:  # its errors have no one type
        raise ExportError(
            f"Expected a model that ai-edge-quantizer can quantize. Received: {type(error).__name__}: {error}"
            " Use quantize='int8', which TensorFlow's converter makes."
        ) from error
    return bytes(result.quantized_model)
