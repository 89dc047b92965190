"""The models of keras.applications, found by iterating over the module."""

import inspect

import keras

LARGEST = 512


def constructors():
    """`{name: constructor}`: whatever in keras.applications takes `weights`."""
    found = {name: value for name, value in vars(keras.applications).items() if callable(value)}
    return {name: value for name, value in sorted(found.items()) if "weights" in inspect.signature(value).parameters}


def smallest(name, **options):
    """The model without trained weights, on the smallest square image for which its constructor makes one."""
    for side in range(1, LARGEST):
        try:
            return constructors()[name](weights=None, input_shape=(side, side, 3), **options)
        except ValueError:  # says which sizes it wants
            continue
    raise ValueError(f"Expected {name} to allow an image of less than {LARGEST} x {LARGEST}. It allows none.")
